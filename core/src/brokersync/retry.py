"""What is tried again, and how long to wait before it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import Final, final

from brokersync.config import RetrySettings
from brokersync.errors import BrokerError, BrokerNotReadyError, BrokerRateLimitError, BrokerRetryableError
from brokersync.provider import Clock

SAFE_METHODS: Final = frozenset({"GET", "HEAD"})

draw: Callable[[], float] = secrets.SystemRandom().random


def may_repeat(error: BrokerError, *, repeatable: bool, sent: bool) -> bool:
    """Whether the request may be sent again after this failure.

    A request that is not `repeatable` may be when the failure proves that the broker did not carry it out: it never
    left this machine, or the broker turned it away for its rate. "Not ready yet" is no failure, and is never repeated
    here.
    """
    if not isinstance(error, BrokerRetryableError) or isinstance(error, BrokerNotReadyError):
        return False
    return repeatable or not sent or isinstance(error, BrokerRateLimitError)


@final
class Patience:
    """The waits between the attempts at one request; it starts now, and ends by count or by time.

    Waits double and are drawn from zero up to that (full jitter), but are never shorter than the broker asks for.
    """

    def __init__(self, settings: RetrySettings, clock: Clock, random: Callable[[], float] = draw) -> None:
        self._settings, self._clock, self._random = settings, clock, random
        self._ends = clock.monotonic() + settings.within.total_seconds()
        self._failures = 0

    @property
    def growth(self) -> timedelta:
        """The longest wait after so many failures when the broker names none."""
        return min(self._settings.longest_wait, self._settings.first_wait * (1 << min(self._failures, 32)))

    def after(self, error: BrokerRetryableError) -> timedelta | None:
        """The wait before the next attempt, or `None` when there is to be none. Counts the failure."""
        wait = max(self.growth * self._random(), error.retry_after or timedelta(0))
        self._failures += 1
        late = self._clock.monotonic() + wait.total_seconds() > self._ends
        return None if late or self._failures >= self._settings.attempts else wait
