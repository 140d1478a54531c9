"""The fees of an execution, of the rows that tell of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Context

import attrs

from brokersync.types import Fee, FeesMode, TradeBooking

# the sum of a chain must not depend on who summed first, so it is never rounded
_EXACT = Context(prec=1000)


def fees_of(steps: Sequence[TradeBooking], cancels: Sequence[TradeBooking], *, cancelled: bool) -> tuple[Fee, ...]:
    """What the rows of one execution come to, the rows that replace each other in order."""
    if steps[-1].fees_mode is FeesMode.PART:
        return _summed([*steps, *cancels])
    return _summed(cancels) if cancelled else steps[-1].row_fees


def _summed(bookings: Iterable[TradeBooking]) -> tuple[Fee, ...]:
    sums: dict[tuple[str, str], Fee] = {}
    for booking in bookings:
        for fee in booking.row_fees:
            key = (fee.kind.value, fee.currency)
            amount = _EXACT.add(sums[key].amount, fee.amount) if key in sums else fee.amount
            sums[key] = attrs.evolve(fee, amount=amount)
    return tuple(sums[key] for key in sorted(sums))
