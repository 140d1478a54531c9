"""Whose fees those of the Cash History are: pure, and nothing is said where that would be a guess.

The Cash History names no fill. It names the contract and the second, and it repeats the commission that the Fills
report tells of each fill. So the fees of a contract in a second are those of its fills in that second, if the
commissions of both reports agree there.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence, Sized
from datetime import date
from decimal import Context, Decimal
from functools import reduce
from typing import Any, Final, TypeVar

import attrs

from brokersync_tradovate.aside import Each
from brokersync_tradovate.cash_history import CashHistory, Charge, Place
from brokersync_tradovate.certainty import Certainty, Contract, Joined, Sums, second_of
from brokersync_tradovate.fills_report import BadRow, ReportFill
from brokersync_tradovate.payloads import FEE_CURRENCIES
from brokersync_tradovate.rows import Row, exact_number

CHARGES: Final = "cashHistory"

_ORDER = tuple(FEE_CURRENCIES)
_EXACT = Context(prec=1000)  # nothing is rounded but what does not come out even
_CENTS = Decimal("0.00")

_P = TypeVar("_P", bound=Hashable)
_T = TypeVar("_T")


@attrs.frozen
class FillCharges:
    """What the Cash History says a fill cost: amounts by the fee's name in `fillFee` and the currency.

    `doubt` says why they may not be all of it, or somebody else's; `None` that they are all, and its own.
    """

    amounts: Sums
    doubt: str | None = None

    @property
    def certain(self) -> bool:
        return self.doubt is None

    def kept(self) -> dict[str, Any]:
        """As it is kept in a raw row."""
        fees = [{"fee": fee, "amount": format(amount, "f"), "currency": c} for (fee, c), amount in self.amounts.items()]
        return {"fees": fees, "certain": self.certain} | ({} if self.doubt is None else {"doubt": self.doubt})


UNREAD: Final = FillCharges({}, "the Cash History could not be read")
"""Those of a fill for which the Cash History could not be read: what it would tell is still to come."""
UNTOLD: Final = FillCharges({}, "the Cash History tells nothing of it so far")
"""Those of a fill for which the Cash History, read as it was, is to be asked again."""


def charges_of(raw: Row) -> FillCharges | None:
    """The charges that a raw row was kept with."""
    kept = raw.get(CHARGES)
    if not kept:
        return None
    amounts = {(one["fee"], one["currency"]): exact_number(one["amount"]) for one in kept["fees"]}
    return FillCharges(amounts, None if kept["certain"] else kept.get("doubt", ""))


def charges_by_fill(
    rows: Iterable[ReportFill | BadRow], history: CashHistory, until: date, each: Each = iter
) -> tuple[dict[int, FillCharges], list[Charge]]:
    """The charges of each fill that has any for sure, and the fees that have found no fill.

    `rows` are all that the account had in the time of the history, read or not, or fees of one could be taken for
    another's. `until` is the first day of which something may still be booked.
    """
    fills = _grouped((place_of(row), row) for row in each(rows))
    booked = _grouped((charge.place, charge) for charge in each(history.charges))
    shares = {place: _shares(fills.get(place, []), charges) for place, charges in each(booked.items())}
    left = [place for place in booked if not shares[place]]
    crowded = [place for place in booked if _are_more(booked[place], fills.get(place, ()))]
    joined = {
        place: Joined(own, _sums_of(own, booked.get(place), is_theirs=bool(shares.get(place))))
        for place, found in each(fills.items())
        if place and place[1].date() not in history.unread and (own := _countable(found))
    }
    known = Certainty(
        until=until,
        doubtful={second.date() for _, second in left + crowded},
        unread=history.unread,
        # a row that does not tell its place may stand in any
        whole=history.whole and None not in fills,
        contracts={
            contract: Contract(each(found), until)
            for contract, found in _grouped((contract, one) for (contract, _), one in joined.items()).items()
        },
    )
    doubts = {place: known.doubt(place[0], joined[place]) for place, found in each(shares.items()) if found}
    charges = {
        fill.fill.id: FillCharges(sums, doubts[place]) for place, found in shares.items() for fill, sums in found
    }
    charges |= {
        row.fill.id: UNREAD
        for place, found in fills.items()
        if place and place[1].date() in history.unread
        for row in found
        if isinstance(row, ReportFill)
    }
    return charges, [charge for place in left for charge in booked[place]]


def _sums_of(fills: Iterable[ReportFill], charges: Iterable[Charge] | None, *, is_theirs: bool) -> Sums | None:
    """What was booked for the fills of one second, if that is known.

    Where nothing was booked in it, though they cost a commission, that is told of them: it was booked elsewhere.
    """
    if charges is not None:
        return _sums(charges) if is_theirs else None
    return {} if any(fill.commission for fill in fills) else None


def _grouped(placed: Iterable[tuple[_P, _T]]) -> dict[_P, list[_T]]:
    found: defaultdict[_P, list[_T]] = defaultdict(list)
    for place, one in placed:
        found[place].append(one)
    return found


def place_of(row: ReportFill | BadRow) -> Place | None:
    """Where the fees of a row are booked, if it tells that."""
    second = row.shown if isinstance(row, BadRow) else second_of(row)
    return (row.contract, second) if row.contract and second else None


def _countable(rows: Iterable[ReportFill | BadRow]) -> list[ReportFill]:
    return [row for row in rows if isinstance(row, ReportFill) and row.fill.qty > 0]


def _shares(rows: Sequence[ReportFill | BadRow], charges: Iterable[Charge]) -> list[tuple[ReportFill, Sums]]:
    """What each of the fills in one second has of the fees in it: of each fee by its quantity.

    Nothing where that is not sure: where a row can not be read, where a share does not come out even, or where one of
    the commissions would not be what the Fills report says.
    """
    fills = _countable(rows)
    if len(fills) < len(rows):
        return []
    quantity = reduce(_EXACT.add, (fill.fill.qty for fill in fills), Decimal(0))
    sums = _sums(charges)
    shares = [(fill, share) for fill in fills if (share := _share(fill, quantity, sums)) is not None]
    return shares if len(shares) == len(fills) else []


def _share(fill: ReportFill, quantity: Decimal, sums: Sums) -> Sums | None:
    """What a fill has of fees for this quantity, if it comes out even and holds the commission of the Fills report."""
    share = {name: _EXACT.divide(_EXACT.multiply(amount, fill.fill.qty), quantity) for name, amount in sums.items()}
    commissions = [amount for (fee, _), amount in share.items() if fee == "commission"]
    even = all(_comes_out_even(share[name], amount) for name, amount in sums.items())
    return share if even and commissions == [fill.commission] else None


def _comes_out_even(share: Decimal, amount: Decimal) -> bool:
    """Whether a share of an amount takes no more digits than are told of the amount, cents at least."""
    return share == share.quantize(_EXACT.add(amount, _CENTS), context=_EXACT)


def _sums(charges: Iterable[Charge]) -> Sums:
    sums: dict[tuple[str, str], Decimal] = {}
    for charge in sorted(charges, key=lambda one: (_ORDER.index(one.fee), one.currency)):
        name = (charge.fee, charge.currency)
        sums[name] = _EXACT.add(sums.get(name, Decimal(0)), charge.amount)
    return sums


def _are_more(charges: Iterable[Charge], fills: Sized) -> bool:
    """Whether a fee was booked more often than once for each fill: one may be another fill's, or a correction."""
    return max(Counter((charge.fee, charge.currency) for charge in charges).values()) > len(fills)
