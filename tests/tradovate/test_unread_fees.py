"""Fees of reported fills while the Cash History can not be read: held up is nothing, and taken back is nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from brokersync.types import FeesState

from .desk import Desk, booked_costs, booked_executions, costs, executions, file_of, open_desk, rows_of

NOW = datetime(2026, 6, 10, 15, 0, tzinfo=UTC)  # a Wednesday, 10:00 in Chicago
_REPORT = "reports/requestreport"
_ALONE = "reported fees are the commission alone"
_REFUSALS = [{"errorText": "Something new"}, {"errorText": "Access is denied"}, [], {"data": "Konto\r\n"}]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(tmp_path, NOW, days=20, trades_per_day=6) as made:
        yield made


def without_cash_history(answer: Any) -> Any:
    return lambda body: body if "_id" in body["data"] else answer


async def test_fills_come_at_once_and_their_fees_when_the_cash_history_does(desk: Desk) -> None:
    connection = await desk.connect()
    desk.altered[_REPORT] = without_cash_history([])
    report = await desk.sync(connection, "reports")
    assert report.problems == ()
    assert executions((await desk.trades()).values()) == booked_executions(await desk.ledger())
    assert {one.fees_state for one in (await desk.trades()).values()} == {FeesState.PENDING}

    desk.altered.clear()
    desk.clock.time += timedelta(days=30)
    await desk.sync(connection, "reports")

    trades, booked = await desk.trades(), booked_costs(await desk.ledger())
    late = {name for name in trades if name not in booked}
    assert not late
    assert costs(trades.values()) == booked
    assert FeesState.PENDING not in {one.fees_state for one in trades.values()}


@pytest.mark.parametrize("answer", _REFUSALS)
async def test_fees_that_are_known_stay_when_it_is_refused_later(desk: Desk, answer: Any) -> None:
    connection = await desk.connect()
    await desk.sync(connection, "reports")
    before = {name: (one.fees, one.fees_state) for name, one in (await desk.trades()).items()}

    desk.altered[_REPORT] = without_cash_history(answer)
    report = await desk.sync(connection, "reports", again_from=NOW - timedelta(days=20))

    assert {name: (one.fees, one.fees_state) for name, one in (await desk.trades()).items()} == before
    assert (report.modified, report.problems) == (0, ())


async def test_a_commission_that_the_fills_report_takes_back_is_final_no_more(desk: Desk) -> None:
    connection = await desk.connect()
    await desk.sync(connection, "reports")
    before = {name for name, one in (await desk.trades()).items() if one.fees_state is FeesState.FINAL}

    desk.altered[_REPORT] = _with_dearer_fills
    await desk.sync(connection, "reports", again_from=NOW - timedelta(days=30))

    trades, booked = await desk.trades(), booked_costs(await desk.ledger())
    assert before
    assert {trades[name].fees_state for name in before} == {FeesState.PENDING}
    for name in before:
        ((kind, currency),) = costs([trades[name]])[name]
        assert trades[name].fees[0].amount == booked[name][kind, currency] + 1


def _with_dearer_fills(body: Any) -> Any:
    """The Fills report with higher commissions, and no Cash History."""
    if "_id" not in body["data"]:
        return {"errorText": "Access is denied"}
    rows = rows_of(body["data"])
    dearer = [row | {"commission": str(Decimal(row["commission"]) + 1)} for row in rows]
    return {"data": file_of(dearer, list(rows[0]))}


@pytest.mark.parametrize("answer", _REFUSALS)
async def test_fees_of_a_window_that_was_refused_once_come_with_the_next_sync(desk: Desk, answer: Any) -> None:
    connection = await desk.connect()
    desk.altered[_REPORT] = without_cash_history(answer)
    desk.clock.time += timedelta(days=30)  # so that no fill is read by itself for a while yet
    await desk.sync(connection, "reports")

    desk.altered.clear()
    desk.clock.time += timedelta(hours=6)
    await desk.sync(connection, "reports")

    assert FeesState.PENDING not in {one.fees_state for one in (await desk.trades()).values()}


async def test_a_cash_history_that_is_always_refused_is_counted_and_asked_for_now_and_then(desk: Desk) -> None:
    connection = await desk.connect()
    desk.altered[_REPORT] = without_cash_history({"errorText": "Access is denied"})
    asked = list[int]()
    for _ in range(12):
        before = desk.asked.count("reports/requestReport")
        told = (await desk.sync(connection, "reports")).unmapped
        asked.append(desk.asked.count("reports/requestReport") - before)
        assert sum(count for words, count in told.items() if _ALONE in words) == len(await desk.trades())
        desk.clock.time += timedelta(days=3)

    usual = 4  # both reports of two accounts, for the last days
    assert sum(1 for one in asked[6:] if one > usual) == 1, "all that is older, once in 18 days"
    trades = [*(await desk.trades()).values()]
    assert {one.fees_state for one in trades} == {FeesState.PENDING}
    (row,) = (await desk.bs.explain("me", account=trades[0].account_id, trade_id=trades[0].trade_id)).bookings
    assert row.raw is not None
    assert row.raw["cashHistory"]["doubt"] == "the Cash History could not be read"
