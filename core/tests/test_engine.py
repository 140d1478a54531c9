from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import attrs
import pytest

from brokersync.errors import (
    BrokerAPIError,
    BrokerAuthError,
    BrokerConfigError,
    BrokerCursorError,
    BrokerDataUnavailableError,
    BrokerError,
    BrokerMaintenanceError,
    BrokerNotReadyError,
    BrokerRateLimitError,
    BrokerUnavailableError,
    DataUnavailableReason,
)
from brokersync.events import Event, LimitWaited, WindowStarted
from brokersync.manifest import AuthKind, Manifest, Retention, SourceScope, SourceSpec
from brokersync.records import Connection, Deferred, Done, SpanState, SyncReport
from brokersync.store import SealedGrant, SqliteStore, TradeFilter
from brokersync.sync.engine import SyncEngine, SyncOptions
from brokersync.sync.report import ReportBuilder
from brokersync.types import (
    AssetClass,
    BrokerAccount,
    BrokerTrade,
    CoveredSpan,
    Finality,
    IdQuality,
    Instrument,
    Side,
    TimeWindow,
    TradeBooking,
    TradePage,
    TradeRequest,
)

DAY = timedelta(days=1)
START = datetime(2026, 3, 2, tzinfo=UTC)
NOW = START + 5 * DAY + timedelta(hours=12)
TODAY = START + 5 * DAY
A, B = (BrokerAccount(account_id=name, environment="live", opened_at=START) for name in ("A", "B"))

Step = TradePage | BrokerError | Callable[[], None]
Answer = Callable[[TradeRequest], Sequence[Step]]


class Clock:
    def __init__(self) -> None:
        self.moment = NOW
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return (self.moment - NOW).total_seconds()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.moment += timedelta(seconds=seconds)


class Bench:
    """The engine over a real store, with a plugin that answers each request as `answer` says."""

    def __init__(self, store: SqliteStore) -> None:
        self.store, self.clock = store, Clock()
        self.source = SourceSpec(name="fills", precedence=1)
        self.more_sources: tuple[SourceSpec, ...] = ()
        self.accounts: tuple[BrokerAccount, ...] = (A,)
        self.since: datetime | None = START
        self.answer: Answer = lambda request: [page(request)]
        self.requests: list[TradeRequest] = []
        self.open_generators = 0
        self.events: list[Event] = []

    @property
    def connection(self) -> Connection:
        return Connection(
            connection_id="c", owner="o", provider="paper", environment="live", label="", identity="i",
            created_at=START, since=self.since,
        )  # fmt: skip

    def source_is(self, **facts: object) -> None:
        self.source = attrs.evolve(self.source, **facts)

    async def run(
        self, *, again_from: datetime | None = None, sources: tuple[str, ...] | None = None, long_wait: float = 5
    ) -> Done | Deferred:
        grant = SealedGrant(
            owner="o", provider="paper", environment="live", identity="i", generation=1, auth=b"", credentials=b""
        )
        await self.store.add_connection(self.connection, grant)
        await self.store.put_accounts(self.connection, self.accounts)
        report = ReportBuilder(owner="o", provider="paper", connection_id="c", started_at=self.clock.now())
        manifest = Manifest(
            key="paper", display_name="Paper", contract=0, environments=("live",), auth=(AuthKind.NONE,),
            sources=(self.source, *self.more_sources), licence="", docs="", support="",
        )  # fmt: skip
        engine = SyncEngine(
            connection=self.connection, manifest=manifest, read=self._read, store=self.store, clock=self.clock,
            events=self.events.append, report=report,
            options=SyncOptions(long_wait=timedelta(seconds=long_wait), again_from=again_from, sources=sources),
        )  # fmt: skip
        self.requests.clear()
        return await engine.run()

    async def _read(self, request: TradeRequest) -> AsyncGenerator[TradePage, None]:
        self.requests.append(request)
        self.open_generators += 1
        try:
            for step in self.answer(request):
                if isinstance(step, BrokerError):
                    raise step
                if isinstance(step, TradePage):
                    yield step
                else:
                    step()
        finally:
            self.open_generators -= 1

    async def ids(self) -> list[str]:
        found, _ = await self.store.trades("o", TradeFilter(), limit=5000)
        return sorted(trade.trade_id for trade in found)

    async def spans(self, account: str = "A", source: str = "fills") -> list[tuple[datetime, datetime, SpanState]]:
        found = await self.store.spans("o", "paper", source)
        return [(span.window.start, span.window.end, span.state) for span in found.get(("live", account), ())]

    async def cursors(self) -> list[str | None]:
        return [request.cursor for request in await self.store.open_requests("c")]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    store = SqliteStore(tmp_path / "store.db")
    await store.open()
    made = Bench(store)
    yield made
    assert made.open_generators == 0
    await store.close()


