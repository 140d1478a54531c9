"""The count that keeps a limit."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from brokersync.limits import LimitKind, RateLimit
from brokersync.provider import Clock
from brokersync.ratelimit.bucket import LeakyBucket
from brokersync.ratelimit.meter import Meter
from brokersync.ratelimit.window import RollingWindow

JITTER: Final = timedelta(milliseconds=20)
"""By how much one call is longer on its way than another, as far as a window makes room for it."""

_MOST_OF_A_PERIOD = 0.02


def meter_of(limit: RateLimit, amount: int, clock: Clock, jitter: timedelta) -> Meter:
    """A new count of calls over time, under so much of the limit's amount."""
    seconds = limit.period.total_seconds()
    if limit.kind is LimitKind.BUCKET:
        return LeakyBucket(amount, seconds, clock)
    return RollingWindow(amount, seconds + min(jitter.total_seconds(), seconds * _MOST_OF_A_PERIOD))
