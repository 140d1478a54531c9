"""The clock of this machine."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Final, final

# those of machines that share a store, by no more
CLOCKS_DIFFER: Final = timedelta(minutes=1)


@final
class SystemClock:
    """Real time, for everything that is not a test."""

    def now(self) -> datetime:
        """See `Clock`."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """See `Clock`; the zero is the one of asyncio's own loop."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """See `Clock`."""
        await asyncio.sleep(seconds)
