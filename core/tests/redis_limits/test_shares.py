"""Weights, reserves and slots that processes share, on a clock that the test sets."""

from __future__ import annotations

import asyncio
import secrets
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brokersync.clock import SystemClock
from brokersync.errors import BrokerRateLimitError, LimitScope
from brokersync.ratelimit import LimitedCall
from brokersync.ratelimit.redis_limiter import RedisLimiter

from .board import LEASE, SECOND, Board, bucket, keys, slots, window

NONE = timedelta(0)
CREDENTIAL = LimitScope.CREDENTIAL


async def test_a_limit_that_is_told_twice_is_one_with_the_larger_reserve(redis: Any) -> None:
    board = Board(redis, window(4, 60), window(4, 60, reserve=2), window(4, 60))
    assert [await board.ask(longest=NONE) for _ in range(2)] == [(True, 0), (True, 0)]
    await board.refused()
    bucketed = Board(redis, bucket(2, 5, weights={"list": 1}), bucket(2, 5, weights={"list": 1}))
    assert [await bucketed.call() for _ in range(3)] == [0, 0, 2.5]
    bucketed.advance(5)
    assert [await bucketed.ask(longest=NONE) for _ in range(2)] == [(True, 5), (False, 7.5)]


async def test_limits_that_differ_in_their_weights_only_count_for_themselves(redis: Any) -> None:
    board = Board(redis, bucket(2, 1), bucket(2, 1, weights={"list": 1}))
    await board.call(weight=2)
    assert await board.refused() == 0.5


async def test_a_call_weighs_in_each_limit_what_that_says(redis: Any) -> None:
    board = Board(redis, window(6, 10, weights={"report": 5}), window(3, 60))
    assert [await board.call(operation=name) for name in ("report", "list", "list")] == [0, 0, 10]
    assert await board.call() == 60


@pytest.mark.parametrize("make", [window, bucket])
async def test_what_is_reserved_is_left_to_calls_that_somebody_waits_for(redis: Any, make: Any) -> None:
    board = Board(redis, make(4, 8, reserve=2))
    assert [await board.call() for _ in range(2)] == [0, 0]
    await board.refused("routine")
    assert [await board.call(pressing=True, longest=NONE) for _ in range(2)] == [0, 0]
    assert (await board.ask("asked", pressing=True, longest=NONE))[0] is False


@pytest.mark.parametrize("make", [window, bucket])
async def test_a_call_that_somebody_waits_for_goes_before_promises_and_kept_places(redis: Any, make: Any) -> None:
    board = Board(redis, make(2, 10, reserve=1))
    await board.call()
    await board.refused("promised")
    assert await board.call("kept") >= 10
    assert await board.call("asked", pressing=True) == 0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(
    st.sampled_from([window, bucket]),
    st.integers(1, 2),
    st.integers(2, 6),
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(1, 2), st.booleans(), st.sampled_from([0, 4, 1000])), max_size=25
    ),
)
async def test_routine_calls_never_take_the_reserve_and_all_together_never_more_than_the_amount(
    redis: Any, make: Any, reserve: int, seconds: int, calls: list[Any]
) -> None:
    board = Board(redis, make(4, seconds, reserve=reserve))
    went: list[tuple[float, int, bool]] = []
    for number, (pause, weight, pressing, longest) in enumerate(calls):
        board.advance(pause)
        how = {"weight": weight, "pressing": pressing, "longest": timedelta(seconds=longest)}
        goes, at = await board.ask(str(number), **how)
        if goes:
            went.append((at, weight, pressing))
    # a bucket lets its amount go at once and as much again in a period
    bursts = 1 if make is window else 2
    for start, _, _ in went:
        within = [(weight, pressing) for at, weight, pressing in went if start <= at < start + seconds - 1e-5]
        assert sum(weight for weight, _ in within) <= 4 * bursts
        if make is window:
            assert sum(weight for weight, pressing in within if not pressing) <= 4 - reserve


async def test_no_more_are_under_way_than_may_be_until_one_is_over(redis: Any) -> None:
    board = Board(redis, slots(2, CREDENTIAL), window(100, 1))
    await board.call(credential="x")
    first = board.passed
    await board.call(credential="x")
    assert (await board.ask(credential="x", longest=NONE))[0] is False
    assert (await board.ask(credential="y", longest=NONE))[0] is True
    await first.done()
    assert (await board.ask(credential="x", longest=NONE))[0] is True


async def test_the_slots_of_a_worker_that_died_come_free_when_their_lease_ends(redis: Any) -> None:
    board = Board(redis, slots(1))
    await board.call()
    board.advance(LEASE.total_seconds() - 0.001)
    assert (await board.ask(longest=NONE))[0] is False
    board.advance(0.001)
    assert (await board.ask(longest=NONE))[0] is True


async def test_a_call_without_a_slot_counts_nowhere_and_one_without_a_turn_takes_none(redis: Any) -> None:
    board = Board(redis, slots(1), window(2, 10))
    await board.call()
    with pytest.raises(BrokerRateLimitError, match="under way") as refused:
        await board.call(longest=NONE)
    assert (refused.value.retry_after, refused.value.scope) == (timedelta(seconds=5), None)
    await board.passed.done()
    await board.call(longest=NONE)
    await board.passed.done()
    assert await board.refused() == 10
    board.advance(10)
    assert await board.call(longest=NONE) == 10


async def test_a_kept_place_takes_its_slot_when_its_time_has_come(redis: Any) -> None:
    board = Board(redis, slots(1), window(1, 10, CREDENTIAL))
    await board.call(credential="x")
    await board.passed.done()

    async def sleep(seconds: float) -> None:
        assert (await board.ask("other", credential="y", longest=NONE))[0] is True, "who sleeps keeps no slot"
        await board.passed.done()
        board.advance(seconds)

    board.sleep = sleep  # type: ignore[method-assign]  # what happens during the sleep is what is tested
    await board.call(credential="x")
    assert board.micros == 10 * SECOND
    assert (await board.ask("other", credential="z", longest=NONE))[0] is False