def fill(
    name: str, account: str = "A", *, at: datetime = START, named: bool = True, price: str = "1.5"
) -> TradeBooking:
    return TradeBooking.of(
        BrokerTrade(
            provider="paper",
            environment="live",
            account_id=account,
            trade_id=name,
            instrument=Instrument(symbol="ACME", asset_class=AssetClass.STOCK),
            side=Side.BUY,
            quantity=Decimal("0.1"),
            price=Decimal(price),
            executed_at=at,
            id_quality=IdQuality.BROKER if named else IdQuality.SYNTHETIC,
        )
    )


def page(
    request: TradeRequest,
    *bookings: TradeBooking,
    window: TimeWindow | None = None,
    finality: Finality = Finality.FINAL,
    **facts: object,
) -> TradePage:
    """A page that covers the whole request, or `window`, for all accounts asked for."""
    covered = tuple(
        CoveredSpan(account_id=one.account_id, environment="live", window=window or request.window, finality=finality)
        for one in request.accounts
    )
    return TradePage(**({"bookings": bookings, "covered": covered} | facts))  # type: ignore[arg-type]  # named by tests


def step(*bookings: TradeBooking, **facts: object) -> TradePage:
    """A page that covers nothing yet."""
    return TradePage(bookings=bookings, **facts)  # type: ignore[arg-type]  # named by tests


def problems(report: SyncReport) -> list[str]:
    return [str(problem["error"]) for problem in report.problems]


class Crash(Exception):
    """What ends a process, as the engine sees it."""


def crash() -> None:
    raise Crash


# what is read is kept


async def test_a_window_is_read_to_its_end_and_covered(bench: Bench) -> None:
    bench.answer = lambda request: [step(fill("1"), cursor="a"), step(fill("2"), cursor="b"), page(request, fill("3"))]
    outcome = await bench.run()
    assert isinstance(outcome, Done)
    assert await bench.ids() == ["1", "2", "3"]
    assert (outcome.report.pages, outcome.report.added) == (3, 3)
    assert await bench.cursors() == []
    assert await bench.spans() == [(START, TODAY, SpanState.FINAL), (TODAY, NOW, SpanState.PROVISIONAL)]


async def test_a_page_outlives_the_failure_of_the_next_one(bench: Bench) -> None:
    bench.answer = lambda request: [step(fill("1"), cursor="a"), BrokerUnavailableError("down")]
    assert isinstance(await bench.run(), Deferred)
    assert await bench.ids() == ["1"]
    assert await bench.cursors() == ["a"]


async def test_a_broker_that_gives_one_page_a_run_is_read_to_the_end(bench: Bench) -> None:
    def answer(request: TradeRequest) -> list[Step]:
        place = int(request.cursor or 0) + 1
        if place == 5:
            return [page(request)]
        return [step(fill(str(place)), cursor=str(place)), BrokerRateLimitError("no more", retry_after=DAY / 24)]

    bench.answer = answer
    for _ in range(4):
        assert isinstance(await bench.run(), Deferred)
    assert isinstance(await bench.run(), Done)
    assert await bench.ids() == ["1", "2", "3", "4"]


async def test_what_a_page_gave_before_the_rest_expired_is_kept_and_covered(bench: Bench) -> None:
    readable = TimeWindow(START + 3 * DAY, TODAY)
    expired = BrokerDataUnavailableError("gone", reason=DataUnavailableReason.EXPIRED)
    bench.source_is(open_day=False)
    bench.answer = lambda request: [page(request, fill("1", at=readable.start), window=readable), expired]
    await bench.run()
    assert await bench.ids() == ["1"]
    assert await bench.spans() == [
        (START, readable.start, SpanState.LOST),
        (readable.start, TODAY, SpanState.FINAL),
    ]


