"""Postgres that refuses, ends connections, or goes away: repeated where that is safe, else told with what to do."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from asyncpg import exceptions

from brokersync.errors import Fault, StoreError
from brokersync.store import PostgresStore
from brokersync.store.postgres_errors import explained, explaining, is_answer, is_lost, is_repeated
from brokersync.store.postgres_session import undo
from brokersync.store.sql import Fetch, Script, execute, fetch_one
from brokersync.types import QuarantinedRow

from .pages import ALL, RULES, page, trade

WHERE = "journal on db.example, schema brokersync"
KINDS = sorted(
    {
        kind
        for kind in vars(exceptions).values()
        if inspect.isclass(kind) and issubclass(kind, Exception) and not issubclass(kind, Warning)
    }
    | {ConnectionRefusedError, ConnectionResetError, TimeoutError, BrokenPipeError, OSError},
    key=lambda kind: kind.__name__,
)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_of_asyncpg_says_what_to_do_and_shows_no_secret(kind: type[Exception]) -> None:
    error = kind("refused")
    if isinstance(error, exceptions.PostgresError):
        error.message, error.detail, error.hint = "refused", "Key (owner)=(hidden)", "hidden"
    with pytest.raises(StoreError) as caught, explaining(WHERE):
        raise error
    assert caught.value.fault is Fault.OPERATOR
    assert WHERE in caught.value.message
    assert caught.value.remedy
    assert "hidden" not in str(caught.value.describe())
    assert caught.value.__suppress_context__, "a traceback would show it"


def test_what_is_no_error_of_the_database_is_not_taken_for_one() -> None:
    with pytest.raises(KeyError), explaining(WHERE):
        raise KeyError("a bug")


def test_what_may_succeed_again_and_what_not() -> None:
    again = {kind.__name__ for kind in KINDS if is_repeated(kind("x"))}
    assert again >= {
        "SerializationError", "DeadlockDetectedError", "AdminShutdownError", "CrashShutdownError",
        "CannotConnectNowError", "ConnectionDoesNotExistError", "InvalidCachedStatementError",
        "IdleInTransactionSessionTimeoutError", "ConnectionResetError", "InternalClientError",
    }  # fmt: skip
    assert not again & {
        "UniqueViolationError", "DiskFullError", "InsufficientPrivilegeError", "UndefinedTableError",
        "LockNotAvailableError", "QueryCanceledError", "DataError", "ReadOnlySQLTransactionError", "TimeoutError",
    }  # fmt: skip
    assert not is_lost(exceptions.DeadlockDetectedError("x"))
    assert is_answer(exceptions.DeadlockDetectedError("x"))
    assert not is_answer(exceptions.AdminShutdownError("x"))
    assert not is_answer(TimeoutError())


@pytest.fixture
async def pool(postgres_url: str) -> AsyncIterator[Any]:
    async with asyncpg.create_pool(postgres_url, min_size=1, max_size=5) as made:
        yield made
        await made.execute("DROP SCHEMA IF EXISTS test_failing CASCADE")


@pytest.fixture
async def store(pool: Any) -> PostgresStore:
    made = PostgresStore(pool=Failing(pool), schema="test_failing")
    await made.open()
    return made


class Failing:
    """A pool whose connections end at the next statement that begins with `at`, before or after it was carried out."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self.at: str | None = None
        self.after = False
        self.ended = 0

    def end(self, db: Any) -> None:
        """The connection ends as it does when the server dies."""
        db.terminate()

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Any]:
        async with self._pool.acquire() as db:
            yield _Connection(self, db)


class _Connection:
    def __init__(self, pool: Failing, db: Any) -> None:
        self._pool, self._db = pool, db

    def __getattr__(self, name: str) -> Any:
        work = getattr(self._db, name)
        return self._watched(work) if name in ("execute", "fetch", "fetchval", "executemany") else work

    def _watched(self, work: Callable[..., Any]) -> Callable[..., Any]:
        async def watched(sql: str, *values: Any) -> Any:
            if self._pool.at is None or not sql.startswith(self._pool.at):
                return await work(sql, *values)
            self._pool.at = None
            self._pool.ended += 1
            if self._pool.after:
                await work(sql, *values)
            self._pool.end(self._db)
            # nobody hears what became of the statement
            await asyncio.sleep(0)
            raise exceptions.ConnectionDoesNotExistError("connection was closed in the middle of operation")

        return watched


