"""What of one provider makes no call for a while, how long that is, and who goes when it ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, final

import attrs

from brokersync.errors import LimitScope
from brokersync.ratelimit.applying import Counted
from brokersync.ratelimit.pace import MANY
from brokersync.ratelimit.refusal import Refusal

SHORTEST = 0.1
"""No freeze is shorter than this, and calls that nothing meters are as far apart after one, in seconds."""

_Scope = tuple[LimitScope, str]


class Episode(NamedTuple):
    """How long a scope was frozen last by a refusal, when that ended, and how many calls were refused until then."""

    length: float
    ended: float
    refusals: int

    def next_length(self, now: float) -> float:
        """Twice as long where it was too short; half of that for each time as long in which all was well.

        A reason that comes before the end is of a call that was under way, and makes nothing longer.
        """
        quiet = now - self.ended
        return -quiet if quiet < 0 else self.length * 2.0 ** (1 - quiet // self.length)


@attrs.define
class _Frozen:
    until: float
    reason: str
    line: int = 0


@final
class Freezes:
    """Instants are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._frozen: dict[_Scope, _Frozen] = {}
        self._penalties: dict[_Scope, Episode] = {}

    def __len__(self) -> int:
        return len(self._frozen) + len(self._penalties)

    def add(self, scope: LimitScope, key: str, until: float, reason: str) -> bool:
        """Whether that makes anything longer."""
        known = self._frozen.get((scope, key))
        if known is not None and until <= known.until:
            return False
        self._frozen[scope, key] = _Frozen(until, reason)
        return True

    def penalise(self, scope: LimitScope, key: str, now: float, refusal: Refusal, period: float) -> tuple[float, bool]:
        """For how long the scope is to be frozen, and whether that is one refusal too many for its limits.

        `period` is that of the limit which the broker must mean.
        """
        first, longest = refusal.first.total_seconds(), refusal.longest.total_seconds()
        asked = refusal.asked.total_seconds() if refusal.asked else 0.0
        known = self._penalties.get((scope, key))
        if known is not None and known.ended > now:
            length, refusals = max(known.ended - now, asked), known.refusals + 1
            memory = length if asked > known.ended - now else known.length
            self._penalties[scope, key] = Episode(memory, now + length, refusals)
            return length, refusals == MANY
        soon = known is not None and now - known.ended < max(known.length, period)
        grown = min(known.next_length(now), longest) if known else first
        length = max(asked or max(grown, first), SHORTEST)
        self._penalties[scope, key] = Episode(length, now + length, MANY if soon else 1)
        return length, soon

    def had_lately(self, one: Counted, now: float) -> bool:
        """Whether the scope of a limit was refused so shortly before that another refusal must mean the same."""
        known = self._penalties.get((one.limit.scope, one.key))
        return known is not None and now - known.ended < max(known.length, one.limit.period.total_seconds())

    def reasons(self, scopes: Mapping[LimitScope, str], now: float) -> list[str]:
        """Why calls of these scopes do not go."""
        return [frozen.reason for _, frozen in self._of(scopes) if frozen.until > now]

    def thaw(self, scopes: Mapping[LimitScope, str], now: float) -> tuple[float, LimitScope]:
        """When the last of these scopes thaws, and which that is."""
        at, scope = now, LimitScope.APP
        for frozen_scope, frozen in self._of(scopes):
            if frozen.until > at:
                at, scope = frozen.until, frozen_scope
        return at, scope

    def restart(
        self, scopes: Mapping[LimitScope, str], meters: Iterable[Counted], now: float, own: float | None
    ) -> tuple[float, LimitScope]:
        """When one goes that comes now; who waits for a thaw goes one after the other, as the limits let them.

        `own` is what it was promised already.
        """
        if not self._frozen:
            return now, LimitScope.APP
        at, scope = self.thaw(scopes, now)
        if at > now and own is not None and own >= at:
            return own, scope
        if at > now:
            frozen = self._frozen[scope, scopes.get(scope, "")]
            at += frozen.line * spacing(scope, meters)
            frozen.line += 1
        return at, scope

    def begin_anew(self) -> None:
        """All who wait come again, in their order."""
        for frozen in self._frozen.values():
            frozen.line = 0

    def forget(self, now: float) -> None:
        """What has no effect any more."""
        self._frozen = {key: one for key, one in self._frozen.items() if one.until > now}
        self._penalties = {key: one for key, one in self._penalties.items() if one.next_length(now) > SHORTEST}

    def _of(self, scopes: Mapping[LimitScope, str]) -> list[tuple[LimitScope, _Frozen]]:
        if not self._frozen:
            return []
        keys = [(scope, scopes.get(scope, "")) for scope in LimitScope]
        return [(key[0], self._frozen[key]) for key in keys if key in self._frozen]


def spacing(scope: LimitScope, meters: Iterable[Counted]) -> float:
    """How far apart calls go after a thaw, in seconds: by the limits that all share who waited for it."""
    shared = [
        one.limit.period.total_seconds() / one.limit.amount
        for one in meters
        if one.limit.scope in (scope, LimitScope.APP)
    ]
    return max(shared, default=0.0) or SHORTEST
