"""One transaction on a connection of asyncpg: begun in one message, ended, and asked after when its end was lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import attrs

from brokersync.errors import StoreError
from brokersync.store.postgres_errors import is_answer

# A process that was stopped within a transaction must not hold the others up for ever.
_BOUNDED: Final = "SET LOCAL lock_timeout = '30s'; SET LOCAL idle_in_transaction_session_timeout = '30s'; "
# A rotated refresh token must survive a power cut, whatever the server's default is.
_DURABLE: Final = (
    "SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'"
)
# seconds: a server that runs takes milliseconds, and nobody is to wait for one that is gone
_UNDONE_WITHIN: Final = 10


class CommitLostError(Exception):
    """The connection ended while transaction `number` was committed; `result` is what it would have given."""

    def __init__(self, number: str, result: Any) -> None:
        super().__init__(number)
        self.number, self.result = number, result


@attrs.define
class Held:
    """What a transaction gives when it is committed."""

    result: Any = None


def begin_reading(schema: str) -> str:
    """One view of everything, however many statements a script reads with."""
    return _begin("REPEATABLE READ READ ONLY", schema)


def begin_writing(schema: str, *, patient: bool = False) -> str:
    """Each statement sees what was committed before it, once its locks are held; `patient` waits without bounds."""
    return _begin("READ COMMITTED READ WRITE", schema) + ("" if patient else _BOUNDED) + _DURABLE


def _begin(mode: str, schema: str) -> str:
    # one message, within the transaction: a given pool and a pooler keep nothing that a session was told before
    return f"BEGIN ISOLATION LEVEL {mode}; SET LOCAL search_path = {schema}, pg_temp; "


@asynccontextmanager
async def transaction(db: Any, begin: str) -> AsyncIterator[Held]:
    """Raises `CommitLostError` when the connection ends during the commit of something that was written."""
    held = Held()
    try:
        await db.execute(begin)
        yield held
        number = await db.fetchval("SELECT pg_current_xact_id_if_assigned()::text")
    except BaseException:
        await undo(db)
        raise
    try:
        ended = await db.execute("COMMIT")
    except Exception as error:
        if number is None or is_answer(error):
            raise
        raise CommitLostError(number, held.result) from None
    if ended != "COMMIT":
        raise StoreError("The database has undone a transaction instead of keeping it.", remedy="Run it again.")


async def undo(db: Any) -> None:
    """End what was begun without keeping any of it; who is cancelled meanwhile waits for it all the same."""
    if db.is_closed():
        return
    # It may wait for a statement that is cancelled. To leave it, or to end the connection before, would leave that
    # statement running on the server with its locks, or asyncpg to complain.
    undoing, cancelled = asyncio.ensure_future(_rolled_back(db)), None
    while not undoing.done():
        try:
            await asyncio.shield(undoing)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


async def _rolled_back(db: Any) -> None:
    with suppress(Exception):
        async with asyncio.timeout(_UNDONE_WITHIN):
            await db.execute("ROLLBACK")
        return
    # it can not be told to undo, so it is ended, and the server undoes by itself
    db.terminate()


async def was_committed(db: Any, number: str) -> bool | None:
    """What became of a transaction; `None` while it still runs, or when the server does not know it any more."""
    told = await db.fetchval("SELECT pg_xact_status(($1::text)::xid8)", number)
    return {"committed": True, "aborted": False}.get(told)
