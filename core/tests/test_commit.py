from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs
import pytest

from brokersync.errors import BrokerDataUnavailableError, DataUnavailableReason
from brokersync.events import Event, PageCommitted
from brokersync.manifest import AuthKind, Calendar, CalendarUnit, Manifest, SourceScope, SourceSpec
from brokersync.records import OpenRequest, Span, SpanState
from brokersync.store import Store, TradeFilter
from brokersync.sync.commit import PageWriter, Target, page_rules
from brokersync.sync.plan import Ask
from brokersync.sync.report import ReportBuilder
from brokersync.types import (
    AssetClass,
    BrokerAccount,
    BrokerTrade,
    CoveredSpan,
    Finality,
    IdQuality,
    Instrument,
    QuarantinedRow,
    Side,
    TimeWindow,
    TradeBooking,
    TradePage,
)

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
START = datetime(2026, 3, 2, tzinfo=UTC)
NOW = START + 5 * DAY + 15 * HOUR
WEEK = TimeWindow(START, START + 7 * DAY)
FINAL, PROVISIONAL = SpanState.FINAL, SpanState.PROVISIONAL
A = BrokerAccount(account_id="A", environment="live")
B = BrokerAccount(account_id="B", environment="live")


def booking(trade_id: str, *, synthetic: bool = False, account: str = "A", **facts: Any) -> TradeBooking:
    trade = BrokerTrade(
        provider="paper", environment="live", account_id=account, trade_id=trade_id, side=Side.BUY,
        instrument=Instrument(symbol="EUR", asset_class=AssetClass.STOCK), quantity=Decimal(1), price=Decimal(2),
        executed_at=START, id_quality=IdQuality.SYNTHETIC if synthetic else IdQuality.BROKER,
    )  # fmt: skip
    return TradeBooking.of(trade, **facts)


def priced(price: str) -> TradeBooking:
    one = booking("a")
    return attrs.evolve(one, trade=attrs.evolve(one.trade, price=Decimal(price)) if one.trade else None)


def covered(start: datetime, end: datetime, finality: Finality = Finality.FINAL, account: str = "A") -> CoveredSpan:
    return CoveredSpan(account_id=account, environment="live", window=TimeWindow(start, end), finality=finality)


class Clock:
    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return 0

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nobody sleeps here")


class Desk:
    """A writer over a real store."""

    def __init__(self, store: Store, **facts: Any) -> None:
        self.store = store
        self.source = SourceSpec(**({"name": "fills", "precedence": 1} | facts))
        self.events: list[Event] = []
        self.report = ReportBuilder(owner="o", provider="paper", connection_id="c", started_at=NOW)
        self.writer = self._writer(Target(owner="o", provider="paper", connection_id="c"))
        self.file_writer = self._writer(Target(owner="o", provider="paper"))

    def _writer(self, target: Target) -> PageWriter:
        manifest = Manifest(
            key="paper", display_name="Paper", contract=1, environments=("live",), auth=(AuthKind.NONE,),
            sources=(self.source,), licence="", docs="", support="",
        )  # fmt: skip
        return PageWriter(
            target=target, manifest=manifest, store=self.store, clock=Clock(),
            events=self.events.append, report=self.report,
        )  # fmt: skip

    def ask(self, window: TimeWindow = WEEK, *accounts: BrokerAccount) -> Ask:
        return Ask(source=self.source, accounts=accounts or (A,), window=window)

    async def ids(self) -> list[str]:
        trades, _ = await self.store.trades("o", TradeFilter(cancelled=True))
        return [one.trade_id for one in trades]

    async def spans(self, account: str = "A") -> list[tuple[datetime, datetime, SpanState]]:
        found = (await self.store.spans("o", "paper", "fills")).get(("live", account), ())
        return [(one.window.start, one.window.end, one.state) for one in found]

    async def request(self) -> OpenRequest | None:
        found = await self.store.open_requests("c")
        return found[0] if found else None


