"""Connections in a store."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import attrs

from brokersync.clock import CLOCKS_DIFFER
from brokersync.converter import from_json
from brokersync.doubts import let_off
from brokersync.records import Connection, ConnectionState
from brokersync.store.grants import LOGIN, THIS_LOGIN, put_grant
from brokersync.store.keys import check_key, keep_key
from brokersync.store.rows import compact, optional_text, sortable
from brokersync.store.sealed import SealedGrant
from brokersync.store.sql import Fetch, Put, Script, execute, fetch_one

_MOMENTS = ("next_at", "deadline", "last_synced_at", "doubted_since")
_CONNECTION = ("connection_id", *LOGIN, "data", "state", "created_at", *_MOMENTS)

_ASKING = (ConnectionState.NEEDS_USER, ConnectionState.NEEDS_OPERATOR)


def add_connection(connection: Connection, grant: SealedGrant, instead_of: str | None) -> Script[Connection]:
    yield from check_key(grant)
    known = yield from _kept(connection)
    yield from _drop_own_grant(known, connection)
    since = connection.since or known.since
    # what is connected again is due at once
    again = attrs.evolve(known, label=connection.label, since=since, one_login=connection.one_login, next_at=None)
    is_new = known.connection_id == connection.connection_id
    if not is_new:
        yield from _store(again)
    yield from put_grant(grant)
    if instead_of is not None:
        made_up = (connection.owner, connection.provider, grant.environment, instead_of)
        yield from execute(f"DELETE FROM grants WHERE {THIS_LOGIN}", *made_up)
    served = yield from _logged_in(grant, but_not=known.connection_id if is_new else None)
    return next((after for _, after in served if after.connection_id == known.connection_id), known)


def join_connection(connection: Connection) -> Script[Connection | None]:
    """A connection by a grant that is there already, or the one of that login that is; `None` without the grant."""
    # the grant goes with the key, or while that is locked
    if not (yield from keep_key(connection.owner)):
        return None
    grant = (connection.owner, connection.provider, connection.grant_environment, connection.identity)
    if (yield from fetch_one(f"SELECT generation FROM grants WHERE {THIS_LOGIN}", *grant)) is None:
        return None
    return (yield from _kept(connection))


def _kept(connection: Connection) -> Script[Connection]:
    """The connection of this login: the one that is there, else this one. It is locked until the transaction ends."""
    login = (connection.owner, connection.provider, connection.environment, connection.identity)
    row = None
    while row is None:  # the one that was there may end between the two
        # an id that is somebody else's by chance must never replace that connection, so only the login is a known key
        yield Put("connections", _CONNECTION, [_values(connection)], key=LOGIN)
        row = yield from fetch_one(f"SELECT data FROM connections WHERE {THIS_LOGIN} {{for_update}}", *login)
    return _connection(row[0])


def log_in_again(connection: Connection, grant: SealedGrant) -> Script[tuple[Connection, ...] | None]:
    yield from check_key(grant)
    row = yield from fetch_one(
        "SELECT data FROM connections WHERE connection_id = ? {for_update}", connection.connection_id
    )
    if row is None:
        return None
    known = _connection(row[0])
    yield from _drop_own_grant(known, connection)
    yield from _store(attrs.evolve(known, one_login=connection.one_login))
    yield from put_grant(grant)
    served = yield from _logged_in(grant)
    return tuple(after for before, after in served if before.state is not after.state)


def _logged_in(grant: SealedGrant, *, but_not: str | None = None) -> Script[list[tuple[Connection, Connection]]]:
    """The connections that a login serves which its user has just made, before and after: none asks any more."""
    served = []
    for before in (yield from _living_by(grant.owner, grant.provider, grant.environment, grant.identity)):
        if before.connection_id == but_not:
            continue
        one = attrs.evolve(
            before,
            logins=before.logins + 1,
            refusals=0,
            doubted_since=None,
            logins_refused=0,
            asked_before=None,
            silent_until=None,
        )
        if one.state in _ASKING:
            one = attrs.evolve(one, state=ConnectionState.ACTIVE, reason=None, remedy=None, next_at=None)
        yield from _store(one)
        served.append((before, one))
    return served


def move_login(of: Connection, rule: Callable[[Connection], Connection]) -> Script[None]:
    """Each connection that shares the grant of this one after `rule`; none where its user has logged in again since."""
    served = yield from _living_by(of.owner, of.provider, of.grant_environment, of.identity)
    if any((one.connection_id, one.logins) == (of.connection_id, of.logins) for one in served):
        for before in served:
            if (after := rule(before)) != before:
                yield from _store(after)


def _living_by(owner: str, provider: str, grant_environment: str, identity: str) -> Script[list[Connection]]:
    """The connections that a grant serves."""
    rows = yield Fetch(
        "SELECT data FROM connections WHERE owner = ? AND provider = ? AND identity = ?"
        " ORDER BY connection_id {for_update}",
        (owner, provider, identity),
    )
    return [one for one in (_connection(row[0]) for row in rows) if one.grant_environment == grant_environment]


def _drop_own_grant(known: Connection, now: Connection) -> Script[None]:
    """Where one login has come to serve all environments, the grant of this environment alone has no use any more."""
    if now.one_login and not known.one_login:
        login = (known.owner, known.provider, known.grant_environment, known.identity)
        yield from execute(f"DELETE FROM grants WHERE {THIS_LOGIN}", *login)


def connections(owner: str | None) -> Script[tuple[Connection, ...]]:
    where, params = ("", ()) if owner is None else (" WHERE owner = ?", (owner,))
    rows = yield Fetch(f"SELECT data FROM connections{where} ORDER BY created_at, connection_id", params)
    return tuple(_connection(row[0]) for row in rows)


def connection(connection_id: str) -> Script[Connection | None]:
    row = yield from fetch_one("SELECT data FROM connections WHERE connection_id = ?", connection_id)
    return None if row is None else _connection(row[0])


def change_connection(connection_id: str, facts: dict[str, Any]) -> Script[Connection | None]:
    """The connection with some of its fields replaced; `None` when there is none of this id."""
    row = yield from fetch_one("SELECT data FROM connections WHERE connection_id = ? {for_update}", connection_id)
    if row is None:
        return None
    changed = attrs.evolve(_connection(row[0]), **facts)
    yield from _store(changed)
    return changed


def move_connection(
    connection_id: str, rule: Callable[[Connection], Connection]
) -> Script[tuple[Connection, Connection] | None]:
    """The connection before and after `rule`; `None` when there is none of this id."""
    row = yield from fetch_one("SELECT data FROM connections WHERE connection_id = ? {for_update}", connection_id)
    if row is None:
        return None
    before = _connection(row[0])
    after = rule(before)
    if after != before:
        yield from _store(after)
    return before, after


def due_again(provider: str, environment: str, doubted_since: datetime, now: datetime) -> Script[None]:
    """Those whose user is asked for a doubt that came up since then are tried again, from now on."""
    rows = yield Fetch(
        "SELECT data FROM connections WHERE provider = ? AND environment = ? AND doubted_since > ? AND state = ?"
        " ORDER BY connection_id {for_update}",
        (provider, environment, sortable(doubted_since), ConnectionState.NEEDS_USER.value),
    )
    for one in (_connection(row[0]) for row in rows):
        yield from _store(let_off(one, now=now))


def due_connections(
    owner: str | None, now: datetime, but_not: Sequence[tuple[str, str]]
) -> Script[tuple[Connection, ...]]:
    """Those whose time has come; one that waits for nobody to help it and was never synced is due at once.

    So is one that was synced by a clock that was ahead, whose next time may be far off.
    """
    where, params = ("", ()) if owner is None else (" AND owner = ?", (owner,))
    without = [f"{provider}|{environment}" for provider, environment in but_not]
    rows = yield Fetch(
        "SELECT data FROM connections WHERE (state = ? AND next_at IS NULL OR state <> ? AND next_at <= ?"
        " OR state = ? AND last_synced_at > ? AND next_at > last_synced_at)"
        f" AND provider || '|' || environment NOT IN (??){where} ORDER BY created_at, connection_id",
        (
            *(ConnectionState.ACTIVE.value, ConnectionState.PAUSED.value, sortable(now)),
            *(ConnectionState.ACTIVE.value, sortable(now + CLOCKS_DIFFER), without, *params),
        ),
    )
    return tuple(_connection(row[0]) for row in rows)


def overdue_connections(owner: str | None, now: datetime) -> Script[tuple[Connection, ...]]:
    """Those whose deadline has passed."""
    where, params = ("", ()) if owner is None else (" AND owner = ?", (owner,))
    rows = yield Fetch(
        f"SELECT data FROM connections WHERE deadline <= ?{where} ORDER BY deadline, connection_id",
        (sortable(now), *params),
    )
    return tuple(_connection(row[0]) for row in rows)


def _store(connection: Connection) -> Script[None]:
    yield from execute(
        f"UPDATE connections SET data = ?, state = ?, {', '.join(f'{name} = ?' for name in _MOMENTS)}"
        " WHERE connection_id = ?",
        *(compact(connection), connection.state.value, *_moments(connection), connection.connection_id),
    )


def _values(one: Connection) -> tuple[Any, ...]:
    return (
        one.connection_id, one.owner, one.provider, one.environment, one.identity, compact(one), one.state.value,
        sortable(one.created_at), *_moments(one),
    )  # fmt: skip


def _moments(one: Connection) -> tuple[str | None, ...]:
    return tuple(optional_text(getattr(one, name)) for name in _MOMENTS)


def _connection(data: str) -> Connection:
    return from_json(json.loads(data), Connection)
