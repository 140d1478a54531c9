"""Trades, counts, reports and reference data, as they are read from a store."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from brokersync.matching import NamedTrade
from brokersync.records import AccountKey, Era
from brokersync.store.connections import change_connection
from brokersync.store.contents import load_trade
from brokersync.store.eras import check_era
from brokersync.store.protocol import TradeFilter
from brokersync.store.rows import compact, sortable
from brokersync.store.sql import Fetch, Put, Row, Script, execute, fetch_one
from brokersync.types import BrokerTrade

_REFERENCE = ("provider", "environment", "name", "data")


_Place = tuple[str, str] | None


def trades(owner: str, only: TradeFilter, after: _Place, limit: int) -> Script[tuple[tuple[BrokerTrade, ...], _Place]]:
    rows = yield from _rows_of_trades(owner, only, after, limit)
    return tuple(load_trade(row[0]) for row in rows), _place_behind(rows, limit)


def named_trades(
    owner: str, only: TradeFilter, after: _Place, limit: int
) -> Script[tuple[tuple[NamedTrade, ...], _Place]]:
    rows = yield from _rows_of_trades(owner, only, after, limit)
    found = yield Fetch(
        "SELECT set_id, name FROM booking_names WHERE set_id IN (??)", (sorted({row[4] for row in rows}),)
    )
    names: defaultdict[int, list[str]] = defaultdict(list)
    for set_id, name in sorted(found):
        names[set_id].append(name)
    named = tuple(NamedTrade(trade=load_trade(row[0]), names=tuple(names[row[4]])) for row in rows)
    return named, _place_behind(rows, limit)


def _rows_of_trades(owner: str, only: TradeFilter, after: _Place, limit: int) -> Script[list[Row]]:
    conditions: list[tuple[str, str | None]] = [
        ("provider = ?", only.provider),
        ("account_id = ?", only.account_id),
        ("symbol = ?", only.symbol),
        ("executed_at >= ?", sortable(only.since) if only.since else None),
        ("executed_at < ?", sortable(only.until) if only.until else None),
        ("status = ?", None if only.cancelled else "active"),
    ]
    # whose they are narrows always: a caller's None must never mean everybody's
    used = [("trades.owner = ?", owner), *((text, value) for text, value in conditions if value is not None)]
    where, values = " AND ".join(text for text, _ in used), [value for _, value in used]
    place: tuple[Any, ...] = ()
    if after is not None:
        account, _, trade_id = after[1].partition("/")
        where += " AND (executed_at, trades.account, trade_id) > (?, ?, ?)"
        place = (after[0], int(account), trade_id)
    rows = yield Fetch(
        "SELECT content, executed_at, trades.account, trade_id, set_id FROM trades"
        " JOIN accounts ON accounts.account = trades.account"
        f" WHERE {where} ORDER BY executed_at, trades.account, trade_id LIMIT ?",
        (*values, *place, limit),
    )
    return rows


def _place_behind(rows: Sequence[Row], limit: int) -> _Place:
    return (rows[-1][1], f"{rows[-1][2]}/{rows[-1][3]}") if len(rows) == limit else None


def trade(key: AccountKey, trade_id: str) -> Script[BrokerTrade | None]:
    row = yield from fetch_one(
        "SELECT content FROM trades JOIN accounts ON accounts.account = trades.account"
        " WHERE accounts.owner = ? AND provider = ? AND environment = ? AND account_id = ? AND trade_id = ?",
        *(key.owner, key.provider, key.environment, key.account_id, trade_id),
    )
    return None if row is None else load_trade(row[0])


def log_sync(
    connection_id: str, report: Mapping[str, Any], at: datetime, *, synced: bool, era: Era | None
) -> Script[None]:
    yield from check_era(era)
    row = yield from fetch_one("SELECT owner FROM connections WHERE connection_id = ? {for_update}", connection_id)
    if row is None and report.get("connection_id") == connection_id:
        return  # it has ended, and must leave nothing behind
    yield from execute(
        "INSERT INTO sync_log (connection_id, at, report, owner) VALUES (?, ?, ?, ?)",
        *(connection_id, sortable(at), json.dumps(report, sort_keys=True), row[0] if row else report.get("owner")),
    )
    if synced:
        yield from change_connection(connection_id, {"last_synced_at": at})


def last_report(connection_id: str) -> Script[Mapping[str, Any] | None]:
    row = yield from fetch_one(
        "SELECT report FROM sync_log WHERE connection_id = ? ORDER BY entry DESC LIMIT 1", connection_id
    )
    return json.loads(row[0]) if row else None


def counts(owner: str) -> Script[Mapping[AccountKey, Mapping[str, int]]]:
    rows = yield Fetch(
        """
        SELECT provider, environment, account_id,
            (SELECT count(*) FROM trades t WHERE t.account = a.account AND status = 'active'),
            (SELECT count(*) FROM trades t WHERE t.account = a.account AND status = 'cancelled'),
            (SELECT count(*) FROM bookings b WHERE b.account = a.account AND is_cancel = 1
                AND NOT EXISTS (SELECT 1 FROM trades t WHERE t.set_id = b.set_id)),
            (SELECT count(*) FROM quarantine q WHERE q.owner = a.owner AND q.provider = a.provider
                AND q.account_id = a.account_id AND coalesce(q.environment, a.environment) = a.environment)
        FROM accounts a WHERE owner = ? AND (data IS NOT NULL
            OR EXISTS (SELECT 1 FROM connection_accounts c WHERE c.account = a.account)
            OR EXISTS (SELECT 1 FROM bookings b WHERE b.account = a.account)
            OR EXISTS (SELECT 1 FROM coverage s WHERE s.account = a.account))
        ORDER BY provider, environment, account_id
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


def cache_get(provider: str, environment: str, keys: Sequence[str]) -> Script[dict[str, Any]]:
    rows = yield Fetch(
        "SELECT name, data FROM reference_data WHERE provider = ? AND environment = ? AND name IN (??)",
        (provider, environment, list(keys)),
    )
    return {name: json.loads(data) for name, data in rows}


def cache_put(provider: str, environment: str, values: Mapping[str, Any]) -> Script[None]:
    rows = [(provider, environment, name, compact(value)) for name, value in values.items()]
    yield Put("reference_data", _REFERENCE, rows, key=_REFERENCE[:3], replace=True)
