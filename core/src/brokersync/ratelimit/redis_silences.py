"""Which scopes brokers refuse, as all processes that share a Redis know it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, final

import attrs

from brokersync.errors import LimitScope
from brokersync.provider import Clock
from brokersync.ratelimit.applying import LimitedCall
from brokersync.ratelimit.keys import silence_key
from brokersync.ratelimit.silences import KEPT, Silences, Thaw

_MICRO, _MILLI = timedelta(microseconds=1), timedelta(milliseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@final
class RedisSilences:
    """Of all processes the first one tells that a scope is refused, and the first one that it is let go again."""

    def __init__(self, redis: Any, clock: Clock, known: Silences) -> None:
        """`known` is what this process has heard, so that it need not ask after each call."""
        self._redis, self._clock, self._known = redis, clock, known

    async def begin(self, provider: str, scope: LimitScope, key: str, lasts: timedelta) -> bool:
        """A scope makes no call for so long; whether that is news. Raises the errors of redis."""
        if lasts <= timedelta(0):
            return False
        began, kept = (self._clock.now() - _EPOCH) // _MICRO, lasts + KEPT
        return bool(await self._redis.set(silence_key(provider, scope, key), began, nx=True, px=kept // _MILLI))

    async def over(self, call: LimitedCall, sent_at: float) -> Sequence[Thaw]:
        """What is over, as a call shows that left at that instant and came through. Raises the errors of redis."""
        return [await self._end(call, thaw) for _, thaw in self._known.over(call, sent_at)]

    async def _end(self, call: LimitedCall, thaw: Thaw) -> Thaw:
        began = await self._redis.getdel(silence_key(call.provider, thaw.scope, call.scopes.get(thaw.scope, "")))
        if began is None:
            return attrs.evolve(thaw, told=True)
        return attrs.evolve(thaw, lasted=self._clock.now() - _EPOCH - int(began) * _MICRO)
