"""A worker of the embedded engine over many brokers with limits of their own, on a clock that jumps.

Engine, store and limiter are the real ones; a sync is a few calls that take a while each.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import statistics
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs

from brokersync.config import QueueSettings, Settings
from brokersync.errors import BrokerRateLimitError, LimitScope
from brokersync.jobs import Job
from brokersync.limits import RateLimit
from brokersync.queue.embedded import EmbeddedEngine
from brokersync.queue.engine import Defer
from brokersync.ratelimit import LimitedCall, LocalLimiter
from brokersync.records import Connection
from brokersync.store import SealedGrant, SqliteStore

from .loop import VirtualLoop

START = datetime(2030, 1, 1, tzinfo=UTC)
CALLS, TAKES = 4, 0.2
_SLOWEST, _FASTEST = 0.2, 50.0
_DEAD_FOR = 30.0


class _Loop(VirtualLoop):
    """Holds on to no task: of these there are hundreds of thousands, and none of them crashes."""

    longest = 10**9

    def _new_task(self, loop: asyncio.AbstractEventLoop, work: Any, context: Any = None) -> asyncio.Task[Any]:
        return asyncio.Task(work, loop=loop, context=context)


class _Clock:
    def __init__(self, loop: _Loop) -> None:
        self._loop = loop

    def now(self) -> datetime:
        return self._loop.now()

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _Store(SqliteStore):
    def __init__(self) -> None:
        super().__init__(Path(":memory:"))

    async def _connected(self) -> sqlite3.Connection:
        return await self._on_thread(self._connect)  # which is a step of the loop, where there are no threads


@attrs.frozen(kw_only=True)
class Course:
    """When the last call of each broker's last sync was over, in seconds, and the least that its limit allows."""

    ended: dict[str, float]
    least: dict[str, float]

    @property
    def makespan(self) -> float:
        return max(self.ended.values())

    @property
    def bound(self) -> float:
        return max(self.least.values())

    @property
    def slowdowns(self) -> list[float]:
        """Of each broker, ascending."""
        return sorted(self.ended[name] / self.least[name] for name in self.ended)

    @property
    def median(self) -> float:
        return statistics.median(self.slowdowns)

    def tenth_worst(self) -> float:
        return self.slowdowns[int(0.9 * len(self.slowdowns))]


@attrs.define(kw_only=True)
class Fleet:
    """So many connections, in turn of each broker; `order` is what they are submitted in: shuffled, or by broker."""

    brokers: int
    connections: int
    places: int
    order: str = "shuffled"
    dead: int | None = None
    _left: Counter[str] = attrs.field(factory=Counter)
    _ended: dict[str, float] = attrs.field(factory=dict)
    _all_done: asyncio.Event = attrs.field(factory=asyncio.Event)

    def run(self) -> Course:
        """Every sync is done, but for those of a broker that is dead."""
        loop = _Loop(random.Random(1), START)
        try:
            loop.run_until_complete(self._course(loop))
        finally:
            loop.close()
        least = {
            name: max(CALLS * count / self._rate(name), CALLS * TAKES) for name, count in self._per_broker().items()
        }
        return Course(ended=self._ended, least={name: least[name] for name in self._ended})

    async def _course(self, loop: _Loop) -> None:
        clock, store = _Clock(loop), _Store()
        await store.open()
        limiter = LocalLimiter(clock)
        jobs = [self._job(number) for number in range(self.connections)]
        for job in jobs:
            await store.add_connection(*_connection(job))
        engine = EmbeddedEngine(store.jobs, clock, Settings(queue=QueueSettings()), "one")
        await engine.submit(*self._in_order(jobs))
        self._left = Counter({job.connection_id: CALLS for job in jobs if job.provider != self._dead})
        began = loop.time()

        async def handle(job: Job) -> None:
            await self._sync(job, limiter, clock)
            self._ended[job.provider] = loop.time() - began
            if not +self._left:
                self._all_done.set()

        running = asyncio.create_task(engine.run(handle, concurrency=self.places))
        await self._all_done.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    async def _sync(self, job: Job, limiter: LocalLimiter, clock: _Clock) -> None:
        if job.provider == self._dead:
            await asyncio.sleep(_DEAD_FOR)
            raise Defer(clock.now() + timedelta(minutes=5))
        call = LimitedCall(
            provider=job.provider, limits=(self._limit(job.provider),), operation="list",
            scopes={LimitScope.APP: ""}, waiter=job.connection_id,
        )  # fmt: skip
        while self._left[job.connection_id]:
            try:
                await limiter.acquire(call, longest=Settings().long_wait, on_wait=lambda *_: None)
            except BrokerRateLimitError as error:
                wait = error.retry_after or timedelta(0)
                raise Defer(clock.now() + wait, lane=True) from None
            await asyncio.sleep(TAKES)
            self._left[job.connection_id] -= 1

    @property
    def _dead(self) -> str | None:
        return None if self.dead is None else f"broker-{self.dead}"

    def _rate(self, provider: str) -> float:
        """Calls a second: evenly spread over the decades from the slowest to the fastest."""
        place = int(provider.partition("-")[2]) / (self.brokers - 1)
        return float(_SLOWEST * (_FASTEST / _SLOWEST) ** place)

    def _limit(self, provider: str) -> RateLimit:
        rate = self._rate(provider)
        amount = max(round(5 * rate), 1)
        return RateLimit(scope=LimitScope.APP, amount=amount, period=timedelta(seconds=amount / rate))

    def _per_broker(self) -> Counter[str]:
        return Counter(self._job(number).provider for number in range(self.connections))

    def _job(self, number: int) -> Job:
        return Job(
            connection_id=f"c{number}", owner=f"owner {number}", provider=f"broker-{number % self.brokers}",
            environment="live", at=START,
        )  # fmt: skip

    def _in_order(self, jobs: Sequence[Job]) -> list[Job]:
        if self.order == "shuffled":
            return random.Random(2).sample(jobs, len(jobs))
        by_broker = sorted(jobs, key=lambda job: int(job.provider.partition("-")[2]))
        if self.order == "the fastest first":
            by_broker.reverse()
        # the queue takes whom has waited longest, so that it is told who came first
        return [
            attrs.evolve(job, at=START + number * timedelta(microseconds=1)) for number, job in enumerate(by_broker)
        ]


def _connection(job: Job) -> tuple[Connection, SealedGrant]:
    login = {"owner": job.owner, "provider": job.provider, "environment": job.environment, "identity": "i"}
    connection = Connection(connection_id=job.connection_id, label="", created_at=START, **login)
    return connection, SealedGrant(generation=1, auth=b"", credentials=b"", **login)
