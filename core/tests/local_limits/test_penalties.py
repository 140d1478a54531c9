"""Freezes without a time, the restart after a freeze, and promises of long waits, on a virtual clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokersync.errors import BrokerRateLimitError, LimitScope
from brokersync.limits import RateLimit

from .toy import Caller, bucket, most_in_any_window, window

Make = Callable[..., RateLimit]
NOW = timedelta(0)


async def penalise(toy: Caller, key: str = "") -> float:
    """For how long the scope is frozen, from a second up to a minute."""
    return (await toy.refuse(LimitScope.APP, app=key)).lasts.total_seconds()


async def refused(toy: Caller, waiter: str, **how: object) -> float:
    """When the call may come back, in seconds since the start."""
    with pytest.raises(BrokerRateLimitError) as told:
        await toy.call(waiter, waiter=waiter, longest=NOW, **how)
    return round(toy.clock.time - toy.start + told.value.retry_after.total_seconds(), 6)


async def test_what_was_begun_goes_on_before_those_who_wait_or_were_promised_a_place() -> None:
    toy = Caller(window(1, 10))
    await toy.call("first")
    assert await refused(toy, "promised") == 10
    waits = toy.spawn("waits")
    await asyncio.sleep(0)
    goes_on = toy.spawn("goes on", continues=True)
    await asyncio.gather(waits, goes_on)
    assert toy.went == [("first", 0), ("goes on", 10), ("waits", 20)]


async def test_a_freeze_without_a_time_grows_with_each_refusal_soon_after_it() -> None:
    toy, lengths = Caller(), []
    for _ in range(8):
        lengths.append(await penalise(toy))
        await toy.clock.sleep(lengths[-1])
    assert lengths == [1, 2, 4, 8, 16, 32, 60, 60]


async def test_a_freeze_without_a_time_shrinks_with_the_time_in_which_all_is_well() -> None:
    toy = Caller()
    for _ in range(5):
        await toy.clock.sleep(await penalise(toy))
    await toy.clock.sleep(16)
    assert await penalise(toy) == 16
    await toy.clock.sleep(3 * 16 + 16)
    assert await penalise(toy) == 4
    await toy.clock.sleep(1000)
    assert await penalise(toy) == 1


async def test_a_refusal_of_a_call_that_was_under_way_makes_no_freeze_longer() -> None:
    toy = Caller()
    assert await penalise(toy) == 1
    await toy.clock.sleep(0.25)
    assert await penalise(toy) == 0.75
    await toy.call()
    assert toy.went == [("", 1)]
    assert await penalise(toy) == 2


async def test_each_key_has_a_penalty_of_its_own() -> None:
    toy = Caller()
    assert [await penalise(toy, key) for key in ("a", "b")] == [1, 1]


async def test_after_a_freeze_calls_go_one_after_the_other_as_the_limits_let_them() -> None:
    toy = Caller(window(4, 2))
    await toy.freeze(30)
    await asyncio.gather(*(toy.call(name) for name in "abcde"))
    assert toy.went == [("a", 30), ("b", 30.5), ("c", 31), ("d", 31.5), ("e", 32)]
    await toy.call("f")
    assert toy.went[-1] == ("f", 32.5)


async def test_after_a_freeze_calls_that_nothing_meters_do_not_go_all_at_once() -> None:
    toy = Caller(window(1, 100, LimitScope.CREDENTIAL))
    await toy.freeze(30)
    await asyncio.gather(*(toy.call(name, credential=name) for name in "abc"))
    assert toy.went == [("a", 30), ("b", 30.1), ("c", 30.2)]


@pytest.mark.parametrize("make", [window, bucket])
async def test_who_is_refused_has_a_place_of_its_own_and_goes_before_those_who_came_later(make: Make) -> None:
    toy = Caller(make(1, 10))
    await toy.call("first")
    assert [await refused(toy, waiter) for waiter in "abc"] == [10, 20, 30]
    await toy.clock.sleep(10)
    assert await refused(toy, "newcomer") == 40
    await toy.call("a", waiter="a", longest=NOW)
    await toy.clock.sleep(10.5)
    await toy.call("b", waiter="b", longest=NOW)
    assert toy.went == [("first", 0), ("a", 10), ("b", 20.5)]


async def test_who_asks_again_before_its_time_keeps_its_place() -> None:
    toy = Caller(window(1, 10))
    await toy.call("first")
    assert [await refused(toy, waiter) for waiter in ("a", "b", "a", "a", "b")] == [10, 20, 10, 10, 20]


async def test_a_place_that_nobody_comes_back_for_is_given_to_others() -> None:
    toy = Caller(window(1, 10))
    await toy.call("first")
    await refused(toy, "a")
    await toy.clock.sleep(20)
    await toy.call("b", longest=NOW)
    assert toy.went == [("first", 0), ("b", 20)]


async def test_a_waiter_without_a_name_takes_no_place() -> None:
    toy = Caller(window(1, 10))
    await toy.call("first")
    for _ in range(3):
        with pytest.raises(BrokerRateLimitError):
            await toy.call(longest=NOW)
    await toy.call("b")
    assert toy.went[-1] == ("b", 10)


async def test_after_a_long_freeze_each_comes_back_at_an_instant_of_its_own_and_keeps_it() -> None:
    toy = Caller(window(1, 2))
    await toy.freeze(85_092)
    assert [await refused(toy, waiter) for waiter in ("a", "b", "a", "c")] == [85_092, 85_094, 85_092, 85_096]


@given(
    st.booleans(),
    st.integers(1, 4),
    st.integers(2, 9),
    st.lists(st.tuples(st.integers(0, 20), st.sampled_from([0, 0.2, 1.5])), min_size=1, max_size=20),
)
@settings(deadline=None, max_examples=30)
def test_who_comes_back_as_told_is_let_in_after_few_questions_and_no_limit_is_broken(
    leaky: bool, amount: int, seconds: int, arrivals: list[tuple[int, float]]
) -> None:
    async def play() -> None:
        toy = Caller((bucket if leaky else window)(amount, seconds))
        asked, went = 0, []

        async def one(number: int, start: int, late: float) -> None:
            nonlocal asked
            await toy.clock.sleep(start)
            while True:
                asked += 1
                try:
                    await toy.call(waiter=str(number), longest=timedelta(seconds=seconds))
                    break
                except BrokerRateLimitError as error:
                    await toy.clock.sleep(error.retry_after.total_seconds() + late)
            went.append(toy.clock.time - toy.start)

        await asyncio.gather(*(one(number, *arrival) for number, arrival in enumerate(arrivals)))
        if not leaky:
            assert most_in_any_window([(at, 1) for at in went], seconds - 1e-9) <= amount
        assert asked <= 3 * len(arrivals)
        ideal = max(at for at, _ in arrivals) + len(arrivals) * seconds / amount
        assert max(went) <= ideal + seconds + sum(late for _, late in arrivals) + 1e-3
        assert not toy.lane._waiting

    asyncio.run(play())
