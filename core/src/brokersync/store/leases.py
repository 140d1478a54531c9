"""Leases: the right to work on something, for a time, held by one worker among all that share a store."""

from __future__ import annotations

from datetime import datetime

import attrs

from brokersync.converter import from_json
from brokersync.errors import LeaseLostError
from brokersync.records import Lease
from brokersync.store.keys import keep_key
from brokersync.store.rows import sortable
from brokersync.store.sql import Fetch, Put, Script, execute, fetch_one

_COLUMNS = ("name", "owner", "holder", "fence", "expires_at")


def take_lease(name: str, owner: str, holder: str, now: datetime, until: datetime) -> Script[Lease]:
    """The lease as it is then; it is nobody's when its owner has been forgotten."""
    if owner and not (yield from keep_key(owner)):
        return Lease(name=name, owner=owner, holder="", fence=0, expires_at=now)
    row = None
    while row is None:  # an old one may be pruned between the two
        yield Put("leases", _COLUMNS, [(name, owner, "", 0, sortable(now))], key=("name",))
        row = yield from fetch_one("SELECT holder, fence, expires_at FROM leases WHERE name = ? {for_update}", name)
    held, fence, expires_at = row[0], int(row[1]), from_json(row[2], datetime)
    if held not in ("", holder) and expires_at > now:
        return Lease(name=name, owner=owner, holder=held, fence=fence, expires_at=expires_at)
    fence += held != holder
    yield from execute(
        "UPDATE leases SET holder = ?, fence = ?, expires_at = ? WHERE name = ?", holder, fence, sortable(until), name
    )
    return Lease(name=name, owner=owner, holder=holder, fence=fence, expires_at=until)


def extend_lease(lease: Lease, until: datetime) -> Script[Lease | None]:
    row = yield from fetch_one(
        "UPDATE leases SET expires_at = ? WHERE name = ? AND holder = ? AND fence = ? RETURNING fence",
        *(sortable(until), lease.name, lease.holder, lease.fence),
    )
    return None if row is None else attrs.evolve(lease, expires_at=until)


def release_lease(lease: Lease) -> Script[None]:
    # the row stays, so that the fence goes on growing and never names two holders
    yield from execute(
        "UPDATE leases SET holder = '' WHERE name = ? AND holder = ? AND fence = ?",
        *(lease.name, lease.holder, lease.fence),
    )


def leases_under(prefix: str, now: datetime) -> Script[tuple[Lease, ...]]:
    # names sort by their characters in both databases
    behind = prefix[:-1] + chr(ord(prefix[-1]) + 1)
    rows = yield Fetch(
        "SELECT name, owner, holder, fence, expires_at FROM leases"
        " WHERE name >= ? AND name < ? AND owner = '' AND holder <> '' AND expires_at > ? ORDER BY name",
        (prefix, behind, sortable(now)),
    )
    return tuple(
        Lease(name=name, owner=owner, holder=holder, fence=int(fence), expires_at=from_json(ends, datetime))
        for name, owner, holder, fence, ends in rows
    )


def check_lease(lease: Lease) -> Script[None]:
    """Raises `LeaseLostError` unless the lease is still its holder's, who keeps it until the transaction ends."""
    row = yield from fetch_one("SELECT holder, fence FROM leases WHERE name = ? {for_update}", lease.name)
    if row is None or (row[0], row[1]) != (lease.holder, lease.fence):
        raise LeaseLostError(lease.name)
