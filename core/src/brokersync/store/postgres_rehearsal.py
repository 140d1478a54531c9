"""A view on a store in Postgres whose commits vanish."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from brokersync.store.accounts import own_accounts
from brokersync.store.postgres_errors import explaining
from brokersync.store.postgres_run import ScriptThread, calls
from brokersync.store.sql import NewPositions, Script, Statement
from brokersync.store.sql_store import SqlStore

R = TypeVar("R")

_FAR: Final = 2**62


class Rehearsal(SqlStore):
    """Everything on one connection, in one transaction that is never committed.

    It takes no positions of the feed, for which all other writers of the database would wait until its end: what it
    would publish stands far behind whatever the feed may come to.
    """

    def __init__(self, db: Any, where: str, thread: ScriptThread) -> None:
        self._db, self._where, self._thread = db, where, thread
        self._turn = asyncio.Lock()
        # drawn, since two that rehearse would wait for each other at the same position
        self._position = _FAR + secrets.randbelow(_FAR // 2)

    async def hold_accounts(self, owner: str) -> None:
        """Lock them all at once and in the order of all writers: page after page they would come in any order."""
        await self._write(lambda: own_accounts(owner))

    async def _scrub(self) -> tuple[str, ...]:
        return ()

    async def open(self) -> None:
        """It is open as long as it lasts."""

    async def close(self) -> None:
        """It ends with its context."""

    async def _read(self, script: Callable[[], Script[R]]) -> R:
        return await self._write(script)

    async def _write(self, script: Callable[[], Script[R]]) -> R:
        async with self._turn:
            with explaining(self._where):
                await self._db.execute("SAVEPOINT page")
                try:
                    result = await self._thread.run(self._db, script(), self._words)
                except BaseException:
                    if not self._db.is_closed():
                        await self._db.execute("ROLLBACK TO page")
                    raise
                await self._db.execute("RELEASE page")
                return result

    def _words(self, statement: Statement) -> Sequence[tuple[str, Sequence[Any]]]:
        if not isinstance(statement, NewPositions):
            return calls(statement)
        self._position += statement.amount
        return [("fetch", ("SELECT $1::bigint", self._position))]

    @asynccontextmanager
    async def rehearsal(self, owner: str) -> AsyncIterator[SqlStore]:
        await self._db.execute("SAVEPOINT rehearsal")
        try:
            yield self
        finally:
            await self._db.execute("ROLLBACK TO rehearsal")
