"""Limiters: they keep a broker's limits for everybody who asks through them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from brokersync.errors import LimitScope
from brokersync.ratelimit.applying import LimitedCall, OnWait
from brokersync.ratelimit.left import Left
from brokersync.ratelimit.local import LocalLimiter
from brokersync.ratelimit.opening import open_limiter
from brokersync.ratelimit.refusal import Penalty, Refusal
from brokersync.ratelimit.silences import Thaw

__all__ = [
    "Left", "LimitedCall", "Limiter", "LocalLimiter", "OnWait", "Pass", "Penalty", "Refusal", "Thaw", "open_limiter",
]  # fmt: skip


class Pass(Protocol):
    """What a call has got that goes."""

    async def sent(self) -> None:
        """The call leaves only now: where its place counts for a while, it does from now on; again does nothing."""

    async def forgive(self) -> None:
        """The call came through, so it counts no longer where only failures do."""

    async def done(self) -> None:
        """The call is over, and no longer under way."""


class Limiter(Protocol):
    """What the HTTP layer asks of a limiter, wherever it keeps its counts."""

    async def acquire(self, call: LimitedCall, *, longest: timedelta, on_wait: OnWait) -> Pass:
        """Returns when all limits and freezes let the call go.

        `on_wait` hears of a wait before it begins. Raises `BrokerRateLimitError` when the wait would be over `longest`;
        a waiter that has a name is kept a place then, until a while after its time. Raises `BrokerConfigError` for a
        weight that a limit can never let through.
        """

    async def correct(self, call: LimitedCall, left: Left) -> None:
        """Count at least as much as the broker says it has counted; never less than is counted already."""

    async def freeze(self, provider: str, scope: LimitScope, key: str, until: datetime, reason: str) -> bool:
        """Let no call of this scope go before `until`; a freeze is never shortened.

        Whether that is news: of all who share the limiter one is told so, until a call has come through again.
        """

    async def penalise(self, refusal: Refusal) -> Penalty:
        """Freeze the scope that a broker refuses, and let it go by less of its limits where it does so again.

        Where the broker names no time the freeze begins with `first` and grows up to `longest` with each refusal soon
        after one, whoever meets it; it shrinks again while there is none. Where it names no scope, the limit is taken
        that was used most.
        """

    async def came_through(self, call: LimitedCall, sent_at: float) -> Sequence[Thaw]:
        """The refused scopes that are let go again, as this call shows, which left at that monotonic instant."""

    async def aclose(self) -> None:
        """Leave nothing of it running."""
