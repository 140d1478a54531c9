"""How far each account's history is read, and where to go on."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from brokersync.converter import from_json
from brokersync.records import Connection, Lease, OpenRequest, Span, SpanState
from brokersync.store.leases import check_lease
from brokersync.store.rows import load_request, load_span, sortable
from brokersync.store.sql import Fetch, Script, execute, fetch_one
from brokersync.types import TimeWindow

_HAD_NO_MORE = (SpanState.LOST.value, SpanState.UNAVAILABLE.value)
_EVER = datetime.min.replace(tzinfo=UTC)
_NEVER = datetime.max.replace(tzinfo=UTC)


def spans(owner: str, provider: str, source: str) -> Script[Mapping[tuple[str, str], tuple[Span, ...]]]:
    rows = yield Fetch(
        "SELECT environment, account_id, starts, ends, state FROM coverage"
        " JOIN accounts ON accounts.account = coverage.account"
        " WHERE owner = ? AND provider = ? AND source = ? ORDER BY starts",
        (owner, provider, source),
    )
    found: dict[tuple[str, str], list[Span]] = {}
    for environment, account_id, starts, ends, state in rows:
        found.setdefault((environment, account_id), []).append(load_span(starts, ends, state))
    return {key: tuple(value) for key, value in found.items()}


def take_back(
    connection: Connection,
    source: str,
    *,
    after: datetime,
    to: datetime,
    gives_from: datetime | None,
    lease: Lease | None,
) -> Script[None]:
    if lease is not None:
        yield from check_lease(lease)
    rows = yield Fetch(
        "SELECT account FROM accounts WHERE owner = ? AND provider = ? ORDER BY account {for_update}",
        (connection.owner, connection.provider),
    )
    accounts = [row[0] for row in rows]
    spans = yield Fetch(
        "SELECT account, starts, ends, state FROM coverage WHERE source = ? AND account IN (??)", (source, accounts)
    )
    for account, starts, ends, state in spans:
        ends_at = min([ends, *([sortable(to)] if ends > sortable(after) else [])])
        if gives_from is not None and state in _HAD_NO_MORE:
            ends_at = min(ends_at, sortable(gives_from))
        key = (account, source, starts)
        if ends_at <= starts:
            yield from execute("DELETE FROM coverage WHERE account = ? AND source = ? AND starts = ?", *key)
        elif ends_at < ends:
            yield from execute(
                "UPDATE coverage SET ends = ? WHERE account = ? AND source = ? AND starts = ?", ends_at, *key
            )
    yield from end_round(connection.connection_id)


def open_requests(connection_id: str) -> Script[tuple[OpenRequest, ...]]:
    rows = yield Fetch(
        "SELECT data FROM open_requests WHERE connection_id = ? ORDER BY source, account", (connection_id,)
    )
    return tuple(load_request(row[0]) for row in rows)


def finished(
    connection_id: str, since: datetime, each_since: datetime | None, again_from: datetime | None
) -> Script[Mapping[tuple[str, str], tuple[TimeWindow, ...]]]:
    never = sortable(_NEVER)
    rows = yield Fetch(
        "SELECT source, account, starts, ends FROM finished_windows WHERE connection_id = ?"
        " AND (SELECT max(at) FROM finished_windows WHERE connection_id = ?) >= ?"
        " AND at >= ? AND coalesce(again_from, ?) <= ? ORDER BY starts",
        (
            connection_id,
            connection_id,
            sortable(since),
            sortable(each_since or _EVER),
            never,
            sortable(again_from or _NEVER),
        ),
    )
    found: dict[tuple[str, str], list[TimeWindow]] = {}
    for source, account, starts, ends in rows:
        found.setdefault((source, account), []).append(from_json({"start": starts, "end": ends}, TimeWindow))
    return {key: tuple(value) for key, value in found.items()}


def end_round(connection_id: str, before: datetime | None = None) -> Script[None]:
    yield from execute(
        "DELETE FROM finished_windows WHERE connection_id = ?"
        " AND (SELECT max(at) FROM finished_windows WHERE connection_id = ?) < ?",
        *(connection_id, connection_id, sortable(before or _NEVER)),
    )


def bookmark(connection_id: str, source: str, account: str) -> Script[str | None]:
    row = yield from fetch_one(
        "SELECT bookmark FROM bookmarks WHERE connection_id = ? AND source = ? AND account = ?",
        *(connection_id, source, account),
    )
    return None if row is None else str(row[0])
