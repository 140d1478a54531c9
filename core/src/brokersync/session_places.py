"""What the store knows of the sessions that logins have at a broker: how many of their places are taken, who waits."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Final

import attrs

from brokersync.manifest import Manifest
from brokersync.records import Lease
from brokersync.store import Store

_SHOWN: Final = 8


@attrs.frozen(kw_only=True)
class SessionPlaces:
    """One login's places: how many of `most` are `taken`, how many owners are `waiting`, and when one of all is free.

    `login` tells logins apart and does not show whose they are.
    """

    login: str
    most: int
    taken: int
    waiting: int
    free_at: datetime | None


def places_of(manifest: Manifest, fields: Mapping[str, str]) -> str | None:
    """What the names of a login's leases begin with; `None` where the broker counts none, or not of such a login."""
    if manifest.sessions is None or not (name := fields.get(manifest.sessions.named_by, "").strip().lower()):
        return None
    whose = sha256(f"{manifest.key}\0{name}".encode()).hexdigest()
    return f"{_of_broker(manifest)}{whose[:32]}"


def place_name(login: str, number: int) -> str:
    """The lease of one place of a login."""
    return f"{login}|{number}"


def turn_name(login: str) -> str:
    """The lease of who comes next."""
    return f"{login}|waits"


def waiter_name(login: str, owner: str) -> str:
    """The lease by which one of those who wait is counted."""
    return f"{login}|waiting|{owner}"


def places_text(places: SessionPlaces) -> str:
    """As a person reads it, a clause."""
    free = f", and the first is free at {places.free_at:%H:%M} UTC" if places.free_at and places.waiting else ""
    waits = f", {places.waiting} waiting for one" if places.waiting else ""
    return f"{places.taken} of {places.most} sessions of its login in use{waits}{free}"


async def session_places(
    store: Store, manifest: Manifest, now: datetime, login: str | None = None
) -> tuple[SessionPlaces, ...]:
    """The logins of a broker that have sessions or wait for them, or that one `login`; those that wait come first."""
    if manifest.sessions is None:
        return ()
    leases = dict[str, list[Lease]]()
    prefix = _of_broker(manifest)
    for lease in await store.leases_under(f"{login}|" if login else prefix, now):
        leases.setdefault(lease.name.removeprefix(prefix).partition("|")[0], []).append(lease)
    found = [_places(name, manifest.sessions.most, held) for name, held in leases.items()]
    return tuple(sorted((one for one in found if one.taken or one.waiting), key=lambda one: (-one.waiting, -one.taken)))


def _places(login: str, most: int, held: list[Lease]) -> SessionPlaces:
    kinds = [(lease.name.split("|")[3], lease) for lease in held]
    ends = [lease.expires_at for kind, lease in kinds if kind.isdecimal()]
    return SessionPlaces(
        login=login[:_SHOWN],
        most=most,
        taken=len(ends),
        waiting=sum(kind == "waiting" for kind, _ in kinds),
        free_at=min(ends) if len(ends) >= most else None,
    )


def _of_broker(manifest: Manifest) -> str:
    return f"session|{manifest.key}|"
