"""`brokersync trades` says on standard error why it shows none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_STATEMENT = """<FlexQueryResponse queryName="q" type="AF"><FlexStatements count="1">
<FlexStatement accountId="U7" fromDate="20260302" toDate="20260306" period="" whenGenerated="20260307"><Trades>
<Trade accountId="U7" currency="USD" assetCategory="STK" symbol="ACME" conid="11" multiplier="1" tradeID="71"
 dateTime="20260302;100000" tradeDate="20260302" ibCommissionCurrency="USD" ibCommission="-1" transactionID="801"
 transactionType="ExchTrade" buySell="BUY" quantity="100" tradePrice="10.5" ibExecID="0000aa.00000001.01.01" />
</Trades></FlexStatement></FlexStatements></FlexQueryResponse>"""


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("--provider", "nope"), "No account of 'nope' is known. Known are those of: ibkr."),
        (("--symbol", "acme"), "No trade matches. Write the symbol 'acme' as the broker does, in capitals or not."),
        (("--since", "2027-01-01", "--format", "jsonl"), "No trade matches."),
        (("--symbol", "ACME"), ""),
        (("--symbol", "acme", "--limit", "0"), ""),
    ],
)
def test_a_question_that_no_trade_answers_is_hinted_at(
    brokersync: Callable[..., Any], tmp_path: Path, words: tuple[str, ...], hint: str
) -> None:
    (tmp_path / "a.xml").write_text(_STATEMENT)
    assert brokersync("import", "ibkr", tmp_path / "a.xml").code == 0
    answer = brokersync("trades", *words)
    assert (answer.code, " ".join(answer.err.split())) == (0, hint)


@pytest.mark.usefixtures("empty_store")
def test_an_empty_store_has_no_hint_to_give(brokersync: Callable[..., Any]) -> None:
    assert brokersync("trades").err == ""
