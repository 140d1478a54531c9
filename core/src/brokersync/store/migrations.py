"""From the layout of an older release to the present one, step by step."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from brokersync.converter import from_json
from brokersync.errors import StoreError
from brokersync.store.rows import sortable
from brokersync.store.schema import COMPATIBLE_FROM, SCHEMA_VERSION, TABLES
from brokersync.store.sql import AddColumn, Create, Drop, Fetch, Many, Put, Script, execute, fetch_one


def make_tables() -> Script[None]:
    """Everything in an empty database."""
    for table in TABLES:
        yield Create(table.name)
    yield from _start_feed(0)
    yield from _note_layout()


def migrate(version: int) -> Script[None]:
    """Everything that lies between layout `version` and the present one."""
    for number in range(version + 1, SCHEMA_VERSION + 1):
        yield from _STEPS[number]()
    yield from _note_layout()


def check_layout(version: int, compatible_from: int) -> bool:
    """Whether the tables are as this release knows them, `False` when they have to be migrated first.

    A newer layout is worked with as it is where the release that made it says so. Raises `StoreError` where it does
    not.
    """
    if version > SCHEMA_VERSION and compatible_from > SCHEMA_VERSION:
        raise StoreError(
            f"The store has layout {version} and this brokersync knows layout {SCHEMA_VERSION}.",
            remedy="Upgrade brokersync.",
        )
    return version >= SCHEMA_VERSION


def layout() -> Script[int]:
    row = yield from fetch_one("SELECT version FROM store_layout")
    return int(row[0])


def _note_layout() -> Script[None]:
    columns = ("one", "version", "compatible_from")
    yield Put("store_layout", columns, [(1, SCHEMA_VERSION, COMPATIBLE_FROM)], key=("one",), replace=True)


def _start_feed(position: int) -> Script[None]:
    yield Put("feed_head", ("one", "position"), [(1, position)], key=("one",))


def _to_2() -> Script[None]:
    """Layout 1 was SQLite's alone: no leases, no schedule, no failing windows, positions numbered by the database."""
    for name in ("store_layout", "feed_head", "feed_starts", "leases", "failing_windows"):
        yield Create(name)
    for table, column in _NEW_IN_2:
        yield AddColumn(table, column)
    for name in ("raw_rows", "sync_log"):
        yield Create(name)  # the tables stand; their new indexes do not
    row = yield from fetch_one("SELECT coalesce(max(position), 0) FROM changes")
    yield from _start_feed(int(row[0]))
    rows = yield Fetch("SELECT connection_id, owner, data FROM connections")
    known = [(connection_id, owner, json.loads(data)) for connection_id, owner, data in rows]
    yield Many(
        "UPDATE connections SET state = ?, created_at = ? WHERE connection_id = ?",
        [(data["state"], sortable(from_json(data["created_at"], datetime)), name) for name, _, data in known],
    )
    yield Many(
        "UPDATE sync_log SET owner = ? WHERE connection_id = ?",
        [(owner, connection_id) for connection_id, owner, _ in known],
    )
    # how old they are is not known; they count as read now, so that they are kept as long as any
    yield from execute("UPDATE raw_rows SET at = (SELECT max(at) FROM sync_log)")


_NEW_IN_2: Final = (
    ("connections", "state"),
    ("connections", "created_at"),
    ("connections", "next_at"),
    ("connections", "deadline"),
    ("grants", "renewing_since"),
    ("grants", "expires_at"),
    ("grants", "grant_expires_at"),
    ("grants", "tried_at"),
    ("grants", "fixed_end"),
    ("grants", "warned_of"),
    ("bookings", "origin"),
    ("raw_rows", "at"),
    ("sync_log", "owner"),
)


def _to_3() -> Script[None]:
    """Layout 2 did not know when the broker had made what was read, and of what it kept nobody knows.

    Its incidents were of brokers and not of their environments; one that is open is soon found out again.
    """
    for table, column in _NEW_IN_3:
        yield AddColumn(table, column)
    yield Create("connections")  # the table stands; its new indexes do not
    for table in ("broker_health", "incidents"):
        yield Drop(table)
    for table in ("environment_health", "environment_incidents"):
        yield Create(table)


_NEW_IN_3: Final = (
    ("bookings", "as_of"),
    ("bookings", "told"),
    ("quarantine", "as_of"),
    ("connections", "last_synced_at"),
    ("connections", "doubted_since"),
)


def _to_4() -> Script[None]:
    """Layout 3 had no queue of its own."""
    yield Create("jobs")


def _to_5() -> Script[None]:
    """Layout 4 did not know what was read again because somebody had asked for it, nor what a broker puts off."""
    yield AddColumn("finished_windows", "again_from")
    yield AddColumn("failing_windows", "not_before")


def _to_6() -> Script[None]:
    """Layout 5 did not know since when a refresh token is refused that may be used up; the next refusal tells."""
    yield AddColumn("grants", "refused_since")


_STEPS: Final[Mapping[int, Callable[[], Script[None]]]] = {2: _to_2, 3: _to_3, 4: _to_4, 5: _to_5, 6: _to_6}
