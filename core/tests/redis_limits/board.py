"""Calls through a `RedisLimiter` whose server's clock the test sets, one after the other."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from brokersync.errors import BrokerRateLimitError, LimitScope
from brokersync.limits import LimitKind, RateLimit
from brokersync.ratelimit import LimitedCall, Penalty, Refusal
from brokersync.ratelimit.redis_limiter import RedisLimiter

SECOND = 1_000_000
LONG = timedelta(days=30)
LEASE = timedelta(seconds=60)
BEGIN = datetime(2030, 1, 1, tzinfo=UTC)


def window(amount: int, seconds: float, scope: LimitScope = LimitScope.APP, **more: Any) -> RateLimit:
    return RateLimit(scope=scope, amount=amount, period=timedelta(seconds=seconds), **more)


def bucket(amount: int, seconds: float, scope: LimitScope = LimitScope.APP, **more: Any) -> RateLimit:
    return window(amount, seconds, scope, kind=LimitKind.BUCKET, **more)


def slots(amount: int, scope: LimitScope = LimitScope.APP, **more: Any) -> RateLimit:
    return RateLimit(scope=scope, amount=amount, kind=LimitKind.CONCURRENCY, **more)


async def keys(redis: Any, pattern: str) -> list[bytes]:
    """Those that stand in the Redis, on whichever of its servers."""
    return [key async for key in redis.scan_iter(pattern, count=1000)]


class Board:
    """Time stands still but for `advance`; whoever has to sleep goes at once and its place is written down."""

    def __init__(self, redis: Any, *limits: RateLimit) -> None:
        self.micros = 0
        self.limits = limits
        self.provider = f"toy-{secrets.token_hex(6)}"  # keys of its own, on a server that may be anybody's
        self.begin = 1_900_000_000 * SECOND
        self.limiter = RedisLimiter(redis, self, now=lambda: self.begin + self.micros)
        self.limiter._frost.listen = lambda: None  # type: ignore[method-assign]  # there is nobody else to be heard
        self.slept = 0.0
        self.passed: Any = None

    def now(self) -> datetime:
        return BEGIN + timedelta(microseconds=self.micros)

    def monotonic(self) -> float:
        return self.micros / SECOND

    async def sleep(self, seconds: float) -> None:
        self.slept += seconds
        await asyncio.sleep(0)

    def hold_sleepers(self) -> asyncio.Event:
        """Whoever sleeps from now on does not go; set when the first of them lies down."""
        asleep = asyncio.Event()

        async def sleep(_: float) -> None:
            asleep.set()
            await asyncio.Event().wait()

        self.sleep = sleep  # type: ignore[method-assign]  # of this one
        return asleep

    def advance(self, seconds: float) -> None:
        self.micros += round(seconds * SECOND)

    async def call(
        self,
        waiter: str = "one",
        *,
        weight: int = 1,
        longest: timedelta = LONG,
        operation: str = "list",
        limits: Sequence[RateLimit] | None = None,
        pressing: bool = False,
        continues: bool = False,
        **scopes: str,
    ) -> float:
        """When the call goes, in seconds since the start. Raises `BrokerRateLimitError`."""
        self.slept = 0.0
        chosen = self.limits if limits is None else limits
        wanted = self.wanted(
            chosen, operation, weight=weight, waiter=waiter, pressing=pressing, continues=continues, **scopes
        )
        self.passed = await self.limiter.acquire(wanted, longest=longest, on_wait=lambda *_: None)
        return self.micros / SECOND + self.slept

    def wanted(self, limits: Sequence[RateLimit], operation: str = "list", **facts: Any) -> LimitedCall:
        named = {LimitScope(name): facts.pop(name) for name in [*facts] if name in [*LimitScope]}
        scopes = {LimitScope.APP: "", LimitScope.ENDPOINT: operation} | named
        return LimitedCall(
            provider=self.provider, limits=limits, operation=operation, scopes=scopes, lasts=LEASE,
            **{"waiter": "one"} | facts,
        )  # fmt: skip

    async def refuse(
        self, scope: LimitScope | None = None, *, asked: float = 0, by: Any = None, slows: bool = True, **scopes: str
    ) -> Penalty:
        """The broker refuses a call that went, from a second up to a minute."""
        second, time = timedelta(seconds=1), timedelta(seconds=asked) or None
        call = self.wanted(self.limits, **scopes)
        return await (by or self.limiter).penalise(
            Refusal(
                call=call, scope=scope, asked=time, first=second, longest=60 * second, slows=slows, reason="it said no"
            )
        )

    async def ask(self, waiter: str = "one", **how: Any) -> tuple[bool, float]:
        """Whether the call has its place, and when it goes or may come back, in seconds since the start."""
        try:
            return True, await self.call(waiter, **how)
        except BrokerRateLimitError as error:
            wait = error.retry_after or timedelta(0)
            return False, self.micros / SECOND + wait.total_seconds()

    async def refused(self, waiter: str = "one", **how: Any) -> float:
        """When the call may come back that does not wait, in seconds since the start."""
        went, at = await self.ask(waiter, **{"longest": timedelta(0)} | how)
        assert not went
        return at

    async def freeze(self, seconds: float, scope: LimitScope = LimitScope.APP, key: str = "") -> None:
        await self.limiter.freeze(self.provider, scope, key, self.now() + timedelta(seconds=seconds), "it said so")
