"""Places that Redis gives under several limits at once, on a clock that the test sets."""

from __future__ import annotations

import asyncio
import heapq
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brokersync.errors import BrokerConfigError, LimitScope

from .board import SECOND, Board, bucket, keys, window

CREDENTIAL = LimitScope.CREDENTIAL


async def test_calls_go_at_once_up_to_the_amount_and_then_as_places_become_free(redis: Any) -> None:
    board = Board(redis, window(3, 10))
    assert [await board.call() for _ in range(4)] == [0, 0, 0, 10]
    board.advance(1)
    assert [await board.call() for _ in range(3)] == [10, 10, 20]


async def test_a_bucket_lets_a_burst_go_and_then_a_steady_rate(redis: Any) -> None:
    board = Board(redis, bucket(4, 8))
    assert [await board.call() for _ in range(7)] == [0, 0, 0, 0, 2, 4, 6]
    board.advance(100)
    assert [await board.call() for _ in range(5)] == [100, 100, 100, 100, 102]


async def test_the_tightest_of_several_limits_decides_and_all_count(redis: Any) -> None:
    board = Board(redis, window(2, 1), window(3, 60), bucket(10, 1, CREDENTIAL))
    assert [await board.call(credential="x") for _ in range(4)] == [0, 0, 1, 60]


async def test_one_credential_that_waits_holds_up_no_other(redis: Any) -> None:
    board = Board(redis, window(100, 10), window(1, 5, CREDENTIAL))
    assert [await board.call(credential="x") for _ in range(3)] == [0, 5, 10]
    assert [await board.call(credential="y") for _ in range(2)] == [0, 5]


async def test_a_heavy_call_takes_as_many_places(redis: Any) -> None:
    board = Board(redis, window(5, 10))
    assert [await board.call(weight=3), await board.call(weight=2), await board.call(weight=3)] == [0, 0, 10]
    with pytest.raises(BrokerConfigError, match="weighs 6"):
        await board.call(weight=6)


@pytest.mark.parametrize("make", [window, bucket])
async def test_what_was_begun_goes_on_before_those_who_were_promised_a_place(redis: Any, make: Any) -> None:
    board = Board(redis, make(1, 10))
    assert await board.call() == 0
    assert (await board.refused("early"), await board.refused("late")) == (10, 20)
    assert await board.call("goes on", continues=True) == 10
    assert await board.call("goes on", continues=True) == 20
    assert await board.refused("early") == 30


async def test_what_was_begun_goes_on_after_a_freeze_in_its_turn(redis: Any) -> None:
    board = Board(redis, window(1, 10))
    await board.freeze(60)
    assert await board.refused("early") == 60
    assert await board.call("goes on", continues=True) == 70


async def test_a_call_that_leaves_late_counts_from_then_on(redis: Any) -> None:
    board = Board(redis, window(3, 10))
    await board.call(weight=2)
    late = board.passed
    await board.call()
    await board.passed.sent()
    board.advance(3)
    await late.sent()
    await late.done()
    assert [await board.call() for _ in range(3)] == [10, 13, 13]


async def test_a_call_that_leaves_when_its_place_is_forgotten_counts_all_the_same(redis: Any) -> None:
    board = Board(redis, window(2, 10))
    await board.call()
    late = board.passed
    board.advance(15)
    assert await board.call("other") == 15
    await late.done()
    assert await board.call() == 25


async def test_where_only_failures_count_what_came_through_does_not(redis: Any) -> None:
    board = Board(redis, window(2, 10, failures_only=True))
    for _ in range(5):
        assert await board.call(weight=2) == 0
        board.advance(0.5)
        await board.passed.forgive()
        await board.passed.done()
        board.advance(-0.5)
    assert await board.call() == 0
    await board.passed.done()
    assert [await board.call() for _ in range(2)] == [0, 10]


async def test_what_came_through_counts_where_all_calls_do(redis: Any) -> None:
    board = Board(redis, window(2, 10, failures_only=True), window(1, 20))
    assert await board.call() == 0
    await board.passed.forgive()
    assert await board.call() == 20


async def test_who_waits_without_a_limit_is_cancelled_as_any_other(redis: Any) -> None:
    board = Board(redis)
    asleep = board.hold_sleepers()
    await board.freeze(300)
    waits = asyncio.create_task(board.call())
    await asleep.wait()
    waits.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waits


