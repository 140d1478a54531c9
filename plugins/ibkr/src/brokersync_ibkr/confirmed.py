"""What a document of confirmations says under each execution id."""

from __future__ import annotations

from brokersync.plugin import IdQuality, QuarantinedRow, TradeBooking
from brokersync_ibkr.aside import Aside

_TWO_ROWS = (
    "another row of the statement says something else under its execution id, and a confirmation has no other id: the"
    " Activity statement of the next morning tells what became of the trade"
)


class Confirmed:
    """Keeps a trade that was booked anew under its old execution id from passing for the one that was cancelled."""

    def __init__(self, aside: Aside) -> None:
        self._aside = aside

    def checked(self, booking: TradeBooking) -> TradeBooking | QuarantinedRow:
        """The booking, or its row in quarantine where an earlier row under its id says something else."""
        trade = booking.trade
        if trade is None or booking.id_quality is IdQuality.SYNTHETIC:
            return booking
        told = str(hash((trade.instrument.broker_id, trade.side, trade.quantity, trade.price, trade.fees)))
        if self._aside.put_first(f"confirmed {booking.account_id} {booking.booking_id}", told) == told:
            return booking
        return QuarantinedRow(
            reason=_TWO_ROWS,
            raw=booking.raw or {},
            account_id=booking.account_id,
            environment=booking.environment,
            row_id=booking.booking_id,
        )
