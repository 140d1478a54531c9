"""A store in Postgres: the same scripts as in SQLite, over asyncpg."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final, TypeVar

from brokersync.errors import BrokerConfigError, StoreError
from brokersync.secret import Secret
from brokersync.store.postgres_errors import explaining, is_refused, is_repeated, unknown_outcome
from brokersync.store.postgres_rehearsal import Rehearsal
from brokersync.store.postgres_run import ScriptThread
from brokersync.store.postgres_schema import checked_schema, is_made, is_ready, prepare, rights
from brokersync.store.postgres_session import (
    CommitLostError,
    begin_reading,
    begin_writing,
    transaction,
    undo,
    was_committed,
)
from brokersync.store.postgres_url import PostgresUrl
from brokersync.store.schema import TABLES
from brokersync.store.sql import Script, execute, fetch_one
from brokersync.store.sql_store import SqlStore, no_store

R = TypeVar("R")

# how many seconds to wait before a transaction is run again; a server that restarts needs a few
_WAITS: Final = (0.02, 0.1, 0.5, 1.0, 2.0, 4.0)


class PostgresStore(SqlStore):
    """A `Store` in a schema of a Postgres database, which it has for itself.

    Either `url` says where, or `pool` is one of asyncpg, which is never closed here; it may stand behind a pooler of
    transactions. Tables that are missing are made, or without `make` an error. Needs `brokersync[postgres]`. Raises
    `StoreError` when the database can not be used.
    """

    def __init__(
        self,
        url: str | Secret | None = None,
        *,
        pool: Any = None,
        schema: str | None = None,
        size: int = 10,
        make: bool = True,
    ) -> None:
        if (url is None) is (pool is None):
            raise BrokerConfigError("A store in Postgres needs either a URL or a pool.", remedy="Give one of them.")
        self._url = None if url is None else PostgresUrl.parse(url)
        self.schema = checked_schema(schema or (self._url and self._url.schema) or "brokersync")
        self._given, self._size, self._make = pool, size, make
        self._pool: Any = None
        self._thread = ScriptThread()

    @property
    def where(self) -> str:
        """The place in words, without any secret."""
        return f"{self._url.shown if self._url else 'the given pool'}, schema {self.schema}"

    async def open(self) -> None:
        if self._pool is not None:
            return
        with explaining(self.where):
            pool = self._given if self._url is None else await _make_pool(self._url, self._size)
            try:
                await self._prepare(pool)
            except BaseException:
                if self._given is None:
                    pool.terminate()
                raise
        self._pool = pool

    async def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None and self._given is None:
            await pool.close()
        self._thread.end()

    async def server_time(self) -> datetime:
        """What the server's clock says."""
        with explaining(self.where):
            async with self._pool.acquire() as db:
                now: datetime = await db.fetchval("SELECT clock_timestamp()")
        return now

    async def grant_rights(self, role: str) -> None:
        """Give a role what it needs to use this store; this one must own it."""

        def script() -> Script[None]:
            if (yield from fetch_one("SELECT 1 FROM pg_roles WHERE rolname = ?", role)) is None:
                raise StoreError(f"The server has no role {role!r}.", remedy="Make it with CREATE ROLE before.")
            for text in rights(self.schema, role):
                yield from execute(text)
            # to who may not give them, Postgres says so in a warning only
            given = yield from fetch_one(
                "SELECT has_schema_privilege(r.oid, n.oid, 'USAGE') FROM pg_roles r, pg_namespace n"
                " WHERE r.rolname = ? AND n.nspname = ?",
                *(role, self.schema),
            )
            if not given[0]:
                raise StoreError(
                    f"The rights on the store in {self.where} could not be given to {role}.",
                    remedy="Run it as the role that owns the schema.",
                )

        await self._write(script)

    async def _prepare(self, pool: Any) -> None:
        async with pool.acquire() as db, transaction(db, begin_reading(self.schema)):
            if await is_ready(db, self.schema):
                return
            if not self._make and not await is_made(db, self.schema):
                raise no_store(f"in {self.where}")
        try:
            async with pool.acquire() as db, transaction(db, begin_writing(self.schema)):
                await prepare(db, self.schema, self._thread.run)
        except Exception as error:
            if not is_refused(error):
                raise
            raise StoreError(
                f"The tables of the store in {self.where} are missing or old, and this role may not make them.",
                remedy="Run `brokersync migrate` as a role that may, or apply what `brokersync migrate --sql` prints.",
            ) from None

    async def _read(self, script: Callable[[], Script[R]]) -> R:
        async def attempt() -> R:
            async with self._opened().acquire() as db, transaction(db, begin_reading(self.schema)):
                return await self._thread.run(db, script())

        return await self._until_done(attempt)

    async def _write(self, script: Callable[[], Script[R]]) -> R:
        async def attempt() -> R:
            async with self._opened().acquire() as db, transaction(db, begin_writing(self.schema)) as held:
                held.result = await self._thread.run(db, script())
            result: R = held.result
            return result

        return await self._until_done(attempt)

    async def _until_done(self, attempt: Callable[[], Awaitable[R]]) -> R:
        with explaining(self.where):
            for wait in _WAITS:
                try:
                    return await attempt()
                except CommitLostError as lost:
                    if await self._was_committed(lost.number):
                        result: R = lost.result
                        return result
                except Exception as error:
                    if not is_repeated(error):
                        raise
                # not all that met at once come back at once
                await asyncio.sleep(wait * random.uniform(0.5, 1))  # noqa: S311  it keeps nothing secret
            try:
                return await attempt()
            except CommitLostError:
                raise unknown_outcome(self.where) from None

    async def _was_committed(self, number: str) -> bool:
        for wait in _WAITS:
            try:
                async with self._opened().acquire() as db:
                    known = await was_committed(db, number)
            except Exception as error:
                if not is_repeated(error):
                    raise
                known = None
            if known is not None:
                return known
            await asyncio.sleep(wait)
        raise unknown_outcome(self.where)

    async def _scrub(self) -> tuple[str, ...]:
        """A role that owns the tables may have their space cleared, which keeps nobody from working."""
        with explaining(self.where):
            async with self._opened().acquire() as db:
                for table in TABLES:
                    await db.execute(f"VACUUM {self.schema}.{table.name}")
        freed = (
            "The server overwrites the freed space of the tables as it is used again. VACUUM FULL, run by the owner of"
            f" the schema {self.schema}, has it gone at once and locks each table meanwhile."
        )
        return freed, "The server's write-ahead log, its replicas and its backups hold what was erased until they end."

    def _opened(self) -> Any:
        if self._pool is None:
            raise StoreError("The store is not open.", remedy="Use `async with BrokerSync(...)`, or call open() first.")
        return self._pool

    @asynccontextmanager
    async def rehearsal(self, owner: str) -> AsyncIterator[SqlStore]:
        with explaining(self.where):
            async with self._opened().acquire() as db:
                try:
                    await db.execute(begin_writing(self.schema, patient=True))
                    rehearsal = Rehearsal(db, self.where, self._thread)
                    await rehearsal.hold_accounts(owner)
                    yield rehearsal
                finally:
                    await undo(db)


async def _make_pool(url: PostgresUrl, size: int) -> Any:
    try:
        import asyncpg  # type: ignore[import-untyped]  # it has no types of its own
    except ImportError:
        raise BrokerConfigError(
            "A store in Postgres needs the package asyncpg.",
            remedy="Install it with: pip install 'brokersync[postgres]'",
        ) from None
    return await asyncpg.create_pool(
        url.dsn.reveal(),
        min_size=0,
        max_size=size,
        timeout=10,
        # nothing outlives a transaction here, so there is nothing to reset and no round trip to spend on it
        reset=_nothing,
        server_settings={"application_name": "brokersync"},
    )


async def _nothing(_: Any) -> None:
    """The reset of a connection that has nothing to reset."""
