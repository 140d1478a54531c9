"""The real SQLite store, watched at the very moment at which it commits.

All processes of a seed use one connection to a database in memory. That is as good as one of their own: each
transaction is one step of the loop, so none is ever open while another process runs or crashes.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeAlias, TypeVar

from brokersync.converter import from_json
from brokersync.incidents import BrokerHealth, Incident
from brokersync.records import PageCommit, PageOutcome, SpanState
from brokersync.store import PageRules, SqliteStore
from brokersync.store.coverage import Reopen
from brokersync.store.rows import load_request, load_span
from brokersync.store.sql import Script
from brokersync.sync.ledger import subtract
from brokersync.types import TimeWindow

R = TypeVar("R")

Account: TypeAlias = tuple[str, str, str, str]
"""Owner, source, environment and account id."""

_SOURCE: contextvars.ContextVar[str | None] = contextvars.ContextVar("the source of a request given up", default=None)
_PAGE: contextvars.ContextVar[PageCommit | None] = contextvars.ContextVar("the page that is committed", default=None)


@contextmanager
def _set(name: contextvars.ContextVar[R | None], value: R) -> Iterator[None]:
    token = name.set(value)
    try:
        yield
    finally:
        with suppress(ValueError):  # what a killed process leaves is cleared away in the context of another
            name.reset(token)


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
    """Tells of each page that was committed by a worker that no longer holds its connection, or that undid a proof.

    What is final may be opened again where a request for it is given up that had rows without ids: `on_opened`.
    """

    def __init__(
        self,
        database: Database,
        *,
        on_trespass: Callable[[str], None],
        on_undone: Callable[[str], None],
        on_opened: Callable[[Account, list[TimeWindow]], None],
    ) -> None:
        super().__init__(Path(":memory:"))
        self._database = database
        self._on_trespass, self._on_undone, self._on_opened = on_trespass, on_undone, on_opened

    def _connect(self) -> sqlite3.Connection:
        if self._database.connection is None:
            self._database.connection = super()._connect()
        return self._database.connection

    async def _connected(self) -> sqlite3.Connection:
        return await asyncio.get_running_loop().run_in_executor(
            None, self._connect
        )  # a step of the loop: it has no threads

    async def close(self) -> None:
        self._db = None

    async def commit_page(self, page: PageCommit, rules: PageRules) -> PageOutcome:
        with _set(_PAGE, page):
            return await super().commit_page(page, rules)

    async def drop_request(self, connection_id: str, source: str, account: str, reopen: Reopen) -> None:
        with _set(_SOURCE, source):
            await super().drop_request(connection_id, source, account, reopen)

    async def _write(self, script: Callable[[], Script[R]]) -> R:
        page = _PAGE.get()
        source = _SOURCE.get() if page is None else page.source
        return await super()._write(script if source is None else lambda: self._watched(script, page, source))

    def _watched(self, script: Callable[[], Script[R]], page: PageCommit | None, source: str) -> Script[R]:
        db = self._opened()
        before, begun = _finals(db, source), _begun(db, source)
        result = yield from script()
        if page is not None:
            self._look_at_the_lease(db, page)
        after = _finals(db, source)
        for account, spans in before.items():
            left = after.get(account, [])
            if spans == left or not (gone := subtract(_windows(spans), _windows(left))):
                continue
            if undone := subtract(gone, begun.get(account[0], ())):
                self._on_undone(f"{source} of account {account}: {undone}")
            self._on_opened(account, gone)
        return result

    def _look_at_the_lease(self, db: sqlite3.Connection, page: PageCommit) -> None:
        name = f"sync|{page.connection_id}"
        row = db.execute("SELECT holder, fence FROM leases WHERE name = ?", (name,)).fetchone()
        if page.lease is None or row != (page.lease.holder, page.lease.fence):
            self._on_trespass(f"{name} is held by {row}, and written to with {page.lease}")


def _finals(db: sqlite3.Connection, source: str) -> dict[Account, list[tuple[str, str]]]:
    """From when to when each account is final in the store."""
    final: dict[Account, list[tuple[str, str]]] = {}
    rows = db.execute(
        "SELECT owner, source, environment, account_id, starts, ends FROM coverage"
        " JOIN accounts ON accounts.account = coverage.account WHERE source = ? AND state = 'final'",
        (source,),
    )
    for *account, starts, ends in rows:
        final.setdefault((account[0], account[1], account[2], account[3]), []).append((starts, ends))
    return final


def _begun(db: sqlite3.Connection, source: str) -> dict[str, list[TimeWindow]]:
    """The windows of each owner's requests that were begun and had rows without ids."""
    begun: dict[str, list[TimeWindow]] = {}
    rows = db.execute(
        "SELECT owner, open_requests.data FROM open_requests"
        " JOIN connections ON connections.connection_id = open_requests.connection_id WHERE source = ?",
        (source,),
    )
    for owner, data in rows:
        if (request := load_request(data)).counts:
            begun.setdefault(owner, []).append(request.window)
    return begun


def _windows(spans: Iterable[tuple[str, str]]) -> list[TimeWindow]:
    return [load_span(starts, ends, SpanState.FINAL.value).window for starts, ends in spans]
