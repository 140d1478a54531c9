"""Whose fees those of the Cash History are: pure, and nothing is said where that would be a guess.

The Cash History names no fill. It names the contract and the second, and it repeats the commission that the Fills
report tells of each fill. So the fees of a contract in a second are those of its fills in that second, if the
commissions of both reports agree there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Context, Decimal
from functools import reduce
from typing import Any, Final, TypeAlias

import attrs

from brokersync_tradovate.cash_history import CashHistory, Charge
from brokersync_tradovate.fills_report import ReportFill
from brokersync_tradovate.payloads import FEE_CURRENCIES
from brokersync_tradovate.rows import Row, exact_number

CHARGES: Final = "cashHistory"

_ORDER = tuple(FEE_CURRENCIES)
# nothing is rounded; what is too large for that is no number, and so equal to nothing
_EXACT = Context(prec=1000, traps=[])

_Place: TypeAlias = tuple[str | None, datetime]
_Sums: TypeAlias = Mapping[tuple[str, str], Decimal]


@attrs.frozen
class FillCharges:
    """What the Cash History says a fill cost: amounts by the fee's name in `fillFee` and the currency.

    `certain` says that it is all of it and nobody else's; else the fill has got its share of the fees of several, or a
    fee may still be missing.
    """

    amounts: _Sums
    certain: bool

    def kept(self) -> dict[str, Any]:
        """As it is kept in a raw row."""
        fees = [{"fee": fee, "amount": format(amount, "f"), "currency": c} for (fee, c), amount in self.amounts.items()]
        return {"fees": fees, "certain": self.certain}


UNREAD: Final = FillCharges({}, certain=False)
"""Those of a fill for which the Cash History could not be read: what it would tell is still to come."""


def charges_of(raw: Row) -> FillCharges | None:
    """The charges that a raw row was kept with."""
    kept = raw.get(CHARGES)
    if not kept:
        return None
    amounts = {(one["fee"], one["currency"]): exact_number(one["amount"]) for one in kept["fees"]}
    return FillCharges(amounts, kept["certain"])


def charges_by_fill(
    fills: Sequence[ReportFill], history: CashHistory, settled: datetime
) -> tuple[dict[int, FillCharges], int]:
    """The charges of each fill that has any for sure, and how many fees have found no fill.

    `fills` are all that the account had in the time of the report, or fees of one could be taken for another's. What
    was traded before `settled` costs nothing more that is not booked yet. A fee that has found no fill may be any
    fill's of its day, and then none of them is certain: of its day in UTC, so that windows of days make no difference.
    """
    places: dict[_Place, list[ReportFill]] = defaultdict(list)
    for fill in fills:
        places[fill.contract, fill.shown or fill.fill.timestamp.replace(microsecond=0)].append(fill)
    booked: dict[_Place, list[Charge]] = defaultdict(list)
    for charge in history.charges:
        booked[charge.contract, charge.second].append(charge)
    shares: dict[int, _Sums] = {}
    alone: dict[int, date] = {}
    left: list[Charge] = []
    for place, charges in booked.items():
        found = _shares(places.get(place, ()), _sums(charges))
        shares |= found
        if not found:
            left += charges
        elif len(found) == 1 and place[1] < settled:
            alone |= dict.fromkeys(found, place[1].date())
    doubtful = {charge.second.date() for charge in left}
    certain = {one for one, day in alone.items() if history.whole and day not in doubtful}
    return {one: FillCharges(sums, one in certain) for one, sums in shares.items()}, len(left)


def _sums(charges: Iterable[Charge]) -> _Sums:
    sums: dict[tuple[str, str], Decimal] = {}
    for charge in sorted(charges, key=lambda one: (_ORDER.index(one.fee), one.currency)):
        name = (charge.fee, charge.currency)
        sums[name] = _EXACT.add(sums.get(name, Decimal(0)), charge.amount)
    return sums


def _shares(fills: Sequence[ReportFill], sums: _Sums) -> dict[int, _Sums]:
    """What each of the fills in one second has of the fees in it; nothing where that is not sure."""
    quantity = sum((fill.fill.qty for fill in fills), Decimal(0))
    commissions = [(fill.fill.qty, fill.commission) for fill in fills if fill.commission is not None]
    booked = [amount for (fee, _), amount in sums.items() if fee == "commission"]
    if len(commissions) < len(fills) or booked != [reduce(_EXACT.add, (one for _, one in commissions), Decimal(0))]:
        return {}
    if any(_EXACT.multiply(one, quantity) != _EXACT.multiply(booked[0], part) for part, one in commissions):
        return {}
    if not all(_divides(amount, fill.fill.qty, quantity) for fill in fills for amount in sums.values()):
        return {}
    return {
        fill.fill.id: {
            name: _EXACT.divide(_EXACT.multiply(amount, fill.fill.qty), quantity) for name, amount in sums.items()
        }
        for fill in fills
    }


def _divides(amount: Decimal, part: Decimal, whole: Decimal) -> bool:
    """Whether the part of an amount comes out even in the digits in which the amount is told, cents at least."""
    exponent = amount.as_tuple().exponent
    step = Decimal(1).scaleb(min(exponent, -2)) if isinstance(exponent, int) else Decimal(0)
    return part > 0 and _EXACT.remainder(_EXACT.multiply(amount, part), _EXACT.multiply(whole, step)) == 0
