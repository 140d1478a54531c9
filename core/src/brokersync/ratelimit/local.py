"""The limiter of one process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import final

from brokersync.errors import LimitScope
from brokersync.limits import RateLimit
from brokersync.provider import Clock
from brokersync.ratelimit.lane import Lane


@final
class LocalLimiter:
    """Keeps the limits for all connections of this process; one event loop uses it.

    A window is kept strictly: never more than its amount in any span of its period, by the instants at which
    `acquire` returned. What nobody used for a period is forgotten.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lanes: dict[str, Lane] = {}

    async def acquire(
        self,
        provider: str,
        limits: Sequence[RateLimit],
        operation: str,
        scopes: Mapping[LimitScope, str],
        weight: int = 1,
        *,
        waiter: str,
        longest: timedelta,
        on_wait: Callable[[LimitScope, timedelta], None],
    ) -> None:
        """See `Limiter`. A call that is cancelled while it waits gives its place to those behind it.

        Raises `BrokerConfigError` for a weight that the limit can never let through.
        """
        lane = self._lane(provider)
        call = lane.arrive(limits, operation, scopes, weight, longest.total_seconds())
        if call is None:
            return
        try:
            on_wait(call.scope, timedelta(seconds=call.foreseen))
            await lane.wait(call)
            lane.settle(call)
        finally:
            lane.leave(call)

    async def freeze(self, provider: str, scope: LimitScope, key: str, until: datetime, reason: str) -> None:
        """See `Limiter`. `reason` is shown to users."""
        seconds = (until - self._clock.now()).total_seconds()
        self._lane(provider).freeze(scope, key, seconds, reason)

    async def aclose(self) -> None:
        """See `Limiter`."""

    def _lane(self, provider: str) -> Lane:
        lane = self._lanes.get(provider)
        if lane is None:
            lane = self._lanes[provider] = Lane(provider, self._clock)
        return lane
