"""The limiter of a fleet: shared by Redis, and with a safe share of its own for a while when Redis is away."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, final

import attrs

from brokersync.config import FleetSettings
from brokersync.errors import BrokerRateLimitError, LimitScope
from brokersync.events import EventSink, SharedLimitsBack, SharedLimitsLost
from brokersync.limits import LimitKind, RateLimit
from brokersync.provider import Clock
from brokersync.ratelimit.applying import LimitedCall
from brokersync.ratelimit.left import Left
from brokersync.ratelimit.local import LocalLimiter
from brokersync.ratelimit.outages import AWAY, LOOK_AGAIN, Outages
from brokersync.ratelimit.redis_limiter import RedisLimiter
from brokersync.ratelimit.refusal import Penalty, Refusal

if TYPE_CHECKING:
    from brokersync.ratelimit import Pass

_PERCENT = 100


@attrs.frozen
class _Spent:
    """A call that went while Redis was away."""

    call: LimitedCall
    at: float


@final
class FleetLimiter:
    """Keeps the limits through Redis; see `Limiter`.

    While Redis is away each process takes its share of each limit, for as long as the settings say, and after that no
    call goes. What went meanwhile is counted when Redis is back, so that nobody begins anew. Of a cluster only those
    brokers do without whose server is away.
    """

    def __init__(
        self, shared: RedisLimiter, local: LocalLimiter, clock: Clock, settings: FleetSettings, events: EventSink
    ) -> None:
        self._shared, self._local, self._clock = shared, local, clock
        self._settings, self._events = settings, events
        self._outages = Outages(clock)
        self._spent: defaultdict[str, deque[_Spent]] = defaultdict(deque)

    async def acquire(
        self, call: LimitedCall, *, longest: timedelta, on_wait: Callable[[LimitScope, timedelta], None]
    ) -> Pass:
        """See `Limiter`. Raises `BrokerRateLimitError` when Redis is away for too long."""
        part = self._shared.part(call.provider)
        if self._outages.may_ask(part):
            try:
                await self._count_spent(call.provider)
                passed = await self._shared.acquire(call, longest=longest, on_wait=on_wait)
            except AWAY as error:
                self._lost(part, error)
            else:
                self._back(part)
                return passed
        self._check_open(call, part)
        thaws = self._shared.thaws_in(call)
        if thaws > longest:
            raise call.too_long(thaws)
        if thaws:
            await self._clock.sleep(thaws.total_seconds())
        alone = await self._local.acquire(self._alone(call), longest=longest, on_wait=on_wait)
        self._spent[call.provider].append(_Spent(call, self._clock.monotonic()))
        return alone

    async def correct(self, call: LimitedCall, left: Left) -> None:
        """See `Limiter`."""
        if self._is_away(call.provider):
            await self._local.correct(self._alone(call), left)
            return
        with suppress(*AWAY):  # the next call finds out that it is away
            await self._shared.correct(call, left)

    async def freeze(self, provider: str, scope: LimitScope, key: str, until: datetime, reason: str) -> None:
        """See `Limiter`. While Redis is away only this process hears of it."""
        await self._local.freeze(provider, scope, key, until, reason)
        with suppress(*AWAY):  # the next call finds out that it is away
            await self._shared.freeze(provider, scope, key, until, reason)

    async def penalise(self, refusal: Refusal) -> Penalty:
        """See `Limiter`. While Redis is away only this process hears of it."""
        call = refusal.call
        if not self._is_away(call.provider):
            with suppress(*AWAY):
                penalty = await self._shared.penalise(refusal)
                key, until = call.scopes.get(penalty.scope, ""), self._clock.now() + penalty.lasts
                await self._local.freeze(call.provider, penalty.scope, key, until, refusal.reason)
                return penalty
        return await self._local.penalise(attrs.evolve(refusal, call=self._alone(call)))

    async def aclose(self) -> None:
        """See `Limiter`."""
        await self._shared.aclose()

    def _is_away(self, provider: str) -> bool:
        return self._shared.part(provider) in self._outages

    def _lost(self, part: str, error: Exception) -> None:
        if self._outages.begin(part):
            self._events(
                SharedLimitsLost(
                    reason=type(error).__name__,
                    share=self._settings.share,
                    closes_at=self._clock.now() + self._settings.alone,
                )
            )

    def _back(self, part: str) -> None:
        away = self._outages.end(part, self._shared.parts)
        if away is not None:
            self._events(SharedLimitsBack(duration=away))

    def _check_open(self, call: LimitedCall, part: str) -> None:
        if self._outages.lasts(part) >= self._settings.alone:
            raise BrokerRateLimitError(
                "The Redis that holds the shared limits has been away for too long, so no call is made.",
                remedy="Start it, or correct `fleet.redis` in the configuration; nothing is lost meanwhile.",
                retry_after=LOOK_AGAIN,
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

    async def _count_spent(self, provider: str) -> None:
        spent = self._spent.get(provider)
        while spent:
            one = spent[0]
            ago = timedelta(seconds=self._clock.monotonic() - one.at)
            await self._shared.count(one.call, ago)
            if spent and spent[0] is one:
                spent.popleft()