async def test_a_time_of_making_that_is_still_to_come_counts_as_none_and_is_told_once(store: Store) -> None:
    desk = Desk(store)
    desk.writer.begin(desk.ask())
    for price in ("1", "2"):
        await desk.writer.commit(TradePage(bookings=(priced(price),), as_of=NOW + 2 * DAY), going_on=True)
    desk.writer.begin(desk.ask())
    await desk.writer.commit(TradePage(bookings=(booking("b"),), as_of=NOW + DAY), going_on=False)
    report = desk.report.build(NOW)
    (problem,) = report.problems
    assert "still to come" in problem["message"]
    assert report.dispositions == {"stored": 3}
    assert (await desk.writer.commit(TradePage(bookings=(priced("3"),), as_of=NOW), going_on=False)).modified == 1


def test_a_time_of_making_has_a_zone() -> None:
    with pytest.raises(ValueError, match="aware datetime in UTC"):
        TradePage(as_of=NOW.replace(tzinfo=None))


async def test_two_equal_fills_without_an_id_stay_two_however_often_they_are_read(store: Store) -> None:
    desk = Desk(store)
    for _ in range(2):
        desk.writer.begin(desk.ask())
        for _ in range(2):
            await desk.writer.commit(TradePage(bookings=(booking("content", synthetic=True),)), going_on=False)
    assert await desk.ids() == ["content", "content#2"]


async def test_a_cursor_leads_on_from_behind_its_page(store: Store) -> None:
    desk = Desk(store)
    desk.writer.begin(desk.ask())
    later = NOW + HOUR
    await desk.writer.commit(TradePage(bookings=(booking("a"),), cursor="2", resume_at=later), going_on=True)
    kept = await desk.request()
    assert kept == OpenRequest(
        connection_id="c", source="fills", account="live/A", window=WEEK, cursor="2", resume_at=later, begun_at=NOW,
        accounts=("live/A",), gave_rows=True,
    )  # fmt: skip
    await desk.writer.commit(TradePage(bookings=(booking("b"),)), going_on=True)
    assert await desk.request() == kept, "a page without a cursor leaves it where it was"
    await desk.writer.commit(TradePage(), going_on=False)
    assert await desk.request() is None


async def test_the_place_of_a_reading_is_kept_with_the_counts_of_its_rows_without_an_id(store: Store) -> None:
    desk = Desk(store)
    desk.writer.begin(desk.ask())
    await desk.writer.commit(TradePage(bookings=(booking("a"),), cursor="2"), going_on=True)
    assert await desk.request() == OpenRequest(
        connection_id="c", source="fills", account="live/A", window=WEEK, cursor="2", begun_at=NOW,
        accounts=("live/A",), gave_rows=True,
    )  # fmt: skip
    twice = (booking("b", synthetic=True), booking("b", synthetic=True))
    await desk.writer.commit(TradePage(bookings=twice, cursor="3", resume_at=NOW), going_on=True)
    kept = await desk.request()
    assert kept is not None
    assert (kept.cursor, kept.resume_at, list(kept.counts)) == ("3", NOW, ["2"])
    await desk.writer.commit(TradePage(bookings=twice), going_on=True)
    assert await desk.request() == kept, "the counts are those of the place"
    desk.writer.begin(desk.ask(), kept)
    await desk.writer.commit(TradePage(bookings=twice[:1]), going_on=False)
    assert await desk.ids() == ["a", "b", "b#2", "b#3", "b#4"]


async def test_no_bookmark_is_kept_of_a_reading_that_was_resumed_behind_its_rows_without_an_id(store: Store) -> None:
    desk = Desk(store)
    desk.writer.begin(desk.ask())
    await desk.writer.commit(TradePage(bookings=(booking("b", synthetic=True),), cursor="2"), going_on=True)
    desk.writer.begin(desk.ask(), await desk.request())
    covers = (covered(START, NOW),)
    await desk.writer.commit(TradePage(bookings=(booking("a"),), covered=covers, bookmark="9"), going_on=False)
    assert await desk.store.bookmark("c", "fills", "live/A") is None


