"""What a call has got of limits that processes share."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import attrs

from brokersync.ratelimit.redis_call import RedisCall

if TYPE_CHECKING:
    from brokersync.ratelimit.redis_limiter import RedisLimiter


@attrs.define
class RedisPass:
    """See `Pass`."""

    _limiter: RedisLimiter
    _call: RedisCall
    _at: float
    _has_left: bool = False
    _moving: asyncio.Task[None] | None = None

    async def sent(self) -> None:
        """See `Pass`; it does not wait for the server, which would make the call later still."""
        if not self._has_left:
            self._has_left = True
            if self._limiter.is_late(self._at):
                self._moving = asyncio.create_task(self._limiter.move(self._call))

    async def forgive(self) -> None:
        """See `Pass`."""
        await self.sent()
        if self._moving is not None:
            await self._moving
        await self._limiter.forgive(self._call)

    async def done(self) -> None:
        """See `Pass`."""
        await self.sent()
        if self._call.capped:
            await self._limiter.release(self._call.under_way)
        if self._moving is not None:
            await self._moving
