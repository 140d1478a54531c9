"""The count that keeps a limit."""

from __future__ import annotations

from brokersync.limits import LimitKind, RateLimit
from brokersync.provider import Clock
from brokersync.ratelimit.bucket import LeakyBucket
from brokersync.ratelimit.meter import Meter
from brokersync.ratelimit.window import RollingWindow


def meter_of(limit: RateLimit, amount: int, clock: Clock) -> Meter:
    """A new count of calls over time, under so much of the limit's amount."""
    seconds = limit.period.total_seconds()
    return LeakyBucket(amount, seconds, clock) if limit.kind is LimitKind.BUCKET else RollingWindow(amount, seconds)