async def test_an_answer_without_pages_covers_nothing(bench: Bench) -> None:
    bench.answer = lambda request: []
    assert isinstance(await bench.run(), Done)
    assert await bench.spans() == []
    await bench.run()
    assert len(bench.requests) == 1


async def test_a_page_covers_no_more_than_its_request_asked(bench: Bench) -> None:
    bench.source_is(longest_window=DAY)
    everything = TimeWindow(START - 30 * DAY, START + 30 * DAY)
    asked: list[TimeWindow] = []

    def answer(request: TradeRequest) -> list[Step]:
        asked.append(request.window)
        return [page(request, window=everything)] if len(asked) == 2 else []

    bench.answer = answer
    await bench.run()
    assert await bench.spans() == [(asked[1].start, asked[1].end, SpanState.FINAL)]


# finality


async def test_no_page_proves_the_future(bench: Bench) -> None:
    await bench.run()
    assert (await bench.spans())[-1] == (TODAY, NOW, SpanState.PROVISIONAL)


async def test_an_answer_of_today_that_is_read_past_midnight_is_not_final(bench: Bench) -> None:
    def past_midnight() -> None:
        bench.clock.moment = TODAY + DAY + timedelta(seconds=1)

    bench.answer = lambda request: [past_midnight, page(request)]
    await bench.run()
    assert (await bench.spans())[-1] == (TODAY, NOW, SpanState.PROVISIONAL)


async def test_a_report_ordered_yesterday_leaves_yesterday_provisional(bench: Bench) -> None:
    ready = TODAY + DAY + timedelta(minutes=1)
    bench.answer = lambda request: (
        [page(request, fill("1"))] if request.cursor else [step(cursor="ticket", resume_at=ready)]
    )
    assert await bench.run() == Deferred(until=ready, reason="The broker is still preparing its answer.", report=ANY)
    bench.clock.moment = ready
    bench.answer, first = (lambda request: [page(request, fill("1"))] if request.cursor else []), bench.answer
    await bench.run()
    assert first is not bench.answer
    assert (await bench.spans())[:2] == [(START, TODAY, SpanState.FINAL), (TODAY, NOW, SpanState.PROVISIONAL)]


async def test_provisional_spans_are_read_again_and_final_ones_are_not(bench: Bench) -> None:
    await bench.run()
    bench.clock.moment += DAY
    await bench.run()
    assert [request.window for request in bench.requests] == [TimeWindow(TODAY, TODAY + 2 * DAY)]


async def test_what_the_broker_calls_provisional_stays_so_however_old(bench: Bench) -> None:
    bench.answer = lambda request: [page(request, finality=Finality.PROVISIONAL)]
    await bench.run()
    assert await bench.spans() == [(START, NOW, SpanState.PROVISIONAL)]
    await bench.run()
    assert bench.requests[0].window.start == START


class _Any:
    def __eq__(self, other: object) -> bool:
        return True


ANY = _Any()


# bookmarks


async def test_a_bookmark_is_handed_to_the_request_that_goes_on_behind_it(bench: Bench) -> None:
    bench.answer = lambda request: [page(request, fill("1"), bookmark="one")]
    await bench.run()
    bench.clock.moment += DAY
    await bench.run()
    assert [request.bookmark for request in bench.requests] == ["one"]


async def test_a_bookmark_counts_only_when_its_request_is_finished(bench: Bench) -> None:
    bench.answer = lambda request: [
        step(fill("9"), cursor="a", bookmark="nine"),
        step(fill("8"), cursor="b"),
        crash,
        page(request),
    ]
    with pytest.raises(Crash):
        await bench.run()
    assert await bench.store.bookmark("c", "fills", "live/A") is None
    bench.answer = lambda request: [page(request, fill("7"))]
    await bench.run()
    assert await bench.store.bookmark("c", "fills", "live/A") is None


