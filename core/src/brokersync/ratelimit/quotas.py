"""A limiter that goes by the amounts which a broker's headers name, where they are below the configured ones."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final, final

import attrs

from brokersync.errors import LimitScope
from brokersync.limits import RateLimit
from brokersync.provider import Clock
from brokersync.ratelimit.applying import LimitedCall, OnWait, apart
from brokersync.ratelimit.left import Left
from brokersync.ratelimit.refusal import Penalty, Refusal
from brokersync.ratelimit.silences import Thaw

if TYPE_CHECKING:
    from brokersync.ratelimit import Limiter, Pass

# a broker repeats its amount with each answer; once nobody has heard it for so long, the configured one is tried again
_PERIODS: Final = 10
_SHORTEST: Final = timedelta(minutes=1)


@final
class QuotaLimiter:
    """See `Limiter`. Each process hears the amounts with its own answers, so a fleet has nothing to share for it.

    Only an amount that names its period is believed, and never one above what is configured. Under it a process alone
    counts anew, from what the broker says is left.
    """

    def __init__(self, limiter: Limiter, clock: Clock) -> None:
        self._limiter, self._clock = limiter, clock
        self._told: dict[tuple[str, RateLimit, str], tuple[int, float]] = {}

    async def acquire(self, call: LimitedCall, *, longest: timedelta, on_wait: OnWait) -> Pass:
        """See `Limiter`."""
        return await self._limiter.acquire(self._lowered(call), longest=longest, on_wait=on_wait)

    async def correct(self, call: LimitedCall, left: Left) -> None:
        """See `Limiter`."""
        self._hear(call, left)
        await self._limiter.correct(self._lowered(call), left)

    async def freeze(self, provider: str, scope: LimitScope, key: str, until: datetime, reason: str) -> bool:
        """See `Limiter`."""
        return await self._limiter.freeze(provider, scope, key, until, reason)

    async def penalise(self, refusal: Refusal) -> Penalty:
        """See `Limiter`."""
        return await self._limiter.penalise(attrs.evolve(refusal, call=self._lowered(refusal.call)))

    async def came_through(self, call: LimitedCall, sent_at: float) -> Sequence[Thaw]:
        """See `Limiter`."""
        return await self._limiter.came_through(call, sent_at)

    async def aclose(self) -> None:
        """See `Limiter`."""
        await self._limiter.aclose()

    def _hear(self, call: LimitedCall, left: Left) -> None:
        if left.quota is None or left.period is None:
            return
        one = left.meant(apart(call.counted())[0])
        if one is None or one.limit.period != left.period:
            return
        now, name = self._clock.monotonic(), (call.provider, one.limit, one.key)
        self._told = {known: told for known, told in self._told.items() if known != name and told[1] > now}
        if left.quota < one.limit.amount:
            lasts = max(_PERIODS * one.limit.period, _SHORTEST)
            self._told[name] = left.quota, now + lasts.total_seconds()

    def _lowered(self, call: LimitedCall) -> LimitedCall:
        if not self._told:
            return call
        limits = [self._limit(call, limit) for limit in call.limits]
        return attrs.evolve(call, limits=limits)

    def _limit(self, call: LimitedCall, limit: RateLimit) -> RateLimit:
        told = self._told.get((call.provider, limit, call.scopes.get(limit.scope, "")))
        if told is None or told[1] <= self._clock.monotonic():
            return limit
        heaviest = max(limit.weights.values(), default=0)
        return _with_amount(limit, max(told[0], limit.reserve + max(heaviest, call.weight, 1)))


@lru_cache(maxsize=1024)
def _with_amount(limit: RateLimit, amount: int) -> RateLimit:
    return limit if amount >= limit.amount else attrs.evolve(limit, amount=amount)
