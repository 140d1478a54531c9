"""The tables of the SQLite store."""

from __future__ import annotations

import sqlite3
import time
from typing import Final

from brokersync.errors import StoreError

SCHEMA_VERSION: Final = 1

# how many seconds to wait for other processes
_PATIENCE: Final = 30
# marks the file as ours, so that another program's database is never taken for a store
_APPLICATION: Final = int.from_bytes(b"brks")

_TABLES = """
CREATE TABLE owner_keys (owner TEXT PRIMARY KEY, wrapped BLOB NOT NULL);

CREATE TABLE connections (
    connection_id TEXT PRIMARY KEY,
    owner TEXT NOT NULL, provider TEXT NOT NULL, environment TEXT NOT NULL, identity TEXT NOT NULL,
    data TEXT NOT NULL,
    UNIQUE (owner, provider, environment, identity)
);

CREATE TABLE grants (
    owner TEXT NOT NULL, provider TEXT NOT NULL, environment TEXT NOT NULL, identity TEXT NOT NULL,
    generation INTEGER NOT NULL, auth BLOB NOT NULL, credentials BLOB NOT NULL,
    PRIMARY KEY (owner, provider, environment, identity)
);

CREATE TABLE accounts (
    account INTEGER PRIMARY KEY,
    owner TEXT NOT NULL, provider TEXT NOT NULL, environment TEXT NOT NULL, account_id TEXT NOT NULL,
    data TEXT,
    UNIQUE (owner, provider, environment, account_id)
);

CREATE TABLE connection_accounts (
    connection_id TEXT NOT NULL, account INTEGER NOT NULL, PRIMARY KEY (connection_id, account)
) WITHOUT ROWID;

CREATE TABLE bookings (
    booking INTEGER PRIMARY KEY,
    account INTEGER NOT NULL, source TEXT NOT NULL, booking_id TEXT NOT NULL,
    set_id INTEGER NOT NULL, version INTEGER NOT NULL, is_cancel INTEGER NOT NULL,
    hash BLOB NOT NULL, content TEXT NOT NULL,
    UNIQUE (account, source, booking_id)
);
CREATE INDEX bookings_by_set ON bookings (set_id);

CREATE TABLE raw_rows (booking INTEGER PRIMARY KEY, data BLOB NOT NULL);

CREATE TABLE booking_names (
    account INTEGER NOT NULL, name TEXT NOT NULL, set_id INTEGER NOT NULL, PRIMARY KEY (account, name)
) WITHOUT ROWID;
CREATE INDEX booking_names_by_set ON booking_names (set_id);

CREATE TABLE trades (
    owner TEXT NOT NULL, account INTEGER NOT NULL, trade_id TEXT NOT NULL, set_id INTEGER NOT NULL,
    revision INTEGER NOT NULL, status TEXT NOT NULL, executed_at TEXT NOT NULL, symbol TEXT NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (account, trade_id)
) WITHOUT ROWID;
CREATE INDEX trades_by_set ON trades (set_id);
CREATE INDEX trades_by_time ON trades (owner, executed_at, account, trade_id);

CREATE TABLE changes (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    owner TEXT NOT NULL, account INTEGER NOT NULL, trade_id TEXT NOT NULL,
    kind TEXT NOT NULL, cause TEXT NOT NULL, revision INTEGER NOT NULL, at TEXT NOT NULL, merged_into TEXT
);
CREATE INDEX changes_by_owner ON changes (owner, position);

CREATE TABLE coverage (
    account INTEGER NOT NULL, source TEXT NOT NULL, starts TEXT NOT NULL, ends TEXT NOT NULL, state TEXT NOT NULL,
    PRIMARY KEY (account, source, starts)
) WITHOUT ROWID;

CREATE TABLE open_requests (
    connection_id TEXT NOT NULL, source TEXT NOT NULL, account TEXT NOT NULL, data TEXT NOT NULL,
    PRIMARY KEY (connection_id, source, account)
) WITHOUT ROWID;

CREATE TABLE finished_windows (
    connection_id TEXT NOT NULL, source TEXT NOT NULL, account TEXT NOT NULL,
    starts TEXT NOT NULL, ends TEXT NOT NULL, at TEXT NOT NULL,
    PRIMARY KEY (connection_id, source, account, starts)
) WITHOUT ROWID;

CREATE TABLE bookmarks (
    connection_id TEXT NOT NULL, source TEXT NOT NULL, account TEXT NOT NULL, bookmark TEXT NOT NULL,
    PRIMARY KEY (connection_id, source, account)
) WITHOUT ROWID;

CREATE TABLE quarantine (
    owner TEXT NOT NULL, provider TEXT NOT NULL, source TEXT NOT NULL, hash BLOB NOT NULL,
    environment TEXT, account_id TEXT, reason TEXT NOT NULL, raw BLOB NOT NULL, first_seen TEXT NOT NULL,
    PRIMARY KEY (owner, provider, source, hash)
);

CREATE TABLE sync_log (
    entry INTEGER PRIMARY KEY AUTOINCREMENT, connection_id TEXT NOT NULL, at TEXT NOT NULL, report TEXT NOT NULL
);
CREATE INDEX sync_log_by_connection ON sync_log (connection_id, entry);

CREATE TABLE reference_data (
    provider TEXT NOT NULL, environment TEXT NOT NULL, name TEXT NOT NULL, data TEXT NOT NULL,
    PRIMARY KEY (provider, environment, name)
) WITHOUT ROWID;
"""


def prepare(db: sqlite3.Connection) -> None:
    """Make the tables in an empty database; refuse one that a newer release or somebody else wrote, untouched."""
    db.execute(f"PRAGMA busy_timeout = {_PATIENCE * 1000}")
    db.execute("BEGIN")
    ready = _is_ready(db)
    db.execute("COMMIT")
    _use_wal(db)
    # a rotated refresh token must survive a power cut, so each commit reaches the disk
    db.execute("PRAGMA synchronous = FULL")
    if ready:
        return
    db.execute("BEGIN IMMEDIATE")
    # another process may have made the tables while this one waited for the lock
    if not _is_ready(db):
        for statement in _TABLES.split(";"):
            if statement.strip():
                db.execute(statement)
        db.execute(f"PRAGMA application_id = {_APPLICATION}")
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    db.execute("COMMIT")


def _use_wal(db: sqlite3.Connection) -> None:
    """Switch to the write-ahead log; SQLite itself does not wait here for others who open the same new file."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _is_ready(db: sqlite3.Connection) -> bool:
    """Whether the tables stand; `False` for an empty database. To be asked inside a transaction."""
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != _APPLICATION:
        if tables or application or version:
            raise StoreError(
                "The file is a database of something else.",
                remedy="Name another file with --store or BROKERSYNC_STORE.",
            )
        return False
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"The store has layout {version} and this brokersync knows layout {SCHEMA_VERSION}.",
            remedy="Upgrade brokersync.",
        )
    return True
