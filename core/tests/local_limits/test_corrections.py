"""What a broker says is left, in one process, on a virtual clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from brokersync.limits import RateLimit
from brokersync.ratelimit import Left

from .toy import Caller, bucket, settle_without_time, wanted, window

Make = Callable[..., RateLimit]


async def correct(toy: Caller, calls: int, resets_in: float | None = None) -> None:
    span = None if resets_in is None else timedelta(seconds=resets_in)
    await toy.limiter.correct(wanted(toy.limits), Left(calls, span))


async def test_no_more_calls_go_than_are_left_until_there_are_more() -> None:
    toy = Caller(window(10, 60))
    await toy.call("a")
    await correct(toy, 2, 30)
    await asyncio.gather(*(toy.call(name) for name in "bcd"))
    assert toy.went == [("a", 0), ("b", 0), ("c", 0), ("d", 30)]


async def test_without_a_time_what_is_gone_comes_back_after_a_period() -> None:
    toy = Caller(window(10, 60))
    await correct(toy, 0)
    await toy.call("a")
    assert toy.went == [("a", 60)]


async def test_a_bucket_fills_to_what_the_broker_says_and_leaks_as_ever() -> None:
    toy = Caller(bucket(10, 60))
    await correct(toy, 1)
    await asyncio.gather(*(toy.call(name) for name in "abc"))
    assert toy.went == [("a", 0), ("b", 6), ("c", 12)]


async def test_calls_that_wait_already_wait_for_what_is_left() -> None:
    toy = Caller(window(2, 10))
    calls = [toy.spawn(name) for name in "abc"]
    await settle_without_time(lambda: correct(toy, 0, 10))
    await asyncio.gather(*calls)
    assert toy.went == [("a", 0), ("b", 0), ("c", 10)]


@pytest.mark.parametrize("make", [window, bucket])
@given(
    st.integers(1, 6),
    st.lists(st.tuples(st.integers(0, 8), st.sampled_from([None, 1, 30]), st.integers(0, 4)), max_size=8),
)
@example(1, [(1, None, 1), (0, None, 3), (0, None, 2), (0, None, 4), (0, None, 0)])
@settings(deadline=None, max_examples=25)
def test_a_correction_never_lets_more_go_than_without_it_and_never_more_than_it_says(
    make: Make, used: int, said: list[tuple[int, int | None, int]]
) -> None:
    async def play() -> None:
        toy, plain = Caller(make(6, 20)), Caller(make(6, 20))
        for _ in range(used):
            await toy.call(longest=timedelta(0))
            await plain.call(longest=timedelta(0))
        for left, resets_in, pause in said:
            await correct(toy, left, resets_in)
            room, without = await room_of(toy), await room_of(plain)
            assert room <= min(left, without)
            await toy.clock.sleep(pause)
            await plain.clock.sleep(pause)

    asyncio.run(play())


async def room_of(toy: Caller) -> int:
    """How many calls of weight one might go now."""
    [meter] = [toy.lane._meter(limit, "") for limit in toy.limits]
    return max(
        (n for n in range(1, 7) if meter.earliest(toy.clock.time, toy.clock.time, n, 0) <= toy.clock.time), default=0
    )


async def test_a_broker_that_allows_half_and_says_so_is_met_at_its_pace_within_a_period() -> None:
    toy = Caller(window(100, 10))
    seen: list[float] = []
    refused = 0
    for _ in range(300):
        await toy.call()
        now = toy.clock.time
        counted = [at for at in seen if now - at < 10]
        if len(counted) < 50:
            seen.append(now)
            counted.append(now)
        else:
            refused += 1
        await correct(toy, 50 - len(counted), counted[0] + 10 - now)
    assert refused == 0
    assert toy.clock.time - toy.start == 50