async def test_a_limit_of_one_operation_leaves_the_others_alone(redis: Any) -> None:
    board = Board(redis, window(1, 60, operations=("login",)))
    assert [await board.call(operation="login"), await board.call(operation="list")] == [0, 0]
    assert await board.call(operation="login") == 60


async def test_who_must_wait_for_long_is_refused_with_a_place_of_its_own(redis: Any) -> None:
    board = Board(redis, window(1, 10))
    await board.call()
    assert [await board.refused(who) for who in "abc"] == [10, 20, 30]


async def test_who_comes_back_for_its_place_goes_before_those_that_came_later(redis: Any) -> None:
    board = Board(redis, window(1, 10))
    await board.call()
    assert [await board.refused(who) for who in "ab"] == [10, 20]
    board.advance(10.5)
    assert await board.call("a") == 10.5
    board.advance(10)
    assert await board.refused("newcomer") == 30
    assert await board.call("b") == 20.5


async def test_who_asks_again_before_its_time_takes_no_second_place(redis: Any) -> None:
    board = Board(redis, window(1, 10))
    await board.call()
    assert [await board.refused("a") for _ in range(3)] == [10, 10, 10]
    assert await board.refused("b") == 20


async def test_who_comes_early_goes_when_there_is_room_for_all_before_it(redis: Any) -> None:
    board = Board(redis, window(2, 10))
    first = [await board.call() for _ in range(2)]
    assert [first, *[await board.refused(who) for who in "abcd"]] == [[0, 0], 10, 10, 20, 20]
    board.advance(12)
    assert await board.refused("d") == 20, "a and b are before it, and late"
    assert await board.call("a") == 12
    board.advance(9)
    assert await board.call("d") == 21


async def test_a_place_that_nobody_comes_back_for_is_given_to_others(redis: Any) -> None:
    board = Board(redis, window(1, 10))
    await board.call()
    await board.refused("a")
    board.advance(20)
    assert await board.call("b") == 20


async def test_who_comes_back_late_to_a_bucket_is_counted_once(redis: Any) -> None:
    board = Board(redis, bucket(1, 10))
    await board.call()
    assert [await board.refused(who) for who in "ab"] == [10, 20]
    board.advance(11)
    assert await board.call("a") == 11
    board.advance(10)
    assert await board.call("b") == 21


async def test_a_freeze_keeps_everybody_of_its_scope_out(redis: Any) -> None:
    board = Board(redis, window(100, 1))
    await board.freeze(30, CREDENTIAL, "x")
    assert await board.call(credential="x") == 30
    assert await board.call(credential="y") == 0


async def test_a_freeze_is_never_shortened_and_ends(redis: Any) -> None:
    board = Board(redis, window(100, 1))
    for seconds in (30, 10, -5):
        await board.freeze(seconds)
    assert await board.call() == 30
    board.advance(30)
    assert await board.call() == 30


async def test_after_a_freeze_the_places_are_given_one_after_the_other(redis: Any) -> None:
    board = Board(redis, window(1, 2))
    await board.freeze(85_092)
    assert [await board.refused(who) for who in "abc"] == [85_092, 85_094, 85_096]


async def test_who_sleeps_when_a_scope_is_frozen_asks_again(redis: Any) -> None:
    board = Board(redis, window(1, 5))
    await board.call()
    frozen = False

    async def sleep(seconds: float) -> None:
        nonlocal frozen
        board.advance(seconds)
        if not frozen:
            frozen = True
            await board.freeze(100)

    board.sleep = sleep  # type: ignore[method-assign]  # what happens during the sleep is what is tested
    await board.call()
    assert board.micros / SECOND == 105


async def test_who_leaves_gives_its_place_back(redis: Any) -> None:
    board = Board(redis, window(1, 10))
    await board.call()

    async def sleep(seconds: float) -> None:
        raise asyncio.CancelledError

    slept, board.sleep = board.sleep, sleep  # type: ignore[method-assign]  # a caller that is cancelled in its sleep
    with pytest.raises(asyncio.CancelledError):
        await board.call()
    board.sleep = slept  # type: ignore[method-assign]  # the others sleep as ever
    assert await board.call() == 10


A_DAY = 24 * 60 * 60 * 1000


async def test_no_key_holds_a_credential_or_outlives_its_use(redis: Any) -> None:
    board = Board(redis, window(1, 10, CREDENTIAL), bucket(1, 20))
    await board.call(credential="the user's login")
    await board.refused("the connection", credential="the user's login")
    await board.freeze(30, CREDENTIAL, "the user's login")
    found = await keys(redis, f"brokersync:{{{board.provider}}}:*")
    assert len(found) >= 5
    for key in found:
        assert b"login" not in key
        kept = A_DAY if b":silence:" in key else 0
        assert kept < await redis.pttl(key) <= kept + 200_000


