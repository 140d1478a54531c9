"""Trades that a provisional source alone told of, taken back by core once the source that counts more is sure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from brokersync.records import KeptBooking
from brokersync.types import BookingEffect, BrokerTrade, TradeBooking

_NAME: Final = "unconfirmed:"


def withdrawal_of(trade: BrokerTrade) -> TradeBooking:
    """The booking that takes back what nobody confirmed, until a source that counts more tells it after all."""
    return TradeBooking(
        booking_id=_NAME + trade.trade_id,
        environment=trade.environment,
        account_id=trade.account_id,
        effect=BookingEffect.CANCEL,
        refs=(trade.trade_id,),
    )


def is_withdrawal(row: KeptBooking) -> bool:
    return row.booking.effect is BookingEffect.CANCEL and row.booking.booking_id.startswith(_NAME)


def standing(withdrawals: Iterable[KeptBooking], steps: Sequence[KeptBooking]) -> list[KeptBooking]:
    """Those that no source tells better: whatever counts more than the source that was not confirmed, confirms it."""
    best = max(row.precedence for row in steps)
    return [row for row in withdrawals if row.precedence >= best]
