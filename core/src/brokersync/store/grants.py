"""Grants in a store: replaced by compare-and-swap, or by their user."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import attrs

from brokersync.records import Grant
from brokersync.store.keys import check_key
from brokersync.store.rows import optional_moment, optional_text, sortable
from brokersync.store.sealed import SealedGrant
from brokersync.store.sql import Fetch, Put, Script, fetch_one

LOGIN: Final = ("owner", "provider", "environment", "identity")
THIS_LOGIN: Final = "owner = ? AND provider = ? AND environment = ? AND identity = ?"
# a login that was begun and is not finished is nobody's at any broker yet
UNFINISHED: Final = "provider = ''"
_VALUES = ("generation", "auth", "credentials", "expires_at", "grant_expires_at", "renewing_since", "refused_since")
_UPKEEP = ("tried_at", "fixed_end", "warned_of")
_KEY = "(SELECT wrapped FROM owner_keys WHERE owner_keys.owner = grants.owner)"
_COLUMNS = ", ".join((*LOGIN, *_VALUES, *_UPKEEP, _KEY))


def grant(owner: str, provider: str, environment: str, identity: str) -> Script[SealedGrant | None]:
    row = yield from fetch_one(
        f"SELECT {_COLUMNS} FROM grants WHERE {THIS_LOGIN}", owner, provider, environment, identity
    )
    return None if row is None else _sealed(row)


def ending_grants(owner: str | None, after: datetime, before: datetime) -> Script[tuple[SealedGrant, ...]]:
    whose, params = ("", ()) if owner is None else (" AND owner = ?", (owner,))
    rows = yield Fetch(
        f"SELECT {_COLUMNS} FROM grants WHERE grant_expires_at > ? AND grant_expires_at < ?{whose}"
        " ORDER BY grant_expires_at",
        (sortable(after), sortable(before), *params),
    )
    return tuple(_sealed(row) for row in rows)


def put_grant(new: SealedGrant) -> Script[None]:
    """Keep a login that its user has just made, in place of whatever is there."""
    before = yield from fetch_one(f"SELECT generation FROM grants WHERE {THIS_LOGIN} {{for_update}}", *_login(new))
    if before is not None:
        new = attrs.evolve(new, generation=before[0] + 1)
    yield Put("grants", (*LOGIN, *_VALUES), [_row(new)], key=LOGIN, replace=True)


def keep_grant(new: SealedGrant) -> Script[None]:
    yield from check_key(new)
    yield Put("grants", (*LOGIN, *_VALUES), [_row(new)], key=LOGIN)


def drop_grant(of: Grant | SealedGrant) -> Script[bool]:
    row = yield from fetch_one(
        f"DELETE FROM grants WHERE {THIS_LOGIN} AND generation = ? RETURNING generation", *_login(of), of.generation
    )
    return row is not None


def replace_grant(new: SealedGrant) -> Script[bool]:
    yield from check_key(new)
    row = yield from fetch_one(
        "UPDATE grants SET generation = ?, auth = ?, credentials = ?, expires_at = ?, grant_expires_at = ?,"
        f" renewing_since = ?, refused_since = ? WHERE {THIS_LOGIN} AND generation = ? RETURNING generation",
        *(new.generation, new.auth, new.credentials, *_moments(new), *_login(new), new.generation - 1),
    )
    return row is not None


def mark_renewing(of: Grant, since: datetime | None, refused_since: datetime | None) -> Script[bool]:
    row = yield from fetch_one(
        f"UPDATE grants SET renewing_since = ?, refused_since = ? WHERE {THIS_LOGIN} AND generation = ?"
        " RETURNING generation",
        *(optional_text(since), optional_text(refused_since), *_login(of), of.generation),
    )
    return row is not None


def claim_upkeep(of: SealedGrant, at: datetime) -> Script[bool]:
    same, params = ("IS NULL", ()) if of.tried_at is None else ("= ?", (sortable(of.tried_at),))
    return (yield from _note(of, "tried_at", at, f"tried_at {same}", *params))


def note_fixed_end(of: SealedGrant, end: datetime) -> Script[None]:
    yield from _note(of, "fixed_end", end, "grant_expires_at = ?", sortable(end))


def claim_warning(of: Grant | SealedGrant, end: datetime) -> Script[bool]:
    return (yield from _note(of, "warned_of", end, "(warned_of IS NULL OR warned_of <> ?)", sortable(end)))


def _note(of: Grant | SealedGrant, column: str, value: datetime, where: str, *params: Any) -> Script[bool]:
    row = yield from fetch_one(
        f"UPDATE grants SET {column} = ? WHERE {THIS_LOGIN} AND {where} RETURNING generation",
        *(sortable(value), *_login(of), *params),
    )
    return row is not None


def _login(of: Grant | SealedGrant) -> tuple[str, str, str, str]:
    return of.owner, of.provider, of.environment, of.identity


def _row(new: SealedGrant) -> tuple[Any, ...]:
    return (*_login(new), new.generation, new.auth, new.credentials, *_moments(new))


def _moments(new: SealedGrant) -> tuple[str | None, ...]:
    moments = (new.expires_at, new.grant_expires_at, new.renewing_since, new.refused_since)
    return tuple(map(optional_text, moments))


def _sealed(row: Sequence[Any]) -> SealedGrant:
    owner, provider, environment, identity, generation, auth, credentials, *moments, key = row
    names = (*_VALUES[3:], *_UPKEEP)
    return SealedGrant(
        owner=owner, provider=provider, environment=environment, identity=identity, generation=int(generation),
        auth=bytes(auth), credentials=bytes(credentials),
        sealed_with=None if key is None else bytes(key),
        **{name: optional_moment(text) for name, text in zip(names, moments, strict=True)},
    )  # fmt: skip
