"""The SQLite store's small reads and writes; a page's transaction stands in `sqlite_page`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs

from brokersync.converter import from_json
from brokersync.records import (
    AccountKey,
    Change,
    ChangeCause,
    ChangeKind,
    Connection,
    ConnectionState,
    OpenRequest,
    Span,
)
from brokersync.store.protocol import SealedGrant, TradeFilter
from brokersync.store.rows import compact, load_span, load_trade, sortable
from brokersync.types import BrokerAccount, BrokerTrade, TimeWindow


def data_key(db: sqlite3.Connection, owner: str, new: Callable[[], bytes]) -> bytes:
    row = db.execute("SELECT wrapped FROM owner_keys WHERE owner = ?", (owner,)).fetchone()
    if row:
        return bytes(row[0])
    wrapped = new()
    db.execute("INSERT INTO owner_keys VALUES (?, ?)", (owner, wrapped))
    return wrapped


def add_connection(db: sqlite3.Connection, connection: Connection, grant: SealedGrant) -> Connection:
    login = (connection.owner, connection.provider, connection.environment, connection.identity)
    row = db.execute(
        "SELECT data FROM connections WHERE owner = ? AND provider = ? AND environment = ? AND identity = ?", login
    ).fetchone()
    if row:
        known = _connection(row[0])
        connection = attrs.evolve(
            connection,
            connection_id=known.connection_id,
            created_at=known.created_at,
            last_synced_at=known.last_synced_at,
            since=connection.since or known.since,
        )
        db.execute(
            "UPDATE connections SET data = ? WHERE connection_id = ?", (compact(connection), known.connection_id)
        )
    else:
        # an id that is somebody else's by chance must never replace that connection
        db.execute(
            "INSERT INTO connections VALUES (?, ?, ?, ?, ?, ?)",
            (connection.connection_id, *login, compact(connection)),
        )
    before = db.execute(
        "SELECT generation FROM grants WHERE owner = ? AND provider = ? AND environment = ? AND identity = ?", login
    ).fetchone()
    db.execute(
        "INSERT OR REPLACE INTO grants VALUES (?, ?, ?, ?, ?, ?, ?)",
        (*login, before[0] + 1 if before else grant.generation, grant.auth, grant.credentials),
    )
    return connection


def _connection(data: str) -> Connection:
    return from_json(json.loads(data), Connection)


def connections(db: sqlite3.Connection, owner: str | None) -> tuple[Connection, ...]:
    rows = db.execute("SELECT data FROM connections WHERE ? IS NULL OR owner = ? ORDER BY rowid", (owner, owner))
    return tuple(_connection(row[0]) for row in rows)


def set_state(db: sqlite3.Connection, connection_id: str, state: ConnectionState, reason: str | None) -> None:
    _change_connection(db, connection_id, state=state, reason=reason)


def _change_connection(db: sqlite3.Connection, connection_id: str, **values: Any) -> None:
    row = db.execute("SELECT data FROM connections WHERE connection_id = ?", (connection_id,)).fetchone()
    if row:
        changed = attrs.evolve(_connection(row[0]), **values)
        db.execute("UPDATE connections SET data = ? WHERE connection_id = ?", (compact(changed), connection_id))


def grant(db: sqlite3.Connection, owner: str, provider: str, environment: str, identity: str) -> SealedGrant | None:
    row = db.execute(
        "SELECT generation, auth, credentials FROM grants"
        " WHERE owner = ? AND provider = ? AND environment = ? AND identity = ?",
        (owner, provider, environment, identity),
    ).fetchone()
    if row is None:
        return None
    return SealedGrant(
        owner=owner, provider=provider, environment=environment, identity=identity,
        generation=row[0], auth=row[1], credentials=row[2],
    )  # fmt: skip


def replace_grant(db: sqlite3.Connection, new: SealedGrant) -> bool:
    done = db.execute(
        "UPDATE grants SET generation = ?, auth = ?, credentials = ?"
        " WHERE owner = ? AND provider = ? AND environment = ? AND identity = ? AND generation = ?",
        (
            new.generation, new.auth, new.credentials,
            new.owner, new.provider, new.environment, new.identity, new.generation - 1,
        ),
    )  # fmt: skip
    return done.rowcount == 1


def accounts(db: sqlite3.Connection, connection_id: str) -> tuple[BrokerAccount, ...]:
    rows = db.execute(
        "SELECT data, environment, account_id FROM accounts JOIN connection_accounts USING (account)"
        " WHERE connection_id = ? ORDER BY environment, account_id",
        (connection_id,),
    )
    return tuple(
        from_json(json.loads(data), BrokerAccount) if data else BrokerAccount(account_id=name, environment=environment)
        for data, environment, name in rows
    )


def spans(db: sqlite3.Connection, owner: str, provider: str, source: str) -> Mapping[tuple[str, str], tuple[Span, ...]]:
    rows = db.execute(
        "SELECT environment, account_id, starts, ends, state FROM coverage JOIN accounts USING (account)"
        " WHERE owner = ? AND provider = ? AND source = ? ORDER BY starts",
        (owner, provider, source),
    )
    found: dict[tuple[str, str], list[Span]] = {}
    for environment, account_id, starts, ends, state in rows:
        found.setdefault((environment, account_id), []).append(load_span(starts, ends, state))
    return {key: tuple(value) for key, value in found.items()}


def open_requests(db: sqlite3.Connection, connection_id: str) -> tuple[OpenRequest, ...]:
    rows = db.execute("SELECT data FROM open_requests WHERE connection_id = ?", (connection_id,))
    return tuple(from_json(json.loads(row[0]), OpenRequest) for row in rows)


def drop_request(db: sqlite3.Connection, connection_id: str, source: str, account: str) -> None:
    db.execute(
        "DELETE FROM open_requests WHERE connection_id = ? AND source = ? AND account = ?",
        (connection_id, source, account),
    )


def finished(
    db: sqlite3.Connection, connection_id: str, since: datetime
) -> Mapping[tuple[str, str], tuple[TimeWindow, ...]]:
    rows = db.execute(
        "SELECT source, account, starts, ends FROM finished_windows WHERE connection_id = ?"
        " AND (SELECT max(at) FROM finished_windows WHERE connection_id = ?) >= ? ORDER BY starts",
        (connection_id, connection_id, sortable(since)),
    )
    found: dict[tuple[str, str], list[TimeWindow]] = {}
    for source, account, starts, ends in rows:
        found.setdefault((source, account), []).append(from_json({"start": starts, "end": ends}, TimeWindow))
    return {key: tuple(value) for key, value in found.items()}


def end_round(db: sqlite3.Connection, connection_id: str) -> None:
    db.execute("DELETE FROM finished_windows WHERE connection_id = ?", (connection_id,))


def bookmark(db: sqlite3.Connection, connection_id: str, source: str, account: str) -> str | None:
    row = db.execute(
        "SELECT bookmark FROM bookmarks WHERE connection_id = ? AND source = ? AND account = ?",
        (connection_id, source, account),
    ).fetchone()
    return str(row[0]) if row else None


def trades(
    db: sqlite3.Connection, owner: str, only: TradeFilter, after: tuple[str, str] | None, limit: int
) -> tuple[tuple[BrokerTrade, ...], tuple[str, str] | None]:
    conditions: list[tuple[str, str | None]] = [
        ("trades.owner = ?", owner),
        ("provider = ?", only.provider),
        ("account_id = ?", only.account_id),
        ("symbol = ?", only.symbol),
        ("executed_at >= ?", sortable(only.since) if only.since else None),
        ("executed_at < ?", sortable(only.until) if only.until else None),
        ("status = ?", None if only.cancelled else "active"),
    ]
    used = [(text, value) for text, value in conditions if value is not None]
    where, values = " AND ".join(text for text, _ in used), [value for _, value in used]
    if after is not None:
        account, _, trade_id = after[1].partition("/")
        where += " AND (executed_at, trades.account, trade_id) > (?, CAST(? AS INTEGER), ?)"
        values += [after[0], account, trade_id]
    rows = db.execute(
        "SELECT content, executed_at, trades.account, trade_id FROM trades JOIN accounts USING (account)"
        f" WHERE {where} ORDER BY executed_at, trades.account, trade_id LIMIT ?",
        (*values, limit),
    ).fetchall()
    last = (rows[-1][1], f"{rows[-1][2]}/{rows[-1][3]}") if len(rows) == limit else None
    return tuple(load_trade(row[0]) for row in rows), last


def changes(db: sqlite3.Connection, owner: str, since: int, limit: int) -> tuple[Change, ...]:
    rows = db.execute(
        "SELECT position, kind, cause, provider, environment, account_id, trade_id, revision, at, merged_into"
        " FROM changes JOIN accounts USING (account)"
        " WHERE changes.owner = ? AND position > ? ORDER BY position LIMIT ?",
        (owner, since, limit),
    )
    return tuple(
        Change(
            position=position, kind=ChangeKind(kind), cause=ChangeCause(cause),
            key=AccountKey(owner=owner, provider=provider, environment=environment, account_id=account_id),
            trade_id=trade_id, revision=revision, at=from_json(at, datetime), merged_into=merged_into,
        )
        for position, kind, cause, provider, environment, account_id, trade_id, revision, at, merged_into in rows
    )  # fmt: skip


def log_sync(db: sqlite3.Connection, connection_id: str, report: str, at: str, *, synced: bool) -> None:
    db.execute("INSERT INTO sync_log (connection_id, at, report) VALUES (?, ?, ?)", (connection_id, at, report))
    if synced:
        _change_connection(db, connection_id, last_synced_at=from_json(at, datetime))


def last_report(db: sqlite3.Connection, connection_id: str) -> Mapping[str, Any] | None:
    row = db.execute(
        "SELECT report FROM sync_log WHERE connection_id = ? ORDER BY entry DESC LIMIT 1", (connection_id,)
    ).fetchone()
    return json.loads(row[0]) if row else None


def counts(db: sqlite3.Connection, owner: str) -> Mapping[AccountKey, Mapping[str, int]]:
    rows = db.execute(
        """
        SELECT provider, environment, account_id,
            (SELECT count(*) FROM trades t WHERE t.account = a.account AND status = 'active'),
            (SELECT count(*) FROM trades t WHERE t.account = a.account AND status = 'cancelled'),
            (SELECT count(*) FROM bookings b WHERE b.account = a.account AND is_cancel
                AND NOT EXISTS (SELECT 1 FROM trades t WHERE t.set_id = b.set_id)),
            (SELECT count(*) FROM quarantine q WHERE q.owner = a.owner AND q.provider = a.provider
                AND q.account_id = a.account_id AND coalesce(q.environment, a.environment) = a.environment)
        FROM accounts a WHERE owner = ? ORDER BY provider, environment, account_id
        """,
        (owner,),
    )
    names = ("active", "cancelled", "waiting", "quarantined")
    return {
        AccountKey(owner=owner, provider=row[0], environment=row[1], account_id=row[2]): dict(
            zip(names, row[3:], strict=True)
        )
        for row in rows
    }


def cache_get(db: sqlite3.Connection, provider: str, environment: str, keys: Sequence[str]) -> dict[str, Any]:
    rows = db.execute(
        "SELECT name, data FROM reference_data"
        " WHERE provider = ? AND environment = ? AND name IN (SELECT value FROM json_each(?))",
        (provider, environment, json.dumps(list(keys))),
    )
    return {name: json.loads(data) for name, data in rows}


def cache_put(db: sqlite3.Connection, provider: str, environment: str, values: Mapping[str, Any]) -> None:
    db.executemany(
        "INSERT OR REPLACE INTO reference_data VALUES (?, ?, ?, ?)",
        [(provider, environment, name, compact(value)) for name, value in values.items()],
    )
