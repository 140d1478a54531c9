"""`brokersync worker` as processes of their own that are killed, frozen and stopped."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from brokersync import BrokerSync
from brokersync.testing.redis_server import ScratchRedis

from .stand import Stand, kept

# these tests run at any time of day, and the workers by this machine's clock
_OPEN = "\n[brokers.tradovate]\nmaintenance = []\n"
_QUEUE = '\n[queue]\nhold = "2s"\nplan_every = "500ms"\nlook_every = "100ms"\n'


@pytest.fixture
async def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stand]:
    monkeypatch.setenv("BROKERSYNC_KEY", base64.b64encode(bytes(32)).decode())
    made = Stand("tradovate", tmp_path)
    async with made.serving():
        made.config.write_text(made.config.read_text() + _OPEN + _QUEUE)
        yield made


async def start(stand: Stand, place: str, *words: str) -> Process:
    """A worker that has said that it has started."""
    command = (sys.executable, "-m", "brokersync", "worker", "--store", place, "--config", str(stand.config), *words)
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
    assert process.stderr is not None
    line = (await process.stderr.readline()).decode()
    assert line.startswith("The worker has started"), line
    process.line = line  # type: ignore[attr-defined]  # what it has said
    return process


async def stop(process: Process) -> tuple[str, str]:
    process.terminate()
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0
    return out.decode(), err.decode()


async def all_read(stand: Stand, place: str) -> None:
    """Returns when each connection was synced and none is due."""
    async with BrokerSync.open(place, settings=stand.settings, clock=stand.clock) as bs, asyncio.timeout(120):
        while True:
            counts, due = await bs.job_counts(), await bs.due()
            if not due and not counts.ready and not counts.running:
                return
            await asyncio.sleep(0.1)  # real time: the workers are in processes of their own


async def undisturbed(stand: Stand, stores: Any) -> tuple[Any, int]:
    place = stores.place
    await stand.finish(place, await stand.connect(place))
    return await kept(place), stand.requests


def at_request(stand: Stand, number: int) -> asyncio.Event:
    """Set when that many requests have come."""
    reached = asyncio.Event()

    async def tell(count: int) -> None:
        if count >= number:
            reached.set()

    stand.on_request = tell
    if stand.requests >= number:  # where this process was slower than the workers, no other may come
        reached.set()
    return reached


async def test_the_jobs_of_a_worker_that_is_killed_are_done_by_the_other(
    stand: Stand, stores: Any, database: object, sized: Callable[[str, int, int], int]
) -> None:
    where = "Postgres" if database else "SQLite"
    wanted, requests = await undisturbed(stand, stores)
    assert len(wanted) > 50
    for number in range(sized(f"kill -9 of one of two workers with a queue, {where}", 1, 20)):
        place = stores.new().place
        await stand.connect(place)
        reached = at_request(stand, 1 + requests * (number % 10) // 10)
        workers = [await start(stand, place, "--concurrency", "1") for _ in range(2)]
        await asyncio.wait_for(reached.wait(), 60)
        workers[number % 2].send_signal(signal.SIGKILL)
        await workers[number % 2].communicate()
        await all_read(stand, place)
        await stop(workers[1 - number % 2])
        assert await kept(place) == wanted


async def test_neither_a_worker_nor_a_redis_that_is_killed_costs_docket_a_job(
    stand: Stand, tmp_path: Path, stores_in: Any, own_redis: Callable[..., AbstractContextManager[ScratchRedis]]
) -> None:
    stores = stores_in(tmp_path, None)
    wanted, requests = await undisturbed(stand, stores)
    place = stores.new().place
    await stand.connect(place)
    with own_redis() as redis:
        stand.config.write_text(f'{stand.config.read_text()}engine = "docket"\n[fleet]\nredis = "{redis.url}"\n')
        workers = [await start(stand, place, "--concurrency", "1") for _ in range(2)]
        await asyncio.wait_for(at_request(stand, requests // 3).wait(), 60)
        workers[0].send_signal(signal.SIGKILL)
        await workers[0].communicate()
        await asyncio.wait_for(at_request(stand, requests // 2).wait(), 60)
        redis.kill()
        redis.start()  # with nothing in it
        await all_read(stand, place)
        _, said = await stop(workers[1])
    assert await kept(place) == wanted
    assert said == "The worker has stopped.\n"


async def test_a_worker_that_was_frozen_for_too_long_commits_nothing_of_what_another_has_taken(
    stand: Stand, stores: Any
) -> None:
    wanted, requests = await undisturbed(stand, stores)
    place = stores.new().place
    await stand.connect(place)
    asked, answer = asyncio.Event(), asyncio.Event()

    async def hold_back(count: int) -> None:
        if count >= requests // 3:
            asked.set()
            await answer.wait()

    stand.on_request = hold_back
    frozen = await start(stand, place, "--concurrency", "1")
    await asyncio.wait_for(asked.wait(), 60)
    # while it waits for the broker it holds no lock in the store, which would keep every other process from writing
    frozen.send_signal(signal.SIGSTOP)
    answer.set()
    other = await start(stand, place)
    await all_read(stand, place)
    before = await kept(place)
    frozen.send_signal(signal.SIGCONT)
    await all_read(stand, place)
    await stop(frozen)
    await stop(other)
    assert before == await kept(place) == wanted


@pytest.mark.long_on_postgres
async def test_a_worker_that_is_told_to_stop_hands_over_what_it_reads(stand: Stand, stores: Any) -> None:
    wanted, requests = await undisturbed(stand, stores)
    place = stores.new().place
    await stand.connect(place)
    reached = at_request(stand, requests // 2)
    first = await start(stand, place, "--json")
    await asyncio.wait_for(reached.wait(), 60)
    out, err = await stop(first)
    assert err == "The worker has stopped.\n"
    assert set(json.loads(out)["syncs"]) <= {"done", "deferred"}
    second = await start(stand, place)
    await all_read(stand, place)
    await stop(second)
    assert await kept(place) == wanted


@pytest.mark.long_on_postgres
async def test_a_worker_that_can_not_end_a_sync_in_time_stops_all_the_same(stand: Stand, stores: Any) -> None:
    place = stores.place
    await stand.connect(place)
    asked, never = asyncio.Event(), asyncio.Event()

    async def hang(_: int) -> None:
        asked.set()
        await never.wait()

    stand.on_request = hang
    worker = await start(stand, place, "--stop-within", "1")
    await asyncio.wait_for(asked.wait(), 60)
    began = asyncio.get_running_loop().time()
    await stop(worker)
    assert asyncio.get_running_loop().time() - began < 20
    never.set()
    async with BrokerSync.open(place, settings=stand.settings, clock=stand.clock) as bs:
        assert len(await bs.due()) == 2


@pytest.mark.long_on_postgres
async def test_a_second_signal_does_not_wait(stand: Stand, stores: Any) -> None:
    place = stores.place
    await stand.connect(place)
    asked, never = asyncio.Event(), asyncio.Event()

    async def hang(_: int) -> None:
        asked.set()
        await never.wait()

    stand.on_request = hang
    worker = await start(stand, place, "--stop-within", "3600")
    await asyncio.wait_for(asked.wait(), 60)
    worker.send_signal(signal.SIGINT)
    await asyncio.sleep(0.2)
    await stop(worker)
    never.set()


@pytest.mark.long_on_postgres
async def test_health_and_readiness_are_told_over_http(stand: Stand, stores: Any) -> None:
    place = stores.place
    await stand.connect(place)
    worker = await start(stand, place, "--health", "0")
    where = re.search(r"http://127\.0\.0\.1:\d+", worker.line)  # type: ignore[attr-defined]  # see `start`
    assert where is not None
    async with aiohttp.ClientSession() as session:

        async def ask(path: str) -> tuple[int, Any]:
            async with session.get(where[0] + path) as answer:
                return answer.status, await answer.json() if answer.status != 404 else None

        assert await ask("/healthz") == (200, {"alive": True})
        assert await ask("/readyz") == (200, {"ready": True, "reason": None})
        assert (await ask("/"))[0] == 404
        await all_read(stand, place)
        worker.send_signal(signal.SIGSTOP)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await ask("/healthz")
        worker.send_signal(signal.SIGCONT)
    await stop(worker)


async def test_asking_for_a_sync_reaches_a_worker_in_another_process(stand: Stand, stores: Any) -> None:
    place = stores.place
    (first, _) = await stand.connect(place)
    worker = await start(stand, place)
    await all_read(stand, place)
    async with BrokerSync.open(place, settings=stand.settings, clock=stand.clock) as bs:
        before = (await bs.connection(first)).last_synced_at
        await bs.sync_now(first, owner="me")
        async with asyncio.timeout(60):
            while (await bs.connection(first)).last_synced_at == before:  # noqa: ASYNC110  another process syncs it
                await asyncio.sleep(0.05)
    await stop(worker)
