"""What one of two reports should tell and does not, as one that is empty or was cut off: pure.

Both tell the commission of a fill, in the same second.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Final

import attrs

from brokersync_tradovate.cash_history import CashHistory, Charge, Place
from brokersync_tradovate.certainty import COMPARED_WITHIN, booked_until, second_of
from brokersync_tradovate.charges import FillCharges, place_of
from brokersync_tradovate.fills_report import BadRow, ReportFill

LEFT_OUT: Final = "commissions of the Cash History where the Fills report tells no fill"


@attrs.frozen
class Shortfall:
    """Fills of which the Cash History tells no fee, those `short` of one that others had, and commissions of which the
    Fills report tells no fill."""

    fills: Sequence[ReportFill]
    short: Sequence[ReportFill]
    commissions: Sequence[Charge]

    @property
    def days(self) -> set[date]:
        return {second_of(one).date() for one in (*self.fills, *self.short)} | {
            one.second.date() for one in self.commissions
        }

    def by_day(self, waits_for_fees: Callable[[date], bool]) -> dict[date, dict[str, int]]:
        """What each day lacks, those that lack only fees if they still wait for them."""
        of_fills = {day for day in self.days if waits_for_fees(day)} | {one.second.date() for one in self.commissions}
        return {
            day: Shortfall(
                [one for one in self.fills if second_of(one).date() == day],
                [one for one in self.short if second_of(one).date() == day],
                [one for one in self.commissions if one.second.date() == day],
            ).counts()
            for day in of_fills
        }

    def counts(self) -> dict[str, int]:
        told = {
            "fills with a commission of which the Cash History tells no fee": len(self.fills),
            "fills that lack a fee in the Cash History which others of the contract had within a week": len(self.short),
            LEFT_OUT: len(self.commissions),
        }
        return {words: count for words, count in told.items() if count}


def fills_without_fees(
    fills: Iterable[ReportFill], history: CashHistory, left: Iterable[Charge], until: date
) -> list[ReportFill]:
    """Those that cost a commission, all of whose fees are booked and none is told, in whatever second."""
    told = {charge.place for charge in history.charges}
    is_booked = _all_booked(left, until)

    def lacks_fees(fill: ReportFill) -> bool:
        place = place_of(fill)
        if not fill.commission or place is None or place in told or place[1].date() in history.unread:
            return False
        return is_booked(fill)

    return [fill for fill in fills if lacks_fees(fill)]


def fills_short_of_a_fee(
    fills: Iterable[ReportFill],
    rows: Iterable[ReportFill | BadRow],
    charges: Mapping[int, FillCharges],
    left: Iterable[Charge],
    until: date,
) -> list[ReportFill]:
    """Those that some fees are told of, and not each kind that other fills of the contract had in the days around.

    The Cash History may have been cut between the fees of one fill.
    """
    kinds = {number: frozenset(one.amounts) for number, one in charges.items() if one.amounts}
    of_contract = defaultdict[str | None, defaultdict[date, set[tuple[str, str]]]](lambda: defaultdict(set))
    for row in rows:
        if isinstance(row, ReportFill):
            of_contract[row.contract][second_of(row).date()] |= kinds.get(row.fill.id, frozenset())
    is_booked = _all_booked(left, until)

    def is_short(fill: ReportFill) -> bool:
        day, own = second_of(fill).date(), kinds.get(fill.fill.id)
        if own is None or not is_booked(fill):
            return False
        around = (one for at, one in of_contract[fill.contract].items() if abs(at - day) <= COMPARED_WITHIN)
        return any(one - own for one in around)

    return [fill for fill in fills if is_short(fill)]


def _all_booked(left: Iterable[Charge], until: date) -> Callable[[ReportFill], bool]:
    """Whether all fees of a fill are booked, and none of them at another time."""
    elsewhere = defaultdict[str | None, set[date]](set)
    for charge in left:
        elsewhere[charge.contract].add(charge.second.date())

    def is_booked(fill: ReportFill) -> bool:
        first, last = second_of(fill).date(), booked_until(fill)
        return last < until and not any(first <= day <= last for day in elsewhere[fill.contract])

    return is_booked


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