async def test_the_last_bookmark_of_a_finished_request_is_kept(bench: Bench) -> None:
    bench.answer = lambda request: [
        step(cursor="a", bookmark="one"),
        step(cursor="b", bookmark="two"),
        page(request),
    ]
    await bench.run()
    assert await bench.store.bookmark("c", "fills", "live/A") == "two"


async def test_no_bookmark_is_handed_to_a_request_for_older_history(bench: Bench) -> None:
    bench.answer = lambda request: [page(request, bookmark="one")]
    await bench.run()
    bench.since = bench.accounts[0].opened_at
    bench.accounts = (attrs.evolve(A, opened_at=START - 9 * DAY),)
    bench.since = START - 9 * DAY
    await bench.run()
    older = [request for request in bench.requests if request.window.start == bench.since]
    assert [request.bookmark for request in older] == [None]


async def test_no_bookmark_is_handed_when_everything_is_to_be_read_again(bench: Bench) -> None:
    bench.answer = lambda request: [page(request, bookmark="one")]
    await bench.run()
    await bench.run(again_from=START)
    assert [(request.window.start, request.bookmark) for request in bench.requests] == [(START, None)]


async def test_a_new_account_of_the_login_is_read_without_the_bookmark_of_the_others(bench: Bench) -> None:
    bench.source_is(scope=SourceScope.LOGIN)
    bench.answer = lambda request: [page(request, bookmark="one")]
    await bench.run()
    bench.accounts = (A, B)
    await bench.run()
    assert [(request.window.start, request.bookmark) for request in bench.requests] == [(START, None)]


async def test_a_bookmark_that_the_broker_does_not_know_is_given_up(bench: Bench) -> None:
    bench.answer = lambda request: [page(request, bookmark="of a lost time")]
    await bench.run()
    bench.answer = lambda request: (
        [BrokerCursorError("unknown")] if request.bookmark else [page(request, fill("1"), bookmark="new")]
    )
    outcome = await bench.run()
    assert problems(outcome.report) == []
    assert await bench.ids() == ["1"]
    assert await bench.store.bookmark("c", "fills", "live/A") == "new"


# cursors


async def test_a_broken_off_request_goes_on_from_its_last_page(bench: Bench) -> None:
    bench.answer = lambda request: [step(fill("1"), cursor="a"), step(fill("2"), cursor="b"), crash]
    with pytest.raises(Crash):
        await bench.run()
    bench.answer = lambda request: [page(request, fill("2"), fill("3"))]
    await bench.run()
    assert bench.requests[0].cursor == "a"
    assert await bench.ids() == ["1", "2", "3"]


async def test_a_cursor_that_is_not_known_any_more_starts_the_window_again(bench: Bench) -> None:
    bench.answer = lambda request: [step(fill("1"), cursor="a"), BrokerUnavailableError("down")]
    await bench.run()
    bench.answer = lambda request: [BrokerCursorError("unknown")] if request.cursor else [page(request, fill("2"))]
    outcome = await bench.run()
    assert [request.cursor for request in bench.requests][:2] == ["a", None]
    assert isinstance(outcome, Done)
    assert problems(outcome.report) == []
    assert await bench.cursors() == []


async def test_a_plugin_that_refuses_every_cursor_is_reported_and_not_asked_for_ever(bench: Bench) -> None:
    bench.answer = lambda request: [BrokerCursorError("unknown")]
    outcome = await bench.run()
    assert problems(outcome.report) == ["BrokerCursorError"]
    assert len(bench.requests) == 1


@pytest.mark.parametrize("cycle", [["a"], ["a", "b"], ["a", "b", "c"]])
async def test_paging_in_a_circle_ends(bench: Bench, cycle: list[str]) -> None:
    places = iter(cycle * 50)
    bench.answer = lambda request: [step(fill("1"), cursor=next(places))]
    outcome = await bench.run()
    assert problems(outcome.report) == ["BrokerResponseError"]
    assert len(bench.requests) <= len(cycle) + 1


async def test_equal_rows_without_ids_stay_two_after_a_break(bench: Bench) -> None:
    twins = [fill("same", named=False), fill("same", named=False)]
    bench.answer = lambda request: [step(twins[0], cursor="a"), step(twins[1], cursor="b"), crash]
    with pytest.raises(Crash):
        await bench.run()
    bench.answer = lambda request: [step(twins[0], cursor="a"), page(request, twins[1])]
    await bench.run()
    assert bench.requests[0].cursor is None
    assert len(await bench.ids()) == 2


