"""What a fleet does while its Redis is away, and when it is back: on a clock that the test sets, with a real server."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from brokersync.config import FleetSettings
from brokersync.errors import BrokerRateLimitError, LimitScope
from brokersync.events import Event, SharedLimitsBack, SharedLimitsLost
from brokersync.ratelimit import LocalLimiter, open_limiter
from brokersync.ratelimit.fleet import FleetLimiter
from brokersync.ratelimit.frost import FREEZES, Frost
from brokersync.ratelimit.opening import open_redis
from brokersync.ratelimit.redis_limiter import RedisLimiter
from brokersync.testing.redis_server import ScratchRedis

from .board import BEGIN, Board, bucket, keys, slots, window

MINUTE = timedelta(minutes=1)


@pytest.fixture(params=[False, True], ids=["forgets", "remembers"])
def server(
    request: pytest.FixtureRequest, own_redis: Callable[..., AbstractContextManager[ScratchRedis]]
) -> Iterator[ScratchRedis]:
    """A server of our own that may be killed; it comes back empty, or with all it knew."""
    with own_redis(durable=request.param) as running:
        yield running


@pytest.fixture
async def client(server: ScratchRedis) -> AsyncIterator[Redis]:
    async with open_redis(server.url) as made:
        yield made


class Process(Board):
    """One of several processes over one server, on one clock."""

    def __init__(self, client: Redis, *limits: Any, beside: Process | None = None, share: int = 20) -> None:
        super().__init__(client, *limits)
        self.clock: Process = self if beside is None else beside.clock
        if beside is not None:
            self.provider = beside.provider
        self.events: list[Event] = []
        shared = RedisLimiter(client, self, share=share, now=lambda: self.begin + self.clock.micros)
        settings = FleetSettings(share=share, alone=10 * MINUTE)
        self.limiter: Any = FleetLimiter(shared, LocalLimiter(self), self, settings, self.events.append)

    def now(self) -> datetime:
        return BEGIN + timedelta(microseconds=self.clock.micros)

    def monotonic(self) -> float:
        return self.clock.micros / 1_000_000

    async def goes_at_once(self, times: int) -> int:
        """How many of so many calls go now."""
        return sum([(await self.ask(str(number), longest=timedelta(0)))[0] for number in range(times)])


async def test_without_redis_each_process_takes_its_share_and_says_so_once(server: Any, client: Any) -> None:
    one = Process(client, window(10, 60))
    other = Process(client, window(10, 60), beside=one)
    assert await one.goes_at_once(3) == 3
    server.kill()
    assert (await one.goes_at_once(9), await other.goes_at_once(9)) == (0, 2)
    one.clock.advance(60)
    assert (await one.goes_at_once(9), await other.goes_at_once(9)) == (2, 2)
    assert [type(event) for event in one.events] == [SharedLimitsLost]
    assert one.events[0].share == 20


@pytest.mark.parametrize("limit", [window, bucket])
async def test_what_a_process_let_go_before_redis_went_away_counts_for_its_share(
    server: Any, client: Any, limit: Any
) -> None:
    process = Process(client, limit(10, 60))
    assert await process.goes_at_once(1) == 1
    server.kill()
    assert await process.goes_at_once(9) == 1


async def test_a_process_that_used_far_more_of_a_bucket_than_its_share_goes_on_at_the_rate_of_that(
    server: Any, client: Any
) -> None:
    process = Process(client, bucket(10, 60))
    assert await process.goes_at_once(9) == 9
    server.kill()
    process.advance(29)  # a share of two drains by one in thirty seconds
    assert await process.goes_at_once(9) == 0
    process.advance(1)
    assert await process.goes_at_once(9) == 1


async def test_a_place_that_is_slept_for_counts_for_the_share_when_redis_goes_away_meanwhile(
    server: Any, client: Any
) -> None:
    process = Process(client, window(3, 60), share=50)
    assert await process.goes_at_once(3) == 3
    asleep = process.hold_sleepers()
    waiting = asyncio.create_task(process.call("waits"))
    await asleep.wait()
    server.kill()
    process.advance(70)
    assert await process.goes_at_once(9) == 0
    process.advance(50)
    assert await process.goes_at_once(9) == 1
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


async def test_who_waits_for_a_slot_counts_for_no_share(server: Any, client: Any) -> None:
    process = Process(client, window(4, 60), slots(1), share=50)
    assert await process.goes_at_once(1) == 1
    asleep = process.hold_sleepers()
    waiting = asyncio.create_task(process.call("waits"))
    await asleep.wait()
    server.kill()
    await process.passed.done()
    assert await process.goes_at_once(9) == 1
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


async def test_what_went_last_before_a_crash_is_told_again_where_the_file_lacks_it(server: Any, client: Any) -> None:
    process = Process(client, window(10, 60), window(100, 60, reserve=20))
    assert await process.goes_at_once(3) == 3
    server.kill()
    assert await process.goes_at_once(9) == 0
    server.start()
    for key in await keys(client, f"*{process.provider}*:log"):
        await client.delete(key)
    process.advance(1)
    assert await process.goes_at_once(9) == 0
    process.advance(3)
    assert await used(client, process.provider) == {3}


async def test_what_went_last_before_a_cut_is_counted_once_after_it(server: Any, client: Any) -> None:
    process = Process(client, window(10, 60))
    assert await process.goes_at_once(3) == 3
    server.kill()
    assert await process.goes_at_once(9) == 0
    server.start()
    process.advance(1)
    assert await process.goes_at_once(9) == 0
    assert await used(client, process.provider) == {3}


async def test_a_server_that_forgot_is_told_the_last_places_by_whoever_asks_it_though_nobody_found_it_away(
    redis: Any,
) -> None:
    process = Process(redis, window(10, 60))
    assert await process.goes_at_once(4) == 4
    for key in await keys(redis, f"*{process.provider}*"):
        await redis.delete(key)
    process.advance(1)
    assert await process.goes_at_once(9) == 1, "before it was told"
    assert await used(redis, process.provider) == {5}
    process.advance(60)
    assert await process.goes_at_once(20) == 10


async def test_a_server_that_came_back_with_an_old_file_lets_a_share_go_until_a_period_has_passed(redis: Any) -> None:
    process = Process(redis, window(10, 60))
    assert await process.goes_at_once(1) == 1
    (key,) = await keys(redis, f"*{process.provider}*:began")
    old = await redis.get(key)
    process.advance(10)
    assert await process.goes_at_once(5) == 5
    process.advance(10)
    await redis.set(key, old)
    for log in await keys(redis, f"*{process.provider}*:log"):
        await redis.delete(log)
    assert await process.goes_at_once(9) == 1, "of a share of two, since it is told of five more"
    process.advance(59)
    assert await process.goes_at_once(9) == 1
    process.advance(1)
    assert await process.goes_at_once(20) == 9


async def test_what_a_file_of_a_moment_before_lacks_is_told_again_though_nobody_found_the_server_away(
    redis: Any,
) -> None:
    process = Process(redis, window(10, 60))
    assert await process.goes_at_once(1) == 1
    (key,) = await keys(redis, f"*{process.provider}*:began")
    old = await redis.get(key)
    process.advance(0.5)
    assert await process.goes_at_once(5) == 5
    process.advance(6)
    await redis.set(key, old)
    for log in await keys(redis, f"*{process.provider}*:log"):
        await redis.delete(log)
    assert await process.goes_at_once(20) == 4
    assert await used(redis, process.provider) == {10}


async def test_a_bucket_of_which_the_server_knows_nothing_is_full_when_it_is_told_what_went(
    server: Any, client: Any
) -> None:
    one = Process(client, bucket(10, 100))
    other = Process(client, bucket(10, 100), beside=one)
    assert await one.goes_at_once(10) == 10
    server.kill()
    assert (await one.goes_at_once(9), await other.goes_at_once(1)) == (0, 1)
    server.start()
    one.clock.advance(1)
    await other.goes_at_once(1)
    one.clock.advance(4)
    assert await one.goes_at_once(20) == 0
    one.clock.advance(30)
    assert await one.goes_at_once(20) <= 3


async def test_what_was_forgotten_is_told_again_once_however_many_meet_it(redis: Any) -> None:
    process = Process(redis, window(1000, 60))
    assert await process.goes_at_once(700) == 700
    for key in await keys(redis, f"*{process.provider}*"):
        await redis.delete(key)
    process.advance(1)
    told: list[str] = []
    run = process.limiter._shared._scripts.run

    async def counted(script: Any, log: Any, words: Any) -> Any:
        told.append(script.text.partition("\n")[0])
        return await run(script, log, words)

    process.limiter._shared._scripts.run = counted
    await asyncio.gather(*(process.call(str(number)) for number in range(20)))
    assert sum("again" in one for one in told) == 2, "of 700 places 500 at once"
    assert await used(redis, process.provider) == {720}


async def test_a_place_that_was_given_back_is_not_told_again(server: Any, client: Any) -> None:
    process = Process(client, window(1, 60))
    assert await process.goes_at_once(1) == 1
    asleep = process.hold_sleepers()
    waiting = asyncio.create_task(process.call("waits"))
    await asleep.wait()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await process.limiter._shared.remind(process.limiter._shared.part(process.provider))
    assert await used(client, process.provider) == {1}


async def used(client: Redis, provider: str) -> set[int]:
    """How many calls the logs of its windows hold."""
    return {await client.zcard(key) for key in await keys(client, f"*{provider}*:log")}


async def test_a_limit_with_less_than_a_call_in_its_share_goes_more_slowly(server: Any, client: Any) -> None:
    process = Process(client, window(1, 10))
    server.kill()
    assert await process.goes_at_once(5) == 1
    process.advance(49)
    assert await process.goes_at_once(5) == 0
    process.advance(1)
    assert await process.goes_at_once(5) == 1


async def test_without_redis_for_too_long_no_call_goes_and_the_remedy_is_told(server: Any, client: Any) -> None:
    process = Process(client, window(10, 60))
    server.kill()
    assert await process.goes_at_once(1) == 1
    process.advance(10 * 60)
    with pytest.raises(BrokerRateLimitError, match="away for too long") as refused:
        await process.call()
    assert "fleet.redis" in refused.value.remedy


async def test_what_went_without_redis_is_counted_when_it_is_back(server: Any, client: Any) -> None:
    process = Process(client, window(10, 60))
    server.kill()
    assert await process.goes_at_once(5) == 2
    server.start()
    process.advance(1)
    assert await process.goes_at_once(20) == 0
    assert [type(event) for event in process.events] == [SharedLimitsLost, SharedLimitsBack]
    process.advance(3)
    assert await process.goes_at_once(20) == 8


async def test_no_process_uses_what_another_used_without_redis(server: Any, client: Any) -> None:
    one = Process(client, window(10, 60))
    other = Process(client, window(10, 60), beside=one)
    server.kill()
    assert (await one.goes_at_once(9), await other.goes_at_once(9)) == (2, 2)
    server.start()
    one.clock.advance(1)
    assert await one.goes_at_once(20) == 0
    one.clock.advance(2)
    assert await other.goes_at_once(20) == 0
    one.clock.advance(1)
    assert await one.goes_at_once(20) == 6
    one.clock.advance(2)
    assert await other.goes_at_once(20) == 0


async def test_what_goes_by_the_share_when_redis_is_back_is_counted_there(server: Any, client: Any) -> None:
    process = Process(client, window(10, 60))
    server.kill()
    assert await process.goes_at_once(1) == 1
    server.start()
    process.advance(1)
    assert await process.goes_at_once(20) == 1
    process.advance(3)
    assert await process.goes_at_once(20) == 8


async def test_what_went_without_redis_is_counted_once_however_many_call_when_it_is_back(
    server: Any, client: Any
) -> None:
    process = Process(client, window(10, 60))
    server.kill()
    assert await process.goes_at_once(5) == 2
    server.start()
    process.advance(1)
    await asyncio.gather(*(process.ask(str(number), longest=timedelta(0)) for number in range(20)))
    process.advance(3)
    assert await process.goes_at_once(20) == 8


async def test_who_waits_for_the_share_waits_no_longer_when_all_is_as_it_was(server: Any, client: Any) -> None:
    process = Process(client, window(10, 60))
    server.kill()
    assert await process.goes_at_once(2) == 2
    async with asyncio.TaskGroup() as tasks:
        waits = tasks.create_task(process.call("late"))
        server.start()
        process.advance(1)
        assert await process.goes_at_once(1) == 0
        process.advance(3)
        assert await process.goes_at_once(1) == 1
        async with asyncio.timeout(10):  # real time: were it to wait for its share, it would wait for ever
            await waits
    assert await process.goes_at_once(20) == 6


async def test_who_would_wait_for_the_share_for_too_long_comes_back_when_all_is_as_it_was(
    server: Any, client: Any
) -> None:
    process = Process(client, window(10, 60))
    server.kill()
    assert await process.goes_at_once(2) == 2
    server.start()
    process.advance(1)
    assert await process.refused() == 4


@pytest.mark.parametrize("limits", [(), (slots(2),), (window(5, 1, operations=("other",)),)])
async def test_calls_that_nothing_counts_over_time_keep_no_outage_from_ending(
    server: Any, client: Any, limits: Any
) -> None:
    process = Process(client, window(10, 60))
    server.kill()
    await process.call(limits=limits)
    await process.passed.done()
    server.start()
    process.advance(1)
    await process.call(limits=limits)
    process.advance(3)
    assert await process.goes_at_once(20) == 10
    assert [type(event) for event in process.events] == [SharedLimitsLost, SharedLimitsBack]


async def test_who_sleeps_out_a_freeze_goes_though_the_outage_ends_meanwhile(server: Any, client: Any) -> None:
    process, thawed = Process(client, window(10, 60)), asyncio.Event()
    await process.freeze(300, LimitScope.CREDENTIAL, "me")
    server.kill()
    assert await process.goes_at_once(1) == 1
    process.sleep = lambda _: thawed.wait()  # type: ignore[method-assign,assignment]  # until the test says so
    sleeps = asyncio.create_task(process.call("frozen", credential="me"))
    await asyncio.sleep(0)
    server.start()
    process.advance(301)
    await process.goes_at_once(1)
    process.advance(3)
    await process.goes_at_once(1)
    thawed.set()
    await sleeps


async def test_who_is_cancelled_while_redis_is_away_does_not_go(server: Any, client: Any) -> None:
    process = Process(client, window(1, 10))
    assert await process.goes_at_once(1) == 1
    asleep = process.hold_sleepers()
    waits = asyncio.create_task(process.call("kept"))
    await asleep.wait()
    server.kill()
    waits.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waits


async def test_who_waits_for_the_share_does_not_go_when_the_time_alone_is_over(server: Any, client: Any) -> None:
    process = Process(client, window(10, 60))
    server.kill()
    assert await process.goes_at_once(2) == 2
    waits = asyncio.create_task(process.call("late", limits=(window(10, 60), slots(1))))
    await asyncio.sleep(0)  # it waits for its place here, where nobody has to be asked
    process.advance(10 * 60)
    with pytest.raises(BrokerRateLimitError, match="away for too long"):
        await waits
    server.start()
    process.advance(1)
    assert (await process.ask(limits=(slots(1),), longest=timedelta(0)))[0]  # its slot is free again


async def test_a_server_that_takes_no_writes_is_away_all_the_same(server: Any, client: Any) -> None:
    process = Process(client, window(10, 60))
    await client.config_set("min-replicas-to-write", 1)
    for _ in range(5):
        await process.goes_at_once(1)
        process.advance(100)
    assert [type(event) for event in process.events] == [SharedLimitsLost]
    process.advance(600)
    with pytest.raises(BrokerRateLimitError, match="away for too long"):
        await process.call()


async def test_those_who_wait_find_out_by_themselves_that_redis_is_back(server: Any, client: Any) -> None:
    process = Process(client, window(10, 60))
    server.kill()
    assert await process.goes_at_once(2) == 2
    waits = asyncio.create_task(process.call("late"))
    server.start()
    process.advance(1)
    async with asyncio.timeout(10):  # real time: were nobody to look, it would wait for ever
        while SharedLimitsBack not in map(type, process.events):  # noqa: ASYNC110  no event of ours
            await asyncio.sleep(0.01)
        process.advance(3)
        await waits
    await process.limiter.aclose()


async def test_redis_may_go_away_again_before_all_is_as_it_was(server: Any, client: Any) -> None:
    process = Process(client, window(10, 60), share=50)
    server.kill()
    assert await process.goes_at_once(1) == 1
    server.start()
    process.advance(1)
    assert await process.goes_at_once(1) == 1
    server.kill()
    process.advance(2)
    assert await process.goes_at_once(5) == 3
    kinds = [type(event) for event in process.events]
    assert kinds == [SharedLimitsLost, SharedLimitsBack, SharedLimitsLost]


@pytest.mark.parametrize("make", [window, bucket])
async def test_a_restart_of_the_server_breaks_no_limit_beyond_the_share(server: Any, client: Any, make: Any) -> None:
    process = Process(client, make(10, 60))
    assert await process.goes_at_once(20) == 10
    server.kill()
    server.start()
    process.advance(1)
    assert await process.goes_at_once(20) == (0 if server.durable else 1 if make is window else 2)
    process.advance(61)
    assert await process.goes_at_once(20) == 10


async def test_who_waits_for_what_a_restart_has_made_less_waits_for_one_period_of_it(server: Any, client: Any) -> None:
    process = Process(client, window(10, 60))
    assert await process.goes_at_once(10) == 10
    server.kill()
    server.start()
    process.advance(1)
    places = [await process.call(str(number)) for number in range(12)]
    assert places == ([60] * 10 + [120] * 2 if server.durable else [1, 60] + [61] * 9 + [120])


async def test_a_freeze_holds_when_redis_goes_away_after_it(server: Any, client: Any) -> None:
    process = Process(client, window(10, 60))
    await process.freeze(300)
    server.kill()
    assert await process.goes_at_once(3) == 0
    process.advance(301)
    assert await process.goes_at_once(1) == 1


async def test_a_server_that_stands_still_is_given_up_within_a_second_or_two(server: Any, client: Any) -> None:
    process = Process(client, window(10, 60))
    assert await process.goes_at_once(1) == 1
    os.kill(server.pid, signal.SIGSTOP)
    try:
        async with asyncio.timeout(10):  # real time: the client's own bound is what is tested
            assert await process.goes_at_once(5) == 1
    finally:
        os.kill(server.pid, signal.SIGCONT)


async def test_many_calls_at_once_are_no_reason_to_take_the_server_to_be_away(server: Any, client: Any) -> None:
    process = Process(client, window(1000, 60))
    await asyncio.gather(*(process.call(str(number)) for number in range(400)))
    assert process.events == []


async def test_a_freeze_of_one_process_reaches_the_other_before_it_asks(server: Any, client: Any) -> None:
    one = Process(client, window(10, 60))
    heard = Frost(client, one)
    heard.listen()
    async with asyncio.timeout(10):
        # real time: the server alone knows who listens
        while await client.pubsub_numsub(FREEZES) != [(FREEZES.encode(), 1)]:  # noqa: ASYNC110  no event of ours
            await asyncio.sleep(0.01)
        await one.freeze(300)
        while not heard.holds([key.decode() for key in await client.keys(f"*{one.provider}*freeze*")], 0):  # noqa: ASYNC110  see above
            await asyncio.sleep(0.01)
    await heard.aclose()


async def test_the_limiter_of_the_settings_asks_the_redis_that_they_name(server: Any) -> None:
    process = Board(None, window(1, 60))
    process.limiter = open_limiter(FleetSettings(redis=server.url), process, lambda _: None)  # type: ignore[assignment]  # any limiter does
    assert await process.ask(longest=timedelta(0)) == (True, 0)
    assert (await process.ask(longest=timedelta(0)))[0] is False
    await process.limiter.aclose()


async def test_of_all_processes_one_tells_of_a_refusal_and_one_that_it_is_over(server: Any, client: Any) -> None:
    one = Process(client, window(100, 1))
    other = Process(client, window(100, 1), beside=one)
    refused = [
        (await process.refuse(LimitScope.APP, asked=seconds)).again for process, seconds in ((one, 5), (other, 9))
    ]
    assert refused == [False, True]
    call = one.wanted(one.limits)
    sent_at = one.clock.micros / 1_000_000
    assert await one.limiter.came_through(call, sent_at) == []  # it left before the scope was let go again
    one.clock.advance(60)
    told = [await process.limiter.came_through(call, process.monotonic()) for process in (other, one, other)]
    assert [[(thaw.lasted.total_seconds(), thaw.told) for thaw in thaws] for thaws in told] == [
        [(60, False)],
        [(60, True)],
        [],
    ]
    assert not (await other.refuse(LimitScope.APP)).again


async def test_what_was_refused_while_redis_is_away_is_told_by_each_process_once(server: Any, client: Any) -> None:
    process = Process(client, window(100, 1))
    await process.call()
    server.kill()
    await process.goes_at_once(1)
    assert [(await process.refuse(LimitScope.APP)).again for _ in range(2)] == [False, True]
    process.advance(60)
    server.start()
    process.advance(60)
    await process.call()
    told = await process.limiter.came_through(process.wanted(process.limits), process.monotonic())
    assert [(thaw.lasted.total_seconds(), thaw.told) for thaw in told] == [(120, False)]
