"""What a broker says is left, for all processes, on a clock that the test sets."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brokersync.errors import LimitScope
from brokersync.ratelimit import Left, LimitedCall

from .board import Board, bucket, keys, slots, window

NONE = timedelta(0)


async def correct(board: Board, calls: int, resets_in: float | None = None) -> None:
    scopes = {LimitScope.APP: ""}
    call = LimitedCall(provider=board.provider, limits=board.limits, operation="list", scopes=scopes, waiter="")
    await board.limiter.correct(call, Left(calls, None if resets_in is None else timedelta(seconds=resets_in)))


async def goes_at_once(board: Board) -> int:
    went = 0
    while (await board.ask(str(went), longest=NONE))[0]:
        went += 1
    return went


async def test_no_more_calls_go_than_are_left_until_there_are_more(redis: Any) -> None:
    board = Board(redis, window(10, 60), slots(50))
    await board.call()
    await correct(board, 2, 30)
    assert [await board.call() for _ in range(3)] == [0, 0, 30]


async def test_without_a_time_what_is_gone_comes_back_after_a_period(redis: Any) -> None:
    board = Board(redis, window(1200, 60))
    await correct(board, 0)
    assert await board.call() == 60
    [key] = await keys(redis, f"*{board.provider}*:log")
    assert 0 < await redis.pttl(key) <= 130_000


async def test_a_bucket_fills_to_what_the_broker_says_and_leaks_as_ever(redis: Any) -> None:
    board = Board(redis, bucket(10, 60))
    await correct(board, 1)
    assert [await board.call() for _ in range(3)] == [0, 6, 12]


async def test_that_none_is_left_of_a_million_has_all_wait_and_writes_no_million_entries(redis: Any) -> None:
    board = Board(redis, window(1_000_000, 86_400))
    await board.call()
    await correct(board, 500_000)
    await board.call()
    await correct(board, 0, 3600)
    assert await board.call() == 3600
    [key] = await keys(redis, f"*{board.provider}*:log")
    assert await redis.zcard(key) == 3


@pytest.mark.parametrize("make", [window, bucket])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(
    used=st.integers(0, 6), left=st.integers(0, 8), resets_in=st.sampled_from([None, 1, 30]), pause=st.integers(0, 9)
)
async def test_a_correction_never_lets_more_go_than_without_it_and_never_more_than_it_says(
    redis: Any, make: Any, used: int, left: int, resets_in: int | None, pause: int
) -> None:
    board, plain = Board(redis, make(6, 20)), Board(redis, make(6, 20))
    for _ in range(used):
        await board.call(longest=NONE)
        await plain.call(longest=NONE)
    board.advance(pause)
    plain.advance(pause)
    await correct(board, left, resets_in)
    assert await goes_at_once(board) == min(left, await goes_at_once(plain))