# waiting


async def test_a_short_wait_is_slept_and_told(bench: Bench) -> None:
    ready = NOW + timedelta(seconds=4)
    bench.answer = lambda request: (
        [page(request, fill("1"))] if request.cursor else [step(cursor="ticket", resume_at=ready)]
    )
    outcome = await bench.run()
    assert isinstance(outcome, Done)
    assert bench.clock.slept == [4]
    assert [event.wait for event in bench.events if isinstance(event, LimitWaited)] == [timedelta(seconds=4)]


async def test_a_long_wait_frees_the_slot_and_orders_nothing_twice(bench: Bench) -> None:
    ready = NOW + timedelta(minutes=3)
    bench.answer = lambda request: (
        [page(request, fill("1"))] if request.cursor else [step(cursor="ticket", resume_at=ready)]
    )
    outcome = await bench.run()
    assert isinstance(outcome, Deferred)
    assert outcome.until == ready
    again = await bench.run()
    assert isinstance(again, Deferred)
    assert bench.requests == []
    bench.clock.moment = ready
    assert isinstance(await bench.run(), Done)
    assert bench.requests[0].cursor == "ticket"
    assert bench.clock.slept == []


async def test_a_report_that_is_never_ready_does_not_hold_the_slot(bench: Bench) -> None:
    bench.answer = lambda request: [step(cursor="ticket", resume_at=bench.clock.now() + timedelta(seconds=1))]
    outcome = await bench.run()
    assert isinstance(outcome, Deferred)
    assert outcome.until > bench.clock.now()
    assert sum(bench.clock.slept) < 60


async def test_an_account_that_waits_does_not_keep_the_others_waiting(bench: Bench) -> None:
    bench.accounts = (A, B)
    ready = NOW + timedelta(hours=1)
    bench.answer = lambda request: (
        [step(cursor="ticket", resume_at=ready)] if request.accounts == (A,) else [page(request, fill("1", "B"))]
    )
    outcome = await bench.run()
    assert isinstance(outcome, Deferred)
    assert await bench.ids() == ["1"]
    assert await bench.cursors() == ["ticket"]


# what goes wrong


@pytest.mark.parametrize("error", [BrokerUnavailableError("down"), BrokerAPIError("no"), BrokerNotReadyError("soon")])
async def test_a_window_that_fails_every_time_does_not_keep_older_ones_from_being_read(
    bench: Bench, error: BrokerError
) -> None:
    bench.source_is(longest_window=DAY)
    bench.answer = lambda request: [error] if request.window.end > NOW else [page(request)]
    await bench.run()
    assert await bench.spans() == [(START, TODAY, SpanState.FINAL)]


@pytest.mark.parametrize("error", [BrokerUnavailableError("down"), BrokerAPIError("no"), BrokerNotReadyError("soon")])
async def test_three_failures_in_a_row_end_the_asking(bench: Bench, error: BrokerError) -> None:
    bench.source_is(longest_window=DAY)
    bench.answer = lambda request: [error]
    await bench.run()
    assert len(bench.requests) == 3


async def test_a_refused_account_does_not_lose_the_others(bench: Bench) -> None:
    bench.accounts = (A, B)
    bench.source_is(longest_window=DAY)
    bench.answer = lambda request: (
        [BrokerAPIError("closed")]
        if request.accounts == (A,)
        else [page(request, fill(str(request.window.start), "B"))]
    )
    outcome = await bench.run()
    assert isinstance(outcome, Done)
    assert problems(outcome.report) == ["BrokerAPIError"] * 3
    assert len(await bench.ids()) == 6
    assert await bench.spans("A") == []


async def test_a_broker_that_is_down_is_not_asked_for_every_account(bench: Bench) -> None:
    bench.accounts = tuple(attrs.evolve(A, account_id=str(number)) for number in range(9))
    bench.answer = lambda request: [BrokerUnavailableError("down")]
    outcome = await bench.run()
    assert isinstance(outcome, Deferred)
    assert len(bench.requests) == 3


