"""Workers that docket wakes, chosen by one line of the configuration."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from brokersync.config import Settings, parse_settings
from brokersync.events import SyncRecorded
from brokersync.jobs import JobCounts

from .broker import Desk, open_desk


@pytest.fixture
def settings(redis_url: str) -> Settings:
    """Nobody looks for jobs unless it is woken, as far as a test lasts."""
    return parse_settings(
        f"""
        [fleet]
        redis = "{redis_url}"
        [queue]
        engine = "docket"
        name = "test-{secrets.token_hex(6)}"
        hold = "1h"
        plan_every = "1h"
        """
    )


@pytest.fixture
def opened(tmp_path: Path, settings: Settings) -> Any:
    """`opened(other)` is a desk of another process; of the same broker, by the same clock."""

    def make(other: Desk | None = None) -> Desk:
        shared = (None, None) if other is None else (other.broker, other.clock)
        return open_desk(tmp_path, *shared, queue=settings.queue, fleet=settings.fleet)

    return make


@asynccontextmanager
async def working(*desks: Desk) -> AsyncIterator[None]:
    workers = [desk.bs.worker() for desk in desks]
    running = [asyncio.create_task(worker.run()) for worker in workers]
    try:
        yield
    finally:
        for worker in workers:
            worker.stop()
        await asyncio.wait_for(asyncio.gather(*running), 30)


async def recorded(times: int, *desks: Desk) -> None:
    async with asyncio.timeout(30):
        while sum(len(desk.heard(SyncRecorded)) for desk in desks) < times:  # noqa: ASYNC110  nothing else tells of it
            await asyncio.sleep(0.005)


async def idle(desk: Desk) -> None:
    async with asyncio.timeout(30):
        while await desk.bs.job_counts() != JobCounts():  # noqa: ASYNC110  as above
            await asyncio.sleep(0.005)


async def keys(settings: Settings) -> list[bytes]:
    async with Redis.from_url(settings.fleet.redis or "") as redis:
        return [key async for key in redis.scan_iter(f"{settings.queue.name}:*", count=1000)]


async def test_what_is_due_and_what_is_asked_for_elsewhere_is_synced_once(opened: Any) -> None:
    desk = opened()
    other, asking = opened(desk), opened(desk)
    async with desk.bs, other.bs, asking.bs:
        tasks = asyncio.all_tasks()
        names = await desk.connect("ann", "ben", "cid")
        async with working(desk, other):
            await recorded(3, desk, other)
            await idle(asking)  # else it may be under way still, and asking adds nothing
            await asking.bs.sync_now(names[0])
            await recorded(4, desk, other)
        assert sorted(desk.broker.asked) == ["ann", "ann", "ben", "cid"]
        assert await asking.bs.job_counts() == JobCounts()
        for one in (desk, other, asking):
            await one.bs.close()
        assert asyncio.all_tasks() == tasks


async def test_a_job_that_waits_is_seen_from_every_process(opened: Any) -> None:
    desk = opened()
    asking = opened(desk)
    async with desk.bs, asking.bs:
        names = await desk.connect("ann", "ben")
        for name in names:
            await asking.bs.sync_now(name)
        assert [place.position for place in await desk.bs.job_places("alice")] == [1, 2]
        assert (await desk.bs.job_counts()).ready == 2


async def test_nothing_is_left_in_the_redis_of_who_leaves(opened: Any, settings: Settings) -> None:
    desk = opened()
    async with desk.bs:
        (mine,) = await desk.connect("ann")
        await desk.connect("ben", "cid", owner="bob")
        for one in await desk.bs.connections():
            await desk.bs.sync_now(one.connection_id)
        waiting = {key for key in await keys(settings) if b":runs:" in key}
        assert len(waiting) == 3
        await desk.bs.disconnect(mine)
        left = {key for key in await keys(settings) if b":runs:" in key}
        assert len(left) == 2
        assert left < waiting
        await desk.bs.forget("bob")
        assert not any(b":runs:" in key for key in await keys(settings))
        async with Redis.from_url(settings.fleet.redis or "") as redis:
            assert await redis.xlen(f"{settings.queue.name}:stream") == 0
