"""Environments of brokers as a whole in a store: their failures in a row, and their incidents."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Final

from brokersync.converter import from_json
from brokersync.incidents import BrokerHealth, Incident
from brokersync.records import ConnectionState
from brokersync.store.rows import compact, sortable
from brokersync.store.sql import Fetch, Put, Script, execute, fetch_one

_ENOUGH_TO_COUNT = 100


_THIS: Final = "provider = ? AND environment = ?"


def broker_health(provider: str, environment: str) -> Script[BrokerHealth]:
    row = yield from fetch_one(f"SELECT data FROM environment_health WHERE {_THIS}", provider, environment)
    return BrokerHealth(provider=provider, environment=environment) if row is None else _health(row[0])


def broker_healths() -> Script[tuple[BrokerHealth, ...]]:
    rows = yield Fetch("SELECT data FROM environment_health ORDER BY provider, environment")
    return tuple(_health(row[0]) for row in rows)


def change_health(
    provider: str,
    environment: str,
    now: datetime,
    rule: Callable[[BrokerHealth, int, int], BrokerHealth | None],
) -> Script[tuple[BrokerHealth, BrokerHealth | None]]:
    """What is known of an environment before and after `rule`, told how many connections to it are active, and due."""
    clean = compact(BrokerHealth(provider=provider, environment=environment))
    key = ("provider", "environment")
    yield Put("environment_health", (*key, "data"), [(provider, environment, clean)], key=key)
    row = yield from fetch_one(
        f"SELECT data FROM environment_health WHERE {_THIS} {{for_update}}", provider, environment
    )
    before = _health(row[0])
    active = yield from fetch_one(
        f"SELECT count(*) FROM (SELECT 1 FROM connections WHERE {_THIS} AND state = ? LIMIT ?) AS few",
        *(provider, environment, ConnectionState.ACTIVE.value, _ENOUGH_TO_COUNT),
    )
    due = yield from fetch_one(
        f"SELECT count(*) FROM connections WHERE {_THIS} AND state = ? AND (next_at IS NULL OR next_at <= ?)",
        *(provider, environment, ConnectionState.ACTIVE.value, sortable(now)),
    )
    after = rule(before, int(active[0]), int(due[0]))
    if after is None or after == before:
        return before, after
    yield from execute(f"UPDATE environment_health SET data = ? WHERE {_THIS}", compact(after), provider, environment)
    if after.incident is not None:
        row = (provider, environment, sortable(after.incident.opened_at), compact(after.incident))
        yield Put("environment_incidents", (*key, "opened_at", "data"), [row], key=(*key, "opened_at"), replace=True)
    return before, after


def incidents(limit: int) -> Script[tuple[Incident, ...]]:
    rows = yield Fetch("SELECT data FROM environment_incidents ORDER BY opened_at DESC LIMIT ?", (limit,))
    return tuple(from_json(json.loads(row[0]), Incident) for row in rows)


def _health(data: str) -> BrokerHealth:
    return from_json(json.loads(data), BrokerHealth)