async def test_the_next_window_starts_counting_anew(store: Store) -> None:
    desk = Desk(store)
    desk.writer.begin(desk.ask())
    await desk.writer.commit(TradePage(bookings=(booking("x", synthetic=True),)), going_on=False)
    desk.writer.begin(desk.ask())
    await desk.writer.commit(TradePage(bookings=(booking("x", synthetic=True),), cursor="2"), going_on=True)
    assert await desk.ids() == ["x"]


@pytest.mark.parametrize(
    ("facts", "window", "wanted"),
    [
        ({}, (0, 5), [(0, 5, FINAL)]),
        ({}, (4, 5), [(4, 5, FINAL)]),
        ({"finality_lag": 16 * HOUR}, (0, 5), [(0, 4, FINAL), (4, 5, PROVISIONAL)]),
        ({"finality_lag": 15 * HOUR}, (0, 5), [(0, 5, FINAL)]),
        ({"finality_lag": 3 * DAY}, (3, 5), [(3, 5, PROVISIONAL)]),
        ({"finality_lag": 30 * DAY}, (0, 5), [(0, 5, PROVISIONAL)]),
    ],
)
async def test_what_is_younger_than_the_finality_lag_is_provisional_whatever_the_page_says(
    store: Store, facts: dict[str, Any], window: tuple[int, int], wanted: list[tuple[int, int, SpanState]]
) -> None:
    desk = Desk(store, **facts)
    desk.writer.begin(desk.ask())
    start, end = (START + number * DAY for number in window)
    await desk.writer.commit(TradePage(covered=(covered(start, end),)), going_on=False)
    assert await desk.spans() == [(START + a * DAY, START + b * DAY, state) for a, b, state in wanted]


async def test_the_running_day_is_provisional_and_what_has_not_happened_is_not_covered(store: Store) -> None:
    desk = Desk(store)
    desk.writer.begin(desk.ask())
    await desk.writer.commit(TradePage(covered=(covered(START, START + 7 * DAY),)), going_on=False)
    assert await desk.spans() == [(START, START + 5 * DAY, FINAL), (START + 5 * DAY, NOW, PROVISIONAL)]


async def test_a_resumed_request_proves_nothing_that_came_after_its_first_answer(store: Store) -> None:
    desk = Desk(store)
    begun = START + 2 * DAY + 3 * HOUR
    opened = OpenRequest(connection_id="c", source="fills", account="live/A", window=WEEK, cursor="2", begun_at=begun)
    desk.writer.begin(desk.ask(), opened)
    await desk.writer.commit(TradePage(covered=(covered(START, START + 7 * DAY),)), going_on=False)
    assert await desk.spans() == [(START, START + 2 * DAY, FINAL), (START + 2 * DAY, begun, PROVISIONAL)]


async def test_the_lag_is_counted_on_the_sources_own_days(store: Store) -> None:
    desk = Desk(store, calendar=Calendar(zone="America/Chicago", day_starts="17:00"))
    desk.writer.begin(desk.ask())
    await desk.writer.commit(TradePage(covered=(covered(WEEK.start, WEEK.end),)), going_on=False)
    # it is 09:00 in Chicago, so the running session began at 17:00 the day before, which is 23:00 in UTC
    border = START + 4 * DAY + 23 * HOUR
    assert await desk.spans() == [(WEEK.start, border, FINAL), (border, NOW, PROVISIONAL)]


async def test_a_provisional_page_stays_provisional(store: Store) -> None:
    desk = Desk(store)
    desk.writer.begin(desk.ask())
    page = TradePage(covered=(covered(START, START + DAY, Finality.PROVISIONAL),))
    await desk.writer.commit(page, going_on=False)
    assert await desk.spans() == [(START, START + DAY, PROVISIONAL)]


async def test_a_page_covers_nothing_outside_what_was_asked_and_a_file_all_it_says(store: Store) -> None:
    desk = Desk(store)
    page = TradePage(covered=(covered(START - 9 * DAY, START + DAY), covered(START - 9 * DAY, START - 8 * DAY)))
    desk.writer.begin(desk.ask())
    await desk.writer.commit(page, going_on=False)
    assert await desk.spans() == [(START, START + DAY, FINAL)]
    desk.file_writer.begin_file(desk.source)
    await desk.file_writer.commit(page, going_on=True)
    assert await desk.spans() == [(START - 9 * DAY, START + DAY, FINAL)]
    (report,) = desk.report.build(NOW).spans
    assert report.covered == (TimeWindow(START - 9 * DAY, START + DAY),)


