"""Limiters: they keep a broker's limits for everybody who asks through them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from brokersync.errors import LimitScope
from brokersync.limits import RateLimit
from brokersync.ratelimit.local import LocalLimiter
from brokersync.ratelimit.opening import open_limiter

__all__ = ["Limiter", "LocalLimiter", "open_limiter"]


class Limiter(Protocol):
    """What the HTTP layer asks of a limiter, wherever it keeps its counts."""

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
        """Returns when all limits and freezes let the call go.

        `scopes` names what the call counts for; a scope without a value shares one key. `on_wait` hears of a wait
        before it begins. Raises `BrokerRateLimitError` when the wait would be over `longest`; by `waiter` the one is
        known who comes back then.
        """

    async def freeze(self, provider: str, scope: LimitScope, key: str, until: datetime, reason: str) -> None:
        """Let no call of this scope go before `until`; a freeze is never shortened."""

    async def aclose(self) -> None:
        """Leave nothing of it running."""
