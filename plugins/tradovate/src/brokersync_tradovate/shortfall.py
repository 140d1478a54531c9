"""What one of two reports should tell and does not, as one that is empty or was cut off: pure.

Both tell the commission of a fill, in the same second.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import date, datetime
from typing import Final

import attrs

from brokersync_tradovate.cash_history import CashHistory, Charge, Place
from brokersync_tradovate.certainty import booked_until, second_of
from brokersync_tradovate.charges import place_of
from brokersync_tradovate.fills_report import BadRow, ReportFill

LEFT_OUT: Final = "commissions of the Cash History where the Fills report tells no fill"


@attrs.frozen
class Shortfall:
    """Fills of which the Cash History tells no fee, and commissions of which the Fills report tells no fill."""

    fills: Sequence[ReportFill]
    commissions: Sequence[Charge]

    @property
    def days(self) -> set[date]:
        return {second_of(one).date() for one in self.fills} | {one.second.date() for one in self.commissions}

    def by_day(self, waits_for_fees: Callable[[date], bool]) -> dict[date, dict[str, int]]:
        """What each day lacks, those that lack only fees if they still wait for them."""
        of_fills = {day for day in self.days if waits_for_fees(day)} | {one.second.date() for one in self.commissions}
        return {
            day: Shortfall(
                [one for one in self.fills if second_of(one).date() == day],
                [one for one in self.commissions if one.second.date() == day],
            ).counts()
            for day in of_fills
        }

    def counts(self) -> dict[str, int]:
        told = {
            "fills with a commission of which the Cash History tells no fee": len(self.fills),
            LEFT_OUT: len(self.commissions),
        }
        return {words: count for words, count in told.items() if count}


def fills_without_fees(
    fills: Iterable[ReportFill], history: CashHistory, left: Iterable[Charge], until: date
) -> list[ReportFill]:
    """Those that cost a commission, all of whose fees are booked and none is told, in whatever second."""
    told = {charge.place for charge in history.charges}
    elsewhere = {(charge.contract, charge.second.date()) for charge in left}

    def lacks_fees(fill: ReportFill) -> bool:
        place = place_of(fill)
        if not fill.commission or place is None or place in told or place[1].date() in history.unread:
            return False
        first, last = place[1].date(), booked_until(fill)
        return last < until and not any(name == place[0] and first <= day <= last for name, day in elsewhere)

    return [fill for fill in fills if lacks_fees(fill)]


def commissions_without_fill(
    left: Iterable[Charge], rows: Sequence[ReportFill | BadRow], without_fees: Iterable[ReportFill], until: date
) -> list[Charge]:
    """Those of days that are over, in whose second the Fills report has no row of their contract.

    One that may be of a fill `without_fees` is not among them: it was booked at another time than that was traded. Nor
    is what may be of a row that does not tell its contract or its second.
    """
    places = {place_of(row) for row in rows}
    others = sorted((one for one in without_fees if one.commission), key=second_of)
    found = list[Charge]()
    for charge in sorted(left, key=lambda one: one.second):
        if charge.fee != "commission" or charge.second.date() >= until or charge.place in places:
            continue
        its = next((one for one in others if _may_be_of(charge, one)), None)
        if its is None:
            found.append(charge)
        else:
            others.remove(its)
    excused = _excused({charge.place for charge in found}, [row for row in rows if place_of(row) is None])
    return [charge for charge in found if charge.place not in excused]


def _excused(places: Collection[Place], unplaced: Iterable[ReportFill | BadRow]) -> Collection[Place]:
    """One place for each row that may stand there: in its own second if it tells that, else in any.

    Of any it is one on the day that has the most, so that the other fills of that day keep it open.
    """
    told = Counter(row.shown if isinstance(row, BadRow) else second_of(row) for row in unplaced)
    anywhere = told.pop(None, 0)
    of_second = defaultdict[datetime, list[Place]](list)
    for place in sorted(places):
        of_second[place[1]].append(place)
    excused = {place for second, there in of_second.items() for place in there[: told[second]]}
    rest = sorted(set(places) - excused)
    of_day = Counter(second.date() for _, second in rest)
    rest.sort(key=lambda place: of_day[place[1].date()], reverse=True)
    return excused.union(rest[:anywhere])


def _may_be_of(charge: Charge, fill: ReportFill) -> bool:
    return charge.contract == fill.contract and second_of(fill).date() <= charge.second.date() <= booked_until(fill)
