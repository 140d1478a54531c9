"""Values to the text that a store keeps, and back."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import attrs

from brokersync.converter import from_json, to_json
from brokersync.records import Span
from brokersync.types import BrokerTrade, TradeBooking


def compact(value: Any) -> str:
    return json.dumps(to_json(value), ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def sortable(moment: datetime) -> str:
    """UTC with six digits of a second, so that text sorts as time."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def optional_text(moment: datetime | None) -> str | None:
    return None if moment is None else sortable(moment)


def optional_moment(text: str | None) -> datetime | None:
    return None if text is None else from_json(text, datetime)


def booking_content(booking: TradeBooking) -> tuple[str, bytes]:
    """A booking without its raw row, and the hash by which a known one is recognised."""
    trade = booking.trade
    if trade is not None and trade.raw:
        booking = attrs.evolve(booking, trade=attrs.evolve(trade, raw={}))
    data = to_json(booking)
    del data["raw"]
    content = json.dumps(data, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return content, hashlib.blake2b(content.encode(), digest_size=16).digest()


def load_booking(content: str) -> TradeBooking:
    return from_json(json.loads(content), TradeBooking)


def trade_content(trade: BrokerTrade) -> str:
    return compact(attrs.evolve(trade, raw={}) if trade.raw else trade)


def load_trade(content: str) -> BrokerTrade:
    return from_json(json.loads(content), BrokerTrade)


def differences(before: str, after: str) -> set[str]:
    """The fields in which two kept trades differ, but for those that only tell how they came about."""
    old, new = json.loads(before), json.loads(after)
    return {name for name in new if new[name] != old.get(name)} - {"revision", "sources"}


def load_span(starts: str, ends: str, state: str) -> Span:
    return from_json({"window": {"start": starts, "end": ends}, "state": state}, Span)


def pack_raw(raw: Mapping[str, Any]) -> bytes:
    return zlib.compress(compact(raw).encode(), 3)


def unpack_raw(data: bytes) -> Any:
    return json.loads(zlib.decompress(data))
