"""What a store holds about one question: the bookings that may be meant, where each was read, and past reports."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

import attrs

from brokersync.records import AccountKey
from brokersync.store.accounts import account_number
from brokersync.store.contents import load_booking
from brokersync.store.rows import optional_moment, unpack_raw
from brokersync.store.sql import Fetch, Script
from brokersync.types import TradeBooking

_LIKE = "lower(content) LIKE ? ESCAPE '!'"


@attrs.frozen(kw_only=True)
class StoredBooking:
    """A booking as it is kept: bookings of one `set_id` are folded together.

    `origin` says where its latest content was read, `as_of` when the broker made that, and `raw` holds the broker's own
    row as long as it is kept.
    """

    set_id: int
    source: str
    version: int
    booking: TradeBooking
    origin: Mapping[str, Any]
    as_of: datetime | None
    raw: Mapping[str, Any] | None


@attrs.frozen(kw_only=True)
class BookingSearch:
    """Which bookings of an account: those under one of `names`, those of `symbol` executed on one of `days` (in UTC, or
    as the trade's own date), and every cancel that waits; each with all others of its set."""

    key: AccountKey
    names: tuple[str, ...] = ()
    symbol: str | None = None
    days: tuple[date, ...] = ()


def stored_bookings(search: BookingSearch) -> Script[tuple[StoredBooking, ...]]:
    key = search.key
    account = yield from account_number(key.owner, key.provider, key.environment, key.account_id)
    if account is None:
        return ()
    sets = yield from _sets(account, search)
    rows = yield Fetch(
        "SELECT set_id, source, version, content, origin, as_of, data FROM bookings"
        " LEFT JOIN raw_rows ON raw_rows.booking = bookings.booking WHERE set_id IN (??) ORDER BY bookings.booking",
        (sorted(sets),),
    )
    return tuple(
        StoredBooking(
            set_id=set_id,
            source=source,
            version=version,
            booking=load_booking(content),
            origin=json.loads(origin) if origin else {},
            as_of=optional_moment(as_of),
            raw=unpack_raw(data) if data is not None else None,
        )
        for set_id, source, version, content, origin, as_of, data in rows
    )


def _sets(account: int, search: BookingSearch) -> Script[set[int]]:
    found = yield Fetch(
        "SELECT set_id FROM booking_names WHERE account = ? AND name IN (??)", (account, list(search.names))
    )
    waiting = yield Fetch(
        "SELECT set_id FROM bookings WHERE account = ? AND is_cancel = 1"
        " AND NOT EXISTS (SELECT 1 FROM trades WHERE trades.set_id = bookings.set_id)",
        (account,),
    )
    told: Sequence[Any] = ()
    if search.symbol is not None and search.days:
        days = [f'%"{name}":"{day.isoformat()}%' for day in search.days for name in ("executed_at", "trade_date")]
        told = yield Fetch(
            f"SELECT set_id FROM bookings WHERE account = ? AND {_LIKE} AND ({' OR '.join([_LIKE] * len(days))})",
            (account, f'%"symbol":{_escaped(json.dumps(search.symbol, ensure_ascii=False).lower())}%', *days),
        )
    return {row[0] for row in (*found, *waiting, *told)}


def _escaped(text: str) -> str:
    return text.replace("!", "!!").replace("%", "!%").replace("_", "!_")


def past_reports(names: Sequence[str], before: int | None, limit: int) -> Script[tuple[tuple[int, str, Any], ...]]:
    """The reports of these connections, newest first: the entry's number, when it was written, and the report."""
    rows = yield Fetch(
        "SELECT entry, at, report FROM sync_log WHERE connection_id IN (??) AND entry < ? ORDER BY entry DESC LIMIT ?",
        (list(names), 2**31 if before is None else before, limit),
    )
    return tuple((int(entry), str(at), json.loads(report)) for entry, at, report in rows)