async def test_a_page_covers_nothing_behind_the_end_of_what_was_asked(store: Store) -> None:
    desk = Desk(store)
    desk.writer.begin(desk.ask(TimeWindow(START, START + DAY)))
    page = TradePage(covered=(covered(START, START + 2 * DAY), covered(START + DAY, START + 2 * DAY)))
    await desk.writer.commit(page, going_on=False)
    assert await desk.spans() == [(START, START + DAY, FINAL)]


async def test_a_file_keeps_no_cursor_and_its_changes_say_that_they_come_from_it(store: Store) -> None:
    desk = Desk(store)
    desk.file_writer.begin_file(desk.source)
    await desk.file_writer.commit(TradePage(bookings=(booking("a"),), cursor="2", bookmark="b"), going_on=True)
    assert await desk.request() is None
    assert [change.cause.value for change in await store.changes("o", 0)] == ["file"]


async def test_a_bookmark_is_kept_when_its_request_has_ended_and_outlives_it(store: Store) -> None:
    desk = Desk(store)
    desk.writer.begin(desk.ask())
    await desk.writer.commit(TradePage(bookmark="17", cursor="2"), going_on=True)
    assert await store.bookmark("c", "fills", "live/A") is None, "rows before it may still be missing"
    await desk.writer.commit(TradePage(covered=(covered(WEEK.start, WEEK.end),)), going_on=False)
    assert await store.bookmark("c", "fills", "live/A") == "17"
    desk.writer.begin(desk.ask())
    await desk.writer.commit(TradePage(), going_on=False)
    assert await store.bookmark("c", "fills", "live/A") == "17"
    assert await store.bookmark("c", "fills", "live/B") is None


async def test_a_begun_request_counts_the_syncs_that_could_not_move_it_on(store: Store) -> None:
    desk = Desk(store)
    desk.writer.begin(desk.ask())
    await desk.writer.stuck()
    assert await desk.request() is None
    assert not desk.writer.keeps_place
    await desk.writer.commit(TradePage(cursor="2"), going_on=True)
    assert desk.writer.keeps_place
    for attempts in (1, 2):
        await desk.writer.stuck()
        kept = await desk.request()
        assert kept is not None
        assert (kept.cursor, kept.attempts) == ("2", attempts)


@pytest.mark.parametrize(
    ("reason", "state"),
    [
        (DataUnavailableReason.EXPIRED, SpanState.LOST),
        (DataUnavailableReason.BEFORE_ACCOUNT, SpanState.UNAVAILABLE),
    ],
)
async def test_a_window_that_can_not_be_had_is_written_down_for_every_account_asked(
    store: Store, reason: DataUnavailableReason, state: SpanState
) -> None:
    desk = Desk(store, scope=SourceScope.LOGIN)
    ask = desk.ask(WEEK, A, B)
    desk.writer.begin(ask)
    await desk.writer.commit(TradePage(cursor="2"), going_on=True)
    await desk.writer.unavailable(ask, BrokerDataUnavailableError("Gone.", reason=reason), ask.accounts)
    # the rest of the week has not happened yet, and may be had when it has
    assert await desk.spans("A") == await desk.spans("B") == [(WEEK.start, NOW, state)]
    assert await desk.request() is None
    assert desk.report.build(NOW).problems == ()


@pytest.mark.parametrize(("age", "sure"), [(9, False), (10, True)])
async def test_a_broker_without_data_is_believed_about_old_days_only(store: Store, age: int, sure: bool) -> None:
    desk = Desk(store)
    window = TimeWindow(NOW - (age + 1) * DAY, NOW - age * DAY)
    error = BrokerDataUnavailableError("Nothing there.", reason=DataUnavailableReason.NO_SUCH_DATA)
    await desk.writer.unavailable(desk.ask(window), error, desk.ask(window).accounts)
    assert bool(await desk.spans()) is sure
    assert bool(desk.report.build(NOW).problems) is not sure