async def test_a_slot_is_kept_for_calls_that_somebody_waits_for(redis: Any) -> None:
    board = Board(redis, slots(2, reserve=1))
    assert (await board.ask(longest=NONE))[0] is True
    assert (await board.ask(longest=NONE))[0] is False
    assert (await board.ask(pressing=True, longest=NONE))[0] is True


async def test_a_server_that_lost_its_memory_lets_a_share_of_the_slots_be_taken_until_all_leases_have_ended(
    redis: Any,
) -> None:
    board = Board(redis, slots(20))
    await board.call()
    for key in await keys(redis, f"*{board.provider}*"):
        await redis.delete(key)
    board.advance(1)
    assert [(await board.ask(longest=NONE))[0] for _ in range(4)] == [True, True, False, False]
    board.advance(LEASE.total_seconds())
    assert all([(await board.ask(longest=NONE))[0] for _ in range(18)])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(st.integers(1, 3), st.lists(st.tuples(st.integers(0, 30), st.sampled_from(["begin", "end"])), max_size=25))
async def test_the_slots_are_never_more_than_may_be_and_none_is_lost(
    redis: Any, most: int, steps: list[tuple[int, str]]
) -> None:
    board = Board(redis, slots(most))
    under_way: list[tuple[float, Any]] = []
    for pause, what in steps:
        board.advance(pause)
        now = board.micros / SECOND
        under_way = [one for one in under_way if one[0] > now]
        if what == "end" and under_way:
            await under_way.pop(0)[1].done()
        elif what == "begin":
            goes, _ = await board.ask(longest=NONE)
            assert goes is (len(under_way) < most)
            if goes:
                under_way.append((now + LEASE.total_seconds(), board.passed))


async def test_who_stands_in_line_is_called_up_in_order_and_who_leaves_it_holds_up_nobody(redis: Any) -> None:
    provider, limiter = f"toy-{secrets.token_hex(6)}", RedisLimiter(redis, SystemClock())
    wanted = LimitedCall(provider=provider, limits=[slots(1)], operation="list", scopes={}, waiter="")
    order: list[str] = []
    waiting: asyncio.Queue[None] = asyncio.Queue()

    async def call(name: str) -> None:
        longest = timedelta(seconds=60)
        passed = await limiter.acquire(wanted, longest=longest, on_wait=lambda *_: waiting.put_nowait(None))
        order.append(name)
        await passed.done()

    async with asyncio.timeout(30):  # real time: the server's messages wake who waits
        first = await limiter.acquire(wanted, longest=NONE, on_wait=lambda *_: None)
        tasks = []
        for name in "abc":
            tasks.append(asyncio.create_task(call(name)))
            await waiting.get()
        tasks[0].cancel()
        await asyncio.gather(tasks[0], return_exceptions=True)
        await first.done()
        await asyncio.gather(*tasks[1:])
    assert order == ["b", "c"]
    await limiter._frost.aclose()


async def test_who_has_got_a_slot_stands_in_no_line_any_more(redis: Any) -> None:
    provider, limiter = f"toy-{secrets.token_hex(6)}", RedisLimiter(redis, SystemClock())
    wanted = LimitedCall(provider=provider, limits=[slots(2)], operation="list", scopes={}, waiter="")
    waiting: asyncio.Queue[None] = asyncio.Queue()

    async def acquire(seconds: float) -> Any:
        longest = timedelta(seconds=seconds)
        return await limiter.acquire(wanted, longest=longest, on_wait=lambda *_: waiting.put_nowait(None))

    async with asyncio.timeout(30):  # real time: the server's messages wake who waits
        first = [await acquire(0), await acquire(0)]
        behind = [asyncio.create_task(acquire(60)) for _ in first]
        for _ in behind:
            await waiting.get()
        for one in first:
            await one.done()
        for passed in await asyncio.gather(*behind):
            await passed.done()
    await limiter._frost.aclose()


async def test_who_sleeps_for_a_place_that_is_soon_keeps_its_slot_meanwhile(redis: Any) -> None:
    board = Board(redis, slots(1), window(1, 0.5, CREDENTIAL))
    await board.call(credential="x")
    await board.passed.done()

    async def sleep(seconds: float) -> None:
        assert (await board.ask("other", credential="y", longest=NONE))[0] is False
        board.advance(seconds)

    board.sleep = sleep  # type: ignore[method-assign]  # what happens during the sleep is what is tested
    await board.call(credential="x")
    assert board.micros == SECOND / 2
    await board.passed.done()
    assert (await board.ask("other", credential="y", longest=NONE))[0] is True


async def test_who_finds_no_slot_at_its_place_gives_that_back_and_stands_before_those_who_came_later(
    redis: Any,
) -> None:
    board = Board(redis, slots(1), window(1, 10, CREDENTIAL))
    await board.call(credential="x")
    await board.passed.done()
    happens = iter(["its place comes", "the slot comes free"])

    async def sleep(seconds: float) -> None:
        if next(happens, "") == "its place comes":
            board.advance(seconds)
            assert (await board.ask("other", credential="y", longest=NONE))[0] is True
        elif board.passed is not None:
            await board.passed.done()

    board.sleep = sleep  # type: ignore[method-assign]  # what happens during the sleep is what is tested
    await board.call(credential="x", longest=timedelta(minutes=1))
    logs = [key for key in await keys(redis, f"*{board.provider}*:log") if b"credential" in key]
    assert sorted([await redis.zcard(key) for key in logs]) == [1, 1]
