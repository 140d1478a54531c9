"""How exactly a time is told, in whole microseconds."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto
from typing import NamedTuple

SECOND = 1_000_000
MINUTE = 60 * SECOND


class Precision(Enum):
    """How exactly a row's time is compared; for a day its date is.

    A journal that keeps minutes only has cut its times off or rounded them: `MINUTE` is what it seems to do, and
    `OTHER_MINUTE` the other.
    """

    INSTANT = auto()
    SECOND = auto()
    MINUTE = auto()
    OTHER_MINUTE = auto()
    DAY = auto()

    @property
    def by_minute(self) -> bool:
        return self in (Precision.MINUTE, Precision.OTHER_MINUTE)


class Told(NamedTuple):
    """In what unit a time is told, and whether it may have been cut off or rounded to it."""

    unit: int
    cut: bool
    rounded: bool

    def times(self, moments: Iterable[int]) -> set[int]:
        """What these moments may have become, in that unit."""
        found = set()
        for moment in moments:
            time, rest = divmod(moment, self.unit)
            if self.cut or rest * 2 <= self.unit:
                found.add(time)
            if self.rounded and rest * 2 >= self.unit:
                found.add(time + 1)
        return found


INSTANTS = Told(1, cut=True, rounded=False)
# a database may do either, and two programs one after the other both
SECONDS = Told(SECOND, cut=True, rounded=True)
CUT_MINUTES = Told(MINUTE, cut=True, rounded=False)
ROUNDED_MINUTES = Told(MINUTE, cut=False, rounded=True)
