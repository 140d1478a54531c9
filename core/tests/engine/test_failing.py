from __future__ import annotations

from datetime import datetime, timedelta

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
    Fault,
)
from brokersync.manifest import SourceSpec
from brokersync.records import Deferred, Done, SpanState
from brokersync.store import Store
from brokersync.types import (
    TradeRequest,
)

from .bench import DAY, NOW, START, TODAY, A, B, Bench, Step, fill, page, problems, step


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


async def _pauses_of_what_is_not_ready(bench: Bench, times: int) -> list[float]:
    pauses = []
    for _ in range(times):
        outcome = await bench.run()
        assert isinstance(outcome, Deferred)
        assert problems(outcome.report) == []
        pauses.append((outcome.until - bench.clock.moment).total_seconds())
        bench.clock.moment = outcome.until
    return pauses


async def test_what_is_not_ready_and_does_not_say_when_is_asked_for_ever_more_seldom(bench: Bench) -> None:
    bench.accounts = (A, B)
    bench.source_is(open_day=False, longest_window=DAY)
    late = [BrokerNotReadyError("not finalised yet")]
    newest = TODAY - DAY
    bench.answer = lambda request: (
        late if request.accounts == (B,) and request.window.start == newest else [page(request)]
    )
    pauses = await _pauses_of_what_is_not_ready(bench, 12)
    assert pauses[:7] == [30, 30, 60, 120, 240, 480, 900]
    assert set(pauses[7:]) == {900}
    assert [one.failures for known in (await bench.store.failing("c", "fills")).values() for one in known] == [0]


async def test_the_pause_is_short_again_after_it_was_ready_once(bench: Bench) -> None:
    bench.source_is(open_day=False)
    bench.answer = lambda request: [BrokerNotReadyError("soon")]
    assert (await _pauses_of_what_is_not_ready(bench, 6))[-1] == 480
    bench.answer = lambda request: [page(request)]
    assert isinstance(await bench.run(), Done)
    bench.clock.moment += DAY
    bench.answer = lambda request: [BrokerNotReadyError("soon")]
    assert await _pauses_of_what_is_not_ready(bench, 2) == [30, 30]


async def test_a_window_that_is_not_ready_for_hours_is_left_alone_though_others_of_its_account_are_read(
    bench: Bench,
) -> None:
    bench.source_is(open_day=False, longest_window=DAY)
    newest = TODAY - DAY
    bench.answer = lambda request: (
        [BrokerNotReadyError("late", retry_after=5 * DAY / 24)] if request.window.start == newest else [page(request)]
    )
    await bench.run()
    assert [request.window.start for request in bench.requests][:2] == [newest, newest - DAY]
    bench.clock.moment += DAY / 8
    await bench.run()
    assert bench.requests == []
    bench.clock.moment += DAY / 8
    await bench.run()
    assert [request.window.start for request in bench.requests] == [newest]


async def test_what_is_not_ready_loses_no_turn_to_others(bench: Bench) -> None:
    bench.accounts = (A, B)
    bench.source_is(open_day=False)
    bench.answer = lambda request: [BrokerNotReadyError("soon")]
    for _ in range(2):
        await bench.run()
        assert [request.accounts for request in bench.requests] == [(A,), (B,)]
    bench.answer = lambda request: (
        [BrokerRateLimitError("later")] if request.accounts == (A,) else [BrokerNotReadyError("soon")]
    )
    await bench.run()
    await bench.run()
    assert [request.accounts for request in bench.requests] == [(B,), (A,)]


async def test_a_cursor_that_the_broker_refuses_for_good_is_left_behind(bench: Bench) -> None:
    bench.answer = lambda request: [step(fill("1"), cursor="poison"), BrokerUnavailableError("down")]
    await bench.run()
    bench.answer = lambda request: [BrokerAPIError("no")] if request.cursor else [page(request, fill("2"))]
    outcome = await bench.run()
    assert problems(outcome.report) == ["BrokerAPIError"]
    assert await bench.ids() == ["1", "2"]
    assert await bench.cursors() == []


async def test_a_begun_request_that_never_moves_on_is_begun_again_in_the_end(bench: Bench) -> None:
    bench.answer = lambda request: [step(fill("1"), cursor="poison"), BrokerUnavailableError("down")]
    await bench.run()
    bench.answer = lambda request: [BrokerUnavailableError("down")] if request.cursor else [page(request, fill("2"))]
    outcomes = [await bench.run() for _ in range(11)]
    assert isinstance(outcomes[0], Deferred)
    assert isinstance(outcomes[-1], Done)
    assert await bench.ids() == ["1", "2"]
    assert await bench.cursors() == []


async def test_a_begun_request_that_moves_on_is_never_given_up(bench: Bench) -> None:
    places = iter(range(1, 100))

    def answer(request: TradeRequest) -> list[Step]:
        place = next(places)
        return [step(fill(str(place)), cursor=str(place)), BrokerUnavailableError("down")]

    bench.answer = answer
    for _ in range(15):
        await bench.run()
    assert bench.requests[0].cursor == "14"


async def test_a_ticket_that_led_nowhere_for_a_day_is_ordered_anew(bench: Bench) -> None:
    orders = iter(["first", "second"])
    bench.answer = lambda request: [
        step(cursor=request.cursor or next(orders), resume_at=bench.clock.now() + timedelta(hours=5))
    ]
    for _ in range(6):
        outcome = await bench.run()
        assert isinstance(outcome, Deferred)
        bench.clock.moment = outcome.until
    assert await bench.cursors() == ["second"]


async def test_a_ticket_that_the_broker_never_knows_is_ordered_twice_and_not_for_ever(bench: Bench) -> None:
    bench.answer = lambda request: [BrokerCursorError("unknown")] if request.cursor else [step(cursor="ticket")]
    outcome = await bench.run()
    assert problems(outcome.report) == ["BrokerCursorError"]
    assert [request.cursor for request in bench.requests] == [None, "ticket", None, "ticket"]


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


async def test_a_report_that_the_user_s_settings_kept_from_being_read_is_not_called_never_ready(
    bench: Bench, store: Store
) -> None:
    def answer(request: TradeRequest) -> list[Step]:
        if request.cursor is None:
            return [step(cursor="ordered", resume_at=bench.clock.now() + timedelta(minutes=1))]
        return [BrokerConfigError("The query gives text.", fault=Fault.USER)]

    bench.source_is(open_day=False)
    bench.answer = answer
    await bench.run()
    bench.clock.moment += timedelta(minutes=2)
    await bench.run()
    bench.clock.moment += 2 * DAY
    await bench.run()
    failing = await store.failing("c", "fills")
    assert {one.reason for windows in failing.values() for one in windows} == {"BrokerConfigError"}


async def test_a_limit_that_cuts_a_sync_into_parts_does_not_let_each_part_ask_for_what_fails(bench: Bench) -> None:
    bench.source_is(longest_window=DAY, open_day=False)
    asked = 0

    def answer(request: TradeRequest) -> list[Step]:
        nonlocal asked
        asked += 1
        return [
            BrokerRateLimitError("later", retry_after=timedelta(minutes=1)) if asked % 3 == 0 else BrokerAPIError("no")
        ]

    bench.answer = answer
    start = bench.clock.moment
    while bench.clock.moment < start + timedelta(hours=6):
        outcome = await bench.run()
        until = outcome.until if isinstance(outcome, Deferred) else bench.clock.moment + timedelta(hours=1)
        bench.clock.moment = max(until, bench.clock.moment + timedelta(seconds=1))
    assert asked < 200
