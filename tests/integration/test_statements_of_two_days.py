"""Two statements of the same days, made one after the other, in both orders: the later one's rows stand."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from brokersync import BrokerSync, SyncReport
from brokersync.dispositions import Rule
from brokersync.plugin import StatementHints
from brokersync.store import TradeFilter

_ROW = {
    "accountId": "U7", "currency": "USD", "assetCategory": "STK", "symbol": "ACME", "conid": "11", "multiplier": "1",
    "tradeDate": "20260302", "reportDate": "20260302", "ibCommissionCurrency": "USD", "transactionType": "ExchTrade",
    "buySell": "BUY", "quantity": "100", "tradePrice": "10.5",
}  # fmt: skip
# the generation of the statement, and the commission that it tells of two executions
PROVISIONAL = ("20260302;200000", "0", "-1")
FIRST = ("20260303;060000", "-1", "-1")
FINAL = ("20260304;060000", "-1.25", "-1.5")
EARLIER_DAY_ALONE = ("20260302", "-9", "-9")


def statement(made: str, *commissions: str, kind: str = "AF") -> bytes:
    rows = [
        _ROW
        | {"dateTime": f"20260302;10000{number}", "tradeID": f"70{number}", "transactionID": f"800{number}"}
        | {"ibExecID": f"0000aa.0000b{number}.01.01", "ibCommission": commission}
        for number, commission in enumerate(commissions)
    ]
    body = "".join("<Trade " + " ".join(f'{name}="{value}"' for name, value in row.items()) + " />" for row in rows)
    return (
        f'<FlexQueryResponse queryName="q" type="{kind}"><FlexStatements count="1"><FlexStatement accountId="U7"'
        f' fromDate="20260302" toDate="20260302" period="" whenGenerated="{made}">'
        f"<Trades>{body}</Trades></FlexStatement></FlexStatements></FlexQueryResponse>"
    ).encode()


async def read(bs: BrokerSync, owner: str, *files: Sequence[str]) -> list[SyncReport]:
    reports = [
        await bs.import_statement(
            "ibkr", io.BytesIO(statement(*told)), owner=owner, hints=StatementHints(name=f"of {told[0]}.xml")
        )
        for told in files
    ]
    assert all(sum(report.dispositions.values()) == report.rows for report in reports)
    return reports


async def state(bs: BrokerSync, owner: str) -> list[Any]:
    return [one async for one in bs.trades(owner, TradeFilter(cancelled=True))]


@pytest.mark.parametrize("files", [[FIRST, FINAL], [PROVISIONAL, FIRST, FINAL, EARLIER_DAY_ALONE]], ids=["two", "four"])
async def test_the_later_made_statement_stands_whatever_the_order_of_import(tmp_path: Path, files: list[Any]) -> None:
    ends = []
    async with BrokerSync.open(tmp_path / "s.db") as bs:
        for number, order in enumerate(permutations(files)):
            await read(bs, f"owner {number}", *order)
            ends.append(await state(bs, f"owner {number}"))
    assert [[fee.amount for fee in trade.fees] for trade in ends[0]] == [[Decimal("1.25")], [Decimal("1.5")]]
    assert all(end == ends[0] for end in ends), "revisions included"


async def test_an_older_statement_is_counted_and_changes_nothing_however_often_it_is_imported(tmp_path: Path) -> None:
    async with BrokerSync.open(tmp_path / "s.db") as bs:
        await read(bs, "me", FINAL)
        position = await bs.feed_position()
        (older, again, newest) = await read(bs, "me", FIRST, FIRST, FINAL)
        assert older.dispositions == again.dispositions == {"outdated": 2}
        assert (older.unchanged, older.modified, older.problems) == (2, 0, ())
        assert newest.dispositions == {"same": 2}
        assert await bs.feed_position() == position


async def test_explain_says_when_the_version_that_stands_was_made_and_that_there_were_others(tmp_path: Path) -> None:
    async with BrokerSync.open(tmp_path / "s.db") as bs:
        await read(bs, "me", FINAL, FIRST)
        found = await bs.explain("me", account="U7", trade_id="tx:8000")
        (row,) = found.bookings
        assert (row.rule, row.version, row.file) == (Rule.GIVES_CONTENT, 2, "of 20260304;060000.xml")
        assert row.as_of == datetime(2026, 3, 4, 11, tzinfo=UTC)
        assert row.words == "gives the trade its content, in the latest of the 2 versions that were read"


async def test_a_statement_made_in_the_future_is_taken_as_one_without_a_time_and_the_report_says_so(
    tmp_path: Path,
) -> None:
    class Clock:
        def now(self) -> datetime:
            return datetime(2026, 3, 10, tzinfo=UTC)

        def monotonic(self) -> float:
            return 0

        async def sleep(self, seconds: float) -> None:
            raise AssertionError("an import waits for nothing")

    async with BrokerSync.open(tmp_path / "s.db", clock=Clock()) as bs:
        (future,) = await read(bs, "me", ("20990101;060000", "-9", "-9"))
        (problem,) = future.problems
        assert "2099-01-01, which is still to come" in problem["message"]
        await read(bs, "me", FIRST)
        assert [fee.amount for trade in await state(bs, "me") for fee in trade.fees] == [1, 1]
        (later,) = await read(bs, "me", ("20990101;060000", "-9", "-9"))
        assert later.dispositions == {"outdated": 2}
