"""Calls through a `LocalLimiter` on a virtual clock."""

from __future__ import annotations

import asyncio
import heapq
import inspect
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count

from brokersync.errors import LimitScope
from brokersync.limits import LimitKind, RateLimit
from brokersync.ratelimit import LimitedCall, LocalLimiter, Pass, Penalty, Refusal
from brokersync.ratelimit.lane import Lane

_FACTS = ("operation", "weight", "waiter", "pressing", "continues")
LONG = timedelta(days=1)
APP = {LimitScope.APP: ""}


class VirtualClock:
    """Time that jumps to the next sleeper once everybody sleeps or waits."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self.numbers = count()
        self.pump: asyncio.Task[None] | None = None

    def now(self) -> datetime:
        return datetime(2030, 1, 1, tzinfo=UTC) + timedelta(seconds=self.time)

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self.sleepers, (self.time + seconds, next(self.numbers), woken))
        if self.pump is None or self.pump.done():
            self.pump = asyncio.create_task(self._run())
        await woken

    async def _run(self) -> None:
        while self.sleepers:
            await settle()
            at, _, woken = heapq.heappop(self.sleepers)
            if not woken.done():
                self.time = max(self.time, at)
                woken.set_result(None)


async def settle() -> None:
    for _ in range(12):
        await asyncio.sleep(0)


def window(amount: int, seconds: float, scope: LimitScope = LimitScope.APP, **more: object) -> RateLimit:
    return RateLimit(scope=scope, amount=amount, period=timedelta(seconds=seconds), **more)


def bucket(amount: int, seconds: float, scope: LimitScope = LimitScope.APP, **more: object) -> RateLimit:
    return window(amount, seconds, scope, kind=LimitKind.BUCKET, **more)


def wanted(limits: Sequence[RateLimit], **how: object) -> LimitedCall:
    facts = {"provider": "toy", "operation": "list", "scopes": APP, "waiter": ""}
    return LimitedCall(limits=limits, **(facts | how))


class Caller:
    """Calls through one limiter, and what became of them: seconds since the start, in order of leaving."""

    def __init__(self, *limits: RateLimit) -> None:
        self.clock = VirtualClock()
        self.start = self.clock.time
        self.limiter = LocalLimiter(self.clock)
        self.limits = limits
        self.went: list[tuple[str, float]] = []
        self.waits: list[tuple[LimitScope, float]] = []

    async def call(
        self,
        name: str = "",
        *,
        weight: int = 1,
        longest: timedelta = LONG,
        operation: str = "list",
        waiter: str = "",
        pressing: bool = False,
        continues: bool = False,
        takes: float = 0,
        **scopes: str,
    ) -> None:
        passed = await self.acquire(
            operation=operation,
            weight=weight,
            longest=longest,
            waiter=waiter,
            pressing=pressing,
            continues=continues,
            **scopes,
        )
        self.went.append((name, round(self.clock.time - self.start, 6)))
        await passed.sent()
        if takes:
            await self.clock.sleep(takes)
        await passed.done()

    async def acquire(self, *, longest: timedelta = LONG, **how: object) -> Pass:
        facts = {name: how.pop(name) for name in _FACTS if name in how}
        scopes = APP | {LimitScope(scope): key for scope, key in how.items()}
        return await self.limiter.acquire(
            wanted(self.limits, scopes=scopes, **facts), longest=longest, on_wait=self._on_wait
        )

    def spawn(self, name: str, **how: object) -> asyncio.Task[None]:
        return asyncio.create_task(self.call(name, **how))

    async def freeze(self, seconds: float, scope: LimitScope = LimitScope.APP, key: str = "") -> None:
        until = self.clock.now() + timedelta(seconds=seconds)
        await self.limiter.freeze("toy", scope, key, until, "it said so")

    async def refuse(
        self, scope: LimitScope | None = None, *, asked: float = 0, slows: bool = True, **scopes: str
    ) -> Penalty:
        """The broker refuses a call that went, from a second up to a minute."""
        call = wanted(self.limits, scopes=APP | {LimitScope(name): key for name, key in scopes.items()})
        second, time = timedelta(seconds=1), timedelta(seconds=asked) or None
        return await self.limiter.penalise(
            Refusal(
                call=call, scope=scope, asked=time, first=second, longest=60 * second, slows=slows, reason="it said no"
            )
        )

    @property
    def lane(self) -> Lane:
        return self.limiter._lanes["toy"]

    def _on_wait(self, scope: LimitScope, wait: timedelta, reason: str) -> None:
        self.waits.append((scope, wait.total_seconds()))


async def settle_without_time(*actions: Callable[[], Awaitable[object] | object]) -> None:
    """Let every task come to its wait, act, and let the consequences settle before time goes on."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for action in actions:
        if inspect.isawaitable(done := action()):
            await done
    await asyncio.sleep(0)
    await asyncio.sleep(0)


def most_in_any_window(times: Sequence[tuple[float, int]], period: float) -> int:
    """The heaviest half-open window; it is enough to look at those that start at a call."""
    return max((sum(w for t, w in times if start <= t and t - start < period) for start, _ in times), default=0)
