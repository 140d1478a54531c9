"""The real SQLite store, watched at the very moment at which it commits."""

from __future__ import annotations

import contextvars
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from brokersync.records import PageCommit, PageOutcome
from brokersync.store import PageRules, SqliteStore
from brokersync.store.sql import Script

R = TypeVar("R")

_PAGE: contextvars.ContextVar[PageCommit | None] = contextvars.ContextVar("the page that is committed", default=None)


class WatchedStore(SqliteStore):
    """Tells `on_trespass` of each page that was committed by a worker that no longer holds its connection."""

    def __init__(self, path: Path, on_trespass: Callable[[str], None]) -> None:
        super().__init__(path)
        self._on_trespass = on_trespass

    async def commit_page(self, page: PageCommit, rules: PageRules) -> PageOutcome:
        token = _PAGE.set(page)
        try:
            return await super().commit_page(page, rules)
        finally:
            _PAGE.reset(token)

    def _in_transaction(self, db: sqlite3.Connection, script: Callable[[], Script[R]]) -> R:
        result = super()._in_transaction(db, script)
        page = _PAGE.get()
        if page is not None:
            self._look_at_the_lease(db, page)
        return result

    def _look_at_the_lease(self, db: sqlite3.Connection, page: PageCommit) -> None:
        name = f"sync|{page.connection_id}"
        row = db.execute("SELECT holder, fence FROM leases WHERE name = ?", (name,)).fetchone()
        if page.lease is None or row != (page.lease.holder, page.lease.fence):
            self._on_trespass(f"{name} is held by {row}, and written to with {page.lease}")

    def vanish(self) -> None:
        """What is left of it when its process crashes: nothing; an open transaction is rolled back."""
        if self._db is not None:
            self._db.close()
