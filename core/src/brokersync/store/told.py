"""A page's bookings as they are kept, with the fees that an earlier page knew of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from brokersync.records import PageCommit
from brokersync.store.contents import booking_content, load_booking
from brokersync.store.kept import Kept
from brokersync.store.quarantine import raw_of
from brokersync.store.sql import Fetch, Script
from brokersync.types import BrokerTrade, FeesState, TradeBooking


@attrs.frozen(kw_only=True)
class Told:
    """A booking of a page, with the text that is kept of it and the hash it is recognised by."""

    account: int
    booking: TradeBooking
    content: str
    digest: bytes

    @classmethod
    def of(cls, booking: TradeBooking, account: int) -> Told:
        content, digest = booking_content(booking)
        return cls(account=account, booking=booking, content=content, digest=digest)

    @property
    def key(self) -> tuple[int, str]:
        return (self.account, self.booking.booking_id)

    @property
    def raw(self) -> Mapping[str, Any] | None:
        return raw_of(self.booking)


def with_fees_known(
    page: PageCommit, rows: Sequence[Told], kept: Mapping[tuple[int, str], Kept]
) -> Script[Sequence[Told]]:
    """The rows of an answer of now, with the fees that an earlier one knew and this one does not.

    Of dated answers the later one stands as it is, and so does a row that is read anew.
    """
    if page.as_of is not None:
        return rows
    waiting = {
        kept[row.key].number
        for row in rows
        if row.key in kept
        and _has_fees_to_come(row.booking)
        and row.digest != kept[row.key].digest
        and row.booking.booking_id not in page.renewed
    }
    if not waiting:
        return rows
    found = yield Fetch("SELECT booking, content FROM bookings WHERE booking IN (??)", (sorted(waiting),))
    known = {number: load_booking(content) for number, content in found}
    return [_knowing(row, known.get(kept[row.key].number)) if row.key in kept else row for row in rows]


def _knowing(row: Told, before: TradeBooking | None) -> Told:
    told, known = row.booking.trade, None if before is None else before.trade
    if told is None or known is None or not _has_fees_to_come(row.booking) or not _adds(known, told):
        return row
    trade = attrs.evolve(told, fees=known.fees, fees_state=known.fees_state)
    return Told.of(attrs.evolve(row.booking, trade=trade), row.account)


def _adds(known: BrokerTrade, told: BrokerTrade) -> bool:
    """Whether what was known are fees of the same execution, and not only a part where a part is told now, too.

    Where a fee that is told now is none of them, they are contradicted, and nothing is known any more.
    """
    same = (known.side, known.quantity, known.price) == (told.side, told.quantity, told.price)
    agrees = all(fee in known.fees for fee in told.fees)
    return same and agrees and bool(known.fees) and not (told.fees and known.fees_state is FeesState.PENDING)


def _has_fees_to_come(booking: TradeBooking) -> bool:
    return booking.trade is not None and booking.trade.fees_state is FeesState.PENDING
