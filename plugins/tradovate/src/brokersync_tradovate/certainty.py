"""Whether the fees that a fill has got are all of its fees and nobody else's: pure.

They were joined by contract and second, and a broker that books fees later, such as at the close, may book them in the
second of another fill. So they are certain only where other fills of the contract had the same.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from typing import Final, TypeAlias

import attrs

from brokersync_tradovate.fills_report import ReportFill

BOOKED_WITHIN: Final = timedelta(days=5)
"""After a fill; a trade date may close four days after it, as that of a Thursday evening before a holiday does."""
COMPARED_WITHIN: Final = timedelta(days=7)
"""How far before a fill others are compared with it."""
DIFFERS: Final = "other fills of the contract had other fees"
WAITS: Final = "no other fill of the contract shows the same fees so far"
"""Fees of another are still to come, which may confirm them."""
IN_PARTS: Final = "the Cash History of a day that may tell of it could not be read"

_A_DAY = timedelta(days=1)

Sums: TypeAlias = Mapping[tuple[str, str], Decimal]
_Rates: TypeAlias = frozenset[tuple[tuple[str, str], Fraction]]


def second_of(fill: ReportFill) -> datetime:
    """The second that every report shows of a fill."""
    return fill.shown or fill.fill.timestamp.replace(microsecond=0)


def booked_until(fill: ReportFill) -> date:
    """The last day on which a fee of the fill may be booked: the one after its trade date."""
    first = second_of(fill).date()
    if fill.fill.trade_date is None:
        return first + BOOKED_WITHIN
    return max(first, fill.fill.trade_date) + _A_DAY


@attrs.frozen
class Joined:
    """The fills of a contract in one second and what was booked for them, which is `None` where it is no fill's."""

    fills: Sequence[ReportFill]
    sums: Sums | None

    @property
    def quantity(self) -> Decimal:
        return sum((fill.fill.qty for fill in self.fills), Decimal(0))

    @cached_property
    def rates(self) -> _Rates:
        """What each contract cost; but the commission, which the Fills report confirms for each fill."""
        quantity = Fraction(self.quantity)
        others = ((name, amount) for name, amount in (self.sums or {}).items() if name[0] != "commission")
        return frozenset((name, Fraction(amount) / quantity) for name, amount in others)


class Contract:
    """What the fills of one contract cost, second by second. `until` is the first day that may still get fees."""

    def __init__(self, joined: Iterable[Joined], until: date) -> None:
        self._joined = sorted(joined, key=lambda one: second_of(one.fills[0]))
        self._days = [second_of(one.fills[0]).date() for one in self._joined]
        self._settled: defaultdict[date, Counter[_Rates]] = defaultdict(Counter)
        self._open: defaultdict[date, set[_Rates]] = defaultdict(set)
        self._found: dict[tuple[date, date], tuple[Counter[_Rates], set[_Rates]]] = {}  # asked for by each fill
        for day, one in zip(self._days, self._joined, strict=True):
            if one.sums is None:
                continue
            if max(map(booked_until, one.fills)) < until:
                self._settled[day][one.rates] += 1
            else:
                self._open[day].add(one.rates)

    def doubt(self, own: Joined, fill: ReportFill) -> str | None:
        """What the other fills have against the fees of a settled one; else nothing."""
        rates = own.rates
        days = second_of(fill).date() - COMPARED_WITHIN, booked_until(fill)
        settled, to_come = self._rates_between(*days)
        # what is still to be booked for them may be missing there, and nothing else
        if settled.keys() != {rates} or any(not one <= rates for one in to_come):
            return DIFFERS
        if settled[rates] == 1:
            return WAITS if to_come else "no other fill of the contract shows the same fees"
        # were the fees of each booked in the second of the next one, they would show one rate, too
        if _grow_steadily(one.quantity for one in self._between(*days)):
            return "the quantities of the contract's fills grow steadily"
        return None

    def _rates_between(self, first: date, last: date) -> tuple[Counter[_Rates], set[_Rates]]:
        """How often which were paid on these days, and those to which some may be added."""
        if (first, last) not in self._found:
            settled: Counter[_Rates] = Counter()
            for day, counted in self._settled.items():
                if first <= day <= last:
                    settled.update(counted)
            to_come = {one for day, rates in self._open.items() if first <= day <= last for one in rates}
            self._found[first, last] = (settled, to_come)
        return self._found[first, last]

    def _between(self, first: date, last: date) -> Iterator[Joined]:
        """One by one, for a few are enough to tell."""
        places = range(bisect_left(self._days, first), bisect_right(self._days, last))
        return (self._joined[place] for place in places)


def _grow_steadily(quantities: Iterable[Decimal]) -> bool:
    """Whether each is the one before, so many times."""
    steps = (Fraction(after) / Fraction(before) for before, after in pairwise(quantities))
    first = next(steps, Fraction(1))
    return first != 1 and all(step == first for step in steps)


@attrs.frozen(kw_only=True)
class Certainty:
    """What is known of all fees: up to when they are booked, on which days one may be another fill's, and which days
    nobody could read."""

    until: date
    doubtful: Collection[date]
    unread: Collection[date]
    whole: bool
    contracts: Mapping[str, Contract]

    def doubt(self, contract: str, own: Joined) -> str | None:
        """Why these may not be all fees of a fill, or not its own; nothing where they are.

        Others may be booked until the day after its trade date; so what is nobody's on one of those days may be its
        own. And a commission that stands alone tells nothing of what others take.
        """
        first, last = second_of(own.fills[0]).date(), max(map(booked_until, own.fills))
        if any(first - COMPARED_WITHIN <= day <= last for day in self.unread):
            return IN_PARTS
        if len(own.fills) > 1:
            return "they are its share of the fees of one second"
        if not self.whole:
            return "a row of the reports is not understood"
        if not own.rates:
            return "the commission stands alone"
        if last >= self.until:
            return f"read when more could still be booked, until the end of {last}"
        if any(first <= day <= last for day in self.doubtful):
            return "a fee was booked that is no fill's, or twice"
        return self.contracts[contract].doubt(own, own.fills[0])
