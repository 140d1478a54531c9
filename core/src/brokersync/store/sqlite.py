"""The default store: one SQLite file, one writer thread."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from brokersync.errors import StoreError
from brokersync.store.sql import Script
from brokersync.store.sql_store import SqlStore, no_store
from brokersync.store.sqlite_batches import Batches, Work, Write
from brokersync.store.sqlite_run import in_savepoint, run_script, work_off
from brokersync.store.sqlite_schema import is_made, prepare

R = TypeVar("R")

_IN_MEMORY = ":memory:"


class SqliteStore(SqlStore):
    """A `Store` in the file at `path`. Any number of processes may use one file; writers take turns.

    The work is done on a thread of the store's own, or by `executor`. A file that is missing is made, or without
    `make` an error. Raises `StoreError` when the file can not be used.
    """

    def __init__(self, path: Path, executor: Executor | None = None, *, make: bool = True) -> None:
        self.path, self._make = path, make
        self._given, self._executor = executor, executor or _writer()
        self._db: sqlite3.Connection | None = None
        self._rehearsing = False
        self._batches = Batches(work_off)

    async def open(self) -> None:
        if self._db is not None:
            return
        try:
            if self._make:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            elif not self.path.is_file():
                raise no_store(f"at {self.path}")
            self._db = await self._connected()
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from None

    async def close(self) -> None:
        db, self._db, executor = self._db, None, self._executor
        if db is None:
            return
        self._batches.send_all()
        # who is cancelled here does not wait any more, and takes nothing back
        await asyncio.shield(asyncio.wrap_future(self._end(db.close)))
        if self._given is None:
            executor.shutdown()  # its thread has nothing left to do

    async def _connected(self) -> sqlite3.Connection:
        connecting = self._executor.submit(self._connect)
        try:
            return await asyncio.wrap_future(connecting)
        except BaseException:
            # of a cancelled caller the work may run on, and nobody would hold what it makes
            self._end(lambda: _close_made(connecting))
            raise

    def _end(self, close: Callable[[], None]) -> Future[None]:
        """The last work of a connection, behind all that was asked for; its thread ends with it."""
        end = self._executor.submit(close)
        if self._given is None:
            self._executor.shutdown(wait=False)
            self._executor = _writer()
        return end

    def _connect(self) -> sqlite3.Connection:
        # trades are private: a new file is its owner's alone, and SQLite gives its log the same rights
        if self._make and str(self.path) != _IN_MEMORY and not self.path.exists():
            self.path.touch(mode=0o600)
        db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=30)
        try:
            if not self._make and not is_made(db):
                raise no_store(f"at {self.path}")
            prepare(db, run_script)
        except BaseException:
            db.close()
            raise
        return db

    async def _on_thread(self, work: Work) -> Any:
        # of a cancelled caller, work that waits is taken back and work that runs goes on: right for a transaction,
        # which is whole or was never there, and wrong for what takes something or gives it back
        return await self._batches.do(self._executor, self._opened(), work)

    async def _read(self, script: Callable[[], Script[R]]) -> R:
        return await self._do(lambda db: run_script(db, script()))

    async def _write(self, script: Callable[[], Script[R]]) -> R:
        if self._rehearsing:
            return await self._do(lambda db: in_savepoint(db, script))
        result: R = await self._answer(Write(script))
        return result

    async def _do(self, work: Callable[[sqlite3.Connection], R]) -> R:
        result: R = await self._answer(work)
        return result

    async def _answer(self, work: Work) -> Any:
        try:
            return await self._on_thread(work)
        except sqlite3.Error as error:
            raise self._unusable(error) from None

    async def _scrub(self) -> tuple[str, ...]:
        await self._do(self._rewrite)
        return ("Copies of the store that were made before, backups among them, still hold it.",)

    def _rewrite(self, db: sqlite3.Connection) -> None:
        db.execute("VACUUM")
        (blocked, *_) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if blocked:
            raise StoreError(
                f"What was erased still stands in the log of {self.path}, which another process is reading.",
                remedy="Repeat it when that process is done.",
            )

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
    async def rehearsal(self, owner: str) -> AsyncIterator[SqliteStore]:
        view = SqliteStore(self.path, self._given)
        await view.open()
        try:
            await view._do(view._rehearse)
            yield view
        finally:
            await view.close()  # which undoes what was begun

    def _rehearse(self, db: sqlite3.Connection) -> None:
        db.execute("BEGIN IMMEDIATE")
        self._rehearsing = True


def _close_made(connecting: Future[sqlite3.Connection]) -> None:
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result().close()


def _writer() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="brokersync-store")
