"""Which days a statement proves, as New York's days."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Final

import attrs

from brokersync.plugin import TimeWindow
from brokersync_ibkr.dates import new_york_day, new_york_midnight

_DAY = timedelta(days=1)
_SATURDAY = 5
# how long after the end of a day IBKR's Activity tells it for good; the manifest says the same of the sources
FINALITY_LAG: Final = timedelta(hours=6)


@attrs.frozen(order=True)
class Days:
    """The days from `first` to `last`, both included."""

    first: date
    last: date

    def __attrs_post_init__(self) -> None:
        if self.last < self.first:
            raise ValueError(f"{self.last} lies before {self.first}")

    @classmethod
    def of(cls, window: TimeWindow) -> Days:
        """The days a window touches."""
        return cls(new_york_day(window.start), new_york_day(window.end - timedelta.resolution))

    @property
    def window(self) -> TimeWindow:
        return TimeWindow(new_york_midnight(self.first), new_york_midnight(self.last + _DAY))

    @property
    def newer_half(self) -> Days | None:
        """The later half, with the day in the middle; `None` of a single day."""
        half = Days(self.first + (self.last - self.first + _DAY) // 2, self.last)
        return half if half != self else None

    def overlap(self, other: Days) -> Days | None:
        """The days both have."""
        first, last = max(self.first, other.first), min(self.last, other.last)
        return Days(first, last) if first <= last else None


def is_closed(day: date) -> bool:
    """Whether IBKR books nothing on this day, so that statements leave it out at their edges."""
    return day.weekday() >= _SATURDAY or (day.month, day.day) in ((1, 1), (12, 25))


def told_until(day: date) -> date:
    """The last day up to this one that is told for good: a holiday is told with the next open day.

    Weekends count as told, for core knows that what is traded then is booked after them.
    """
    before, holiday = day, False
    while is_closed(before):
        holiday = holiday or before.weekday() < _SATURDAY
        before -= _DAY
    return before if holiday else day


def joined(spans: Iterable[Days]) -> list[Days]:
    """The spans in order, with those that overlap, touch, or have only closed days between them made one."""
    result: list[Days] = []
    for span in sorted(spans):
        if result and _only_closed(result[-1].last + _DAY, span.first - _DAY):
            result[-1] = Days(result[-1].first, max(result[-1].last, span.last))
        else:
            result.append(span)
    return result


def proved(stated: Iterable[Days], asked: Days | None) -> list[Days]:
    """The days that statements over `stated` prove: of the days asked for, or all of theirs where none were.

    A statement's edges move to the next open day; the closed days between the edge asked for and the one stated count.
    """
    spans = joined(stated)
    if asked is None:
        return spans
    widened = (_towards(span, asked) for span in spans)
    return [shared for span in widened if (shared := span.overlap(asked)) is not None]


def _towards(span: Days, asked: Days) -> Days:
    first = asked.first if _only_closed(asked.first, span.first - _DAY) else span.first
    last = asked.last if _only_closed(span.last + _DAY, asked.last) else span.last
    return Days(min(first, span.first), max(last, span.last))


def _only_closed(first: date, last: date) -> bool:
    while first <= last:
        if not is_closed(first):
            return False
        first += _DAY
    return True
