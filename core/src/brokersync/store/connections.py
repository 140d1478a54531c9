"""Connections and grants in a store."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import attrs

from brokersync.converter import from_json
from brokersync.records import Connection, ConnectionState
from brokersync.store.protocol import SealedGrant
from brokersync.store.rows import compact, sortable
from brokersync.store.sql import Fetch, Put, Script, execute, fetch_one

_LOGIN = ("owner", "provider", "environment", "identity")
_THIS_LOGIN = "owner = ? AND provider = ? AND environment = ? AND identity = ?"
_CONNECTION = ("connection_id", *_LOGIN, "data", "state", "created_at", "next_at", "deadline")
_GRANT = (*_LOGIN, "generation", "auth", "credentials", "expires_at", "grant_expires_at")


def data_key(owner: str, new: Callable[[], bytes]) -> Script[bytes]:
    row = yield from fetch_one("SELECT wrapped FROM owner_keys WHERE owner = ?", owner)
    if row is None:
        yield Put("owner_keys", ("owner", "wrapped"), [(owner, new())], key=("owner",))
        row = yield from fetch_one("SELECT wrapped FROM owner_keys WHERE owner = ?", owner)
    return bytes(row[0])


def add_connection(connection: Connection, grant: SealedGrant, instead_of: str | None) -> Script[Connection]:
    login = (connection.owner, connection.provider, connection.environment, connection.identity)
    # an id that is somebody else's by chance must never replace that connection, so only the login is a known key
    yield Put("connections", _CONNECTION, [_values(connection)], key=_LOGIN)
    row = yield from fetch_one(f"SELECT data FROM connections WHERE {_THIS_LOGIN} {{for_update}}", *login)
    known = _connection(row[0])
    if known.connection_id != connection.connection_id:
        connection = attrs.evolve(
            connection,
            connection_id=known.connection_id,
            created_at=known.created_at,
            last_synced_at=known.last_synced_at,
            since=connection.since or known.since,
        )
        yield from _store(connection)
    before = yield from fetch_one(f"SELECT generation FROM grants WHERE {_THIS_LOGIN} {{for_update}}", *login)
    generation = before[0] + 1 if before else grant.generation
    yield from _put_grant(attrs.evolve(grant, generation=generation))
    if instead_of is not None:
        yield from execute(f"DELETE FROM grants WHERE {_THIS_LOGIN}", *login[:-1], instead_of)
    return connection


def keep_grant(grant: SealedGrant) -> Script[None]:
    yield from _put_grant(grant, replace=False)


def drop_grant(grant: SealedGrant) -> Script[None]:
    yield from execute(
        f"DELETE FROM grants WHERE {_THIS_LOGIN} AND generation = ?",
        *(grant.owner, grant.provider, grant.environment, grant.identity, grant.generation),
    )


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


def set_state(connection_id: str, state: ConnectionState, reason: str | None) -> Script[None]:
    yield from change_connection(connection_id, {"state": state, "reason": reason})


def grant(owner: str, provider: str, environment: str, identity: str) -> Script[SealedGrant | None]:
    row = yield from fetch_one(
        f"SELECT generation, auth, credentials, expires_at, grant_expires_at, renewing_since FROM grants"
        f" WHERE {_THIS_LOGIN}",
        *(owner, provider, environment, identity),
    )
    if row is None:
        return None
    return SealedGrant(
        owner=owner, provider=provider, environment=environment, identity=identity,
        generation=row[0], auth=bytes(row[1]), credentials=bytes(row[2]),
        expires_at=_moment(row[3]), grant_expires_at=_moment(row[4]), renewing_since=_moment(row[5]),
    )  # fmt: skip


def replace_grant(new: SealedGrant) -> Script[bool]:
    row = yield from fetch_one(
        "UPDATE grants SET generation = ?, auth = ?, credentials = ?, expires_at = ?, grant_expires_at = ?,"
        f" renewing_since = NULL WHERE {_THIS_LOGIN} AND generation = ? RETURNING generation",
        *(new.generation, new.auth, new.credentials, _text(new.expires_at), _text(new.grant_expires_at)),
        *(new.owner, new.provider, new.environment, new.identity, new.generation - 1),
    )
    return row is not None


def mark_renewing(of: SealedGrant, at: datetime) -> Script[bool]:
    row = yield from fetch_one(
        f"UPDATE grants SET renewing_since = ? WHERE {_THIS_LOGIN} AND generation = ? RETURNING generation",
        *(sortable(at), of.owner, of.provider, of.environment, of.identity, of.generation),
    )
    return row is not None


def _put_grant(new: SealedGrant, *, replace: bool = True) -> Script[None]:
    values = (
        new.owner, new.provider, new.environment, new.identity, new.generation, new.auth, new.credentials,
        _text(new.expires_at), _text(new.grant_expires_at), None,
    )  # fmt: skip
    yield Put("grants", (*_GRANT, "renewing_since"), [values], key=_LOGIN, replace=replace)


def _store(connection: Connection) -> Script[None]:
    yield from execute(
        "UPDATE connections SET data = ?, state = ?, next_at = ?, deadline = ? WHERE connection_id = ?",
        *(compact(connection), connection.state.value, _text(connection.next_at), _text(connection.deadline)),
        connection.connection_id,
    )


def _values(one: Connection) -> tuple[Any, ...]:
    return (
        one.connection_id, one.owner, one.provider, one.environment, one.identity, compact(one), one.state.value,
        sortable(one.created_at), _text(one.next_at), _text(one.deadline),
    )  # fmt: skip


def _connection(data: str) -> Connection:
    return from_json(json.loads(data), Connection)


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else sortable(moment)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else from_json(text, datetime)
