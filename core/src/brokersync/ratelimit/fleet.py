"""The limiter of a fleet: shared by Redis, and with a safe share of its own for a while when Redis is away."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, final

import attrs
from redis.exceptions import RedisError

from brokersync.config import FleetSettings
from brokersync.errors import BrokerRateLimitError, LimitScope
from brokersync.events import EventSink, SharedLimitsBack, SharedLimitsLost
from brokersync.limits import LimitKind, RateLimit
from brokersync.provider import Clock
from brokersync.ratelimit.applying import LimitedCall
from brokersync.ratelimit.left import Left
from brokersync.ratelimit.local import LocalLimiter
from brokersync.ratelimit.redis_limiter import RedisLimiter

if TYPE_CHECKING:
    from brokersync.ratelimit import Pass

_LOST = (RedisError, OSError)
_LOOK_AGAIN = timedelta(seconds=1)
_PERCENT = 100


@attrs.define
class _Away:
    since: float
    look_again_at: float


@attrs.frozen
class _Spent:
    """A call that went while Redis was away."""

    call: LimitedCall
    at: float


@final
class FleetLimiter:
    """Keeps the limits through Redis; see `Limiter`.

    While Redis is away each process takes its share of each limit, for as long as the settings say, and after that no
    call goes. What went meanwhile is counted when Redis is back, so that nobody begins anew.
    """

    def __init__(
        self, shared: RedisLimiter, local: LocalLimiter, clock: Clock, settings: FleetSettings, events: EventSink
    ) -> None:
        self._shared, self._local, self._clock = shared, local, clock
        self._settings, self._events = settings, events
        self._away: _Away | None = None
        self._spent: deque[_Spent] = deque()

    async def acquire(
        self, call: LimitedCall, *, longest: timedelta, on_wait: Callable[[LimitScope, timedelta], None]
    ) -> Pass:
        """See `Limiter`. Raises `BrokerRateLimitError` when Redis is away for too long."""
        if self._may_ask():
            try:
                await self._count_spent()
                passed = await self._shared.acquire(call, longest=longest, on_wait=on_wait)
            except _LOST as error:
                self._lost(error)
            else:
                self._back()
                return passed
        self._check_open(call)
        thaws = self._shared.thaws_in(call)
        if thaws > longest:
            raise call.too_long(thaws)
        if thaws:
            await self._clock.sleep(thaws.total_seconds())
        alone = await self._local.acquire(self._alone(call), longest=longest, on_wait=on_wait)
        self._spent.append(_Spent(call, self._clock.monotonic()))
        return alone

    async def correct(self, call: LimitedCall, left: Left) -> None:
        """See `Limiter`."""
        if self._away is not None:
            await self._local.correct(self._alone(call), left)
            return
        with suppress(*_LOST):  # the next call finds out that it is away
            await self._shared.correct(call, left)

    async def freeze(self, provider: str, scope: LimitScope, key: str, until: datetime, reason: str) -> None:
        """See `Limiter`. While Redis is away only this process hears of it."""
        await self._local.freeze(provider, scope, key, until, reason)
        with suppress(*_LOST):  # the next call finds out that it is away
            await self._shared.freeze(provider, scope, key, until, reason)

    async def penalise(
        self, provider: str, scope: LimitScope, key: str, first: timedelta, longest: timedelta, reason: str
    ) -> timedelta:
        """See `Limiter`. While Redis is away only this process hears of it."""
        if self._away is not None:
            return await self._local.penalise(provider, scope, key, first, longest, reason)
        try:
            length = await self._shared.penalise(provider, scope, key, first, longest, reason)
        except _LOST:
            return await self._local.penalise(provider, scope, key, first, longest, reason)
        await self._local.freeze(provider, scope, key, self._clock.now() + length, reason)
        return length

    async def aclose(self) -> None:
        """See `Limiter`."""
        await self._shared.aclose()

    def _may_ask(self) -> bool:
        """One call a second finds out for all whether Redis is back."""
        now = self._clock.monotonic()
        if self._away is None:
            return True
        if now < self._away.look_again_at:
            return False
        self._away.look_again_at = now + _LOOK_AGAIN.total_seconds()
        return True

    def _lost(self, error: Exception) -> None:
        now = self._clock.monotonic()
        if self._away is None:
            self._away = _Away(now, now + _LOOK_AGAIN.total_seconds())
            self._events(
                SharedLimitsLost(
                    reason=type(error).__name__,
                    share=self._settings.share,
                    closes_at=self._clock.now() + self._settings.alone,
                )
            )

    def _back(self) -> None:
        if self._away is not None:
            away = timedelta(seconds=self._clock.monotonic() - self._away.since)
            self._away = None
            self._events(SharedLimitsBack(duration=away))

    def _check_open(self, call: LimitedCall) -> None:
        assert self._away is not None
        if self._clock.monotonic() - self._away.since >= self._settings.alone.total_seconds():
            raise BrokerRateLimitError(
                "The Redis that holds the shared limits has been away for too long, so no call is made.",
                remedy="Start it, or correct `fleet.redis` in the configuration; nothing is lost meanwhile.",
                retry_after=_LOOK_AGAIN,
                provider=call.provider,
                operation=call.operation,
            )

    def _alone(self, call: LimitedCall) -> LimitedCall:
        """The call under this process's part of its limits."""
        return attrs.evolve(call, limits=[self._share_of(limit, call.weight) for limit in call.limits])

    def _share_of(self, limit: RateLimit, weight: int) -> RateLimit:
        """This process's part of a limit; one in which its heaviest call has no room goes as much more slowly."""
        hundredths = limit.amount * self._settings.share
        told = 1 if limit.kind is LimitKind.CONCURRENCY else weight
        least = max([told, *limit.weights.values()])
        amount, slower = max(hundredths // _PERCENT, least), max(least * _PERCENT / hundredths, 1)
        reserve = min(limit.reserve * self._settings.share // _PERCENT, amount - least)
        return attrs.evolve(limit, amount=amount, reserve=reserve, period=limit.period * slower)

    async def _count_spent(self) -> None:
        while self._spent:
            one = self._spent[0]
            ago = timedelta(seconds=self._clock.monotonic() - one.at)
            await self._shared.count(one.call, ago)
            if self._spent and self._spent[0] is one:
                self._spent.popleft()
