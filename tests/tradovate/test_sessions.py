"""The session ends at 17:00 in Chicago, in the hour in which Tradovate is closed: it is read before both, whatever the
clocks do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from brokersync import Connection
from brokersync.events import HistoryLost
from brokersync.maintenance import closed_until
from brokersync.store import TradeFilter

from .stage import Stage, VirtualClock, staged

CHICAGO = ZoneInfo("America/Chicago")
# the clocks go forward on 8 March 2026 and back on 1 November; these are the days of trading before and after
DAYS = [date(2026, 3, 5), date(2026, 3, 9), date(2026, 10, 29), date(2026, 11, 2)]


def chicago(day: date, text: str) -> datetime:
    return datetime.combine(day, time.fromisoformat(text), CHICAGO).astimezone(UTC)


@pytest.fixture
async def hours(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    clock = VirtualClock(chicago(request.param, "10:00"))
    async with staged(tmp_path, clock, keeps_hours=True) as one:
        yield one


async def next_at(stage: Stage, connection: Connection) -> str:
    async with stage.process() as bs:
        known = await bs.connection(connection.connection_id)
    assert known.next_at is not None
    return f"{known.next_at.astimezone(CHICAGO):%H:%M}"


@pytest.mark.parametrize("hours", DAYS, indirect=True, ids=str)
async def test_a_session_is_read_before_tradovate_closes_and_once_more_before_it_ends(hours: Stage) -> None:
    day = hours.clock.now().astimezone(CHICAGO).date()
    async with hours.process() as bs:
        connection = await hours.consent(bs)
        assert (await bs.connection(connection.connection_id)).deadline == chicago(day, "17:00")
        planned = []
        for text in ("10:00", "15:30", "16:30", "16:57"):
            hours.clock.advance(seconds=(chicago(day, text) - hours.clock.now()).total_seconds())
            assert connection.connection_id in await bs.run_due()
            planned.append(await next_at(hours, connection))
    assert planned == ["15:30", "16:30", "16:57", "22:57"]


@pytest.mark.parametrize("hours", DAYS[:1], indirect=True, ids=str)
async def test_nothing_begins_by_itself_while_tradovate_is_closed_but_what_would_be_lost(hours: Stage) -> None:
    day = date(2026, 3, 5)
    async with hours.process() as bs:
        connection = await hours.consent(bs)
        begun = []
        for minutes in range(0, 32 * 60, 10):
            hours.clock.advance(seconds=(chicago(day, "10:00") - hours.clock.now()).total_seconds() + minutes * 60)
            if await bs.run_due():
                begun.append(hours.clock.now().astimezone(CHICAGO))
    assert connection.connection_id
    closed = [moment for moment in begun if moment.hour == 16]
    assert {f"{moment:%H:%M}" for moment in closed} == {"16:30"}, "one capture before the end of the session"
    assert any(moment.hour == 15 for moment in begun)


@pytest.mark.parametrize("hours", DAYS[:1], indirect=True, ids=str)
async def test_a_sync_that_comes_due_while_tradovate_is_closed_waits_for_the_capture(hours: Stage) -> None:
    async with hours.process() as bs:
        connection = await hours.consent(bs)
        await bs.run_due()
        await bs._store.change_connection(connection.connection_id, next_at=chicago(date(2026, 3, 5), "16:05"))
        hours.clock.advance(hours=6, minutes=10)
        assert await bs.run_due() == {}
        hours.clock.advance(minutes=21)
        assert connection.connection_id in await bs.run_due()


@pytest.mark.parametrize(
    ("closes", "opens", "length"),
    [
        ((date(2026, 3, 7), "22:00"), (date(2026, 3, 8), "06:30"), 7.5),
        ((date(2026, 10, 31), "22:00"), (date(2026, 11, 1), "06:30"), 9.5),
        ((date(2026, 6, 13), "22:00"), (date(2026, 6, 14), "06:30"), 8.5),
        ((date(2026, 3, 6), "16:00"), (date(2026, 3, 6), "20:00"), 4),
        ((date(2026, 11, 2), "16:00"), (date(2026, 11, 2), "17:00"), 1),
    ],
)
def test_the_hours_of_maintenance_are_those_of_chicagos_clocks(
    closes: tuple[date, str], opens: tuple[date, str], length: float
) -> None:
    from brokersync import ProviderRegistry

    windows = ProviderRegistry.installed().manifest("tradovate").maintenance
    begin, end = chicago(*closes), chicago(*opens)
    assert closed_until(windows, begin) == end == closed_until(windows, end - timedelta(seconds=1))
    assert end - begin == timedelta(hours=length)
    assert closed_until(windows, begin - timedelta(seconds=1)) is None
    assert closed_until(windows, end) is None


@pytest.mark.parametrize("first", [date(2026, 3, 6), date(2026, 10, 30)], ids=str)
async def test_a_worker_reads_every_session_around_a_change_of_the_clocks(tmp_path: Path, first: date) -> None:
    """Without the reports, which would give what the sessions do not."""
    clock = VirtualClock(chicago(first, "10:00"))
    async with staged(tmp_path, clock, keeps_hours=True, trades_per_day=12) as stage, stage.process() as bs:
        connection = await stage.consent(bs)
        await stage.fault("permission_denied", operation="reports/requestreport", times=100_000)
        for _ in range(5 * 24 * 2):
            await bs.run_due()
            clock.advance(minutes=30)
        found = {trade.trade_id: trade async for trade in bs.trades("ann", TradeFilter())}
        ledger = await stage.ledger()
        rows = [one for account in stage.login(1).trades for one in ledger["accounts"][account]]
        begins, ends = chicago(first - timedelta(days=1), "17:00"), chicago(first + timedelta(days=4), "17:00")
        wanted = {one["trade_id"]: one for one in rows if begins <= datetime.fromisoformat(one["executed_at"]) < ends}
        assert len(wanted) > 30
        assert wanted.keys() <= found.keys()
        for name, one in wanted.items():
            assert found[name].trade_date == date.fromisoformat(one["trade_date"])
        assert connection.connection_id
    lost = [event.window for event in stage.events if isinstance(event, HistoryLost)]
    assert {(f"{one.start.astimezone(CHICAGO):%H:%M}", one.length) for one in lost} == {
        ("16:30", timedelta(minutes=30))
    }, "what comes after the last read, when nothing is traded, and which no report will give"


async def test_a_session_that_no_report_will_give_is_told_as_lost(stage: Stage) -> None:
    async with stage.process() as bs:
        await stage.fault("permission_denied", operation="reports/requestreport", times=1000)
        connection = await stage.connect(bs)
        await bs.run(connection.connection_id)
        left = stage.clock.now()
        stage.clock.advance(days=2)
        await bs.run(connection.connection_id)

    lost = [event for event in stage.events if isinstance(event, HistoryLost)]
    assert {(event.source, event.window.start) for event in lost} == {("session", left)}
    assert {event.environment for event in lost} == {"live", "demo"}
    assert all(event.repair.startswith("Download an export of these days from Tradovate") for event in lost)
