"""Dates and times as Flex writes them: every format a query can choose, on New York's clocks."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from brokersync_ibkr.dayorder import DayOrder, slash_day

NEW_YORK: Final = ZoneInfo("America/New_York")
_DAY = timedelta(days=1)

_DATE = r"(?P<date>\d{8}|\d{4}-\d\d-\d\d|\d{1,2}/\d{1,2}/(?:\d{4}|\d\d)|\d{1,2}-[A-Za-z]{3}-(?:\d{4}|\d\d))"
_TIME = r"(?P<time>\d\d:\d\d:\d\d|\d{6})"
_ZONE = r" ?(?P<zone>E[DS]T|UTC|GMT|Z|[+-]\d\d:?\d\d)"
_MOMENT = re.compile(rf"{_DATE}(?:[;,T ]? ?{_TIME}(?:{_ZONE})?)?", re.ASCII)
_CLOCK = re.compile(rf"{_TIME}(?:{_ZONE})?", re.ASCII)
_MONTHS = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), start=1
    )
}
_NAMED_ZONES = {
    "EDT": timezone(timedelta(hours=-4)),
    "EST": timezone(timedelta(hours=-5)),
    "UTC": UTC,
    "GMT": UTC,
    "Z": UTC,
}


class Moment(NamedTuple):
    """An instant in UTC, the day as it is written, and whether a time of day was told at all."""

    at: datetime
    day: date
    has_time: bool


class FlexDates:
    """Reads one document's dates. `order` is asked when the first date with slashes comes by.

    Every method raises `ValueError` for text that is no date. Times without a zone are New York's; of an hour that
    happens twice the first is taken, and an hour that never happens is read with the offset before the change.
    """

    def __init__(self, order: Callable[[], DayOrder]) -> None:
        self._ask_order = order
        self._order: DayOrder | None = None

    @property
    def order(self) -> DayOrder | None:
        """The order of day and month, once a date with slashes came by."""
        return self._order

    def moment(self, text: str) -> Moment:
        """A date, or a date with a time."""
        if len(text) == 15 and text[8] in ";, " and text[:8].isdigit() and text[9:].isdigit():
            # the default format, many times faster than by the pattern
            day = _compact(text[:8])
            offset = _steady_offset(day)
            if offset is not None:
                return Moment(datetime.fromisoformat(text + "Z") + offset, day, True)
        found = _MOMENT.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is no date")
        return self._built(self._date(found["date"]), found["time"], found["zone"])

    def day(self, text: str) -> date:
        """The day of a date; a time behind it is left aside."""
        if len(text) == 8 and text.isdigit():
            return _compact(text)
        return self.moment(text).day

    def joined(self, day: str, clock: str) -> Moment:
        """A date and a time from two attributes."""
        found = _CLOCK.fullmatch(clock)
        if found is None:
            raise ValueError(f"{clock!r} is no time of day")
        return self._built(self.day(day), found["time"], found["zone"])

    def _date(self, text: str) -> date:
        if "/" in text:
            if self._order is None:
                self._order = self._ask_order()
            return slash_day(text, self._order)
        if text.isdigit():
            return _compact(text)
        if text[-3] == "-" and text[4] == "-" and text[:4].isdigit():
            return date.fromisoformat(text)
        return _with_month_name(text)

    def _built(self, day: date, clock: str | None, zone: str | None) -> Moment:
        if clock is None:
            return Moment(new_york_midnight(day), day, False)
        local = datetime.combine(day, time.fromisoformat(clock))
        if zone is None:
            return Moment(_to_utc(local, day), day, True)
        offset = _NAMED_ZONES.get(zone) or datetime.strptime(zone.replace(":", ""), "%z").tzinfo
        return Moment(local.replace(tzinfo=offset).astimezone(UTC), day, True)


@lru_cache(maxsize=4096)
def new_york_midnight(day: date) -> datetime:
    """When the day begins in New York, in UTC."""
    return datetime.combine(day, time(), NEW_YORK).astimezone(UTC)


def new_york_day(moment: datetime) -> date:
    """The day it is in New York."""
    return moment.astimezone(NEW_YORK).date()


@lru_cache(maxsize=4096)
def _steady_offset(day: date) -> timedelta | None:
    """New York's distance to UTC, if it is one all day long."""
    begin, end = new_york_midnight(day), new_york_midnight(day + _DAY)
    return begin - datetime.combine(day, time(), UTC) if end - begin == _DAY else None


def _to_utc(local: datetime, day: date) -> datetime:
    offset = _steady_offset(day)
    if offset is None:
        return local.replace(tzinfo=NEW_YORK).astimezone(UTC)
    return (local + offset).replace(tzinfo=UTC)


@lru_cache(maxsize=4096)
def _compact(text: str) -> date:
    return date(int(text[:4]), int(text[4:6]), int(text[6:]))


def _with_month_name(text: str) -> date:
    day, month, year = text.split("-")
    number = _MONTHS.get(month.lower())
    if number is None:
        raise ValueError(f"{text!r} names no month")
    return date(int(year) + (2000 if len(year) == 2 else 0), number, int(day))
