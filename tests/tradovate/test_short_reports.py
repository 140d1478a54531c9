"""A Fills report that leaves out what the Cash History tells of: such days are counted, and open until it is whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from brokersync.records import SpanState

from .desk import Desk, booked_costs, booked_executions, costs, executions, file_of, open_desk, rows_of

NOW = datetime(2026, 6, 10, 15, 0, tzinfo=UTC)  # a Wednesday, 10:00 in Chicago
_REPORT = "reports/requestreport"
_ASKED = "reports/requestReport"
_LEFT_OUT = "commissions of the Cash History where the Fills report tells no fill"


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(tmp_path, NOW, days=40, trades_per_day=2) as made:
        yield made


async def busiest(desk: Desk, before: date) -> tuple[str, str]:
    """The account and the day before then with the most fills."""
    ledger = (await desk.ledger()).values()
    counts = Counter((one["account"], one["executed_at"][:10]) for one in ledger)
    return max((one for one in counts if one[1] < before.isoformat()), key=lambda one: counts[one])


def short_of(account: str, day: str, times: int) -> Callable[[Any], Any]:
    """What makes of the next so many Fills reports, if they tell of that day of the account, ones that do not."""
    left = times

    def alter(body: Any) -> Any:
        nonlocal left
        rows = rows_of(body["data"])
        kept = [row for row in rows if not (row.get("_accountId") == account and row["_timestamp"].startswith(day))]
        if not left or len(kept) == len(rows):
            return body
        left -= 1
        return {"data": file_of(kept, list(rows[0])) if kept else "\r\n"}

    return alter


async def spent(desk: Desk, connection: str, *, days: int) -> list[tuple[int, int]]:
    """Four syncs a day: the fills that each said were left out, and the reports that it asked for."""
    told = []
    for _ in range(days * 4):
        before = desk.asked.count(_ASKED)
        report = await desk.sync(connection, "reports")
        told.append((report.unmapped.get(_LEFT_OUT, 0), desk.asked.count(_ASKED) - before))
        desk.clock.time += timedelta(hours=6)
    return told


def asking(told: Sequence[tuple[int, int]]) -> list[int]:
    """Which of these syncs asked for more than the last days."""
    usual = min(asked for _, asked in told)
    return [number for number, (_, asked) in enumerate(told) if asked > usual]


async def missing(desk: Desk) -> int:
    return len((await desk.ledger()).keys() - (await desk.trades()).keys())


async def is_final(desk: Desk, account: str, day: str) -> bool:
    moment = datetime.fromisoformat(day).replace(hour=12, tzinfo=UTC)
    spans = (await desk.bs.coverage("me", "tradovate", "reports")).items()
    (state,) = (one.state for (_, name), known in spans if name == account for one in known if moment in one.window)
    return state is SpanState.FINAL


async def test_fills_that_eight_reports_left_out_come_with_the_ninth_and_cost_few_reports(desk: Desk) -> None:
    account, day = await busiest(desk, date(2026, 5, 25))
    connection = await desk.connect()
    desk.altered[_REPORT] = short_of(account, day, 8)

    told = await spent(desk, connection, days=4)
    left_out = told[0][0]
    assert left_out > 1
    assert {count for count, _ in told} == {left_out}, "each sync counts them, also one that does not ask"
    assert await missing(desk) >= left_out
    assert not await is_final(desk, account, day)

    told += await spent(desk, connection, days=6)
    assert told[-1][0] == 0
    assert asking(told)[:4] == [0, 1, 2, 3], "each sync of the first day"
    assert len(asking(told)) <= 8, "and then after a day or so, and after twice as long each time"
    desk.clock.time = datetime(2026, 6, 27, 12, tzinfo=UTC)  # a Saturday, when what Friday's fills cost is booked
    await desk.sync(connection, "reports")
    await all_is_there(desk)
    assert await is_final(desk, account, day)


async def test_fills_that_are_always_left_out_cost_a_report_a_month_and_are_fetched_by_hand(desk: Desk) -> None:
    account, day = await busiest(desk, date(2026, 5, 25))
    connection = await desk.connect()
    desk.altered[_REPORT] = short_of(account, day, 10_000)
    await spent(desk, connection, days=2)
    desk.clock.time += timedelta(days=40)
    await spent(desk, connection, days=1)

    told = await spent(desk, connection, days=4)
    assert 0 not in {count for count, _ in told}
    assert asking(told) == []

    desk.altered.clear()
    assert await missing(desk) > 1
    await desk.sync(connection, "reports")
    assert await missing(desk) > 1, "its turn has not come"
    await desk.sync(connection, "reports", again_from=datetime(2026, 4, 1, tzinfo=UTC))
    assert await missing(desk) == 0


async def all_is_there(desk: Desk) -> None:
    trades, ledger = await desk.trades(), await desk.ledger()
    assert executions(trades.values()) == booked_executions(ledger)
    assert costs(trades.values()) == booked_costs(ledger)