LIMITS = st.tuples(
    st.sampled_from([window, bucket]),
    st.integers(1, 5),
    st.integers(1, 8),
    st.sampled_from([LimitScope.APP, CREDENTIAL]),
    st.sampled_from([{}, {}, {"list": 1}, {"list": 2}]),
)
CALLS = st.tuples(st.integers(0, 3), st.integers(1, 2), st.sampled_from("xy"), st.sampled_from([0, 5, 1000]))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(st.lists(LIMITS, min_size=1, max_size=3), st.lists(CALLS, max_size=40))
async def test_no_limit_is_ever_broken(redis: Any, drawn: list[Any], calls: list[Any]) -> None:
    limits = [make(max(amount, 2), seconds, scope, weights=weights) for make, amount, seconds, scope, weights in drawn]
    board = Board(redis, *limits)
    went: list[tuple[float, str, int]] = []
    for number, (pause, weight, credential, longest) in enumerate(calls):
        board.advance(pause)
        goes, at = await board.ask(
            str(number), weight=weight, credential=credential, longest=timedelta(seconds=longest)
        )
        if goes:
            went.append((at, credential, weight))
        else:
            assert at - board.micros / SECOND > longest
    for limit in limits:
        for key in "xy" if limit.scope is CREDENTIAL else [None]:
            mine = [(at, limit.weight_of("list", told)) for at, who, told in went if key in (None, who)]
            counted = sorted(at for at, weight in mine for _ in range(weight))
            assert_kept(limit, counted)


def assert_kept(limit: Any, counted: list[float]) -> None:
    period = limit.period.total_seconds()
    if limit.kind.value == "window":
        for first, beyond in zip(counted, counted[limit.amount :], strict=False):
            assert beyond - first >= period - 1e-6
        return
    level, since = 0.0, 0.0
    for at in counted:
        level, since = max(level - (at - since) * limit.amount / period, 0) + 1, at
        assert level <= limit.amount + 1e-4


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100, deadline=None)
@given(st.integers(1, 6), st.integers(1, 9), st.lists(st.integers(0, 4), max_size=40))
async def test_a_kept_place_is_the_first_that_the_window_allows(
    redis: Any, amount: int, seconds: int, pauses: list[int]
) -> None:
    board = Board(redis, window(amount, seconds))
    went: list[float] = []
    for pause in pauses:
        board.advance(pause)
        free = went[-amount] + seconds if len(went) >= amount else 0
        went.append(await board.call())
        assert went[-1] == max(board.micros / SECOND, free)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    st.sampled_from([window, bucket]),
    st.integers(1, 4),
    st.integers(2, 9),
    st.lists(st.tuples(st.integers(0, 20), st.sampled_from([0, 0.2, 1.5])), min_size=1, max_size=25),
)
async def test_who_comes_back_as_told_is_let_in_after_few_questions_and_in_its_turn(
    redis: Any, make: Any, amount: int, seconds: int, arrivals: list[tuple[int, float]]
) -> None:
    board = Board(redis, make(amount, seconds))
    coming = [(float(at), number, late) for number, (at, late) in enumerate(arrivals)]
    heapq.heapify(coming)
    went: list[float] = []
    asked = 0
    while coming:
        at, number, late = heapq.heappop(coming)
        board.micros = round(at * SECOND)
        asked += 1
        goes, place = await board.ask(str(number), longest=timedelta(seconds=seconds))
        if goes:
            went.append(place)
        else:
            heapq.heappush(coming, (place + late, number, late))
    assert_kept(board.limits[0], sorted(went))
    assert asked <= 2 * len(arrivals)
    # the broker's time is used: nothing but lateness is lost
    ideal = max(at for at, _ in arrivals) + len(arrivals) * seconds / amount
    assert max(went) <= ideal + seconds + sum(late for _, late in arrivals)


async def test_the_count_of_a_window_ends_by_itself_also_where_a_promise_had_it_looked_through(redis: Any) -> None:
    board = Board(redis, window(3, 10))
    assert [await board.call("a"), await board.call("b")] == [0, 0]
    await board.refused("c", weight=2)
    board.advance(10.5)
    await board.call("d")
    assert all([await redis.pttl(key) > 0 for key in await keys(redis, f"*{board.provider}*")])
