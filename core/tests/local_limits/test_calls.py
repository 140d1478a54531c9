"""The limiter of one process, on a virtual clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokersync.errors import BrokerConfigError, BrokerRateLimitError, LimitScope
from brokersync.limits import RateLimit
from brokersync.ratelimit import LocalLimiter
from brokersync.ratelimit.window import RollingWindow

from .toy import LONG, Caller, bucket, most_in_any_window, settle_without_time, wanted, window


@pytest.mark.parametrize("make", [window, bucket])
async def test_calls_within_the_limit_go_at_once(make: Callable[..., RateLimit]) -> None:
    toy = Caller(make(3, 10))
    for name in "abc":
        await toy.call(name)
    assert toy.went == [("a", 0), ("b", 0), ("c", 0)]
    assert toy.waits == []


async def test_a_window_lets_the_next_go_a_period_after_the_call_it_replaces() -> None:
    toy = Caller(window(2, 10))
    await toy.call("a")
    await toy.clock.sleep(4)
    await asyncio.gather(*(toy.call(name) for name in "bcde"))
    assert toy.went == [("a", 0), ("b", 4), ("c", 10), ("d", 14), ("e", 20)]
    assert toy.waits == [(LimitScope.APP, 6), (LimitScope.APP, 10), (LimitScope.APP, 16)]


async def test_a_bucket_lets_a_burst_go_and_then_leaks_steadily() -> None:
    toy = Caller(bucket(2, 10))
    await asyncio.gather(*(toy.call(name) for name in "abcde"))
    assert toy.went == [("a", 0), ("b", 0), ("c", 5), ("d", 10), ("e", 15)]
    assert toy.waits == [(LimitScope.APP, 5), (LimitScope.APP, 10), (LimitScope.APP, 15)]


async def test_a_bucket_drains_while_nobody_calls() -> None:
    toy = Caller(bucket(2, 10))
    await asyncio.gather(toy.call("a"), toy.call("b"))
    await toy.clock.sleep(7.5)
    await asyncio.gather(toy.call("c"), toy.call("d"))
    assert toy.went[2:] == [("c", 7.5), ("d", 10)]


async def test_all_limits_must_let_a_call_go() -> None:
    toy = Caller(window(1, 1), window(3, 60))
    await asyncio.gather(*(toy.call(name) for name in "abcd"))
    assert toy.went == [("a", 0), ("b", 1), ("c", 2), ("d", 60)]


async def test_a_window_and_a_bucket_bound_the_same_calls_together() -> None:
    toy = Caller(window(1, 1), bucket(2, 20))
    await asyncio.gather(*(toy.call(name) for name in "abcd"))
    assert toy.went == [("a", 0), ("b", 1), ("c", 10), ("d", 20)]


async def test_a_limit_for_named_operations_leaves_the_others_alone() -> None:
    toy = Caller(window(1, 10, operations=("login",)))
    await asyncio.gather(*(toy.call("list") for _ in range(3)), *(toy.call("login", operation="login") for _ in "ab"))
    assert toy.went == [("list", 0), ("list", 0), ("list", 0), ("login", 0), ("login", 10)]


async def test_each_credential_has_a_count_of_its_own_and_calls_without_one_share_one() -> None:
    toy = Caller(window(1, 10, LimitScope.CREDENTIAL))
    await asyncio.gather(toy.call("x", credential="x"), toy.call("y", credential="y"), toy.call("-"), toy.call("-"))
    assert toy.went == [("x", 0), ("y", 0), ("-", 0), ("-", 10)]


async def test_brokers_do_not_share_their_counts() -> None:
    toy = Caller(window(1, 10))
    await toy.call("a")
    await toy.limiter.acquire(wanted(toy.limits, provider="other"), longest=timedelta(0), on_wait=toy._on_wait)
    assert toy.clock.time == toy.start


async def test_equal_limits_are_one_limit_whoever_brings_them() -> None:
    toy = Caller(window(1, 10))
    await toy.call("a")
    toy.limits = (window(1, 10),)
    await toy.call("b")
    assert toy.went == [("a", 0), ("b", 10)]


async def test_a_weight_counts_as_that_many_calls() -> None:
    toy = Caller(window(4, 10))
    await asyncio.gather(toy.call("a", weight=3), toy.call("b", weight=2), toy.call("c", weight=2))
    assert toy.went == [("a", 0), ("b", 10), ("c", 10)]


@pytest.mark.parametrize("make", [window, bucket])
async def test_a_light_call_does_not_overtake_a_heavy_one_at_its_cost(make: Callable[..., RateLimit]) -> None:
    toy = Caller(make(2, 10))
    await asyncio.gather(toy.call("a", weight=1), toy.call("heavy", weight=2), toy.call("light"))
    assert [name for name, _ in toy.went] == ["a", "heavy", "light"]


@pytest.mark.parametrize("make", [window, bucket])
async def test_a_weight_that_no_wait_could_let_through_is_a_mistake(make: Callable[..., RateLimit]) -> None:
    toy = Caller(make(2, 10))
    with pytest.raises(BrokerConfigError, match="weighs 3"):
        await toy.call(weight=3)


async def test_one_that_is_held_up_by_its_own_limit_holds_up_nobody_else() -> None:
    toy = Caller(window(1, 10, LimitScope.CREDENTIAL), window(2, 1))
    calls = [toy.call(name, credential=name) for name in ("x", "x", "y", "z", "z")]
    await asyncio.gather(*calls)
    assert toy.went == [("x", 0), ("y", 0), ("z", 1), ("x", 10), ("z", 11)]


@pytest.mark.parametrize("make", [window, bucket])
async def test_who_fits_in_before_a_planned_call_goes_before_it(make: Callable[..., RateLimit]) -> None:
    toy = Caller(window(1, 10, LimitScope.CREDENTIAL), make(3, 1))
    await asyncio.gather(*(toy.call(name, credential=name) for name in ("x", "x", "y", "z")))
    assert toy.went == [("x", 0), ("y", 0), ("z", 0), ("x", 10)]


async def test_a_planned_call_is_not_pushed_out_of_its_place() -> None:
    toy = Caller(window(1, 10, LimitScope.CREDENTIAL), window(1, 8))
    await toy.call("x", credential="x")
    late = toy.spawn("x", credential="x")
    await asyncio.sleep(0)
    await toy.clock.sleep(5)
    await toy.call("y", credential="y")  # at 8 there would be room, but then x could not go at 10
    await late
    assert toy.went == [("x", 0), ("x", 10), ("y", 18)]


async def test_a_wait_that_is_too_long_is_refused_and_takes_no_place() -> None:
    toy = Caller(window(1, 10))
    await toy.call("a")
    await toy.clock.sleep(4)
    with pytest.raises(BrokerRateLimitError) as refused:
        await toy.call("b", longest=timedelta(seconds=5))
    assert refused.value.retry_after == timedelta(seconds=6)
    assert refused.value.freeze is None
    assert (refused.value.provider, refused.value.operation) == ("toy", "list")
    assert toy.waits == []
    await toy.call("c", longest=timedelta(seconds=6))
    assert toy.went == [("a", 0), ("c", 10)]


async def test_a_cancelled_waiter_gives_its_place_to_those_behind_it() -> None:
    toy = Caller(window(1, 10))
    tasks = [toy.spawn(name) for name in "abcd"]
    await settle_without_time(tasks[1].cancel)
    tasks.append(toy.spawn("e"))
    await asyncio.gather(*tasks, return_exceptions=True)
    assert toy.went == [("a", 0), ("c", 10), ("d", 20), ("e", 30)]


async def test_places_given_back_all_at_once_are_all_used_again() -> None:
    toy = Caller(window(1, 10))
    tasks = [toy.spawn(str(number)) for number in range(40)]
    await settle_without_time(*(task.cancel for task in tasks[1:39]))
    await asyncio.gather(*tasks, return_exceptions=True)
    assert toy.went == [("0", 0), ("39", 10)]


async def test_a_call_that_leaves_late_counts_from_then_on() -> None:
    toy = Caller(window(3, 10))
    late, on_time = await toy.acquire(weight=2), await toy.acquire()
    await on_time.sent()
    await toy.clock.sleep(3)
    await late.sent()
    await asyncio.gather(*(toy.call(name) for name in "abc"))
    assert toy.went == [("a", 10), ("b", 13), ("c", 13)]


async def test_a_call_that_leaves_when_its_place_is_forgotten_counts_all_the_same() -> None:
    toy = Caller(window(2, 10))
    late = await toy.acquire()
    await toy.clock.sleep(15)
    await toy.call("other")
    await late.sent()
    await toy.call("next")
    assert toy.went == [("other", 15), ("next", 25)]


async def test_who_is_passed_by_waits_no_longer_than_it_would() -> None:
    toy = Caller(window(1, 2))
    await toy.call("first")
    newcomer = toy.spawn("newcomer", longest=timedelta(seconds=5))
    await asyncio.sleep(0)
    pages = [toy.spawn("goes on", continues=True) for _ in range(10)]
    with pytest.raises(BrokerRateLimitError):
        await newcomer
    assert toy.clock.time - toy.start <= 5
    await asyncio.gather(*pages)


@pytest.mark.parametrize(("period", "second"), [(10, 10.02), (0.5, 0.51)])
async def test_windows_make_room_for_calls_that_are_longer_on_their_way(period: float, second: float) -> None:
    toy = Caller(window(1, period))
    toy.limiter = LocalLimiter(toy.clock, jitter=timedelta(milliseconds=20))
    await asyncio.gather(toy.call("a"), toy.call("b"))
    assert toy.went == [("a", 0), ("b", second)]


async def test_a_call_that_does_not_say_when_it_leaves_counts_from_its_end() -> None:
    toy = Caller(window(1, 10))
    silent = await toy.acquire()
    waits = toy.spawn("waits")
    await toy.clock.sleep(4)
    await silent.done()
    await waits
    assert toy.went == [("waits", 14)]


async def test_a_call_cancelled_after_it_was_let_go_gives_its_permit_back() -> None:
    toy = Caller(window(2, 10))
    tasks = [toy.spawn(name) for name in "abcde"]
    await asyncio.sleep(0)
    admit = toy.lane._admit

    def cancel_once_granted(*facts: object) -> None:
        admit(*facts)
        if facts[0].number == 3:
            tasks[3].cancel()

    toy.lane._admit = cancel_once_granted
    await asyncio.gather(*tasks, return_exceptions=True)
    assert tasks[3].cancelled()
    assert toy.went == [("a", 0), ("b", 0), ("c", 10), ("e", 10)]


async def test_a_listener_that_fails_takes_no_place() -> None:
    toy = Caller(window(1, 10))
    await toy.call("a")

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await toy.limiter.acquire(wanted(toy.limits), longest=LONG, on_wait=broken)
    await toy.call("b")
    assert toy.went == [("a", 0), ("b", 10)]


async def test_a_freeze_stops_calls_of_its_scope_and_key_only() -> None:
    toy = Caller()
    await toy.call("x", credential="x")
    await toy.freeze(30, LimitScope.CREDENTIAL, "x")
    await asyncio.gather(toy.call("x", credential="x"), toy.call("y", credential="y"), toy.call("-"))
    assert toy.went == [("x", 0), ("y", 0), ("-", 0), ("x", 30)]
    assert toy.waits == [(LimitScope.CREDENTIAL, 30)]


async def test_a_freeze_is_never_shortened() -> None:
    toy = Caller()
    await toy.freeze(30)
    await toy.freeze(10)
    await toy.freeze(-5)
    await toy.call("a")
    assert toy.went == [("a", 30)]


async def test_a_long_freeze_refuses_and_says_why() -> None:
    toy = Caller()
    await toy.freeze(30)
    with pytest.raises(BrokerRateLimitError, match="it said so") as refused:
        await toy.call(longest=timedelta(seconds=5))
    assert refused.value.retry_after == timedelta(seconds=30)


async def test_a_freeze_holds_those_who_wait_already() -> None:
    toy = Caller(window(1, 10))
    tasks = [toy.spawn(name) for name in "abc"]
    await settle_without_time(lambda: toy.freeze(25))
    await asyncio.gather(*tasks)
    assert toy.went == [("a", 0), ("b", 25), ("c", 35)]


async def test_a_freeze_refuses_those_who_would_wait_too_long_for_it() -> None:
    toy = Caller(window(1, 10))
    tasks = [toy.spawn(name, longest=timedelta(seconds=40)) for name in "abc"]
    await settle_without_time(lambda: toy.freeze(100))
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert toy.went == [("a", 0)]
    assert toy.clock.time == toy.start
    assert [type(outcome) for outcome in outcomes] == [type(None), BrokerRateLimitError, BrokerRateLimitError]


async def test_a_late_waker_never_makes_the_window_too_full() -> None:
    toy = Caller(window(2, 10))
    sleep = toy.clock.sleep

    async def oversleep(seconds: float) -> None:
        await sleep(seconds + 3)

    toy.clock.sleep = oversleep
    await asyncio.gather(*(toy.call(name) for name in "abcdef"))
    assert toy.went == [("a", 0), ("b", 0), ("c", 13), ("d", 13), ("e", 23), ("f", 23)]


async def test_what_nobody_uses_any_more_is_forgotten() -> None:
    toy = Caller(window(1, 10, LimitScope.CREDENTIAL), bucket(5, 10, LimitScope.CREDENTIAL))
    for number in range(1000):
        await toy.call(credential=f"user {number}")
        await toy.freeze(5, LimitScope.CREDENTIAL, f"user {number}")
        await toy.clock.sleep(1)
    assert len(toy.lane._meters) + len(toy.lane._freezes) <= 150
    assert not toy.lane._waiting
    assert not toy.lane._order


def run(play: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(play())


calls = st.lists(
    st.tuples(
        st.floats(0, 3, allow_subnormal=False),  # the pause before it
        st.integers(1, 3),  # its weight
        st.sampled_from(["x", "y", "z"]),  # its credential
        st.one_of(st.none(), st.none(), st.floats(0, 5)),  # when it is cancelled
    ),
    max_size=40,
)
periods = st.floats(0.1, 7, allow_subnormal=False)


@given(calls, st.integers(3, 6), periods, st.integers(3, 5), periods, st.floats(0, 0.3), st.booleans())
@settings(deadline=None, max_examples=60)
def test_no_window_ever_holds_more_than_its_amount(
    arrivals: list[tuple[float, int, str, float | None]],
    amount: int,
    period: float,
    each: int,
    each_period: float,
    oversleep: float,
    heavy: bool,
) -> None:
    async def play() -> None:
        weighs_two = {"weights": {"list": 2}} if heavy else {}
        toy = Caller(window(amount, period), window(each, each_period, LimitScope.CREDENTIAL, **weighs_two))
        sleep = toy.clock.sleep
        went: list[tuple[float, int, str]] = []

        async def late(seconds: float) -> None:
            await sleep(seconds + oversleep)

        async def one(pause: float, weight: int, credential: str) -> None:
            await sleep(pause)
            await toy.call(weight=weight, credential=credential)
            went.append((toy.clock.time, weight, credential))

        async def cancel(task: asyncio.Task[None], after: float) -> None:
            await sleep(after)
            task.cancel()

        toy.clock.sleep = late
        tasks = []
        start = 0.0
        for pause, weight, credential, cancelled in arrivals:
            start += pause
            tasks.append(asyncio.create_task(one(start, weight, credential)))
            if cancelled is not None:
                tasks.append(asyncio.create_task(cancel(tasks[-1], start + cancelled)))
        await asyncio.gather(*tasks, return_exceptions=True)

        callers = [task for task in tasks if task.get_coro().__name__ == "one"]
        assert len(went) == sum(not task.cancelled() for task in callers)
        assert most_in_any_window([(t, w) for t, w, _ in went], timedelta(seconds=period).total_seconds()) <= amount
        for credential in "xyz":
            mine = [(t, 2 if heavy else w) for t, w, name in went if name == credential]
            assert most_in_any_window(mine, timedelta(seconds=each_period).total_seconds()) <= each
        assert not toy.limiter._lanes or not toy.lane._waiting

    run(play)


weighted = st.lists(st.tuples(st.floats(0, 2, allow_subnormal=False), st.integers(1, 3)), max_size=40)


@given(weighted, st.integers(3, 5), periods, st.booleans())
@settings(deadline=None, max_examples=60)
def test_first_come_is_first_served(arrivals: list[tuple[float, int]], amount: int, period: float, leaky: bool) -> None:
    async def play() -> None:
        toy = Caller((bucket if leaky else window)(amount, period))
        tasks = []
        for number, (pause, weight) in enumerate(arrivals):
            await toy.clock.sleep(pause)
            tasks.append(toy.spawn(str(number), weight=weight))
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        # of two that may go at one instant either may be the first
        went = sorted((int(name), at) for name, at in toy.went)
        assert [at for _, at in went] == sorted(at for _, at in went)

    run(play)


@given(weighted, periods)
@settings(deadline=None, max_examples=40)
def test_a_bucket_never_overflows(arrivals: list[tuple[float, int]], period: float) -> None:
    async def play() -> None:
        toy = Caller(bucket(3, period))
        level, since = 0.0, toy.start
        went: list[tuple[float, int]] = []

        async def one(weight: int) -> None:
            await toy.call(weight=weight)
            went.append((toy.clock.time, weight))

        tasks = []
        for pause, weight in arrivals:
            await toy.clock.sleep(pause)
            tasks.append(asyncio.create_task(one(weight)))
        await asyncio.gather(*tasks)
        for at, weight in went:
            level = max(level - (at - since) * 3 / timedelta(seconds=period).total_seconds(), 0) + weight
            since = at
            assert level <= 3 + 1e-6

    run(play)


@given(st.integers(1, 60), st.integers(1, 7))
@settings(deadline=None, max_examples=30)
def test_a_full_queue_goes_at_exactly_the_rate(number: int, amount: int) -> None:
    async def play() -> None:
        toy = Caller(window(amount, 10))
        await asyncio.gather(*(toy.call() for _ in range(number)))
        assert [at for _, at in toy.went] == [10 * (place // amount) for place in range(number)]

    run(play)


async def test_what_is_only_counted_is_forgotten_when_it_counts_no_longer() -> None:
    window = RollingWindow(10, 1.0)
    for number in range(100):
        window.spend(number, number, 2)
    assert window.used(99.5) == len(window._leaving) == 2


async def test_a_call_that_goes_at_once_beside_a_promised_place_counts_for_those_behind_that() -> None:
    caller = Caller(bucket(2, 2), window(1, 10, LimitScope.CREDENTIAL))
    await caller.call("a", credential="a")
    with pytest.raises(BrokerRateLimitError):
        await caller.call("a", waiter="a", longest=timedelta(0), credential="a")
    caller.clock.time += 9.5
    await caller.call("b", credential="b")
    caller.clock.time += 0.5
    for name in "cdefg":
        with suppress(BrokerRateLimitError):
            await caller.call(name, waiter=name, longest=timedelta(0), credential=name)
    assert [name for name, _ in caller.went] == ["a", "b"]