async def test_a_login_without_data_and_without_known_accounts_is_reported(store: Store) -> None:
    desk = Desk(store, scope=SourceScope.LOGIN)
    window = TimeWindow(NOW - 90 * DAY, NOW - 80 * DAY)
    error = BrokerDataUnavailableError("Nothing there.", reason=DataUnavailableReason.NO_SUCH_DATA)
    await desk.writer.unavailable(attrs.evolve(desk.ask(window), accounts=()), error, ())
    assert len(desk.report.build(NOW).problems) == 1


async def test_every_page_is_told_as_an_event_and_counted(store: Store) -> None:
    desk = Desk(store)
    desk.writer.begin(desk.ask())
    page = TradePage(
        bookings=(booking("a"), booking("b")), quarantined=(QuarantinedRow(reason="odd", raw={"x": 1}),),
        skipped={"deposits": 3}, unmapped={"code=Q": 1},
    )  # fmt: skip
    await desk.writer.commit(page, going_on=True)
    await desk.writer.commit(page, going_on=False)
    assert desk.events == [
        PageCommitted(
            provider="paper", connection_id="c", source="fills",
            fetched=2, added=added, modified=0, removed=0, unchanged=unchanged, quarantined=1,
        )
        for added, unchanged in ((2, 0), (0, 2))
    ]  # fmt: skip
    report = desk.report.build(NOW + HOUR)
    assert (report.pages, report.fetched, report.added, report.unchanged, report.quarantined) == (2, 4, 2, 2, 2)
    assert (report.skipped, report.unmapped, report.duration) == ({"deposits": 6}, {"code=Q": 2}, HOUR)


def test_a_source_that_the_manifest_no_longer_declares_ranks_last() -> None:
    manifest = Manifest(
        key="paper", display_name="Paper", contract=1, environments=("live",), auth=(AuthKind.NONE,),
        sources=(SourceSpec(name="fills", precedence=7),), licence="", docs="", support="",
    )  # fmt: skip
    rules = page_rules(manifest)
    assert (rules.precedence("fills"), rules.precedence("gone")) == (7, 0)


async def test_an_instant_source_settles_by_days_too(store: Store) -> None:
    desk = Desk(store, calendar=Calendar(unit=CalendarUnit.INSTANT))
    desk.writer.begin(desk.ask(TimeWindow(START, NOW)))
    await desk.writer.commit(TradePage(covered=(covered(START, NOW),)), going_on=False)
    assert await desk.spans() == [(START, START + 5 * DAY, FINAL), (START + 5 * DAY, NOW, PROVISIONAL)]


async def test_rows_that_a_plugin_says_nothing_of_are_a_problem_of_the_report(store: Store) -> None:
    desk = Desk(store)
    desk.writer.begin(desk.ask())
    await desk.writer.commit(TradePage(bookings=(booking("a"),), skipped={"Lot": 2}, rows=3), going_on=True)
    assert desk.report.build(NOW).problems == ()
    await desk.writer.commit(TradePage(bookings=(booking("b"),), rows=3), going_on=False)
    report = desk.report.build(NOW)
    (problem,) = report.problems
    assert "read 3 rows" in problem["message"]
    assert "says of 1" in problem["message"]
    assert (report.rows, report.dispositions) == (6, {"stored": 2, "not_an_execution": 2})


async def test_of_two_connections_that_find_the_same_loss_at_once_one_is_told_it_is_new(store: Store) -> None:
    desk, other = Desk(store), Desk(store)
    lost = [(A, Span(window=TimeWindow(START, START + 2 * DAY), state=SpanState.LOST))]
    answers = await asyncio.gather(*(one.writer.write_down(one.source, lost) for one in (desk, other)))
    assert sorted(answers, key=len) == [[], lost]
    longer = [(A, Span(window=TimeWindow(START, START + 3 * DAY), state=SpanState.LOST))]
    rest = Span(window=TimeWindow(START + 2 * DAY, START + 3 * DAY), state=SpanState.LOST)
    assert await desk.writer.write_down(desk.source, longer) == [(A, rest)]
