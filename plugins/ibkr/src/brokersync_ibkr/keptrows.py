"""What a row needs of its statement to be read again: kept in the raw row, only where it is not the usual."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from brokersync.plugin import IdQuality, QuarantinedRow, TradeBooking
from brokersync_ibkr.allocations import reason_not_to_book
from brokersync_ibkr.costs import RowPlace
from brokersync_ibkr.dayorder import DayOrder
from brokersync_ibkr.identity import named
from brokersync_ibkr.instruments import RowError
from brokersync_ibkr.normalise import Normaliser
from brokersync_ibkr.vocabulary import CONFIRMATION_NAMES

# a dot is in no name of an attribute that IBKR uses
ELEMENT: Final = "statement.element"
DATES: Final = "statement.dates"
CURRENCY_COLUMN: Final = "statement.commissionCurrency"
CONFIRM: Final = "TradeConfirm"
_NO_COLUMN = "no column"


def remember(raw: dict[str, str], place: RowPlace, order: DayOrder | None) -> None:
    """Write down what the row does not tell of itself."""
    if place.confirmation:
        raw[ELEMENT] = CONFIRM
    if order is not None:
        raw[DATES] = order.value
    if not place.has_commission_currency:
        raw[CURRENCY_COLUMN] = _NO_COLUMN


def remembered(raw: Mapping[str, str], account_id: str, environment: str) -> RowPlace:
    """The place of a kept row."""
    return RowPlace(
        account_id,
        environment,
        confirmation=raw.get(ELEMENT) == CONFIRM,
        has_commission_currency=CURRENCY_COLUMN not in raw,
    )


def read_row(normaliser: Normaliser, raw: Mapping[str, str], place: RowPlace) -> TradeBooking | QuarantinedRow:
    """The booking of a fill row, or the row in quarantine with the reason."""
    fields = _as_activity(raw) if place.confirmation else raw
    try:
        if (reason := reason_not_to_book(raw)) is not None:
            raise RowError(reason)
        return normaliser.booking(fields, raw, place)
    except (RowError, ValueError, OverflowError) as error:
        row_id = error.row_id if isinstance(error, RowError) else None
        return QuarantinedRow(
            reason=str(error),
            raw=raw,
            account_id=place.account_id,
            environment=place.environment,
            row_id=named(fields) or row_id,
            id_quality=IdQuality.SYNTHETIC if row_id else IdQuality.BROKER,
        )


def _as_activity(raw: Mapping[str, str]) -> dict[str, str]:
    fields = dict(raw)
    for theirs, ours in CONFIRMATION_NAMES.items():
        if theirs in raw and ours not in raw:
            fields[ours] = raw[theirs]
    return fields
