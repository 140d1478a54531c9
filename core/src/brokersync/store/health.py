"""Environments of brokers as a whole in a store: their failures in a row, and their incidents."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Final

from brokersync.converter import from_json
from brokersync.incidents import HANDFUL, JUST_NOW, LATELY, BrokerHealth, Incident, Standing, in_vain_since
from brokersync.records import ConnectionState
from brokersync.store.connections import due_again
from brokersync.store.rows import compact, sortable
from brokersync.store.sql import Fetch, Put, Script, execute, fetch_one

_ENOUGH_TO_COUNT = 100
_THIS: Final = "provider = ? AND environment = ?"
# in the order in which they are locked elsewhere
_WITH_REASONS: Final = {
    "environment_health": ("provider", "environment"),
    "environment_incidents": ("provider", "environment", "opened_at"),
}


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
    rule: Callable[[BrokerHealth, Standing], BrokerHealth | None],
) -> Script[tuple[BrokerHealth, BrokerHealth | None]]:
    """What is known of an environment before and after `rule`, which is told how the connections to it stand."""
    clean = compact(BrokerHealth(provider=provider, environment=environment))
    key = ("provider", "environment")
    yield Put("environment_health", (*key, "data"), [(provider, environment, clean)], key=key)
    row = yield from fetch_one(
        f"SELECT data FROM environment_health WHERE {_THIS} {{for_update}}", provider, environment
    )
    before = _health(row[0])
    after = rule(before, (yield from _standing(before, now)))
    if after is None or after == before:
        return before, after
    yield from execute(f"UPDATE environment_health SET data = ? WHERE {_THIS}", compact(after), provider, environment)
    if after.incident is not None:
        row = (provider, environment, sortable(after.incident.opened_at), compact(after.incident))
        yield Put("environment_incidents", (*key, "opened_at", "data"), [row], key=(*key, "opened_at"), replace=True)
    if (in_vain := in_vain_since(before, after)) is not None:
        yield from due_again(provider, environment, in_vain, now)
    return before, after


def _standing(health: BrokerHealth, now: datetime) -> Script[Standing]:
    here = (health.provider, health.environment)
    active = yield from fetch_one(
        f"SELECT count(*) FROM (SELECT 1 FROM connections WHERE {_THIS} AND state = ? LIMIT ?) AS few",
        *(*here, ConnectionState.ACTIVE.value, _ENOUGH_TO_COUNT + len(health.alone)),
    )
    due = yield from fetch_one(
        f"SELECT count(*) FROM connections WHERE {_THIS} AND state = ? AND (next_at IS NULL OR next_at <= ?)",
        *(*here, ConnectionState.ACTIVE.value, sortable(now)),
    )
    just_read = yield from fetch_one(
        f"SELECT count(*) FROM (SELECT 1 FROM connections WHERE {_THIS} AND last_synced_at > ? LIMIT ?) AS few",
        *(*here, sortable(now - JUST_NOW), HANDFUL),
    )
    # what was doubted before the last incident ended says nothing of another one
    ended = health.incident.closed_at if health.incident is not None else None
    lately = now - LATELY if ended is None else max(now - LATELY, ended)
    refused = yield from fetch_one(
        f"SELECT count(*), min(doubted_since) FROM connections WHERE {_THIS} AND doubted_since > ?",
        *(*here, sortable(lately)),
    )
    read = 0
    if refused[0]:
        row = yield from fetch_one(
            f"SELECT count(*) FROM (SELECT 1 FROM connections WHERE {_THIS} AND last_synced_at >= ?"
            " AND doubted_since IS NULL LIMIT ?) AS few",
            *(*here, refused[1], refused[0]),
        )
        read = int(row[0])
    counts = {"active": active, "due": due, "just_read": just_read, "refused": refused}
    return Standing(**{name: int(row[0]) for name, row in counts.items()}, read=read)


def incidents(limit: int) -> Script[tuple[Incident, ...]]:
    rows = yield Fetch("SELECT data FROM environment_incidents ORDER BY opened_at DESC LIMIT ?", (limit,))
    return tuple(from_json(json.loads(row[0]), Incident) for row in rows)


def drop_foreign_words() -> Script[None]:
    """Older releases kept what a broker had said to the owner who met an incident first."""
    for table, columns in _WITH_REASONS.items():
        rows = yield Fetch(
            f"SELECT data, {', '.join(columns)} FROM {table} ORDER BY {', '.join(columns)} {{for_update}}"
        )
        for data, *key in rows:
            if (own := _in_own_words(data)) != data:
                where = " AND ".join(f"{column} = ?" for column in columns)
                yield from execute(f"UPDATE {table} SET data = ? WHERE {where}", own, *key)


def _in_own_words(data: str) -> str:
    """The same with a reason of ours; what else a newer release may have written stays."""
    whole = json.loads(data)
    part = whole if "reason" in whole else whole.get("incident")
    if part is not None:
        part["reason"] = from_json(part, Incident).reason
    return compact(whole)


def _health(data: str) -> BrokerHealth:
    return from_json(json.loads(data), BrokerHealth)
