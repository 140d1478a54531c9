"""Whether a plugin reads a recording as it read the broker, but for ids and the factor of amounts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from brokersync.testing.contract.reading import Reading
from brokersync.types import TradeBooking

_SHOWN = 6


def differences_of(before: Sequence[Reading], after: Sequence[Reading], factor: int) -> list[str]:
    """What is not as it was, in words and without values."""
    if len(before) != len(after):
        return [f"{len(before)} readings were recorded, and {len(after)} are replayed"]
    return [found for one, other in zip(before, after, strict=True) for found in _differences(one, other, factor)]


def _differences(before: Reading, after: Reading, factor: int) -> list[str]:
    source = before.request.source
    if after.error is not None:
        return [f"{source}: reading the recording fails: {after.error}"]
    was, now = _counts(before), _counts(after)
    counts = [f"{source}: {was[what]} {what} became {now[what]}" for what in was if was[what] != now[what]]
    if counts:
        return counts
    one = sorted((_facts(booking, factor) for booking in before.bookings), key=repr)
    other = sorted((_facts(booking, 1) for booking in after.bookings), key=repr)
    changed: Counter[str] = Counter()
    for mine, theirs in zip(one, other, strict=True):
        changed.update(name for name in mine if mine[name] != theirs[name])
    return [f"{source}: {name} is another one in {count} rows" for name, count in changed.most_common(_SHOWN)]


def _counts(reading: Reading) -> dict[str, int]:
    return {
        "rows": len(reading.bookings),
        "rows in quarantine": len(reading.quarantined),
        "different names of rows": len({*reading.ids}),
        "trades": len({trade.trade_id for trade in reading.trades}),
    }


def _facts(booking: TradeBooking, factor: int) -> dict[str, Any]:
    """What must be the same, amounts in the money of the recording; names of rows are left out."""
    trade = booking.trade
    facts: dict[str, Any] = {"effect": booking.effect.value, "ids": len({*booking.refs})}
    if trade is None:
        return facts
    instrument = trade.instrument
    return {
        "executed_at": trade.executed_at.isoformat(),
        "side": trade.side.value,
        "quantity": str(trade.quantity.normalize()),
        "price": _scaled(trade.price, factor),
        "asset class": instrument.asset_class.value,
        "currency": instrument.currency,
        "multiplier": None if instrument.multiplier is None else str(instrument.multiplier.normalize()),
        "event": trade.event.value,
        "status": trade.status.value,
        "position effect": trade.position_effect.value,
        "trade date": str(trade.trade_date),
        "cash": _scaled(trade.net_cash, factor),
        "fees": sorted((fee.kind.value, _scaled(fee.amount, factor), fee.currency) for fee in trade.fees),
        **facts,
    }


def _scaled(amount: Decimal | None, factor: int) -> str | None:
    return None if amount is None else str((amount * factor).normalize())
