"""What one process has heard of the servers that count: since when each does, and when it was last seen to."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import final

import attrs

from brokersync.ratelimit.redis_call import Answer


@attrs.frozen
class Heard:
    """Since when a server counts, when it was last seen to, and until when that matters."""

    began: str = ""
    seen: int = 0
    until: float = -math.inf


_NOTHING = Heard()


@final
class Servers:
    """Which server counts for which broker; instants are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._heard: dict[str, Heard] = {}

    def of(self, provider: str, now: float) -> Heard:
        """What was heard last, as long as it matters."""
        heard = self._heard.get(provider, _NOTHING)
        return heard if now < heard.until else _NOTHING

    def hear(self, provider: str, answer: Answer, now: float, period: timedelta, asked: Heard) -> bool:
        """Whether the server counts anew since it was asked, and this is the first answer that says so."""
        before = self._heard.get(provider, _NOTHING)
        until = max(before.until, now + period.total_seconds())
        seen = max(before.seen, answer.seen) if before.began == answer.began else answer.seen
        self._heard[provider] = Heard(answer.began, seen, until)
        return asked.began not in ("", answer.began) and before.began == asked.began
