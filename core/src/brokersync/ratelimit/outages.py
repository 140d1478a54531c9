"""Which parts of the fleet's Redis are away, as far as this process has found; a standalone server is one part."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import timedelta
from typing import Final, final

import attrs
from redis.exceptions import RedisClusterException, RedisError

from brokersync.provider import Clock

# those of a cluster that can not be reached are not among the errors of redis
AWAY: Final = (RedisError, RedisClusterException, OSError)

LOOK_AGAIN: Final = timedelta(seconds=1)


@attrs.define
class _Outage:
    since: float
    look_again_at: float


@final
class Outages:
    """Since when each part is away, and who asks it again."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._away: dict[str, _Outage] = {}
        self._since = 0.0

    def may_ask(self, part: str) -> bool:
        """One call a second finds out for all whether a part is back."""
        outage, now = self._away.get(part), self._clock.monotonic()
        if outage is None:
            return True
        if now < outage.look_again_at:
            return False
        outage.look_again_at = now + LOOK_AGAIN.total_seconds()
        return True

    def __contains__(self, part: str) -> bool:
        return part in self._away

    def lasts(self, part: str) -> timedelta:
        """For how long the part has been away."""
        return timedelta(seconds=self._clock.monotonic() - self._away[part].since)

    def begin(self, part: str) -> bool:
        """The part does not answer; whether all was well until now."""
        now, well = self._clock.monotonic(), not self._away
        self._since = now if well else self._since
        self._away.setdefault(part, _Outage(now, now + LOOK_AGAIN.total_seconds()))
        return well

    def end(self, part: str, parts: Callable[[], Collection[str]]) -> timedelta | None:
        """The part has answered; for how long not all was well, where all is now.

        What is not among the present `parts` any more counts no longer: another server stands for it.
        """
        if not self._away:
            return None
        present = set(parts()) - {part}
        self._away = {name: outage for name, outage in self._away.items() if name in present}
        return None if self._away else timedelta(seconds=self._clock.monotonic() - self._since)
