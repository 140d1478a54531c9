"""What a check says when the plugin does not hold."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import attrs

from brokersync.errors import BrokerError
from brokersync.types import BrokerTrade, TradeBooking


class BrokenContract(AssertionError):  # noqa: N818  it names what happened, as AssertionError does
    """The plugin breaks the contract; the message says how, and what to look at."""


def expect(held: object, otherwise: str) -> None:
    """Raises `BrokenContract` with `otherwise` unless it held."""
    __tracebackhide__ = True
    if not held:
        raise BrokenContract(otherwise)


def told(error: BaseException | None) -> str:
    """An error as a message shows it, with what led to it."""
    if error is None:
        return "no error"
    text = f"{type(error).__name__}: {error}"
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return (
        text if cause is None or isinstance(error, BrokerError) else f"{text} (after {type(cause).__name__}: {cause})"
    )


def raw_of(booking: TradeBooking) -> Mapping[str, Any]:
    """The row that core keeps of a booking."""
    return booking.raw or (booking.trade.raw if booking.trade is not None else {})


def content(booking: TradeBooking) -> TradeBooking:
    """A booking without its raw row and its place among others: what must be the same however it was read."""
    trade = None if booking.trade is None else attrs.evolve(booking.trade, raw={})
    return attrs.evolve(booking, raw={}, order=(), trade=trade)


def differences(one: Any, other: Any) -> str:
    """The fields in which two values of one class differ."""
    if one is None or other is None or type(one) is not type(other) or not attrs.has(type(one)):
        return f"{one!r} and {other!r}"
    return ", ".join(
        f"{field.name} ({differences(mine, theirs)})"
        for field in attrs.fields(type(one))
        if (mine := getattr(one, field.name)) != (theirs := getattr(other, field.name))
    )


def costs_of(trade: BrokerTrade) -> Decimal:
    """The sum of a trade's fees."""
    return sum((fee.amount for fee in trade.fees), Decimal(0))
