"""A worker of the embedded engine over many brokers with limits of their own, on a clock that jumps.

Engine, store and limiter are the real ones; a sync is a few calls that take a while each.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
from redis import Redis

from brokersync.config import Settings
from brokersync.errors import BrokerRateLimitError, LimitScope
from brokersync.jobs import Job
from brokersync.limits import RateLimit
from brokersync.queue.embedded import EmbeddedEngine
from brokersync.queue.engine import Defer
from brokersync.ratelimit import LimitedCall, LocalLimiter
from brokersync.ratelimit.redis_limiter import RedisLimiter
from brokersync.records import Connection
from brokersync.store import SealedGrant, SqliteStore

from .loop import VirtualLoop

START = datetime(2030, 1, 1, tzinfo=UTC)
TAKES = 0.2
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
        return await asyncio.get_running_loop().run_in_executor(
            None, self._connect
        )  # a step of the loop: it has no threads


@attrs.frozen(kw_only=True)
class Sync:
    """A connection's sync, due `after` so many seconds: pages of so many calls, one after the other.

    A page that is put off in its middle begins anew.
    """

    owner: str
    provider: str
    calls: int
    pages: int = 1
    after: float = 0.0


@attrs.frozen(kw_only=True)
class Course:
    """When each sync was over, in seconds."""

    syncs: Sequence[Sync]
    rates: Mapping[str, float]
    over: Mapping[int, float]

    @property
    def ended(self) -> dict[str, float]:
        """When the last sync of each broker was over that has done any."""
        found: dict[str, float] = {}
        for number, at in self.over.items():
            name = self.syncs[number].provider
            found[name] = max(found.get(name, 0.0), at)
        return found

    @property
    def least(self) -> dict[str, float]:
        """The least that each broker's limit allows."""
        calls: Counter[str] = Counter()
        for sync in self.syncs:
            calls[sync.provider] += sync.calls * sync.pages
        return {name: calls[name] / self.rates[name] for name in self.ended}

    @property
    def makespan(self) -> float:
        return max(self.ended.values())

    @property
    def bound(self) -> float:
        return max(self.least.values())

    @property
    def slowdowns(self) -> list[float]:
        """How much longer each broker took than its limit makes it, ascending; a second is nothing."""
        least = self.least
        return sorted(at / max(least[name], 1.0) for name, at in self.ended.items())


class _AtOnce:
    """A real Redis whose answers take no time of a clock that jumps."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def evalsha(self, *words: Any) -> Any:
        return self._redis.evalsha(*words)

    async def eval(self, *words: Any) -> Any:
        return self._redis.eval(*words)


def _limiter(clock: _Clock, redis: Redis | None) -> LocalLimiter | RedisLimiter:
    if redis is None:
        return LocalLimiter(clock)
    limiter = RedisLimiter(_AtOnce(redis), clock, now=lambda: int(clock.now().timestamp() * 1_000_000))
    limiter._frost.listen = lambda: None  # type: ignore[method-assign]  # there is nobody else to be heard
    return limiter


@attrs.define(kw_only=True)
class Fleet:
    """Syncs in the order in which they are submitted, and how many calls a second each broker allows, or `dead` is.

    The limits are kept in this process, or in `redis` where there is one.
    """

    syncs: Sequence[Sync]
    rates: Mapping[str, float]
    places: int
    dead: str | None = None
    redis: Redis | None = None
    _left: dict[int, int] = attrs.field(factory=dict)
    _over: dict[int, float] = attrs.field(factory=dict)
    _all_over: asyncio.Event = attrs.field(factory=asyncio.Event)

    def run(self) -> Course:
        """Every sync is done, but for those of a broker that is dead."""
        loop = _Loop(random.Random(1), START)
        try:
            loop.run_until_complete(self._course(loop))
        finally:
            loop.close()
        return Course(syncs=self.syncs, rates=self.rates, over=self._over)

    async def _course(self, loop: _Loop) -> None:
        clock, store = _Clock(loop), _Store()
        await store.open()
        limiter = _limiter(clock, self.redis)
        jobs = [self._job(number) for number in range(len(self.syncs))]
        for job in jobs:
            await store.add_connection(*_connection(job))
        engine = EmbeddedEngine(store.jobs, clock, Settings(), "one")
        await engine.submit(*jobs)
        self._left = {number: sync.pages for number, sync in enumerate(self.syncs) if sync.provider != self.dead}
        began = loop.time()

        async def handle(job: Job) -> None:
            number = int(job.connection_id)
            await self._sync(number, limiter, clock)
            self._over[number] = loop.time() - began
            if len(self._over) == len(self._left):
                self._all_over.set()

        running = asyncio.create_task(engine.run(handle, concurrency=self.places))
        await self._all_over.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    async def _sync(self, number: int, limiter: LocalLimiter | RedisLimiter, clock: _Clock) -> None:
        provider = self.syncs[number].provider
        if provider == self.dead:
            await asyncio.sleep(_DEAD_FOR)
            raise Defer(clock.now() + timedelta(minutes=5))
        begins = LimitedCall(
            provider=provider, limits=(self._limit(provider),), operation="list", scopes={LimitScope.APP: ""},
            waiter=str(number),
        )  # fmt: skip
        goes_on, settings = attrs.evolve(begins, continues=True), Settings()
        while self._left[number]:
            for made in range(self.syncs[number].calls):
                call, longest = (goes_on, settings.page_wait) if made else (begins, settings.long_wait)
                try:
                    await limiter.acquire(call, longest=longest, on_wait=lambda *_: None)
                except BrokerRateLimitError as error:
                    wait = error.retry_after or timedelta(0)
                    for_all = error.scope is not None
                    lane = for_all and self.redis is None
                    raise Defer(clock.now() + wait, promised=for_all, lane=lane) from None
                await asyncio.sleep(TAKES)
            self._left[number] -= 1

    def _limit(self, provider: str) -> RateLimit:
        amount = max(round(5 * self.rates[provider]), 1)
        return RateLimit(scope=LimitScope.APP, amount=amount, period=timedelta(seconds=amount / self.rates[provider]))

    def _job(self, number: int) -> Job:
        sync = self.syncs[number]
        # the queue takes whom has waited longest, so that it is told who came first; all have come by then, since a
        # worker would look at each of the instants anew
        at = START + timedelta(seconds=sync.after, microseconds=number - len(self.syncs))
        return Job(connection_id=str(number), owner=sync.owner, provider=sync.provider, environment="live", at=at)


def _connection(job: Job) -> tuple[Connection, SealedGrant]:
    login = {"owner": job.owner, "provider": job.provider, "environment": job.environment, "identity": "i"}
    connection = Connection(connection_id=job.connection_id, label="", created_at=START, **login)
    return connection, SealedGrant(generation=1, auth=b"", credentials=b"", **login)
