"""Rows without an id of the broker's, told apart by counting equal ones. Pure."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

import attrs

from brokersync.types import IdQuality, TradeBooking

_Key = tuple[str, str, str]


class Occurrences:
    """Numbers rows that the broker gave no id and that are equal, so that two equal fills stay two.

    A reading that holds fewer of them names the first ones, whatever else it holds: the numbers are the same for any
    windows, as long as one reading holds all that are equal. So it has to begin where a window does; `seen` says that
    it can not be resumed halfway.
    """

    def __init__(self) -> None:
        self._counts: Counter[_Key] = Counter()
        self._times: dict[_Key, datetime] = {}
        self._confused = False
        self.seen = False

    def number(self, booking: TradeBooking) -> TradeBooking:
        """The booking under an id of its own."""
        if booking.id_quality is not IdQuality.SYNTHETIC:
            return booking
        self.seen = True
        key = (booking.environment, booking.account_id, booking.booking_id)
        self._counts[key] += 1
        if booking.trade is not None and self._times.setdefault(key, booking.trade.executed_at) != (
            booking.trade.executed_at
        ):
            self._confused = True
        return booking if self._counts[key] == 1 else renamed(booking, f"{booking.booking_id}#{self._counts[key]}")

    def takes_confused(self) -> bool:
        """Whether rows came under one id that no window need hold together; said once."""
        confused, self._confused = self._confused, False
        return confused


def renamed(booking: TradeBooking, name: str) -> TradeBooking:
    """The booking under another id, also where its id is that of its trade."""
    old, trade = booking.booking_id, booking.trade
    if trade is not None and trade.trade_id == old:
        trade = attrs.evolve(trade, trade_id=name)
    refs = tuple(name if ref == old else ref for ref in booking.refs)
    return attrs.evolve(booking, booking_id=name, trade=trade, refs=refs)
