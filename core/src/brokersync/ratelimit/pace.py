"""How much of its limits a scope goes by that was refused within them, and how it finds back to all of them."""

from __future__ import annotations

import math
from typing import Final, NamedTuple, final

from brokersync.errors import LimitScope
from brokersync.limits import RateLimit

MANY: Final = 3
"""So many refusals of one freeze are no accident of a call that came a little too early."""

RISES: Final = 5
"""After so many a pace is whole again."""

PERIODS: Final = 10
SHORTEST_QUIET: Final = 60.0
LONGEST_QUIET: Final = 3600.0
_ALL: Final = 100

_Scope = tuple[LimitScope, str]


class Pace(NamedTuple):
    """Held at `floor` percent for `quiet` seconds; each time as long takes half of what is missing off again."""

    floor: int
    since: float
    quiet: float

    def rises(self, now: float) -> int:
        return max(math.floor((now - self.since) / self.quiet), 0)

    def after(self, rises: int) -> int:
        """The percentage after so many rises."""
        return _ALL if rises >= RISES else _ALL - (_ALL - self.floor) // 2**rises


def slower(known: Pace | None, now: float, since: float, period: float) -> Pace:
    """Half of it; or, where it was refused after it rose, what it was before, which is held for twice as long."""
    if known is None or known.rises(now) >= RISES:
        return Pace(_ALL // 2, since, quiet_of(period))
    rises = known.rises(now)
    if rises:
        return Pace(known.after(rises - 1), since, min(2 * known.quiet, LONGEST_QUIET))
    return Pace(max(known.floor // 2, 1), since, known.quiet)


def quiet_of(period: float) -> float:
    """How long it is held first, in seconds, of a limit with this period."""
    return min(max(PERIODS * period, SHORTEST_QUIET), LONGEST_QUIET)


@final
class Paces:
    """Those of one provider in one process; instants are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._paces: dict[_Scope, Pace] = {}
        self._heaviest, self._rises_at = 1, math.inf

    def slow_down(self, scope: LimitScope, key: str, now: float, since: float, period: float) -> None:
        """Go more slowly, at a pace that is held from `since` on."""
        self._paces[scope, key] = slower(self._paces.get((scope, key)), now, since, period)
        self._look_ahead(now)

    def percent(self, scope: LimitScope, key: str, now: float) -> int:
        pace = self._paces.get((scope, key))
        return _ALL if pace is None else pace.after(pace.rises(now))

    def allowed(self, limit: RateLimit, key: str, now: float) -> int:
        """How much of a limit's amount is gone by; never less than its heaviest call needs."""
        if not self._paces:
            return limit.amount
        least = limit.reserve + max([self._heaviest, *limit.weights.values()])
        return min(max(limit.amount * self.percent(limit.scope, key, now) // _ALL, least), limit.amount)

    def change(self, weight: int, now: float) -> bool:
        """Whether what is allowed has changed: one of them has risen, or a call weighs more than all before it."""
        heavier, self._heaviest = weight > self._heaviest and bool(self._paces), max(weight, self._heaviest)
        changed = heavier or now >= self._rises_at
        if changed:
            self._look_ahead(now)
        return changed

    def _look_ahead(self, now: float) -> None:
        self._paces = {scope: pace for scope, pace in self._paces.items() if pace.rises(now) < RISES}
        rises = [pace.since + (pace.rises(now) + 1) * pace.quiet for pace in self._paces.values()]
        self._rises_at = min(rises, default=math.inf)