@pytest.mark.parametrize("error", [BrokerRateLimitError, BrokerMaintenanceError])
async def test_a_limit_ends_the_asking_at_once(bench: Bench, error: type[BrokerRateLimitError]) -> None:
    bench.source_is(longest_window=DAY)
    bench.accounts = (A, B)
    bench.answer = lambda request: [error("later", retry_after=timedelta(minutes=7))]
    outcome = await bench.run()
    assert isinstance(outcome, Deferred)
    assert outcome.until == NOW + timedelta(minutes=7)
    assert len(bench.requests) == 1


async def test_the_earliest_of_several_waits_counts(bench: Bench) -> None:
    bench.more_sources = (SourceSpec(name="late", precedence=0),)
    bench.answer = lambda request: [
        BrokerRateLimitError("later", retry_after=timedelta(minutes=9 if request.source == "late" else 4))
    ]
    outcome = await bench.run()
    assert isinstance(outcome, Deferred)
    assert outcome.until == NOW + timedelta(minutes=4)


async def test_a_request_that_was_begun_keeps_its_cursor_while_the_broker_is_down(bench: Bench) -> None:
    bench.source_is(longest_window=DAY)
    bench.answer = lambda request: [step(fill("1"), cursor="ticket"), BrokerUnavailableError("down")]
    await bench.run()
    begun = bench.requests[0].window
    bench.answer = lambda request: [BrokerUnavailableError("down")]
    assert isinstance(await bench.run(), Deferred)
    assert [(request.window, request.cursor) for request in bench.requests] == [(begun, "ticket")]
    assert await bench.cursors() == ["ticket"]


async def test_a_report_that_is_not_ready_is_neither_a_problem_nor_ordered_again(bench: Bench) -> None:
    bench.answer = lambda request: (
        [BrokerNotReadyError("soon", retry_after=timedelta(minutes=2))]
        if request.cursor
        else [step(cursor="ticket", resume_at=NOW)]
    )
    for _ in range(2):
        outcome = await bench.run()
        assert isinstance(outcome, Deferred)
        assert outcome.until == NOW + timedelta(minutes=2)
        assert problems(outcome.report) == []
    assert [request.cursor for request in bench.requests] == ["ticket"]


async def test_a_cursor_that_the_broker_refuses_for_good_is_left_behind(bench: Bench) -> None:
    bench.answer = lambda request: [step(fill("1"), cursor="poison"), BrokerUnavailableError("down")]
    await bench.run()
    bench.answer = lambda request: [BrokerAPIError("no")] if request.cursor else [page(request, fill("2"))]
    outcome = await bench.run()
    assert problems(outcome.report) == ["BrokerAPIError"]
    assert await bench.ids() == ["1", "2"]
    assert await bench.cursors() == []


@pytest.mark.parametrize(
    ("reason", "end", "state"),
    [
        (DataUnavailableReason.EXPIRED, NOW, SpanState.LOST),
        (DataUnavailableReason.BEFORE_ACCOUNT, NOW, SpanState.UNAVAILABLE),
        (DataUnavailableReason.NO_SUCH_DATA, START, SpanState.UNAVAILABLE),
        (DataUnavailableReason.NO_SUCH_DATA, NOW, None),
    ],
)
async def test_what_can_not_be_had_is_written_down_where_it_is_sure(
    bench: Bench, reason: DataUnavailableReason, end: datetime, state: SpanState | None
) -> None:
    bench.clock.moment = end + 11 * DAY if end == START else NOW
    bench.source_is(longest_window=DAY)
    bench.answer = lambda request: (
        [BrokerDataUnavailableError("none", reason=reason)] if request.window.start == START else [page(request)]
    )
    await bench.run()
    first = (await bench.spans())[0]
    assert first[::2] == ((START, state) if state else (START + DAY, SpanState.FINAL))
    await bench.run()
    asked_again = any(request.window.start == START for request in bench.requests)
    assert asked_again is (state is None)


