"""How a scope that is refused within its limits goes more slowly and finds back, in one process and in a fleet."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brokersync.errors import LimitScope
from brokersync.limits import RateLimit
from brokersync.ratelimit import LocalLimiter
from brokersync.ratelimit.keys import freeze_key
from brokersync.ratelimit.pace import quiet_of
from brokersync.ratelimit.usage import usage_of

from .board import Board, bucket, window

APP, CREDENTIAL, ENDPOINT = LimitScope.APP, LimitScope.CREDENTIAL, LimitScope.ENDPOINT


@pytest.fixture(params=["one process", "fleet"])
def alone(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "one process")


def board_of(redis: Any, alone: bool, *limits: RateLimit) -> Board:
    board = Board(redis, *limits)
    if alone:
        board.limiter = LocalLimiter(board)  # type: ignore[assignment]  # either keeps the limits
    return board


async def go(board: Board, most: int = 100, **how: Any) -> int:
    """How many calls go now, one after the other, until one does not."""
    for number in range(most):
        went, _ = await board.ask(longest=timedelta(0), **how)
        if not went:
            return number
    return most


async def episode(board: Board, refusals: int = 1, **how: Any) -> int:
    """Refusals of one freeze, and its end; the pace that follows."""
    told = [await board.refuse(**how) for _ in range(refusals)]
    board.advance(told[-1].lasts.total_seconds())
    return told[-1].pace


async def test_a_call_that_came_a_little_too_early_makes_nothing_slower(redis: Any, alone: bool) -> None:
    board = board_of(redis, alone, window(10, 1))
    await go(board)
    assert await episode(board, 2) == 100
    board.advance(10)
    assert await go(board) == 10


@pytest.mark.parametrize("limit", [window(20, 1), bucket(20, 1)])
async def test_many_refusals_of_one_freeze_halve_the_limits(redis: Any, alone: bool, limit: RateLimit) -> None:
    board = board_of(redis, alone, limit)
    assert await go(board) == 20
    assert await episode(board, 9) == 50
    board.advance(10)
    assert await go(board) == 10
    board.advance(0.5)
    assert await go(board) == (5 if limit.kind == "bucket" else 0)


async def test_a_refusal_soon_after_a_freeze_halves_the_limits_and_the_next_one_again(redis: Any, alone: bool) -> None:
    board = board_of(redis, alone, window(40, 10))
    await go(board)
    assert await episode(board) == 100
    board.advance(8)
    assert await episode(board) == 50
    assert await go(board) == 20
    assert await episode(board) == 25
    board.advance(20)
    assert await go(board) == 10


async def test_a_bucket_is_meant_that_was_refused_shortly_before_though_it_is_nearly_empty(
    redis: Any, alone: bool
) -> None:
    board = board_of(redis, alone, bucket(20, 1), window(5, 1, LimitScope.CREDENTIAL))
    for login in "abcd":
        await go(board, 5, credential=login)
    assert (await board.refuse(credential="a")).scope is LimitScope.APP
    board.advance(1.5)
    for login in "efghij":
        board.advance(0.05)
        assert await go(board, 1, credential=login) == 1
    told = await board.refuse(credential="j")
    assert (told.scope, told.pace) == (LimitScope.APP, 50)


async def test_each_minute_takes_half_of_what_is_missing_off_again(redis: Any, alone: bool) -> None:
    board = board_of(redis, alone, window(100, 1))
    await go(board)
    await episode(board, 3)
    went = []
    for _ in range(6):
        board.advance(2)
        went.append(await go(board))
        board.advance(58)
    assert went == [50, 75, 88, 94, 97, 100]


async def test_a_limit_of_a_longer_period_is_held_for_ten_of_it_and_an_hour_at_most(redis: Any, alone: bool) -> None:
    board = board_of(redis, alone, window(100, 60))
    await go(board)
    await episode(board, 3)
    board.advance(590)
    assert await go(board) == 50
    board.advance(70)
    assert await go(board) == 75
    assert quiet_of(86_400) == 3600


async def test_what_was_refused_after_it_rose_goes_back_and_is_held_for_twice_as_long(redis: Any, alone: bool) -> None:
    board = board_of(redis, alone, window(100, 1))
    await go(board)
    await episode(board, 3)
    board.advance(61)
    assert await go(board) == 75
    assert await episode(board, 3) == 50
    board.advance(119)
    assert await go(board) == 50
    board.advance(2)
    assert await go(board) == 75


async def test_the_limit_that_was_used_most_is_the_one_that_the_broker_lowered(redis: Any, alone: bool) -> None:
    limits = (window(4, 1), window(4, 1, CREDENTIAL), window(10, 1, ENDPOINT))
    board = board_of(redis, alone, *limits)
    assert [await go(board, 2, credential=name) for name in "ab"] == [2, 2]
    assert (await board.refuse(credential="a")).scope is APP
    board.advance(30)
    assert await go(board, 1, credential="a") == 1
    assert (await board.refuse(credential="a")).scope is CREDENTIAL, "nothing is used by half"


async def test_a_scope_that_the_broker_names_is_taken_whatever_is_used(redis: Any, alone: bool) -> None:
    board = board_of(redis, alone, window(4, 1), window(100, 1, CREDENTIAL))
    await go(board, credential="a")
    told = [await board.refuse(CREDENTIAL, credential="a") for _ in range(3)]
    assert [(one.scope, one.pace) for one in told] == [(CREDENTIAL, 100), (CREDENTIAL, 100), (CREDENTIAL, 50)]


async def test_a_broker_that_has_a_fault_is_not_met_more_slowly(redis: Any, alone: bool) -> None:
    board = board_of(redis, alone, window(10, 1))
    await go(board)
    assert [await episode(board, 5, slows=False) for _ in range(3)] == [100, 100, 100]


async def test_what_a_broker_asks_for_is_how_long_it_is_left_alone(redis: Any, alone: bool) -> None:
    board = board_of(redis, alone, window(10, 1))
    await go(board)
    told = [await board.refuse(asked=seconds) for seconds in (20, 30, 10)]
    assert [(one.lasts.total_seconds(), one.pace) for one in told] == [(20, 100), (30, 100), (30, 50)]


async def test_a_heavy_call_goes_however_slow_its_scope_is(redis: Any, alone: bool) -> None:
    board = board_of(redis, alone, window(10, 1))
    await go(board)
    for _ in range(3):
        await episode(board)
    board.advance(20)
    assert await go(board, 3, weight=8) == 1
    board.advance(1.1)
    assert await go(board, 3, weight=8) == 1


async def test_a_freeze_that_a_release_before_wrote_holds(redis: Any) -> None:
    board = Board(redis, window(10, 1))
    key = freeze_key(board.provider, APP, "")
    await redis.set(key, f"{board.begin + 30_000_000} 0 it said so")
    assert await board.refused() == 30
    shown = await usage_of(redis, board.provider, board.limits)
    assert [one.reason for one in shown.frozen] == ["it said so"]
    assert (await board.refuse(APP)).lasts.total_seconds() == 1
    await board.freeze(20)
    assert await board.refused("another") == 30.1


_STEPS = st.lists(st.tuples(st.integers(0, 90), st.integers(0, 9), st.sampled_from([0, 0, 3, 45])), max_size=10)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(steps=_STEPS, named=st.booleans())
async def test_both_limiters_answer_a_refusal_alike(
    redis: Any, steps: Sequence[tuple[int, int, int]], named: bool
) -> None:
    # of windows: a bucket in Redis has drained by the pace of now, and here by those of before
    fleet, one = (board_of(redis, alone, window(8, 7), window(5, 2, CREDENTIAL)) for alone in (False, True))
    for pause, calls, asked in steps:
        for board in (fleet, one):
            board.advance(pause)
        assert await go(fleet, calls, credential="a") == await go(one, calls, credential="a")
        answers = [await board.refuse(APP if named else None, asked=asked, credential="a") for board in (fleet, one)]
        assert answers[0] == answers[1]
