"""Bookings and trades to the text that a store keeps of them, and back."""

from __future__ import annotations

import hashlib
import json
from operator import attrgetter
from typing import Any, Final

import attrs
import msgspec

from brokersync.converter import to_json
from brokersync.store.mending import mended
from brokersync.types import BrokerTrade, TradeBooking


def booking_content(booking: TradeBooking) -> tuple[str, bytes]:
    """A booking without its raw row, and the hash by which a known one is recognised."""
    data = dict(zip(_BOOKING, _of_booking(booking), strict=True))
    if booking.trade is not None:
        data["trade"] = _trade(booking.trade)
    text = _text(data)
    return text.decode(), hashlib.blake2b(text, digest_size=16).digest()


def load_booking(content: str) -> TradeBooking:
    try:
        return _BOOKINGS.decode(content)
    except msgspec.DecodeError:
        return mended(content, TradeBooking)


def trade_content(trade: BrokerTrade) -> str:
    return _text(_trade(trade)).decode()


def load_trade(content: str) -> BrokerTrade:
    try:
        return _TRADES.decode(content)
    except msgspec.DecodeError:
        return mended(content, BrokerTrade)


def differences(before: str, after: str) -> set[str]:
    """The fields in which two kept trades differ, but for those that only tell how they came about."""
    old, new = json.loads(before), json.loads(after)
    return {name for name in new if new[name] != old.get(name)} - {"revision", "sources"}


def _plain(value: Any) -> Any:
    # msgspec knows no subclass of str
    return str.__str__(value) if isinstance(value, str) else to_json(value)


_ENCODER: Final = msgspec.json.Encoder(enc_hook=_plain, order="sorted")
_TRADES: Final = msgspec.json.Decoder(BrokerTrade)
_BOOKINGS: Final = msgspec.json.Decoder(TradeBooking)

# the raw row is kept apart, packed
_TRADE: Final = tuple(field.name for field in attrs.fields(BrokerTrade) if field.name != "raw")
_BOOKING: Final = tuple(field.name for field in attrs.fields(TradeBooking) if field.name != "raw")
_of_trade, _of_booking = attrgetter(*_TRADE), attrgetter(*_BOOKING)


def _trade(trade: BrokerTrade) -> dict[str, Any]:
    data = dict(zip(_TRADE, _of_trade(trade), strict=True))
    data["raw"] = {}
    return data


def _text(data: dict[str, Any]) -> bytes:
    text = _ENCODER.encode(data)
    if b"E+" in text or b"E-" in text:
        # perhaps a Decimal, which msgspec writes with an exponent: one number must have one text
        return json.dumps(to_json(data), ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    return text
