from __future__ import annotations

from datetime import timedelta

import pytest

from brokersync.errors import (
    BrokerAPIError,
    BrokerCursorError,
    BrokerError,
    BrokerMaintenanceError,
    BrokerNotReadyError,
    BrokerRateLimitError,
    BrokerResponseError,
    BrokerTimeoutError,
    BrokerUnavailableError,
)
from brokersync.manifest import SourceScope
from brokersync.records import Deferred, SpanState
from brokersync.types import TimeWindow, TradeRequest

from .bench import DAY, NOW, START, TODAY, A, B, Bench, Step, fill, page, step

WHOLE = TimeWindow(START, TODAY)


def days(first: int, end: int) -> TimeWindow:
    return TimeWindow(START + first * DAY, START + end * DAY)


def fails_over(bench: Bench, longest: timedelta, error: BrokerError) -> None:
    bench.source_is(open_day=False)
    bench.answer = lambda request: [error] if request.window.length > longest else [page(request)]


async def asked(bench: Bench) -> list[TimeWindow]:
    await bench.run()
    return [request.window for request in bench.requests]


async def failures(bench: Bench, account: str = "live/A") -> dict[TimeWindow, int]:
    known = await bench.store.failing("c", "fills")
    return {one.window: one.failures for one in known.get(account, ()) if one.failures}


@pytest.mark.parametrize(
    "error",
    [BrokerTimeoutError("slow"), BrokerUnavailableError("down"), BrokerAPIError("no"), BrokerResponseError("?")],
)
async def test_a_window_that_keeps_failing_is_halved_until_it_can_be_read(bench: Bench, error: BrokerError) -> None:
    fails_over(bench, 2 * DAY, error)
    assert await asked(bench) == [WHOLE]
    assert await asked(bench) == [WHOLE]
    assert await failures(bench) == {WHOLE: 2}
    assert await asked(bench) == [days(2, 5), days(0, 2)]
    assert await failures(bench) == {days(2, 5): 3}
    assert await asked(bench) == [days(3, 5), days(2, 3)]
    assert await failures(bench) == {}
    assert await bench.spans() == [(START, TODAY, SpanState.FINAL)]
    assert await asked(bench) == []


async def test_the_last_reason_of_a_failing_window_is_kept(bench: Bench) -> None:
    fails_over(bench, DAY, BrokerTimeoutError("slow"))
    await bench.run()
    ((one,),) = (await bench.store.failing("c", "fills")).values()
    assert (one.reason, one.at, one.window) == ("BrokerTimeoutError", NOW, WHOLE)


@pytest.mark.parametrize(
    "error", [BrokerRateLimitError("later"), BrokerMaintenanceError("closed"), BrokerNotReadyError("soon")]
)
async def test_what_is_not_the_windows_fault_is_not_held_against_it(bench: Bench, error: BrokerError) -> None:
    fails_over(bench, DAY, error)
    for _ in range(3):
        assert await asked(bench) == [WHOLE]
    assert await failures(bench) == {}


async def test_nothing_is_held_against_a_window_while_the_whole_broker_is_away(bench: Bench) -> None:
    fails_over(bench, timedelta(0), BrokerUnavailableError("down"))
    bench.probes = True
    for _ in range(3):
        assert await asked(bench) == [days(4, 5)]
    assert await failures(bench) == {}


async def test_a_window_that_is_too_much_for_the_broker_does_not_make_it_seem_away_for_ever(bench: Bench) -> None:
    fails_over(bench, DAY, BrokerUnavailableError("too much"))
    bench.probes = True
    assert await asked(bench) == [days(4, 5), days(0, 4)]
    assert list((await failures(bench)).values()) == [1]


async def test_a_day_that_always_fails_keeps_no_other_day_from_being_read(bench: Bench) -> None:
    bench.source_is(open_day=False)
    bad = START + 4 * DAY
    bench.answer = lambda request: [BrokerAPIError("no")] if bad in request.window else [page(request)]
    for _ in range(6):
        await bench.run()
    assert await bench.spans() == [(START, bad, SpanState.FINAL)]
    assert [request.window for request in bench.requests] == [days(4, 5)]
    assert (await failures(bench)).keys() == {days(4, 5)}


