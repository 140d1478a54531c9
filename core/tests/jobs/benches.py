"""One queue and the engines on it, each as a process of its own has it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import attrs

from brokersync.config import QueueSettings, Settings
from brokersync.events import Event
from brokersync.jobs import Job
from brokersync.queue.bell import Bell
from brokersync.queue.docket_bell import DocketBell
from brokersync.queue.embedded import EmbeddedEngine
from brokersync.queue.engine import JobEngine
from brokersync.ratelimit.opening import open_redis
from brokersync.records import Connection
from brokersync.store import SealedGrant, SqlStore

NOW = datetime(2030, 3, 1, 9, tzinfo=UTC)


class Bench(Protocol):
    """What the tests of every engine need of it."""

    async def job(self, name: str, *, after: float = 0, **facts: Any) -> Job:
        """A job for a connection that is there; it may begin after so many seconds."""

    def now(self) -> datetime: ...

    async def engine(self) -> JobEngine:
        """Another engine on the same queue."""

    async def pass_by(self, seconds: float) -> None: ...

    async def close(self) -> None: ...


class TestClock:
    """Time that passes when the test says so."""

    __test__ = False

    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()

    async def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)
        await asyncio.sleep(0)


@attrs.define
class EmbeddedBench:
    """The embedded engine over a store."""

    stores: Any
    queue: QueueSettings = attrs.field(factory=lambda: QueueSettings(look_every=timedelta(milliseconds=5)))
    clock: TestClock = attrs.field(factory=TestClock)
    store: SqlStore | None = None
    engines: list[EmbeddedEngine] = attrs.field(factory=list)

    async def job(self, name: str, *, after: float = 0, **facts: Any) -> Job:
        values: dict[str, Any] = {"owner": "me", "provider": "paper", "environment": "live"}
        job = Job(connection_id=name, at=self.now() + timedelta(seconds=after), **(values | facts))
        if self.store is None:
            self.store = await self.stores.open()
        await connect(self.store, job)
        return job

    def now(self) -> datetime:
        return self.clock.now()

    async def engine(self) -> EmbeddedEngine:
        store: SqlStore = await self.stores.open()
        name = f"worker {len(self.engines)}"
        self.engines.append(EmbeddedEngine(store.jobs, self.clock, Settings(queue=self.queue), name, self.bell()))
        return self.engines[-1]

    def bell(self) -> Bell | None:
        return None

    async def pass_by(self, seconds: float) -> None:
        await self.clock.sleep(seconds)

    async def close(self) -> None:
        for engine in self.engines:
            await engine.aclose()


@attrs.define
class DocketBench(EmbeddedBench):
    """The embedded engine whose workers are woken by docket; they look by themselves far too seldom for a test."""

    url: str = ""
    events: list[Event] = attrs.field(factory=list)
    queue: QueueSettings = attrs.field(
        factory=lambda: QueueSettings(
            look_every=timedelta(milliseconds=5), hold=timedelta(hours=1), name=f"test-{secrets.token_hex(6)}"
        )
    )

    def bell(self) -> Bell:
        return DocketBell(self.url, self.queue, self.clock, self.events.append)

    async def keys(self) -> list[str]:
        """What stands in the Redis under the queue's name."""
        async with open_redis(self.url) as redis:
            return sorted([key.decode() async for key in redis.scan_iter(f"{self.queue.name}:*", count=1000)])


async def connect(store: SqlStore, job: Job) -> None:
    await store.data_key(job.owner, lambda: job.owner.encode())
    login = {"owner": job.owner, "provider": job.provider, "environment": job.environment}
    of = Connection(connection_id=job.connection_id, label="", identity=job.connection_id, created_at=NOW, **login)
    await store.add_connection(of, SealedGrant(identity=of.identity, generation=1, auth=b"", credentials=b"", **login))


class Log:
    """A handler that notes the jobs it was given, and does with each what it is told to."""

    def __init__(self, does: Callable[[Job], Any] = lambda job: None) -> None:
        self.names: list[str] = []
        self.jobs: list[Job] = []
        self.running = self.most = 0
        self.begun = asyncio.Event()
        self._does = does

    async def __call__(self, job: Job) -> None:
        self.names.append(job.connection_id)
        self.jobs.append(job)
        self.begun.set()
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            done = self._does(job)
            if asyncio.iscoroutine(done):
                await done
        finally:
            self.running -= 1


async def drain(engine: JobEngine, handler: Log | None = None, concurrency: int = 4) -> list[str]:
    """Run until nothing may begin any more; the connections in the order in which their jobs began."""
    handler = handler or Log()
    await asyncio.wait_for(engine.run(handler, concurrency=concurrency, until_empty=True), 60)
    return handler.names


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
