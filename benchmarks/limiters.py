"""`python -m benchmarks.limiters CASE ...`: one process takes permits through a limiter and prints when it got them.

Instants are of the machine's monotonic clock, so that those of several processes lie on one line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any

Acquire = Callable[[], Awaitable[Any]]
Limiter = Callable[[int, str], AbstractAsyncContextManager[Acquire]]

_FOR_AS_LONG_AS_IT_TAKES = 3600.0


@asynccontextmanager
async def _nothing(rate: int, redis: str) -> AsyncIterator[Acquire]:
    async def acquire() -> None:
        pass

    yield acquire


@asynccontextmanager
async def _log(rate: int, redis: str) -> AsyncIterator[Acquire]:
    """The least that keeps a window strictly and first come, first served."""
    made: deque[float] = deque(maxlen=rate)
    turn = asyncio.Lock()

    async def acquire() -> None:
        async with turn:
            if len(made) == rate:
                await asyncio.sleep(max(made[0] + 1 - time.monotonic(), 0))
            made.append(time.monotonic())

    yield acquire


@asynccontextmanager
async def _aiolimiter(rate: int, redis: str) -> AsyncIterator[Acquire]:
    from aiolimiter import AsyncLimiter

    yield AsyncLimiter(rate, 1).acquire


@asynccontextmanager
async def _limits(rate: int, redis: str) -> AsyncIterator[Acquire]:
    from limits import RateLimitItemPerSecond
    from limits.aio.storage import MemoryStorage, RedisStorage
    from limits.aio.strategies import MovingWindowRateLimiter

    storage = RedisStorage(f"async+redis+{redis}", implementation="redispy") if redis else MemoryStorage()
    limiter, item = MovingWindowRateLimiter(storage), RateLimitItemPerSecond(rate)

    async def acquire() -> None:
        while not await limiter.hit(item, "key"):
            stats = await limiter.get_window_stats(item, "key")
            await asyncio.sleep(max(stats.reset_time - time.time(), 0.001))

    yield acquire


@asynccontextmanager
async def _pyrate(rate: int, redis: str) -> AsyncIterator[Acquire]:
    from pyrate_limiter import Duration, InMemoryBucket, Limiter, Rate, RedisBucket

    rates = [Rate(rate, Duration.SECOND)]
    if redis:
        from redis.asyncio import Redis

        async with Redis.from_url(redis) as client:
            made = Limiter(await RedisBucket.init(rates, client, "key"))
            yield lambda: made.try_acquire_async("key")
            made.close()
        return
    limiter = Limiter(InMemoryBucket(rates))
    yield lambda: limiter.try_acquire_async("key")
    limiter.close()


@asynccontextmanager
async def _throttled(rate: int, redis: str) -> AsyncIterator[Acquire]:
    from throttled.asyncio import MemoryStore, RateLimiterType, RedisStore, Throttled, per_sec

    limiter = Throttled(
        key="key",
        using=RateLimiterType.SLIDING_WINDOW.value,
        quota=per_sec(rate),
        store=RedisStore(redis) if redis else MemoryStore(),
        timeout=_FOR_AS_LONG_AS_IT_TAKES,
    )
    yield limiter.limit


@asynccontextmanager
async def _ours(rate: int, redis: str) -> AsyncIterator[Acquire]:
    from brokersync.clock import SystemClock
    from brokersync.errors import LimitScope
    from brokersync.limits import LimitKind, RateLimit
    from brokersync.ratelimit import LimitedCall, LocalLimiter
    from brokersync.ratelimit.redis_limiter import RedisLimiter

    clock = SystemClock()
    limits = [RateLimit(scope=LimitScope.APP, amount=rate, period=timedelta(seconds=1), kind=LimitKind.WINDOW)]
    call = LimitedCall(provider="broker", limits=limits, operation="list", scopes={LimitScope.APP: ""}, waiter="w")
    longest = timedelta(seconds=_FOR_AS_LONG_AS_IT_TAKES)
    limiter: LocalLimiter | RedisLimiter
    if redis:
        from redis.asyncio import Redis

        limiter = RedisLimiter(Redis.from_url(redis), clock)
    else:
        limiter = LocalLimiter(clock)
    yield lambda: limiter.acquire(call, longest=longest, on_wait=lambda *told: None)
    await limiter.aclose()


CASES: dict[str, Limiter] = {
    "no limit": _nothing,
    "strict log": _log,
    "aiolimiter": _aiolimiter,
    "limits": _limits,
    "pyrate-limiter": _pyrate,
    "throttled-py": _throttled,
    "ours": _ours,
}


async def _take(acquire: Acquire, tasks: int, each: int, begins: float) -> dict[str, Any]:
    at: list[float] = []
    waits: list[float] = []

    async def task() -> None:
        for _ in range(each):
            asked = time.monotonic()
            await acquire()
            at.append(time.monotonic())
            waits.append(at[-1] - asked)

    await asyncio.sleep(max(begins - time.monotonic(), 0))
    cpu = time.process_time()
    await asyncio.gather(*(task() for _ in range(tasks)))
    return {"at": at, "waits": waits, "cpu": time.process_time() - cpu}


async def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.limiters")
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--rate", type=int, required=True, help="permits a second")
    parser.add_argument("--tasks", type=int, required=True)
    parser.add_argument("--each", type=int, required=True, help="permits that each task wants")
    parser.add_argument("--begins", type=float, default=0.0, help="when, by the machine's monotonic clock")
    parser.add_argument("--redis", default="", help="the URL of what the processes share")
    options = parser.parse_args()
    async with CASES[options.case](options.rate, options.redis) as acquire:
        print(json.dumps(await _take(acquire, options.tasks, options.each, options.begins)))


if __name__ == "__main__":
    asyncio.run(_main())