async def test_windows_that_fail_do_not_starve_those_that_do_not(bench: Bench) -> None:
    bench.source_is(open_day=False, longest_window=DAY)
    bench.answer = lambda request: (
        [BrokerAPIError("no")] if request.window.start >= START + 2 * DAY else [page(request)]
    )
    await bench.run()
    assert await bench.spans() == []
    assert (await asked(bench))[:2] == [days(1, 2), days(0, 1)]
    assert await bench.spans() == [(START, START + 2 * DAY, SpanState.FINAL)]


@pytest.mark.parametrize("named", [True, False])
async def test_a_reading_that_moves_on_at_each_sync_is_not_failing(bench: Bench, named: bool) -> None:
    bench.source_is(open_day=False)
    places = iter(range(1, 100))
    bench.answer = lambda request: [
        step(fill(str(next(places)), named=named), cursor=str(next(places))),
        BrokerTimeoutError("slow"),
    ]
    for _ in range(4):
        await bench.run()
    assert await failures(bench) == {}


async def test_a_reading_that_starts_from_the_beginning_each_time_is_failing(bench: Bench) -> None:
    bench.source_is(open_day=False)
    bench.answer = lambda request: [step(fill("1")), step(fill("2")), BrokerTimeoutError("slow")]
    for _ in range(2):
        await bench.run()
    assert await failures(bench) == {WHOLE: 2}


async def test_a_report_that_never_gets_ready_is_ordered_for_half_the_time(bench: Bench) -> None:
    bench.source_is(open_day=False)

    def answer(request: TradeRequest) -> list[Step]:
        if request.window.length <= 3 * DAY:
            return [page(request)]
        return [step(cursor=request.cursor or "ticket", resume_at=bench.clock.now() + timedelta(hours=5))]

    bench.answer = answer
    for _ in range(5):
        await bench.run()
        bench.clock.moment += timedelta(hours=5)
    await bench.run()
    assert await failures(bench) == {WHOLE: 1}
    assert await bench.cursors() == ["ticket"]
    for _ in range(6):
        bench.clock.moment += timedelta(hours=5)
        await bench.run()
    assert (await bench.spans())[0][0] == START
    assert await bench.cursors() == []
    assert await failures(bench) == {}


async def test_each_account_has_its_own_failing_windows_and_a_login_has_one_set(bench: Bench) -> None:
    bench.accounts = (A, B)
    bench.source_is(open_day=False)
    bench.answer = lambda request: [BrokerAPIError("no")] if request.accounts == (A,) else [page(request)]
    await bench.run()
    assert (await failures(bench), await failures(bench, "live/B")) == ({WHOLE: 1}, {})
    bench.source_is(scope=SourceScope.LOGIN)
    bench.answer = lambda request: [BrokerAPIError("no")]
    await bench.run()
    assert await failures(bench, "") == {WHOLE: 1}


async def test_a_window_that_keeps_failing_is_left_alone_for_longer_each_time(bench: Bench) -> None:
    fails_over(bench, timedelta(0), BrokerUnavailableError("busy"))
    bench.since = TODAY - DAY
    waits = []
    for _ in range(9):
        outcome = await bench.run()
        assert isinstance(outcome, Deferred)
        waits.append((outcome.until - bench.clock.moment).total_seconds())
    assert waits[:3] == [30, 60, 120]
    assert waits == sorted(waits)
    assert waits[-1] == 900


async def test_a_report_that_is_never_ready_and_then_forgotten_is_ordered_in_halves(bench: Bench) -> None:
    bench.source_is(open_day=False)
    looks: dict[str, int] = {}

    def answer(request: TradeRequest) -> list[Step]:
        if request.cursor is None:
            return [step(cursor=f"{request.window.start}", resume_at=bench.clock.now())]
        if request.window.length <= 2 * DAY:
            return [page(request)]
        looks[request.cursor] = looks.get(request.cursor, 0) + 1
        return [BrokerUnavailableError("still generating") if looks[request.cursor] <= 3 else BrokerCursorError("old")]

    bench.answer = answer
    ordered = []
    for _ in range(12):
        outcome = await bench.run()
        ordered += [request.window for request in bench.requests if request.cursor is None]
        if not isinstance(outcome, Deferred):
            break
    assert ordered == [WHOLE, days(2, 5), days(3, 5), days(2, 3), days(0, 2)]
    assert await bench.spans() == [(START, TODAY, SpanState.FINAL)]
    assert await failures(bench) == {}
