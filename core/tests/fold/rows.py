"""Bookings made up for the tests of folding."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from brokersync.records import KeptBooking
from brokersync.sync.fold import fold
from brokersync.types import (
    AssetClass,
    BookingEffect,
    BrokerTrade,
    Fee,
    FeeKind,
    FeesMode,
    Instrument,
    Side,
    TradeBooking,
    TradeStatus,
)

START = datetime(2026, 3, 2, 15, tzinfo=UTC)
EUR = Instrument(symbol="EUR", asset_class=AssetClass.STOCK, currency="USD", multiplier=Decimal(1))
# a file and a copy of it count the same
PRECEDENCE = {"service": 30, "live": 20, "file": 10, "copy": 10}
_TRIED_IN_ALL_ORDERS = 7
NEW, REPLACE, CANCEL, AMEND = BookingEffect.NEW, BookingEffect.REPLACE, BookingEffect.CANCEL, BookingEffect.AMEND
ACTIVE, CANCELLED = TradeStatus.ACTIVE, TradeStatus.CANCELLED


def fee(amount: str, currency: str = "USD") -> Fee:
    return Fee(kind=FeeKind.COMMISSION, amount=Decimal(amount), currency=currency)


def trade(trade_id: str, *, price: str = "1", fees: tuple[Fee, ...] = (), quantity: str = "1") -> BrokerTrade:
    return BrokerTrade(
        provider="paper", environment="live", account_id="A", trade_id=trade_id, instrument=EUR, side=Side.BUY,
        quantity=Decimal(quantity), price=Decimal(price), executed_at=START, fees=fees,
    )  # fmt: skip


def row(
    booking_id: str,
    effect: BookingEffect = NEW,
    *,
    key: str | None = None,
    price: str = "1",
    fees: tuple[Fee, ...] = (),
    mode: FeesMode = FeesMode.TOTAL,
    **facts: Any,
) -> TradeBooking:
    """A booking; a cancel is bare unless it is given a `key`."""
    bare = effect is CANCEL and key is None
    return TradeBooking(
        booking_id=booking_id, environment="live", account_id="A", effect=effect, fees_mode=mode,
        trade=None if bare else trade(key or booking_id, price=price, fees=fees),
        fees=fees if bare else (), **facts,
    )  # fmt: skip


def folded(*rows: TradeBooking | tuple[str, TradeBooking]) -> list[BrokerTrade]:
    """The trades of the rows, which come from the service unless they name their source, in any order."""
    kept = [
        KeptBooking(source=source, precedence=PRECEDENCE[source], version=1, booking=booking)
        for source, booking in (one if isinstance(one, tuple) else ("service", one) for one in rows)
    ]
    first = fold(kept).trades
    assert all(fold(order).trades == first for order in _orders(kept))
    return list(first)


def _orders(rows: Sequence[KeptBooking]) -> Iterator[Sequence[KeptBooking]]:
    """All of them, or of more than can be tried in a moment some thousand."""
    if len(rows) <= _TRIED_IN_ALL_ORDERS:
        yield from itertools.permutations(rows)
        return
    chance = random.Random(len(rows))
    for _ in range(math.factorial(_TRIED_IN_ALL_ORDERS)):
        yield chance.sample(rows, len(rows))


def only(*rows: TradeBooking | tuple[str, TradeBooking]) -> BrokerTrade:
    (one,) = folded(*rows)
    return one
