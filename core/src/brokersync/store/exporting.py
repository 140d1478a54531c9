"""Everything of an owner, part by part and page by page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import attrs

from brokersync.store.grants import UNFINISHED
from brokersync.store.rows import unpack_raw
from brokersync.store.sql import Fetch, Row, Script

Place = tuple[Any, ...]


@attrs.frozen
class _Part:
    """The rows of a table; `key` is what they are ordered by and begin with, and the rest has these `names`.

    A name that ends in `*` holds JSON text, one that is only `*` holds JSON whose names are the record's own.
    """

    record: str
    select: str
    key: tuple[str, ...]
    names: tuple[str, ...]
    packed: tuple[str, ...] = ()

    def load(self, row: Row) -> dict[str, Any]:
        found: dict[str, Any] = {"record": self.record}
        for name, value in zip(self.names, row[len(self.key) :], strict=True):
            if name == "*":
                found |= json.loads(value or "{}")
            elif name.endswith("*"):
                found[name[:-1]] = None if value is None else json.loads(value)
            else:
                found[name] = unpack_raw(value) if name in self.packed and value is not None else value
        return found


_ACCOUNT = ("provider", "environment", "account_id")
_OF_ACCOUNT = "provider, environment, account_id"


def _of_accounts(record: str, table: str, key: tuple[str, ...], columns: str, names: tuple[str, ...]) -> _Part:
    keys = tuple(f"{table}.{one}" for one in key)
    return _Part(
        record,
        f"SELECT {', '.join(keys)}, {_OF_ACCOUNT}, {columns} FROM {table}"
        f" JOIN accounts ON accounts.account = {table}.account WHERE accounts.owner = ?",
        keys,
        (*_ACCOUNT, *names),
    )


def _of_connections(record: str, table: str, columns: tuple[str, ...], names: tuple[str, ...]) -> _Part:
    request = ("connection_id", "source", "account")
    key = (*request, "starts") if "starts" in columns else request
    keys = tuple(f"{table}.{one}" for one in key)
    return _Part(
        record,
        f"SELECT {', '.join(keys)}, {', '.join(f'{table}.{one}' for one in (*request, *columns))} FROM {table}"
        f" JOIN connections ON connections.connection_id = {table}.connection_id WHERE connections.owner = ?",
        keys,
        (*request, *names),
    )


_WINDOW = ("starts", "ends")
_BOOKING = ("source", "booking_id", "version", "booking*", "origin*", "as_of", "raw")

PARTS: Final[Mapping[str, _Part]] = {
    "connections": _Part(
        "connection", "SELECT connection_id, data FROM connections WHERE owner = ?", ("connection_id",), ("*",)
    ),
    "grants": _Part(
        "login",
        "SELECT provider, environment, identity, provider, environment, identity, generation, expires_at,"
        f" grant_expires_at FROM grants WHERE owner = ? AND NOT {UNFINISHED}",
        ("provider", "environment", "identity"),
        ("provider", "environment", "identity", "generation", "expires_at", "grant_expires_at"),
    ),
    "accounts": _Part(
        "account",
        f"SELECT account, {_OF_ACCOUNT}, data FROM accounts WHERE owner = ?",
        ("account",),
        (*_ACCOUNT, "*"),
    ),
    "connection_accounts": _of_accounts(
        "sees", "connection_accounts", ("connection_id", "account"), "connection_id", ("connection_id",)
    ),
    "bookings": attrs.evolve(
        _Part(
            "booking",
            f"SELECT bookings.booking, {_OF_ACCOUNT}, source, booking_id, version, content, origin, as_of,"
            " raw_rows.data"
            " FROM bookings JOIN accounts ON accounts.account = bookings.account"
            " LEFT JOIN raw_rows ON raw_rows.booking = bookings.booking WHERE accounts.owner = ?",
            ("bookings.booking",),
            (*_ACCOUNT, *_BOOKING),
        ),
        packed=("raw",),
    ),
    "trades": _Part(
        "trade",
        "SELECT account, trade_id, content FROM trades WHERE owner = ?",
        ("account", "trade_id"),
        ("*",),
    ),
    "changes": _of_accounts(
        "change",
        "changes",
        ("position",),
        "position, trade_id, kind, cause, revision, at, merged_into",
        ("position", "trade_id", "kind", "cause", "revision", "at", "merged_into"),
    ),
    "coverage": _of_accounts(
        "coverage",
        "coverage",
        ("account", "source", "starts"),
        "source, starts, ends, state",
        ("source", *_WINDOW, "state"),
    ),
    "open_requests": _of_connections("request", "open_requests", ("data",), ("*",)),
    "finished_windows": _of_connections(
        "finished", "finished_windows", (*_WINDOW, "at", "again_from"), (*_WINDOW, "at", "again_from")
    ),
    "failing_windows": _of_connections(
        "failing",
        "failing_windows",
        (*_WINDOW, "failures", "reason", "at", "not_before"),
        (*_WINDOW, "failures", "reason", "at", "not_before"),
    ),
    "bookmarks": _of_connections("bookmark", "bookmarks", ("bookmark",), ("bookmark",)),
    "quarantine": _Part(
        "quarantined",
        "SELECT provider, source, hash, provider, source, environment, account_id, reason, raw, first_seen, as_of"
        " FROM quarantine WHERE owner = ?",
        ("provider", "source", "hash"),
        ("provider", "source", "environment", "account_id", "reason", "raw", "first_seen", "as_of"),
        packed=("raw",),
    ),
    "sync_log": _Part(
        "sync",
        "SELECT entry, connection_id, at, report FROM sync_log WHERE owner = ?",
        ("entry",),
        ("connection_id", "at", "report*"),
    ),
}

EXPORTED: Final = tuple(PARTS)

# table -> why it is not exported
NOT_EXPORTED: Final[Mapping[str, str]] = {
    "store_layout": "is of the store, not of an owner",
    "feed_head": "is of the store, not of an owner",
    "environment_health": "is of an environment as a whole",
    "environment_incidents": "are of an environment as a whole",
    "reference_data": "is what brokers say of instruments, to everybody",
    "owner_keys": "opens the credentials, which do not leave",
    "leases": "says which worker is at work",
    "jobs": "says which connections wait for a worker; when each is due stands with it",
    "feed_starts": "says how old the feed is; the changes themselves are there",
    "raw_rows": "stand with their bookings",
    "booking_names": "are made from the bookings",
}


def export_page(owner: str, table: str, after: Place | None, limit: int) -> Script[tuple[list[dict[str, Any]], Place]]:
    """Some rows of a table, and the place to go on from."""
    part = PARTS[table]
    keys = ", ".join(part.key)
    behind = "" if after is None else f" AND ({keys}) > ({', '.join('?' * len(part.key))})"
    rows = yield Fetch(f"{part.select}{behind} ORDER BY {keys} LIMIT ?", (owner, *(after or ()), limit))
    return [part.load(row) for row in rows], tuple(rows[-1][: len(part.key)]) if rows else ()
