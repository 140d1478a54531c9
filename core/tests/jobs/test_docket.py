"""What is docket's own: what stands in the Redis, and that a worker goes on without it."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import attrs
import pytest
from opentelemetry import baggage, context
from redis.asyncio import Redis

from brokersync.clock import SystemClock
from brokersync.config import FleetSettings, QueueEngine, QueueSettings, Settings, parse_settings
from brokersync.errors import BrokerConfigError, StoreError
from brokersync.events import WakeUpsBack, WakeUpsLost
from brokersync.jobs import Job, JobCounts
from brokersync.queue import docket_bell, docketing
from brokersync.queue.docket_bell import DocketBell
from brokersync.queue.embedded import EmbeddedEngine
from brokersync.queue.engine import Defer
from brokersync.testing.redis_server import ScratchRedis

from .benches import DocketBench, Log, ended


@pytest.fixture
async def bench(tmp_path: Any, stores_in: Any, redis_url: str) -> AsyncIterator[DocketBench]:
    stores = stores_in(tmp_path, None)
    made = DocketBench(stores, url=redis_url)
    yield made
    await made.close()
    await stores.close()
    gc.collect()


async def _begun(handler: Log, times: int) -> None:
    async with asyncio.timeout(30):
        while len(handler.names) < times:  # noqa: ASYNC110  the event of a handler is set once
            await asyncio.sleep(0.005)


async def _content(bench: DocketBench) -> bytes:
    """Every key of the queue, and what stands there."""
    found = b""
    async with Redis.from_url(bench.url) as redis:
        for key in await bench.keys():
            found += key.encode() + (await redis.dump(key) or b"")
    return found


async def _left(bench: DocketBench) -> list[str]:
    """The keys of the queue but for those that a worker holds as long as it runs."""
    names = [key.removeprefix(bench.queue.name) for key in await bench.keys()]
    return [name for name in names if "lease" not in name and "worker" not in name]


async def test_the_redis_learns_neither_whose_job_it_is_nor_of_which_connection(bench: DocketBench) -> None:
    engine = await bench.engine()
    traced = context.attach(baggage.set_baggage("who", "baggage-of-ann"))
    await engine.submit(
        await bench.job("paper-0123456789", owner="ann@example.com", provider="paperbroker", asked=True),
        await bench.job("paper-9876543210", owner="ann@example.com", provider="paperbroker", after=3600),
    )
    context.detach(traced)
    content = await _content(bench)
    assert b"wake" in content
    for secret in (b"0123456789", b"9876543210", b"ann@", b"paperbroker", b"baggage-of-ann"):
        assert secret not in content


async def test_nothing_is_left_of_a_job_that_has_ended_or_is_taken_back(bench: DocketBench) -> None:
    engine, handler = await bench.engine(), Log()
    running = asyncio.create_task(engine.run(handler, concurrency=1))
    await engine.submit(await bench.job("a"), await bench.job("b", after=3600))
    await _begun(handler, 1)
    assert await engine.cancel("b")
    assert not await engine.cancel("b")
    # a job is begun before docket has put away what woke the worker, and a worker that stops leaves that to another
    async with asyncio.timeout(30):
        while await _left(bench) != [":stream"]:  # noqa: ASYNC110  docket tells nobody of it
            await asyncio.sleep(0.01)
    engine.stop()
    await asyncio.wait_for(running, 30)
    # the stream is empty and stays, with the group that reads it
    assert [key.removeprefix(bench.queue.name) for key in await bench.keys() if "lease" not in key] == [":stream"]
    async with Redis.from_url(bench.url) as redis:
        assert await redis.xlen(f"{bench.queue.name}:stream") == 0


async def test_taking_a_job_back_ends_no_other(bench: DocketBench) -> None:
    engine, finish, finished = await bench.engine(), asyncio.Event(), list[str]()

    async def work(job: Job) -> None:
        await finish.wait()
        finished.append(job.connection_id)

    handler = Log(work)
    running = asyncio.create_task(engine.run(handler, concurrency=1))
    await engine.submit(await bench.job("a"))
    await _begun(handler, 1)
    assert not await engine.cancel("a")
    await asyncio.sleep(0.1)  # docket tells workers of it
    finish.set()
    engine.stop()
    await asyncio.wait_for(running, 30)
    assert finished == ["a"]


async def test_no_job_is_lost_or_runs_twice_at_once_where_workers_come_and_go(
    bench: DocketBench, sized: Callable[[str, int, int], int]
) -> None:
    chance, number = random.Random(7), sized("jobs for workers that docket wakes and that come and go", 60, 3000)
    bench.clock = SystemClock()  # type: ignore[assignment]  # a clock is a clock
    again = {f"{n}": chance.choice((0, 0, 1, 2)) for n in range(number)}
    under_way, twice = set[str](), list[str]()

    async def work(job: Job) -> None:
        if job.connection_id in under_way:
            twice.append(job.connection_id)
        under_way.add(job.connection_id)
        try:
            await asyncio.sleep(chance.choice((0, 0.005, 0.02)))
        finally:
            under_way.discard(job.connection_id)
        if again[job.connection_id]:
            again[job.connection_id] -= 1
            after = timedelta(seconds=chance.choice((0, 0.05, 0.3)))
            raise Defer(bench.now() + after, elsewhere=chance.random() < 0.1)

    async def begin() -> tuple[EmbeddedEngine, asyncio.Task[None]]:
        engine = await bench.engine()
        return engine, asyncio.create_task(engine.run(work, concurrency=chance.choice((1, 2, 4))))

    workers, submitting = [await begin() for _ in range(3)], await bench.engine()
    for first in range(0, number, 10):
        jobs = [
            await bench.job(
                f"{n}", owner=f"owner {n % 7}", provider=f"broker {n % 3}", after=chance.choice((0, 0.3, 60))
            )
            for n in range(first, min(first + 10, number))
        ]
        await submitting.submit(*jobs)
        await submitting.submit(*[attrs.evolve(job, at=bench.now(), asked=True) for job in jobs])
        engine, running = workers.pop(0)
        engine.stop() if chance.random() < 0.5 else running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        workers.append(await begin())
    async with asyncio.timeout(60):
        while await submitting.counts() != JobCounts():  # noqa: ASYNC110  nothing else tells of it
            await asyncio.sleep(0.01)
    for _, running in workers:
        await ended(running)
    assert twice == []
    assert not any(again.values())


async def test_an_engine_that_is_closed_while_it_runs_can_be_ended_all_the_same(bench: DocketBench) -> None:
    engine, handler = await bench.engine(), Log()
    running = asyncio.create_task(engine.run(handler, concurrency=1))
    await engine.submit(await bench.job("a"))
    await _begun(handler, 1)
    await engine.aclose()
    await asyncio.wait_for(ended(running), 30)
    await engine.aclose()


async def test_a_wake_up_that_is_lost_costs_time_and_no_job(bench: DocketBench) -> None:
    bench.queue = attrs.evolve(bench.queue, hold=timedelta(seconds=0.2))
    engine, other = await bench.engine(), await bench.engine()
    await other.submit(await bench.job("first"))
    async with Redis.from_url(bench.url) as redis:
        await redis.delete(*await bench.keys())
    handler = Log()
    running = asyncio.create_task(engine.run(handler, concurrency=1))
    await _begun(handler, 1)
    await other.submit(await bench.job("second", after=0.3))
    async with Redis.from_url(bench.url) as redis:
        await redis.delete(*[key for key in await bench.keys() if "stream" not in key])
    await bench.pass_by(0.3)
    await _begun(handler, 2)
    await ended(running)


async def test_who_is_woken_before_its_own_clock_says_so_looks_again(bench: DocketBench) -> None:
    engine, handler = await bench.engine(), Log()
    running = asyncio.create_task(engine.run(handler, concurrency=1))
    await engine.submit(await bench.job("a", after=0.05))
    async with asyncio.timeout(30):
        while any(":runs:" in key for key in await bench.keys()):  # noqa: ASYNC110  nothing else tells of it
            await asyncio.sleep(0.01)
    assert handler.names == [], "the wake-up has come, and here it is not time yet"
    await bench.pass_by(0.05)
    await _begun(handler, 1)
    await ended(running)


async def test_while_the_redis_is_away_workers_look_by_themselves(
    bench: DocketBench,
    own_redis: Callable[..., AbstractContextManager[ScratchRedis]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(docket_bell, "_LOOKS_AGAIN_AFTER", 0.05)
    monkeypatch.setattr(docketing, "_RECONNECTS_AFTER", timedelta(seconds=0.05))
    handler = Log()
    with own_redis() as server:
        bench.url = server.url
        engine, other = await bench.engine(), await bench.engine()
        running = asyncio.create_task(engine.run(handler, concurrency=1))
        await other.submit(await bench.job("before"))
        await _begun(handler, 1)
        server.kill()
        await other.submit(await bench.job("meanwhile"))
        await _begun(handler, 2)
        server.start()  # it has forgotten everything
        async with asyncio.timeout(30):
            while not any(isinstance(event, WakeUpsBack) for event in bench.events):  # noqa: ASYNC110  no other sign
                await asyncio.sleep(0.01)
        await other.submit(await bench.job("after"))
        await _begun(handler, 3)
        engine.stop()
        await asyncio.wait_for(running, 30)
        await bench.close()
    # each of the two processes says so once
    assert sorted(type(event).__name__ for event in bench.events) == ["WakeUpsBack"] * 2 + ["WakeUpsLost"] * 2
    assert any(isinstance(event, WakeUpsLost) and event.reason for event in bench.events)


async def test_a_worker_does_not_start_where_the_redis_does_not_answer(bench: DocketBench) -> None:
    bench.url = "redis://:hidden@127.0.0.1:1/0"
    engine = await bench.engine()
    with pytest.raises(StoreError) as raised:
        await asyncio.wait_for(engine.run(Log(), concurrency=1), 30)
    assert "does not answer" in raised.value.message
    assert "fleet.redis" in (raised.value.remedy or "")
    assert "hidden" not in repr(raised.value)


def test_a_queue_of_docket_without_its_package_says_how_to_get_it(
    bench: DocketBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docket_bell, "_PACKAGE", "no_such_package")
    with pytest.raises(BrokerConfigError) as raised:
        DocketBell(bench.url, bench.queue, bench.clock, bench.events.append)
    assert "brokersync[docket]" in (raised.value.remedy or "")


def test_a_queue_of_docket_without_a_redis_is_a_mistake_of_the_configuration() -> None:
    with pytest.raises(BrokerConfigError, match=r"fleet\.redis"):
        parse_settings('[queue]\nengine = "docket"\n')
    with pytest.raises(BrokerConfigError, match="'rabbit' is none of embedded, docket"):
        parse_settings('[queue]\nengine = "rabbit"\n')
    with pytest.raises(BrokerConfigError, match=r"queue\.name: name consists of"):
        parse_settings('[queue]\nname = "a b"\n')
    read = parse_settings('[queue]\nengine = "docket"\n[fleet]\nredis = "redis://localhost"\n')
    wanted = Settings(queue=QueueSettings(engine=QueueEngine.DOCKET), fleet=FleetSettings(redis="redis://localhost"))
    assert read == wanted
