"""What a row says that its execution has cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from brokersync.plugin import Fee, FeeKind, FeesState
from brokersync_ibkr.commissions import parts_of
from brokersync_ibkr.instruments import RowError, number_of, text_of
from brokersync_ibkr.numbers import number

_NOTHING = Decimal(0)
# a Trade Confirmation tells the last three beside its tax; none of them is part of the commission
_CHARGES = (
    ("taxes", FeeKind.TAX),
    ("salesTax", FeeKind.TAX),
    ("otherTax", FeeKind.TAX),
    ("tradeCharge", FeeKind.OTHER),
)


class RowPlace(NamedTuple):
    """What a row does not tell of itself: its account, and the statement and columns it stands in."""

    account_id: str
    environment: str
    confirmation: bool = False
    has_commission_currency: bool = True


def fees_of(
    fields: Mapping[str, str], currency: str | None, place: RowPlace, note_unknown: Callable[[str], None]
) -> tuple[Fee, ...]:
    # a cost is negative in Flex and a rebate positive; the commission may be in the account's currency
    fees = []
    commission = number_of(fields, "ibCommission")
    if commission:
        stated = text_of(fields, "ibCommissionCurrency")
        in_currency = stated.upper() if stated else None if place.has_commission_currency else currency
        if in_currency is None:
            raise RowError("the commission has no currency")
        parts = parts_of(fields, commission, note_unknown)
        if parts is None:
            fees.append(_whole_commission(fields["ibCommission"], in_currency))
        else:
            fees += [Fee(kind=kind, amount=amount.copy_negate(), currency=in_currency) for kind, amount in parts]
    for name, fee_kind in _CHARGES:
        charge = number_of(fields, name) if name in fields else None
        if charge:
            if currency is None:
                raise RowError(f"{name} has no currency")
            fees.append(Fee(kind=fee_kind, amount=charge.copy_negate(), currency=currency))
    return tuple(fees)


def of_the_account(cash: Mapping[str, str]) -> str:
    """Why a cash row that changes what trades have cost stays a cost of the account."""
    if text_of(cash, "tradeID") is None:
        return "a cost of the account, as it names no trade"
    # what such a row adds to, and whether Activity then tells the commission anew, nobody published
    return "a cost of the account, though it names a trade, as that may tell it too"


@lru_cache(maxsize=1 << 12)
def _whole_commission(text: str, currency: str) -> Fee:
    """By its text, since equal numbers may be written with more or fewer zeros."""
    return Fee(kind=FeeKind.COMMISSION, amount=(number(text) or _NOTHING).copy_negate(), currency=currency)


def fees_state_of(fields: Mapping[str, str], place: RowPlace) -> FeesState:
    if text_of(fields, "ibCommission") is None:
        return FeesState.PENDING
    # a confirmation's costs may differ a little from what is booked; an assumed currency is no final word either
    return FeesState.FINAL if place.has_commission_currency and not place.confirmation else FeesState.ESTIMATED
