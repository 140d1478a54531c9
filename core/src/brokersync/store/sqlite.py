"""The default store: one SQLite file, one writer thread."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from brokersync.converter import instant_text
from brokersync.errors import StoreError
from brokersync.records import (
    AccountKey,
    Change,
    Connection,
    ConnectionState,
    OpenRequest,
    PageCommit,
    PageOutcome,
    Span,
)
from brokersync.store import sqlite_queries as queries
from brokersync.store.protocol import PageRules, SealedGrant, TradeFilter
from brokersync.store.sqlite_accounts import put_accounts
from brokersync.store.sqlite_page import commit_page
from brokersync.store.sqlite_quarantine import quarantined
from brokersync.store.sqlite_schema import prepare
from brokersync.types import BrokerAccount, BrokerTrade, TimeWindow

P = ParamSpec("P")
R = TypeVar("R")
Work = Callable[Concatenate[sqlite3.Connection, P], R]


_IN_MEMORY = ":memory:"


class SqliteStore:
    """A `Store` in the file at `path`. Any number of processes may use one file; writers take turns.

    Raises `StoreError` when the file can not be used.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._thread = _writer()
        self._db: sqlite3.Connection | None = None
        self._rehearsing = False

    async def open(self) -> None:
        if self._db is not None:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._db = await self._on_thread(self._connect)
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from None

    async def close(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            await self._on_thread(db.close)
        self._thread.shutdown(wait=False)
        self._thread = _writer()

    def _connect(self) -> sqlite3.Connection:
        # trades are private: a new file is its owner's alone, and SQLite gives its log the same rights
        if str(self.path) != _IN_MEMORY and not self.path.exists():
            self.path.touch(mode=0o600)
        db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=30)
        try:
            prepare(db)
        except BaseException:
            db.close()
            raise
        return db

    async def _on_thread(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: work(*args, **kwargs))

    async def _read(self, work: Work[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        db = self._opened()
        try:
            return await self._on_thread(work, db, *args, **kwargs)
        except sqlite3.Error as error:
            raise self._unusable(error) from None

    async def _write(self, work: Work[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        return await self._read(self._in_transaction, work, *args, **kwargs)

    def _in_transaction(self, db: sqlite3.Connection, work: Any, *args: Any, **kwargs: Any) -> Any:
        begin, commit, undo = (
            ("SAVEPOINT page", "RELEASE page", "ROLLBACK TO page")
            if self._rehearsing
            else ("BEGIN IMMEDIATE", "COMMIT", "ROLLBACK")
        )
        db.execute(begin)
        try:
            result = work(db, *args, **kwargs)
            db.execute(commit)
        except BaseException:
            # a full disk ends the transaction by itself; then there is nothing to undo, and the first error counts
            if db.in_transaction:
                db.execute(undo)
            raise
        return result

    def _opened(self) -> sqlite3.Connection:
        if self._db is None:
            raise StoreError("The store is not open.", remedy="Use `async with BrokerSync(...)`, or call open() first.")
        return self._db

    def _unusable(self, error: Exception) -> StoreError:
        if "locked" in str(error):
            return StoreError(
                f"The store {self.path} is busy: another process has been writing to it for 30 seconds.",
                remedy="Wait for the other process, or stop it.",
            )
        return StoreError(
            f"The store {self.path} can not be used: {error}.",
            remedy="Check its path, permissions and the space left, or name another with --store or BROKERSYNC_STORE.",
        )

    @asynccontextmanager
    async def rehearsal(self) -> AsyncIterator[SqliteStore]:
        view = SqliteStore(self.path)
        await view.open()
        try:
            await view._read(lambda db: db.execute("BEGIN IMMEDIATE"))
            view._rehearsing = True
            yield view
        finally:
            await view._read(lambda db: db.execute("ROLLBACK") if db.in_transaction else None)
            await view.close()

    async def data_key(self, owner: str, new: Callable[[], bytes]) -> bytes:
        return await self._write(queries.data_key, owner, new)

    async def add_connection(self, connection: Connection, grant: SealedGrant) -> Connection:
        return await self._write(queries.add_connection, connection, grant)

    async def connections(self, owner: str | None = None) -> tuple[Connection, ...]:
        return await self._read(queries.connections, owner)

    async def set_state(self, connection_id: str, state: ConnectionState, reason: str | None) -> None:
        await self._write(queries.set_state, connection_id, state, reason)

    async def grant(self, owner: str, provider: str, environment: str, identity: str) -> SealedGrant | None:
        return await self._read(queries.grant, owner, provider, environment, identity)

    async def replace_grant(self, grant: SealedGrant) -> bool:
        return await self._write(queries.replace_grant, grant)

    async def put_accounts(self, connection: Connection, accounts: Sequence[BrokerAccount]) -> None:
        await self._write(put_accounts, connection.owner, connection.provider, connection.connection_id, accounts)

    async def accounts(self, connection_id: str) -> tuple[BrokerAccount, ...]:
        return await self._read(queries.accounts, connection_id)

    async def spans(self, owner: str, provider: str, source: str) -> Mapping[tuple[str, str], tuple[Span, ...]]:
        return await self._read(queries.spans, owner, provider, source)

    async def open_requests(self, connection_id: str) -> tuple[OpenRequest, ...]:
        return await self._read(queries.open_requests, connection_id)

    async def drop_request(self, connection_id: str, source: str, account: str) -> None:
        await self._write(queries.drop_request, connection_id, source, account)

    async def finished(self, connection_id: str, since: datetime) -> Mapping[tuple[str, str], tuple[TimeWindow, ...]]:
        return await self._read(queries.finished, connection_id, since)

    async def end_round(self, connection_id: str) -> None:
        await self._write(queries.end_round, connection_id)

    async def bookmark(self, connection_id: str, source: str, account: str) -> str | None:
        return await self._read(queries.bookmark, connection_id, source, account)

    async def commit_page(self, page: PageCommit, rules: PageRules) -> PageOutcome:
        return await self._write(commit_page, page, rules)

    async def trades(
        self, owner: str, only: TradeFilter, *, after: tuple[str, str] | None = None, limit: int = 500
    ) -> tuple[tuple[BrokerTrade, ...], tuple[str, str] | None]:
        return await self._read(queries.trades, owner, only, after, limit)

    async def changes(self, owner: str, since: int, limit: int = 500) -> tuple[Change, ...]:
        return await self._read(queries.changes, owner, since, limit)

    async def log_sync(
        self, connection_id: str, report: Mapping[str, Any], at: datetime, *, synced: bool = True
    ) -> None:
        text = json.dumps(report, sort_keys=True)
        await self._write(queries.log_sync, connection_id, text, instant_text(at), synced=synced)

    async def last_report(self, connection_id: str) -> Mapping[str, Any] | None:
        return await self._read(queries.last_report, connection_id)

    async def counts(self, owner: str) -> Mapping[AccountKey, Mapping[str, int]]:
        return await self._read(queries.counts, owner)

    async def quarantined(self, owner: str) -> tuple[Mapping[str, Any], ...]:
        return await self._read(quarantined, owner)

    async def cache_get(self, provider: str, environment: str, keys: Sequence[str]) -> dict[str, Any]:
        return await self._read(queries.cache_get, provider, environment, keys)

    async def cache_put(self, provider: str, environment: str, values: Mapping[str, Any]) -> None:
        await self._write(queries.cache_put, provider, environment, values)


def _writer() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="brokersync-store")
