"""What one count under one limit can answer."""

from __future__ import annotations

import math
from typing import Protocol


class Barriers:
    """Before which instant nobody goes who comes later: those that leave something alone, and all."""

    __slots__ = ("_all", "_sparing")

    def __init__(self) -> None:
        self._all = self._sparing = -math.inf

    def of(self, spared: int) -> float:
        return max(self._all, self._sparing) if spared else self._all

    def raise_to(self, at: float, spared: int) -> None:
        if spared:
            self._sparing = max(self._sparing, at)
        else:
            self._all = max(self._all, at)


class Meter(Protocol):
    """One key's count under one limit; all instants are seconds of one monotonic clock.

    A call is planned, then granted, then settled. Planning keeps the order among those who wait; only settled and
    granted calls decide whether the next may go, so a late waker never makes the count wrong.
    """

    def earliest(self, start: float, now: float, weight: int, spared: int) -> float:
        """The first instant from `start` on that fits beside all calls made, granted and planned."""

    def ready(self, now: float, weight: int, spared: int) -> float:
        """When a planned call may go, by the calls that were made or granted before it."""

    def plan(self, at: float, weight: int, spared: int, alone: float) -> None:
        """Keep a place at `at`; who comes later goes no sooner than `alone`, when only this count is looked at.

        Who leaves nothing alone does not wait for the place of one that does.
        """

    def unplan(self, at: float, weight: int) -> None: ...

    def reopen(self) -> None:
        """Forget what earlier searches and plans ruled out: places were given back."""

    def grant(self, weight: int) -> None: ...

    def revoke(self, weight: int) -> None: ...

    def settle(self, now: float, weight: int, *, planned: bool) -> None:
        """The call goes now, in a place that was planned or at once."""

    def spend(self, now: float, at: float, weight: int) -> None:
        """A call that was asked for elsewhere goes at `at`, whether there is room for it here or not.

        One that is yet to go counts from now on, too. A bucket gets no fuller than full by it.
        """

    def move(self, at: float, to: float, weight: int) -> None:
        """A call that went at `at` is to count from `to` on."""

    def lower(self, now: float, left: int, seconds: float) -> bool:
        """Let no more than so many calls go within these seconds, if it would have; whether it would."""

    def used(self, now: float) -> float:
        """As how many calls those count that went."""

    def allow(self, now: float, amount: int) -> None:
        """Go by another amount from now on."""

    def idle(self, now: float) -> bool:
        """Whether nothing would change if this count were forgotten."""
