"""Transactions on Postgres that stand still at a statement, and what the server holds up meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any


class Pausing:
    """A pool whose connections wait before a statement that begins with `at`, until they may go on."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self.at: str | None = None
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Any]:
        async with self._pool.acquire() as db:
            yield _Connection(self, db)

    def then(self, at: str) -> None:
        """Let go on who waits, up to the next statement that begins so."""
        go_on = self.go_on
        self.at, self.reached, self.go_on = at, asyncio.Event(), asyncio.Event()
        go_on.set()


class _Connection:
    def __init__(self, pool: Pausing, db: Any) -> None:
        self._pool, self._db = pool, db

    def __getattr__(self, name: str) -> Any:
        work = getattr(self._db, name)
        return self._watched(work) if name in ("execute", "fetch") else work

    def _watched(self, work: Callable[..., Any]) -> Callable[..., Any]:
        async def watched(sql: str, *values: Any) -> Any:
            if self._pool.at is not None and sql.startswith(self._pool.at):
                self._pool.reached.set()
                await self._pool.go_on.wait()
            return await work(sql, *values)

        return watched


async def somebody_waits(store: Any, begins: str) -> None:
    """Returns when the server holds up a statement that begins so."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND starts_with(query, $1)"
    async with asyncio.timeout(60):
        for _ in range(10_000):
            if await store._given.fetchval(waiting, begins):
                return
            await asyncio.sleep(0.01)  # real time: the server alone knows
    raise AssertionError("nobody waits")


async def ends_or_waits(task: asyncio.Task[Any], store: Any, begins: str) -> None:
    """Returns when the task is done, or the server holds up a statement that begins so."""
    waiting = asyncio.create_task(somebody_waits(store, begins))
    await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
