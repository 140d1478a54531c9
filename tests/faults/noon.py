"""A clock for processes that have to agree on the day: no midnight, at any broker, comes while a test runs."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Self

import attrs

_A_NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@attrs.frozen
class NoonClock:
    """The clock of this machine, `behind` by what brings it to the last noon of UTC."""

    behind: timedelta

    @classmethod
    def set(cls) -> Self:
        """At noon now."""
        return cls((datetime.now(UTC) - _A_NOON) % timedelta(days=1))

    def now(self) -> datetime:
        return datetime.now(UTC) - self.behind

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
