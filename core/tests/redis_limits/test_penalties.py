"""Freezes without a time that processes share, and the restart after one, on a clock that the test sets."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brokersync.errors import LimitScope
from brokersync.ratelimit import LocalLimiter
from brokersync.ratelimit.redis_limiter import RedisLimiter

from .board import SECOND, Board, keys, window


async def penalise(board: Board, limiter: RedisLimiter | None = None) -> float:
    return (await board.refuse(LimitScope.APP, by=limiter)).lasts.total_seconds()


async def test_a_freeze_without_a_time_grows_whichever_process_meets_the_refusal(redis: Any) -> None:
    board = Board(redis, window(100, 1))
    other = RedisLimiter(redis, board, now=lambda: board.begin + board.micros)
    lengths = []
    for limiter in (board.limiter, other) * 4:
        lengths.append(await penalise(board, limiter))
        assert await board.call() == board.micros / SECOND + lengths[-1]
        board.advance(lengths[-1])
    assert lengths == [1, 2, 4, 8, 16, 32, 60, 60]


async def test_a_longer_freeze_that_the_broker_asked_for_stays(redis: Any) -> None:
    board = Board(redis, window(100, 1))
    await board.freeze(500)
    await penalise(board)
    assert await board.call() == 500


async def test_a_penalty_is_forgotten_by_the_server_when_it_changes_nothing_any_more(redis: Any) -> None:
    board = Board(redis)
    for _ in range(3):
        board.advance(await penalise(board))
    [key] = await keys(redis, f"*{board.provider}*penalty*")
    assert 4_000 < await redis.pttl(key) <= 30_000


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 200), max_size=12))
async def test_both_limiters_freeze_for_as_long(redis: Any, pauses: list[int]) -> None:
    board = Board(redis)
    alone = LocalLimiter(board)
    for pause in pauses:
        board.advance(pause)
        assert await board.refuse(LimitScope.APP, by=alone) == await board.refuse(LimitScope.APP)


async def test_after_a_freeze_calls_go_one_after_the_other_as_the_limits_let_them(redis: Any) -> None:
    board = Board(redis, window(4, 2))
    await board.freeze(30)
    assert [await board.call() for _ in range(5)] == [30, 30.5, 31, 31.5, 32]
    board.advance(31)
    assert await board.call() == 32.5


async def test_a_limit_that_each_login_has_for_itself_holds_up_no_other_after_a_freeze_of_all(redis: Any) -> None:
    board = Board(redis, window(1, 100, LimitScope.CREDENTIAL))
    await board.freeze(30)
    assert [await board.call(credential=name) for name in "abc"] == [30, 30.1, 30.2]
