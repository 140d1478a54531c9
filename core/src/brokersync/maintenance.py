"""When a broker is closed for maintenance, as values."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, time, timedelta, tzinfo
from enum import StrEnum
from typing import Final

import attrs

_TIME_OF_DAY: Final = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d")
_ADJACENT_AT_MOST: Final = 7
_INSTANT: Final = timedelta(microseconds=1)


class Weekday(StrEnum):
    """In the order of `datetime.weekday()`."""

    MONDAY = "monday"
    TUESDAY = "tuesday"
    WEDNESDAY = "wednesday"
    THURSDAY = "thursday"
    FRIDAY = "friday"
    SATURDAY = "saturday"
    SUNDAY = "sunday"


_WEEK: Final = tuple(Weekday)


def _zone(name: str) -> tzinfo:
    from zoneinfo import ZoneInfo  # paid for only where a broker has such windows

    return ZoneInfo(name)


def _time_of_day(_: object, field: attrs.Attribute[str], value: str) -> None:
    if not _TIME_OF_DAY.fullmatch(value):
        raise ValueError(f"{field.name} is a time of day like 17:00, not {value!r}")


@attrs.frozen(kw_only=True)
class MaintenanceWindow:
    """From `start` to `end`, in times of day of `zone`, beginning on each of `days`, or every day where none is named.

    An `end` that is not after `start` is on the next day. `source` says where this comes from.
    """

    start: str = attrs.field(validator=_time_of_day)
    end: str = attrs.field(validator=_time_of_day)
    zone: str = "UTC"
    days: tuple[Weekday, ...] = ()
    source: str = ""

    def __attrs_post_init__(self) -> None:
        try:
            _zone(self.zone)
        except (KeyError, ValueError, OSError):
            raise ValueError(f"the zone {self.zone!r} is unknown") from None

    def around(self, moment: datetime) -> tuple[datetime, datetime] | None:
        """When it begins and ends, where the moment lies in it."""
        zone = _zone(self.zone)
        today = moment.astimezone(zone).date()
        start, end = time.fromisoformat(self.start), time.fromisoformat(self.end)
        for day in (today, today - timedelta(days=1)):
            if self.days and _WEEK[day.weekday()] not in self.days:
                continue
            begins = datetime.combine(day, start, zone).astimezone(UTC)
            last = day if end > start else day + timedelta(days=1)
            ends = datetime.combine(last, end, zone).astimezone(UTC)
            if begins <= moment < ends:
                return begins, ends
        return None


def closed_until(windows: Iterable[MaintenanceWindow], moment: datetime) -> datetime | None:
    """When the broker is open again; `None` where it is open then."""
    windows, opens = tuple(windows), None
    for _ in range(_ADJACENT_AT_MOST):
        ends = [spell[1] for window in windows if (spell := window.around(opens or moment)) is not None]
        if not ends:
            break
        opens = max(ends)
    return opens


def closed_from(windows: Iterable[MaintenanceWindow], moment: datetime) -> datetime | None:
    """Since when the broker is closed that is closed then; `None` where it is open."""
    windows, closed = tuple(windows), None
    for _ in range(_ADJACENT_AT_MOST):
        at = moment if closed is None else closed - _INSTANT
        begins = [spell[0] for window in windows if (spell := window.around(at)) is not None]
        if not begins:
            break
        closed = min(begins)
    return closed
