"""Brokers as a whole in a store: their failures in a row, and their incidents."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime

from brokersync.converter import from_json
from brokersync.incidents import BrokerHealth, Incident
from brokersync.records import ConnectionState
from brokersync.store.rows import compact, sortable
from brokersync.store.sql import Fetch, Put, Script, execute, fetch_one

_ENOUGH_TO_COUNT = 100


def broker_health(provider: str) -> Script[BrokerHealth]:
    row = yield from fetch_one("SELECT data FROM broker_health WHERE provider = ?", provider)
    return BrokerHealth(provider=provider) if row is None else _health(row[0])


def broker_healths() -> Script[tuple[BrokerHealth, ...]]:
    rows = yield Fetch("SELECT data FROM broker_health ORDER BY provider")
    return tuple(_health(row[0]) for row in rows)


def change_health(
    provider: str, now: datetime, rule: Callable[[BrokerHealth, int, int], BrokerHealth | None]
) -> Script[tuple[BrokerHealth, BrokerHealth | None]]:
    """What is known of a broker before and after `rule`, which is told how many connections are active, and due."""
    clean = compact(BrokerHealth(provider=provider))
    yield Put("broker_health", ("provider", "data"), [(provider, clean)], key=("provider",))
    row = yield from fetch_one("SELECT data FROM broker_health WHERE provider = ? {for_update}", provider)
    before = _health(row[0])
    active = yield from fetch_one(
        "SELECT count(*) FROM (SELECT 1 FROM connections WHERE provider = ? AND state = ? LIMIT ?) AS few",
        *(provider, ConnectionState.ACTIVE.value, _ENOUGH_TO_COUNT),
    )
    due = yield from fetch_one(
        "SELECT count(*) FROM connections WHERE provider = ? AND state = ? AND (next_at IS NULL OR next_at <= ?)",
        *(provider, ConnectionState.ACTIVE.value, sortable(now)),
    )
    after = rule(before, int(active[0]), int(due[0]))
    if after is None or after == before:
        return before, after
    yield from execute("UPDATE broker_health SET data = ? WHERE provider = ?", compact(after), provider)
    if after.incident is not None:
        row = (provider, sortable(after.incident.opened_at), compact(after.incident))
        yield Put("incidents", ("provider", "opened_at", "data"), [row], key=("provider", "opened_at"), replace=True)
    return before, after


def incidents(limit: int) -> Script[tuple[Incident, ...]]:
    rows = yield Fetch("SELECT data FROM incidents ORDER BY opened_at DESC LIMIT ?", (limit,))
    return tuple(from_json(json.loads(row[0]), Incident) for row in rows)


def _health(data: str) -> BrokerHealth:
    return from_json(json.loads(data), BrokerHealth)
