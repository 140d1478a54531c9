"""The how-to's commands answer as it is written, where `...` stands for anything."""

from __future__ import annotations

import io
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from brokersync import BrokerSync
from brokersync.__main__ import main
from brokersync.dispositions import Disposition
from brokersync.plugin import StatementHints

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "why-is-my-trade-missing.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"```console\n\$ brokersync ([^\n]*)\n(.*?)```", GUIDE, re.DOTALL)

_FILL = {
    "accountId": "U7", "currency": "USD", "assetCategory": "STK", "symbol": "ACME", "conid": "11", "multiplier": "1",
    "dateTime": "20260302;100000", "tradeDate": "20260302", "ibCommissionCurrency": "USD", "ibCommission": "-1",
    "transactionType": "ExchTrade", "buySell": "BUY", "quantity": "100", "tradePrice": "10.5",
}  # fmt: skip
_ROWS = (
    _FILL | {"tradeID": "71", "transactionID": "801", "ibExecID": "0000aa.00000001.01.01"},
    _FILL | {"symbol": "GONE", "tradeID": "72", "transactionID": "802", "ibExecID": "0000aa.00000002.01.01"},
    _FILL | {"symbol": "GONE", "transactionType": "TradeCancel", "buySell": "BUY (Ca.)", "quantity": "-100",
             "origTradeID": "72", "origTransactionID": "802", "transactionID": "803"},
    _FILL | {"symbol": "ODD", "transactionType": "Unheard", "transactionID": "804", "tradeID": "74"},
)  # fmt: skip


def _statement() -> bytes:
    body = "".join("<Trade " + " ".join(f'{name}="{value}"' for name, value in row.items()) + " />" for row in _ROWS)
    return (
        '<FlexQueryResponse queryName="q" type="AF"><FlexStatements count="1"><FlexStatement accountId="U7"'
        ' fromDate="20260302" toDate="20260306" period="" whenGenerated="20260307">'
        f"<Trades>{body}</Trades></FlexStatement></FlexStatements></FlexQueryResponse>"
    ).encode()


@pytest.fixture
async def store(tmp_path: Path) -> Path:
    async with BrokerSync.open(tmp_path / "store.db") as bs:
        hints = StatementHints(name="march.xml")
        await bs.import_statement("ibkr", io.BytesIO(_statement()), owner="me", hints=hints)
    return tmp_path / "store.db"


def test_the_guide_has_commands() -> None:
    assert len(COMMANDS) >= 6


@pytest.mark.parametrize(("words", "answer"), COMMANDS, ids=[words for words, _ in COMMANDS])
def test_each_command_of_the_guide_answers_as_it_is_written(
    store: Path, words: str, answer: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([*shlex.split(words), "--store", str(store)]) == 0
    pattern = ".*?".join(re.escape(part.strip("\n")) for part in answer.strip().split("..."))
    assert re.match(pattern, capfd.readouterr().out, re.DOTALL)


def test_the_guide_names_every_disposition() -> None:
    table: Any = re.findall(r"^\| `(\w+)` \|", GUIDE, re.MULTILINE)
    assert table == [one.value for one in Disposition]
