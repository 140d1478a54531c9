"""Where a trade of a day may stand in a source, by whichever calendar it is called one of that day. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import islice, takewhile
from typing import Final
from zoneinfo import ZoneInfo

from brokersync.manifest import Manifest, SelectsBy, SourceSpec
from brokersync.sync.days import day_floor, next_day
from brokersync.sync.ledger import subtract
from brokersync.types import TimeWindow

# a trade of the evening before a long weekend is booked on the day after it
_BOOKED_WITHIN: Final = 4
# an exchange's day begins no earlier than on the evening of the last working day before it
_EVENING: Final = time(17)
_NOON: Final = time(12)
_WEEKEND: Final = (5, 6)
_DAY: Final = timedelta(days=1)


def day_in(day: date, source: SourceSpec) -> TimeWindow:
    """The day as the source's zone has it, from midnight to midnight; of one that goes by booking, its own day."""
    booked = source.selects_by is SelectsBy.BOOKED
    starts, first = (_day_starts(source), day - _ahead(source)) if booked else (time(), day)
    start, end = (_moment(one, starts, ZoneInfo(source.calendar.zone)) for one in (first, first + _DAY))
    return TimeWindow(start, end)


def beside(day: date, source: SourceSpec, manifest: Manifest) -> list[TimeWindow]:
    """What else of a source's history a trade of the day may stand in, by any of the calendars of `days_of`.

    Where its days are those of booking, a trade of the day may stand on those of `booked_later` besides.
    """
    called = _called_so(day, manifest)
    if source.selects_by is SelectsBy.BOOKED:
        whole = _days_of_booking(called, source)
    else:
        whole = [TimeWindow(min(called.start, _evening_before(day, manifest)), called.end)]
    return subtract(whole, [day_in(day, source)])


def booked_later(after: TimeWindow, source: SourceSpec) -> list[tuple[date, TimeWindow]]:
    """The days after this one on which a trade of it may be booked, each with its date."""
    following = islice(_days_from(after.end, source), _BOOKED_WITHIN)
    return [(name, window) for name, window in following if name.weekday() not in _WEEKEND]


def _days_of_booking(called: TimeWindow, source: SourceSpec) -> list[TimeWindow]:
    """The source's days that begin before it ends; on a weekend nothing is booked."""
    days = takewhile(
        lambda one: one[1].start < called.end, _days_from(day_floor(called.start, source.calendar), source)
    )
    return [window for name, window in days if name.weekday() not in _WEEKEND]


def _days_from(moment: datetime, source: SourceSpec) -> Iterator[tuple[date, TimeWindow]]:
    """The source's days, each with its date: one that begins after noon is that of the date to come."""
    while True:
        following = next_day(moment, source.calendar)
        name = moment.astimezone(ZoneInfo(source.calendar.zone)).date() + _ahead(source)
        yield name, TimeWindow(moment, following)
        moment = following


def _ahead(source: SourceSpec) -> timedelta:
    """What lies between the date on which a source's day begins and the date by which it is called."""
    return _DAY if _day_starts(source) >= _NOON else timedelta(0)


def _day_starts(source: SourceSpec) -> time:
    return time.fromisoformat(source.calendar.day_starts)


def _called_so(day: date, manifest: Manifest) -> TimeWindow:
    """From the first midnight at which the day begins to the last at which it ends, in UTC and the sources' zones."""
    starts, ends = ([_moment(one, time(), zone) for zone in (UTC, *_zones(manifest))] for one in (day, day + _DAY))
    return TimeWindow(min(starts), max(ends))


def _evening_before(day: date, manifest: Manifest) -> datetime:
    """When the exchange's day may begin, by the zones of the sources that may be its own: UTC only where it is all."""
    zones = [zone for zone in _zones(manifest) if zone.key != "UTC"] or [ZoneInfo("UTC")]
    return min(_moment(_working_day_before(day), _EVENING, zone) for zone in zones)


def _working_day_before(day: date) -> date:
    before = day - _DAY
    return before if before.weekday() not in _WEEKEND else _working_day_before(before)


def _moment(day: date, at: time, zone: tzinfo) -> datetime:
    return datetime.combine(day, at, zone).astimezone(UTC)


def _zones(manifest: Manifest) -> list[ZoneInfo]:
    return [ZoneInfo(source.calendar.zone) for source in manifest.sources]
