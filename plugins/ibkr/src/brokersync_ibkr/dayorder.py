"""Whether a document's dates with slashes begin with the day or with the month."""

from __future__ import annotations

import re
from datetime import date, timedelta
from enum import Enum

import attrs

from brokersync.plugin import BrokerConfigError, Fault
from brokersync_ibkr.guidance import DATE_FORMAT_REMEDY

# a statement reaches over 366 days at most; a few more for edges that holidays move
_LONGEST_PERIOD = timedelta(days=370)
_SLASH_DATE = re.compile(r"\d{1,2}/\d{1,2}/(?:\d{4}|\d\d)", re.ASCII)


class DayOrder(Enum):
    MONTH_FIRST = "MM/dd"
    DAY_FIRST = "dd/MM"


def slash_day(text: str, order: DayOrder) -> date:
    """The date in the part of `text` up to its year. Raises `ValueError` where there is no such day."""
    first, second, year = text.split("/")
    month, day = (first, second) if order is DayOrder.MONTH_FIRST else (second, first)
    return date(int(year) + (2000 if len(year) == 2 else 0), int(month), int(day))


@attrs.define
class _Reading:
    """How one order fares with the dates seen so far."""

    order: DayOrder
    possible: bool = True
    plausible: bool = True
    period: tuple[date, date] | None = None

    def read(self, text: str) -> date | None:
        try:
            return slash_day(text, self.order) if _SLASH_DATE.fullmatch(text) else None
        except ValueError:
            return None


class DayOrderEvidence:
    """Collects what a document's dates say about their order.

    Dates without slashes are passed over, and so is text that is no date in either order: it spoils its own row only.
    """

    def __init__(self) -> None:
        self._readings = (_Reading(DayOrder.MONTH_FIRST), _Reading(DayOrder.DAY_FIRST))
        self._differs = False

    def period(self, begin: str, end: str, generated: str) -> None:
        """A statement's first and last day, and when it was made."""
        for text in (begin, end, generated):
            self.date(text)
        if "/" not in begin or "/" not in end:
            return
        for reading in self._readings:
            first, last = reading.read(begin), reading.read(end)
            if first is None or last is None:
                continue
            reading.period = (first, last)
            made = reading.read(_date_part(generated)) if "/" in generated else None
            if first > last or last - first > _LONGEST_PERIOD or (made is not None and made < last):
                reading.plausible = False

    def date(self, text: str) -> None:
        """Any date of the document."""
        if "/" not in text:
            return
        days = [reading.read(_date_part(text)) for reading in self._readings]
        if days == [None, None]:
            return
        for reading, day in zip(self._readings, days, strict=True):
            reading.possible = reading.possible and day is not None
        self._differs = self._differs or days[0] != days[1]

    def booked(self, text: str) -> None:
        """The day of a row's booking, which lies within its statement's period."""
        if "/" not in text:
            return
        for reading in self._readings:
            day = reading.read(_date_part(text))
            if day is not None and reading.period and not reading.period[0] <= day <= reading.period[1]:
                reading.plausible = False

    def decide(self) -> DayOrder:
        """The one order that fits. Raises `BrokerConfigError` when both or none do."""
        possible = [reading for reading in self._readings if reading.possible]
        if len(possible) == 2 and not self._differs:
            return DayOrder.MONTH_FIRST
        fitting = [reading for reading in possible if reading.plausible] if len(possible) == 2 else possible
        if len(fitting) == 1:
            return fitting[0].order
        raise BrokerConfigError(
            "The dates of this statement can be read with the day first or with the month first."
            if possible
            else "The dates of this statement have the day first in some places and the month first in others.",
            remedy=DATE_FORMAT_REMEDY,
            fault=Fault.USER,
        )


def _date_part(text: str) -> str:
    """A date with slashes, without the time that may stand behind it even without a separator."""
    head, _, rest = text.rpartition("/")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    # behind the slash: yy, yyyy, yyHHmmss, yyyyHHmmss, or yyHH and yyyyHH where the time is written with colons
    colon = rest[len(digits) : len(digits) + 1] == ":"
    length = {2: 2, 4: 2 if colon else 4, 6: 4, 8: 2, 10: 4}.get(len(digits), 0)
    return f"{head}/{digits[:length]}"
