"""The store, its keys, and the connections in it."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import attrs

from brokersync.clock import CLOCKS_DIFFER
from brokersync.errors import BrokerConfigError, BrokerError, StoreError
from brokersync.findings import Finding, Severity
from brokersync.governance.notices import Notices
from brokersync.governance.state_file import StateFile
from brokersync.masterkeys import KeyFile
from brokersync.provider import Clock
from brokersync.records import Connection, ConnectionState
from brokersync.store import PostgresStore, SqliteStore, Store
from brokersync.store.place import notices_file, store_at

_LITTLE: Final = 200 * 1024 * 1024
_LAST: Final = 20


@attrs.frozen(kw_only=True)
class Stored:
    """What a store holds, in numbers and in core's own words; `names` are what no bundle may show."""

    kind: str
    layout: int | None = None
    connections: Mapping[str, int] = attrs.field(factory=dict)
    rows: Mapping[str, Mapping[str, int]] = attrs.field(factory=dict)
    incidents: Sequence[Mapping[str, Any]] = ()
    brokers: Sequence[str] = ()
    names: frozenset[str] = attrs.field(default=frozenset(), repr=False)
    notices: Notices | None = None


async def store_findings(place: str | Path, clock: Clock) -> tuple[list[Finding], Stored | None]:
    """What is wrong with the store at a place, and what is in it; one that is missing is not made."""
    try:
        store, key_file = store_at(place, make=False)
    except BrokerError as error:
        return [_of("store", Severity.FAULT, error.message, error.remedy)], None
    kept = notices_file(store)
    stored = Stored(
        kind="postgres" if isinstance(store, PostgresStore) else "sqlite",
        notices=None if kept is None else Notices(StateFile(kept, "The notices of plugins")),
    )
    if isinstance(store, SqliteStore) and not store.path.exists():
        message = f"There is no store at {store.path} yet."
        return [_of("store", Severity.NOTE, message, "The first `brokersync connect` makes it.")], stored
    found = [*_of_files(store, key_file)]
    try:
        await store.open()
    except StoreError as error:
        return [*found, _of("store", Severity.FAULT, error.message, error.remedy)], stored
    try:
        async with aclosing(_of_content(store, key_file, clock)) as more:
            found += [one async for one in more]
        return found, await _counted(store, stored)
    except StoreError as error:
        return [*found, _of("store", Severity.FAULT, error.message, error.remedy)], stored
    finally:
        await store.close()


def _of_files(store: Store, key_file: Path) -> list[Finding]:
    found = []
    if isinstance(store, SqliteStore):
        free = shutil.disk_usage(store.path.parent).free
        if free < _LITTLE:
            message = f"There are {free // 1024**2} MB left on the disk of {store.path}."
            found.append(_of("store", Severity.WARNING, message, "Make room, before nothing can be written."))
        found += _of_rights(store.path, "store", "The store")
    return found + _of_rights(key_file, "keys", "The key file")


def _of_rights(path: Path, area: str, what: str) -> list[Finding]:
    if os.name == "nt" or not path.exists() or not path.stat().st_mode & 0o077:
        return []
    return [_of(area, Severity.WARNING, f"{what} {path} can be read by others.", f"Run: chmod 600 {path}")]


async def _of_content(store: Store, key_file: Path, clock: Clock) -> AsyncGenerator[Finding, None]:
    for owner, wrapped in await store.wrapped_keys(limit=1):
        try:
            await KeyFile(key_file).unwrap(wrapped, owner)
        except BrokerConfigError as error:
            yield _of("keys", Severity.FAULT, error.message, error.remedy)
    if isinstance(store, PostgresStore):
        ahead = clock.now() - await store.server_time()
        if abs(ahead) > CLOCKS_DIFFER:
            yield skewed("Postgres", ahead.total_seconds())
    states = Counter(one.state for one in await store.connections())
    if states[ConnectionState.NEEDS_OPERATOR]:
        message = f"Connections that wait for you: {states[ConnectionState.NEEDS_OPERATOR]}."
        yield _of("connections", Severity.FAULT, message, "See why: brokersync status --owner OWNER")
    if states[ConnectionState.NEEDS_USER]:
        message = f"Connections that wait for their users to log in again: {states[ConnectionState.NEEDS_USER]}."
        yield _of("connections", Severity.WARNING, message, "They run: brokersync reconnect CONNECTION")
    for incident in await store.incidents(_LAST):
        if incident.closed_at is None:
            since = f"{incident.opened_at:%Y-%m-%d %H:%M} UTC"
            where = f"{incident.provider} {incident.environment}"
            message = f"{where} {incident.what} since {since}: {incident.reason}."
            remedy = "It is probed by itself, and goes on when it answers."
            yield attrs.evolve(_of("connections", Severity.WARNING, message, remedy), provider=incident.provider)


async def _counted(store: Store, stored: Stored) -> Stored:
    connections = await store.connections()
    owners = sorted({one.owner for one in connections})
    rows: dict[str, Counter[str]] = {}
    names = {text for one in connections for text in _names_of(one)}
    for owner in owners:
        for key, numbers in (await store.counts(owner)).items():
            names.add(key.account_id)
            counted = rows.setdefault(f"{key.provider} {key.environment}", Counter())
            counted.update({"accounts": 1, **numbers})
        names |= {name for name in (await store.account_names(owner)).values() if name}
    incidents = [
        {
            "provider": one.provider,
            "environment": one.environment,
            "reason": one.reason,
            "opened_at": _text(one.opened_at),
            "closed_at": _text(one.closed_at),
            "probes": one.probes,
        }
        for one in await store.incidents(_LAST)
    ]
    return attrs.evolve(
        stored,
        layout=await store.layout(),
        connections=Counter(f"{one.provider} {one.environment} {one.state.value}" for one in connections),
        rows=rows,
        incidents=incidents,
        brokers=tuple(sorted({one.provider for one in connections})),
        names=frozenset(names),
    )


def _names_of(one: Connection) -> tuple[str, ...]:
    return one.connection_id, one.owner, one.identity, one.label


def skewed(other: str, seconds: float) -> Finding:
    """This clock and another one differ by more than is harmless."""
    message = f"This machine's clock is {abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} that of {other}."
    return _of("clock", Severity.FAULT, message, "Have NTP set the clocks of all machines.")


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")


def _of(area: str, severity: Severity, message: str, remedy: str) -> Finding:
    return Finding(area=area, severity=severity, message=message, remedy=remedy)
