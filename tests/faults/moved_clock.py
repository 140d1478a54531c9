"""A clock for processes that have to agree on the day."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Self

import attrs

_A_NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@attrs.frozen
class MovedClock:
    """The clock of this machine, moved back."""

    behind: timedelta = timedelta(0)

    @classmethod
    def to_noon(cls) -> Self:
        """Moved to the last noon of UTC, so that no day ends at any broker while a test runs."""
        return cls((datetime.now(UTC) - _A_NOON) % timedelta(days=1))

    def now(self) -> datetime:
        return datetime.now(UTC) - self.behind

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
