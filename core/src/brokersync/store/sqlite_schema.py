"""The tables in a SQLite file: made, migrated, or refused."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from brokersync.errors import StoreError
from brokersync.store.migrations import check_layout, make_tables, migrate
from brokersync.store.schema import SCHEMA_VERSION, Dialect
from brokersync.store.sql import Script

PATIENCE: Final = timedelta(seconds=30)
"""How long another process is waited for that writes."""
# marks the file as ours, so that another program's database is never taken for a store
_APPLICATION: Final = int.from_bytes(b"brks")

_OLDEST_SQLITE: Final = (3, 35)

SQLITE: Final = Dialect(
    kinds={"text": "TEXT", "int": "INTEGER", "bytes": "BLOB", "serial": "INTEGER"}, clustered=" WITHOUT ROWID"
)


def is_made(db: sqlite3.Connection) -> bool:
    """Whether there are tables of ours, of whatever release. Raises `StoreError` for those of somebody else."""
    return _is_ready(db) or _version(db) > 0


def prepare(db: sqlite3.Connection, run: Callable[[sqlite3.Connection, Script[None]], None]) -> None:
    """Make the tables in an empty database and migrate those of an older release.

    Raises `StoreError` for a file that somebody else or a newer release wrote, which stays untouched.
    """
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise StoreError(
            f"This Python has SQLite {sqlite3.sqlite_version}, and the store needs 3.35 or newer.",
            remedy="Use a newer build of Python, or a store in Postgres.",
        )
    set_patience(db, PATIENCE)
    db.execute("BEGIN")
    ready = _is_ready(db)
    db.execute("COMMIT")
    _use_wal(db)
    # a rotated refresh token must survive a power cut, so each commit reaches the disk
    db.execute("PRAGMA synchronous = FULL")
    # what is deleted is overwritten
    db.execute("PRAGMA secure_delete = ON")
    if ready:
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        # another process may have been faster while this one waited for the lock
        if not _is_ready(db):
            version = _version(db)
            run(db, migrate(version) if version else make_tables())
            db.execute(f"PRAGMA application_id = {_APPLICATION}")
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def set_patience(db: sqlite3.Connection, longest: timedelta) -> None:
    """How long one statement waits for another process."""
    db.execute(f"PRAGMA busy_timeout = {longest // timedelta(milliseconds=1)}")


def _use_wal(db: sqlite3.Connection) -> None:
    """Switch to the write-ahead log; SQLite itself does not wait here for others who open the same new file."""
    deadline = time.monotonic() + PATIENCE.total_seconds()
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _version(db: sqlite3.Connection) -> int:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    return int(version)


def _is_ready(db: sqlite3.Connection) -> bool:
    """Whether the tables stand as this release knows them. To be asked inside a transaction."""
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    version = _version(db)
    if application != _APPLICATION:
        if tables or application or version:
            raise StoreError(
                "The file is a database of something else.",
                remedy="Name another file with --store or BROKERSYNC_STORE.",
            )
        return False
    compatible_from = version
    if version > SCHEMA_VERSION:
        (compatible_from,) = db.execute("SELECT compatible_from FROM store_layout").fetchone()
    return check_layout(version, compatible_from)
