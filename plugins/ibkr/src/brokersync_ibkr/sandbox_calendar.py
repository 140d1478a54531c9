"""The sandbox's calendar: New York's wall clock, weekdays, and two holidays of a fixed date."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")

_DAY = timedelta(days=1)
_STATEMENTS_READY = timedelta(hours=6)
_HOLIDAYS = frozenset({(1, 1), (12, 25)})


def local_day(moment: datetime) -> date:
    """The day that New York's wall shows at this instant."""
    return moment.astimezone(NEW_YORK).date()


def newest_stated_day(moment: datetime) -> date:
    """The last day that Activity statements tell of at this instant: a day is ready at six the next morning."""
    return (moment.astimezone(NEW_YORK).replace(tzinfo=None) - _STATEMENTS_READY).date() - _DAY


def is_business_day(day: date) -> bool:
    return day.weekday() < 5 and (day.month, day.day) not in _HOLIDAYS


def next_business_day(day: date, steps: int = 1) -> date:
    """The business day that many steps after `day`, which itself need not be one."""
    for _ in range(steps):
        day += _DAY
        while not is_business_day(day):
            day += _DAY
    return day


def business_days(first: date, last: date) -> list[date]:
    """The business days from `first` to `last`, both included."""
    days = (first + timedelta(days=number) for number in range((last - first).days + 1))
    return [day for day in days if is_business_day(day)]


def weekday_number(day: date) -> int:
    """Grows by one from weekday to weekday, holidays included."""
    weeks, weekday = divmod(day.toordinal() - 1, 7)
    return weeks * 5 + weekday


def wall_time(day: date, second: int) -> datetime:
    """New York's wall clock, that many seconds from midnight; a negative number is the evening before."""
    return datetime.combine(day, time(), NEW_YORK) + timedelta(seconds=second)


def option_expiry(day: date, weeks: int) -> date:
    """The Friday of the week that many weeks on, or the business day before it."""
    friday = day + timedelta(days=4 - day.weekday(), weeks=weeks)
    while not is_business_day(friday):
        friday -= _DAY
    return friday


def quarter_expiry(day: date) -> date:
    """The third Friday of the next quarter month that is at least 20 days away."""
    month = date(day.year, day.month, 1)
    while True:
        third_friday = month + timedelta(days=(4 - month.weekday()) % 7 + 14)
        if month.month % 3 == 0 and third_friday >= day + timedelta(days=20):
            return third_friday
        month = (month + timedelta(days=32)).replace(day=1)
