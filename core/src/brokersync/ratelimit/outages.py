"""Which parts of the fleet's Redis are away, as far as this process has found; a standalone server is one part."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final, final

import attrs
from redis.exceptions import RedisClusterException, RedisError

from brokersync.provider import Clock

# those of a cluster that can not be reached are not among the errors of redis
AWAY: Final = (RedisError, RedisClusterException, OSError)

LOOK_AGAIN: Final = timedelta(seconds=1)

# who calls at all looks once a second, and may have just begun to wait for an answer in vain
ALL_HAVE_TOLD: Final = timedelta(seconds=3)


@attrs.define(eq=False)
class _Outage:
    since: float
    look_again_at: float
    over_at: float | None = None
    waiting: list[Callable[[], None]] = attrs.field(factory=list)

    def end(self) -> None:
        for told in [*self.waiting]:
            told()


@final
class Outages:
    """Since when each part is away, who asks it again, and when all is as it was.

    A part that answers again is not over at once: until the other processes have told what went meanwhile nobody knows
    what is left, so each goes by its share for a while longer.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._away: dict[str, _Outage] = {}
        self._since = 0.0

    def concerns(self, part: str) -> bool:
        """Whether this process goes by its share."""
        outage = self._away.get(part)
        if outage is not None and outage.over_at is not None and outage.over_at <= self._clock.monotonic():
            del self._away[part]
            outage.end()
        return part in self._away

    def is_away(self, part: str) -> bool:
        """Whether the part does not answer."""
        outage = self._away.get(part)
        return outage is not None and outage.over_at is None

    def may_ask(self, part: str) -> bool:
        """One call a second finds out for all whether a part that is away answers again."""
        now = self._clock.monotonic()
        if not self.is_away(part) or now < self._away[part].look_again_at:
            return False
        self._away[part].look_again_at = now + LOOK_AGAIN.total_seconds()
        return True

    @contextmanager
    def when_over(self, part: str, told: Callable[[], None]) -> Iterator[None]:
        """Inside it `told` is called when a process finds that it needs to go by its share no longer."""
        outage = self._away[part]
        outage.waiting.append(told)
        try:
            yield
        finally:
            outage.waiting.remove(told)

    def lasts(self, part: str) -> timedelta:
        """For how long the part has been away."""
        return timedelta(seconds=self._clock.monotonic() - self._away[part].since)

    def ends_in(self, part: str) -> timedelta | None:
        """How long this process goes by its share yet, once the part answers."""
        outage = self._away.get(part)
        if outage is None or outage.over_at is None:
            return None
        return timedelta(seconds=max(outage.over_at - self._clock.monotonic(), 0))

    def begin(self, part: str) -> bool:
        """The part does not answer; whether all did until now."""
        now, well = self._clock.monotonic(), self._all_answer()
        self._since = now if well else self._since
        outage = self._away.setdefault(part, _Outage(now, now + LOOK_AGAIN.total_seconds()))
        if outage.over_at is not None:
            outage.since, outage.look_again_at, outage.over_at = now, now + LOOK_AGAIN.total_seconds(), None
        return well

    def answers(self, part: str, parts: Callable[[], Collection[str]]) -> timedelta | None:
        """The part that was away has answered; for how long not all did, where all do now.

        What is not among the present `parts` any more counts no longer: another server stands for it.
        """
        if not self.is_away(part):
            return None
        self._away[part].over_at = self._clock.monotonic() + ALL_HAVE_TOLD.total_seconds()
        present = {part, *parts()}
        for gone in self._away.keys() - present:
            self._away.pop(gone).end()
        return timedelta(seconds=self._clock.monotonic() - self._since) if self._all_answer() else None

    def _all_answer(self) -> bool:
        return all(outage.over_at is not None for outage in self._away.values())
