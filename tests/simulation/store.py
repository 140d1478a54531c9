"""The real SQLite store, watched at the very moment at which it commits.

All processes of a seed use one connection to a database in memory. That is as good as one of their own: each
transaction is one step of the loop, so none is ever open while another process runs or crashes.
"""

from __future__ import annotations

import contextvars
import json
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from brokersync.converter import from_json
from brokersync.incidents import BrokerHealth, Incident
from brokersync.records import PageCommit, PageOutcome, SpanState
from brokersync.store import PageRules, SqliteStore
from brokersync.store.rows import load_span
from brokersync.store.sql import Script
from brokersync.sync.ledger import subtract
from brokersync.types import TimeWindow

R = TypeVar("R")

_PAGE: contextvars.ContextVar[PageCommit | None] = contextvars.ContextVar("the page that is committed", default=None)


class Database:
    """The database that outlives the processes."""

    def __init__(self) -> None:
        self.connection: sqlite3.Connection | None = None

    def incident(self, environment: str) -> Incident | None:
        """The incident of the environment that is open now."""
        assert self.connection is not None
        where = "WHERE environment = ?"
        row = self.connection.execute(f"SELECT data FROM environment_health {where}", (environment,)).fetchone()
        return None if row is None else from_json(json.loads(row[0]), BrokerHealth).open

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()


class WatchedStore(SqliteStore):
    """Tells of each page that was committed by a worker that no longer holds its connection, or that undid a proof."""

    def __init__(
        self, database: Database, *, on_trespass: Callable[[str], None], on_undone: Callable[[str], None]
    ) -> None:
        super().__init__(Path(":memory:"))
        self._database, self._on_trespass, self._on_undone = database, on_trespass, on_undone

    def _connect(self) -> sqlite3.Connection:
        if self._database.connection is None:
            self._database.connection = super()._connect()
        return self._database.connection

    async def close(self) -> None:
        self._db = None

    async def commit_page(self, page: PageCommit, rules: PageRules) -> PageOutcome:
        token = _PAGE.set(page)
        try:
            return await super().commit_page(page, rules)
        finally:
            _PAGE.reset(token)

    def _in_transaction(self, db: sqlite3.Connection, script: Callable[[], Script[R]]) -> R:
        page = _PAGE.get()
        if page is None:
            return super()._in_transaction(db, script)
        before = _finals(db, page.source)
        result = super()._in_transaction(db, script)
        self._look_at_the_lease(db, page)
        after = _finals(db, page.source)
        for account, spans in before.items():
            left = after.get(account, [])
            if spans != left and (gone := subtract(_windows(spans), _windows(left))):
                self._on_undone(f"{page.source} of account {account}: {gone}")
        return result

    def _look_at_the_lease(self, db: sqlite3.Connection, page: PageCommit) -> None:
        name = f"sync|{page.connection_id}"
        row = db.execute("SELECT holder, fence FROM leases WHERE name = ?", (name,)).fetchone()
        if page.lease is None or row != (page.lease.holder, page.lease.fence):
            self._on_trespass(f"{name} is held by {row}, and written to with {page.lease}")


def _finals(db: sqlite3.Connection, source: str) -> dict[int, list[tuple[str, str]]]:
    """From when to when each account is final in the store."""
    final: dict[int, list[tuple[str, str]]] = {}
    rows = db.execute("SELECT account, starts, ends FROM coverage WHERE source = ? AND state = 'final'", (source,))
    for account, starts, ends in rows:
        final.setdefault(account, []).append((starts, ends))
    return final


def _windows(spans: Iterable[tuple[str, str]]) -> list[TimeWindow]:
    return [load_span(starts, ends, SpanState.FINAL.value).window for starts, ends in spans]
