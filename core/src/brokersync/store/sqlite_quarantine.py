"""The rows in the SQLite store that were not understood."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from brokersync.converter import instant_text
from brokersync.records import PageCommit
from brokersync.store.rows import compact, pack_raw, unpack_raw
from brokersync.types import QuarantinedRow


def put_in_quarantine(db: sqlite3.Connection, page: PageCommit, row: QuarantinedRow) -> None:
    """Keep a row once, however often it is read; the latest reading says what is wrong with it."""
    db.execute(
        "INSERT INTO quarantine VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET reason = excluded.reason, environment = excluded.environment,"
        " account_id = excluded.account_id WHERE (reason, environment, account_id)"
        " IS NOT (excluded.reason, excluded.environment, excluded.account_id)",
        (
            *_place(page, row.raw, row.row_id), row.environment, row.account_id, row.reason,
            pack_raw(row.raw), instant_text(page.at),
        ),
    )  # fmt: skip


def has_quarantine(db: sqlite3.Connection, page: PageCommit) -> bool:
    """Whether any row of the page's source is in quarantine."""
    source = (page.owner, page.provider, page.source)
    found = db.execute("SELECT 1 FROM quarantine WHERE owner = ? AND provider = ? AND source = ? LIMIT 1", source)
    return found.fetchone() is not None


def release(db: sqlite3.Connection, page: PageCommit, raw: Mapping[str, Any]) -> None:
    """Take a row out that is understood by now."""
    db.execute("DELETE FROM quarantine WHERE (owner, provider, source, hash) = (?, ?, ?, ?)", _place(page, raw))


def quarantined(db: sqlite3.Connection, owner: str) -> tuple[Mapping[str, Any], ...]:
    rows = db.execute(
        "SELECT provider, source, account_id, reason, raw, first_seen FROM quarantine"
        " WHERE owner = ? ORDER BY first_seen, rowid",
        (owner,),
    )
    names = ("provider", "source", "account_id", "reason", "raw", "first_seen")
    return tuple(dict(zip(names, (*row[:4], unpack_raw(row[4]), row[5]), strict=True)) for row in rows)


def _place(page: PageCommit, raw: Mapping[str, Any], row_id: str | None = None) -> tuple[str, str, str, bytes]:
    # the broker's own row tells it from others; its id does so where nothing but an id is left of it
    told = compact(raw or [row_id])
    return (page.owner, page.provider, page.source, blake2b(told.encode(), digest_size=16).digest())
