"""Weights, reserves and slots in one process, on a virtual clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokersync.errors import BrokerConfigError, BrokerRateLimitError, LimitScope
from brokersync.limits import LimitKind, RateLimit

from .toy import Caller, bucket, most_in_any_window, settle, settle_without_time, window

Make = Callable[..., RateLimit]


def slots(amount: int, scope: LimitScope = LimitScope.APP, **more: object) -> RateLimit:
    return RateLimit(scope=scope, amount=amount, kind=LimitKind.CONCURRENCY, **more)


async def test_a_limit_says_what_an_operation_weighs_and_the_plugin_what_the_limit_does_not_say() -> None:
    toy = Caller(window(6, 10, weights={"report": 5}), window(100, 1))
    await toy.call("report", operation="report", weight=2)
    await asyncio.gather(toy.call("list"), toy.call("list", weight=2))
    assert toy.went == [("report", 0), ("list", 0), ("list", 10)]


async def test_a_weight_beyond_what_is_not_reserved_is_a_mistake() -> None:
    toy = Caller(window(4, 10, reserve=2))
    with pytest.raises(BrokerConfigError, match="weighs 3, more than the limit of 4 less 2 in reserve"):
        await toy.call(weight=3)
    await toy.call(weight=3, pressing=True)


@pytest.mark.parametrize("make", [window, bucket])
async def test_what_is_reserved_is_left_to_calls_that_somebody_waits_for(make: Make) -> None:
    toy = Caller(make(4, 8, reserve=2))
    await toy.call("routine", weight=2)
    with pytest.raises(BrokerRateLimitError) as refused:
        await toy.call("routine", longest=timedelta(seconds=1))
    assert refused.value.scope is None, "not all are held up"
    await asyncio.gather(toy.call("asked", pressing=True), toy.call("asked", pressing=True))
    assert toy.went == [("routine", 0), ("asked", 0), ("asked", 0)]


@pytest.mark.parametrize("make", [window, bucket])
async def test_a_call_that_somebody_waits_for_goes_before_those_that_wait_already(make: Make) -> None:
    toy = Caller(make(2, 10, reserve=1))
    calls = [toy.spawn(f"routine {number}") for number in range(3)]
    await settle_without_time(lambda: toy.call("asked", pressing=True))
    await asyncio.gather(*calls)
    assert toy.went[:2] == [("routine 0", 0), ("asked", 0)]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 2), st.booleans()), min_size=1, max_size=25),
    st.integers(1, 2),
    st.integers(2, 6),
)
@settings(deadline=None, max_examples=30)
def test_routine_calls_never_take_the_reserve_and_all_together_never_more_than_the_amount(
    arrivals: list[tuple[int, int, bool]], reserve: int, period: int
) -> None:
    async def play() -> None:
        toy = Caller(window(4, period, reserve=reserve))
        went: list[tuple[float, int, bool]] = []

        async def one(start: int, weight: int, pressing: bool) -> None:
            await toy.clock.sleep(start)
            await toy.call(weight=weight, pressing=pressing)
            went.append((toy.clock.time, weight, pressing))

        start, calls = 0, []
        for pause, weight, pressing in arrivals:
            start += pause
            calls.append(one(start, weight, pressing))
        await asyncio.gather(*calls)
        assert most_in_any_window([(at, weight) for at, weight, _ in went], period) <= 4
        routine = [(at, weight) for at, weight, pressing in went if not pressing]
        assert most_in_any_window(routine, period) <= 4 - reserve
        assert not toy.lane._waiting

    asyncio.run(play())


async def test_no_more_are_under_way_than_may_be_and_who_came_first_goes_first() -> None:
    toy = Caller(slots(2))
    await asyncio.gather(*(toy.call(name, takes=3) for name in "abcde"))
    assert toy.went == [("a", 0), ("b", 0), ("c", 3), ("d", 3), ("e", 6)]


async def test_slots_are_counted_for_each_key_and_for_the_named_operations() -> None:
    toy = Caller(slots(1, LimitScope.CREDENTIAL, operations=("report",)))
    report = {"operation": "report", "takes": 5}
    await asyncio.gather(
        toy.call("x", credential="x", **report),
        toy.call("y", credential="y", **report),
        toy.call("x", credential="x", **report),
        toy.call("list", credential="x"),
    )
    assert sorted(toy.went) == [("list", 0), ("x", 0), ("x", 5), ("y", 0)]


async def test_who_finds_no_slot_in_time_is_refused_and_has_counted_nowhere() -> None:
    toy = Caller(slots(1), window(2, 100))
    first = toy.spawn("first", takes=30)
    await settle()
    with pytest.raises(BrokerRateLimitError, match="at most 1 may be under way") as refused:
        await toy.call("late", longest=timedelta(seconds=4))
    assert (refused.value.retry_after, refused.value.scope) == (timedelta(seconds=5), None)
    await first
    await toy.call("second")
    assert toy.went == [("first", 0), ("second", 30)]


async def test_who_waits_for_its_turn_keeps_no_slot_meanwhile() -> None:
    toy = Caller(slots(1), window(1, 10, LimitScope.CREDENTIAL))
    await asyncio.gather(*(toy.call(name, credential=name, takes=1) for name in ("x", "x", "y")))
    assert toy.went == [("x", 0), ("y", 1), ("x", 10)]


async def test_a_call_whose_turn_comes_while_the_slots_are_taken_counts_only_when_it_goes() -> None:
    toy = Caller(slots(1), window(1, 2, LimitScope.CREDENTIAL))
    await asyncio.gather(*(toy.call(name, credential=name, takes=3) for name in ("x", "x", "x")))
    assert toy.went == [("x", 0), ("x", 3), ("x", 6)]


async def test_a_slot_is_kept_for_calls_that_somebody_waits_for_and_those_go_before_the_others() -> None:
    toy = Caller(slots(2, reserve=1))
    await asyncio.gather(
        *(toy.call(name, takes=2) for name in ("routine 0", "routine 1")),
        *(toy.call(name, takes=2, pressing=True) for name in ("asked 0", "asked 1")),
    )
    assert toy.went == [("routine 0", 0), ("asked 0", 0), ("asked 1", 2), ("routine 1", 4)]


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4), st.sampled_from([None, None, 0.5, 3])), max_size=20),
    st.integers(1, 3),
)
@settings(deadline=None, max_examples=30)
def test_however_calls_come_end_and_are_cancelled_the_slots_are_enough_and_none_is_lost(
    arrivals: list[tuple[int, int, float | None]], most: int
) -> None:
    async def play() -> None:
        toy = Caller(slots(most), window(3, 2))
        under_way = 0

        async def one(start: int, takes: int) -> None:
            nonlocal under_way
            await toy.clock.sleep(start)
            passed = await toy.acquire(longest=timedelta(days=1))
            under_way += 1
            assert under_way <= most
            try:
                await toy.clock.sleep(takes)
            finally:
                under_way -= 1
                await passed.done()

        async def cancel(task: asyncio.Task[None], after: float) -> None:
            await toy.clock.sleep(after)
            task.cancel()

        start, tasks = 0, []
        for pause, takes, cancelled in arrivals:
            start += pause
            tasks.append(asyncio.create_task(one(start, takes)))
            if cancelled is not None:
                tasks.append(asyncio.create_task(cancel(tasks[-1], start + cancelled)))
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            assert outcome is None or isinstance(outcome, asyncio.CancelledError)
        left = toy.limiter._slots.get("toy")
        assert left is None or not (left._under_way or left._waiting)

    asyncio.run(play())