async def whole(store: PostgresStore, *names: str) -> None:
    assert [one.trade_id for one in (await store.trades("o", ALL))[0]] == list(names)
    changes = await store.changes("o", 0)
    assert [change.trade_id for change in changes] == list(names)
    assert [change.position for change in changes] == list(range(1, len(names) + 1))


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", ["BEGIN", "SELECT", "INSERT INTO trades", "UPDATE feed_head", "COMMIT"])
async def test_a_page_whose_connection_ends_anywhere_is_kept_once(store: PostgresStore, at: str, after: bool) -> None:
    await store.commit_page(page(trade("a")), RULES)
    store._given.at, store._given.after = at, after
    outcome = await store.commit_page(page(trade("a"), trade("b")), RULES)
    assert store._given.ended == 1
    # also where it was kept already: the answer is that of the transaction, not of a repetition
    assert (outcome.added, outcome.unchanged) == (1, 1)
    await whole(store, "a", "b")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_compare_and_swap_whose_commit_was_lost_answers_truly(store: PostgresStore, after: bool) -> None:
    def first() -> Script[bool]:
        row = yield from fetch_one("UPDATE feed_head SET position = 1 WHERE position = 0 RETURNING position")
        return row is not None

    store._given.at, store._given.after = "COMMIT", after
    assert await store._write(first) is True
    assert await store._write(first) is False


async def test_a_reading_whose_connection_ends_is_read_again(store: PostgresStore) -> None:
    await store.commit_page(page(trade("a")), RULES)
    store._given.at = "SELECT"
    await whole(store, "a")
    assert store._given.ended == 1


@pytest.mark.parametrize("state", ["40001", "40P01"])
async def test_a_transaction_that_met_another_is_run_again_from_its_start(store: PostgresStore, state: str) -> None:
    runs: list[int] = []

    def script() -> Script[str]:
        runs.append(1)
        row = yield from fetch_one("UPDATE feed_head SET position = position + 1 RETURNING position")
        if len(runs) < 3:
            yield Fetch(f"DO $$ BEGIN RAISE EXCEPTION 'met another' USING ERRCODE = '{state}'; END $$")
        return str(row[0])

    assert await store._write(script) == "1"
    assert len(runs) == 3


async def test_two_that_wait_for_each_other_both_end(store: PostgresStore) -> None:
    await store._write(lambda: execute("INSERT INTO owner_keys VALUES ('a', ''), ('b', '')"))
    met = asyncio.Barrier(2)
    tries: list[str] = []

    async def change(first: str, second: str) -> None:
        def script() -> Script[None]:
            tries.append(first)
            yield from execute("UPDATE owner_keys SET wrapped = 'x' WHERE owner = ?", first)
            yield from execute("SELECT pg_sleep(0.3)")  # real time: both hold one lock before they want the other
            yield from execute("UPDATE owner_keys SET wrapped = 'x' WHERE owner = ?", second)

        await met.wait()
        await store._write(script)

    await asyncio.gather(change("a", "b"), change("b", "a"))
    assert len(tries) == 3, "the server ended one of them, which then came again"


async def test_what_can_not_be_run_again_says_that_others_were_at_work(store: PostgresStore) -> None:
    def script() -> Script[None]:
        yield Fetch("DO $$ BEGIN RAISE EXCEPTION 'met another' USING ERRCODE = '40P01'; END $$")

    async with store.rehearsal("o") as rehearsal:
        with pytest.raises(StoreError, match="40P01") as caught:
            await rehearsal._write(script)
    assert caught.value.remedy == "Others worked on the same rows at the same time; nothing is lost, run it again."


async def test_a_write_that_is_refused_is_told_and_leaves_nothing(store: PostgresStore) -> None:
    def script() -> Script[None]:
        yield from execute("UPDATE feed_head SET position = 7")
        yield from execute("INSERT INTO feed_head VALUES (1, 1)")

    with pytest.raises(StoreError, match="UniqueViolation") as caught:
        await store._write(script)
    assert caught.value.code == "23505"
    assert await store.feed_position() == 0


