"""A source's calendar: where its days begin. Pure."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from brokersync.manifest import Calendar, CalendarUnit
from brokersync.types import TimeWindow


def day_floor(moment: datetime, calendar: Calendar) -> datetime:
    """When the source's day that holds `moment` began, in UTC."""
    return _begin(_day_of(moment, calendar), calendar)


def next_day(moment: datetime, calendar: Calendar) -> datetime:
    """When the source's day after the one that holds `moment` begins, in UTC."""
    return _begin(_day_of(moment, calendar) + timedelta(days=1), calendar)


def _day_of(moment: datetime, calendar: Calendar) -> date:
    day = moment.astimezone(ZoneInfo(calendar.zone)).date()
    # in UTC, for daylight saving skips the day's start in some zones and repeats it in others
    return day if _begin(day, calendar) <= moment else day - timedelta(days=1)


def _begin(day: date, calendar: Calendar) -> datetime:
    return datetime.combine(day, time.fromisoformat(calendar.day_starts), ZoneInfo(calendar.zone)).astimezone(UTC)


def day_called(day: date, calendar: Calendar) -> TimeWindow:
    """The source's day that is called by this date: one that begins in the evening is that of the date to come."""
    noon = datetime.combine(day, time(12), ZoneInfo(calendar.zone)).astimezone(UTC)
    return TimeWindow(day_floor(noon, calendar), next_day(noon, calendar))


def floor(moment: datetime, calendar: Calendar) -> datetime:
    """The latest moment up to this one at which the calendar may be cut."""
    return day_floor(moment, calendar) if calendar.unit is CalendarUnit.DAY else moment


def ceiling(moment: datetime, calendar: Calendar) -> datetime:
    """The earliest moment from this one on at which the calendar may be cut."""
    whole = floor(moment, calendar)
    return whole if whole == moment else next_day(moment, calendar)


def stretch_text(window: TimeWindow, zone: str) -> str:
    """A stretch as days, or to the minute where it does not begin and end with a day of the zone."""
    start, end = (moment.astimezone(ZoneInfo(zone)) for moment in (window.start, window.end))
    if start.time() == end.time() == time(0):
        first, last = start.date(), end.date() - timedelta(days=1)
        return f"{first}" if first == last else f"{first} to {last}"
    until = f"{end:%H:%M}" if start.date() == end.date() else f"{end:%Y-%m-%d %H:%M}"
    return f"{start:%Y-%m-%d %H:%M} to {until} {zone}"