async def test_a_broken_source_does_not_keep_the_next_from_being_read(bench: Bench) -> None:
    bench.more_sources = (SourceSpec(name="reports", precedence=0),)
    bench.answer = lambda request: (
        [BrokerConfigError("broken")] if request.source == "fills" else [page(request, fill("1"))]
    )
    outcome = await bench.run()
    assert isinstance(outcome, Done)
    assert problems(outcome.report) == ["BrokerConfigError"]
    assert await bench.ids() == ["1"]


async def test_a_login_that_is_refused_ends_the_sync_and_keeps_what_was_read(bench: Bench) -> None:
    bench.answer = lambda request: [step(fill("1"), cursor="a"), BrokerAuthError("locked")]
    with pytest.raises(BrokerAuthError):
        await bench.run()
    assert await bench.ids() == ["1"]
    assert bench.open_generators == 0


# accounts


async def test_a_login_without_accounts_is_read_as_one(bench: Bench) -> None:
    bench.accounts = ()
    bench.source_is(scope=SourceScope.LOGIN)
    assert isinstance(await bench.run(), Done)
    assert [(request.accounts, request.window.start) for request in bench.requests] == [((), START)]


async def test_no_accounts_are_nothing_to_read(bench: Bench) -> None:
    bench.accounts = ()
    outcome = await bench.run()
    assert isinstance(outcome, Done)
    assert bench.requests == []


@pytest.mark.parametrize("scope", SourceScope)
async def test_an_account_first_seen_on_a_page_is_read_in_the_same_sync(bench: Bench, scope: SourceScope) -> None:
    bench.source_is(scope=scope, open_day=False)
    bench.answer = lambda request: [
        page(request, *([fill("b", "B")] if B in request.accounts else []), accounts=(A, B))
    ]
    await bench.run()
    assert await bench.ids() == ["b"]
    assert await bench.spans("B") == [(START, TODAY, SpanState.FINAL)]


async def test_an_account_that_only_a_booking_names_is_read_too(bench: Bench) -> None:
    bench.source_is(scope=SourceScope.LOGIN, open_day=False)
    bench.answer = lambda request: [page(request, fill("b", "B"))]
    await bench.run()
    assert await bench.spans("B") == [(START, TODAY, SpanState.FINAL)]


async def test_the_time_before_a_login_had_its_second_account_is_read_for_it(bench: Bench) -> None:
    bench.source_is(scope=SourceScope.LOGIN, open_day=False)
    await bench.run()
    bench.accounts = (A, B)
    await bench.run()
    assert [(request.accounts, request.window) for request in bench.requests] == [((A, B), TimeWindow(START, TODAY))]


# sources


async def test_what_perishes_is_read_first_and_files_are_not_asked_for(bench: Bench) -> None:
    bench.source_is(precedence=9)
    bench.more_sources = (
        SourceSpec(name="statement", precedence=10, files=True),
        SourceSpec(name="session", precedence=1, retention=Retention.SESSION, scope=SourceScope.LOGIN),
    )
    await bench.run()
    assert [request.source for request in bench.requests] == ["session", "fills"]
    session, fills = bench.requests
    assert session.window == TimeWindow(TODAY, TODAY + DAY)


async def test_only_the_wanted_sources_are_read(bench: Bench) -> None:
    bench.more_sources = (SourceSpec(name="session", precedence=1),)
    await bench.run(sources=("session",))
    assert [request.source for request in bench.requests] == ["session"]


async def test_each_window_is_announced_with_its_place(bench: Bench) -> None:
    bench.source_is(longest_window=2 * DAY)
    await bench.run()
    told = [event for event in bench.events if isinstance(event, WindowStarted)]
    assert [(event.done, event.total) for event in told] == [(0, 3), (1, 3), (2, 3)]
    assert [event.window for event in told] == [request.window for request in bench.requests]


async def test_the_report_says_what_was_asked_and_what_was_proved(bench: Bench) -> None:
    bench.source_is(longest_window=DAY, open_day=False)
    bench.answer = lambda request: (
        [BrokerAPIError("no")] if request.window.start == START + 2 * DAY else [page(request)]
    )
    report = (await bench.run()).report
    (span,) = report.spans
    assert span.requested == TimeWindow(START, TODAY)
    assert span.covered == (TimeWindow(START, START + 2 * DAY), TimeWindow(START + 3 * DAY, TODAY))