async def test_a_cancelled_write_leaves_nothing_and_the_store_goes_on(store: PostgresStore) -> None:
    begun = asyncio.Event()

    def script() -> Script[None]:
        yield from execute("UPDATE feed_head SET position = 7")
        begun.set()
        yield from execute("SELECT pg_sleep(60)")

    task = asyncio.create_task(store._write(script))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await store.feed_position() == 0
    await store.commit_page(page(trade("a")), RULES)
    await whole(store, "a")


@pytest.mark.parametrize("steps", range(4))
@pytest.mark.parametrize("rehearsed", [False, True], ids=["write", "rehearsal"])
async def test_a_write_that_is_cancelled_again_is_undone_without_a_complaint(
    store: PostgresStore, pool: Any, rehearsed: bool, steps: int
) -> None:
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, said: complaints.append(said["message"]))

    def script() -> Script[None]:
        yield from execute("UPDATE feed_head SET position = 7")
        yield from execute("SELECT pg_sleep(60)")

    async def rehearse() -> None:
        async with store.rehearsal("o") as rehearsal:
            await rehearsal._write(script)

    task = asyncio.create_task(rehearse() if rehearsed else store._write(script))
    while not await pool.fetchval("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"):  # noqa: ASYNC110  the server tells nobody
        await asyncio.sleep(0.01)
    for _ in range(3):
        task.cancel()
        for _ in range(steps):
            await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await store.feed_position() == 0
    await store.commit_page(page(trade("a")), RULES)
    await whole(store, "a")
    assert complaints == []


@pytest.mark.parametrize("rehearsed", [False, True], ids=["write", "rehearsal"])
async def test_what_is_cancelled_as_it_begins_is_undone_without_a_complaint(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch, rehearsed: bool
) -> None:
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, said: complaints.append(said["message"]))

    async def rehearse() -> None:
        async with store.rehearsal("o"):
            pass

    task = asyncio.create_task(rehearse() if rehearsed else store._write(lambda: execute("SELECT 1")))
    store._given.at, store._given.after = "BEGIN", True
    # it is cancelled when the transaction has begun and nobody heard of it
    monkeypatch.setattr(store._given, "end", lambda _: task.cancel())
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await store.feed_position() == 0
    assert complaints == []


class Hanging:
    """A connection whose server answers nothing any more."""

    def __init__(self) -> None:
        self.terminated = False

    def is_closed(self) -> bool:
        return self.terminated

    async def execute(self, _: str) -> None:
        await asyncio.Event().wait()

    def terminate(self) -> None:
        self.terminated = True


async def test_a_server_that_does_not_undo_in_time_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("brokersync.store.postgres_session._UNDONE_WITHIN", 0.01)
    await undo(db := Hanging())
    assert db.terminated
    await undo(db)


async def test_a_server_that_is_not_there_is_told_with_what_to_do(tmp_path: Any) -> None:
    store = PostgresStore(f"postgresql://me:hidden@/journal?host={tmp_path}")
    with pytest.raises(StoreError, match="can not be reached") as caught:
        await store.open()
    assert "hidden" not in str(caught.value)
    assert "server" in caught.value.remedy


def test_a_refusal_of_the_password_shows_none() -> None:
    error = exceptions.InvalidPasswordError("refused")
    error.message = 'password authentication failed for user "me"'
    assert re.search(r"password", explained(error, WHERE).remedy)


async def test_characters_that_postgres_does_not_keep_are_replaced(store: PostgresStore) -> None:
    odd = QuarantinedRow(reason="a\0b", raw={"x": "\0"})
    for _ in range(2):
        await store.commit_page(page(quarantined=(odd,)), RULES)
    (kept,) = await store.quarantined("o")
    assert (kept["reason"], kept["raw"]) == ("a\ufffdb", {"x": "\0"})


def test_these_are_all_kinds_there_are() -> None:
    assert len(KINDS) > 200
