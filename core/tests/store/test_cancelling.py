"""A store in a file whose callers are cancelled: whatever ran or waited, its connections and threads end."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from brokersync.errors import StoreError
from brokersync.store import SqliteStore

from .pages import RULES, ids, page, trade

NAME = "brokersync-store"


class Held(ThreadPoolExecutor):
    """One thread that stands still at a job, which waits for its turn or has `begun`, until `goes_on`."""

    def __init__(self) -> None:
        super().__init__(1, thread_name_prefix=NAME)
        self.reached, self.goes_on = threading.Event(), threading.Event()
        self._left, self._begun = 0, False

    def hold_at(self, number: int, *, begun: bool) -> None:
        self._left, self._begun = number, begun

    def submit(self, work: Callable[..., Any], /, *args: Any, **named: Any) -> Future[Any]:
        self._left -= 1
        if self._left == 0 and self._begun:
            return super().submit(lambda: self._hold() and work(*args, **named))
        if self._left == 0:
            super().submit(self._hold)
        return super().submit(work, *args, **named)

    def _hold(self) -> bool:
        self.reached.set()
        return self.goes_on.wait(10)


class Connections(list[sqlite3.Connection]):
    """All that were made; what is kept here is not closed by being forgotten."""

    @property
    def open(self) -> int:
        return sum(map(is_open, self))


def is_open(db: sqlite3.Connection) -> bool:
    try:
        db.execute("SELECT 1")
    except sqlite3.ProgrammingError:
        return False
    return True


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> Iterator[Connections]:
    made, connect = Connections(), sqlite3.connect

    def noted(*args: Any, **named: Any) -> sqlite3.Connection:
        made.append(connect(*args, **named))
        return made[-1]

    monkeypatch.setattr("brokersync.store.sqlite.sqlite3.connect", noted)
    yield made
    for db in made:
        db.close()


async def cancelled(task: asyncio.Task[Any], times: int, goes_on: threading.Event) -> None:
    for _ in range(times):
        task.cancel()
        for _ in range(5):
            await asyncio.sleep(0)
    goes_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task


async def ended(threads: set[threading.Thread]) -> bool:
    await asyncio.gather(*(asyncio.to_thread(one.join, 10) for one in threads))
    return not any(one.is_alive() for one in threads)


def threads() -> set[threading.Thread]:
    return {one for one in threading.enumerate() if one.name.startswith(NAME)}


async def rehearse(store: SqliteStore) -> None:
    async with store.rehearsal("o") as rehearsal:
        await rehearsal.commit_page(page(trade("a")), RULES)


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("begun", [False, True], ids=["waiting", "begun"])
@pytest.mark.parametrize("job", [1, 2, 3, 4], ids=["open", "begin", "page", "end"])
async def test_a_rehearsal_that_is_cancelled_anywhere_keeps_nobody_from_writing(
    tmp_path: Path, connections: Connections, job: int, begun: bool, times: int
) -> None:
    thread = Held()
    store = SqliteStore(tmp_path / "store.db", thread)
    await store.open()
    thread.hold_at(job, begun=begun)
    task = asyncio.create_task(rehearse(store))
    assert await asyncio.to_thread(thread.reached.wait, 10)
    await cancelled(task, times, thread.goes_on)
    await asyncio.to_thread(thread.shutdown)
    assert connections.open == 1, "the store's own"
    with closing(sqlite3.connect(store.path, isolation_level=None, timeout=0)) as other:
        other.execute("BEGIN IMMEDIATE")


async def test_the_thread_of_a_cancelled_rehearsal_ends(tmp_path: Path, connections: Connections) -> None:
    store = SqliteStore(tmp_path / "store.db")
    await store.open()
    before = threads()
    entered = asyncio.Event()

    async def rehearse_for_long() -> None:
        async with store.rehearsal("o"):
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(rehearse_for_long())
    await entered.wait()
    of_the_rehearsal = threads() - before
    assert len(of_the_rehearsal) == 1
    await cancelled(task, 2, threading.Event())
    assert await ended(of_the_rehearsal)
    assert connections.open == 1
    await store.commit_page(page(trade("a")), RULES)
    await store.close()
    assert connections.open == 0


@pytest.mark.parametrize("times", [1, 2])
async def test_a_close_that_is_cancelled_closes_all_the_same(
    tmp_path: Path, connections: Connections, times: int
) -> None:
    store, goes_on, before = SqliteStore(tmp_path / "store.db"), threading.Event(), threads()
    await store.open()
    reading, end = asyncio.create_task(store._do(lambda db: goes_on.wait(10))), asyncio.create_task(store.close())
    await asyncio.sleep(0)
    await cancelled(end, times, goes_on)
    assert await reading
    assert await ended(threads() - before)
    assert connections.open == 0
    with pytest.raises(StoreError, match="not open"):
        await store.connections()
    await store.open()
    assert await ids(store) == []
    await store.close()
    assert threads() == before


async def test_a_store_whose_opening_is_cancelled_leaves_no_connection_and_no_thread(
    tmp_path: Path, connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, before = SqliteStore(tmp_path / "store.db"), threads()
    reached, goes_on, connect = threading.Event(), threading.Event(), store._connect

    def slowly() -> sqlite3.Connection:
        reached.set()
        assert goes_on.wait(10)
        return connect()

    monkeypatch.setattr(store, "_connect", slowly)
    task = asyncio.create_task(store.open())
    assert await asyncio.to_thread(reached.wait, 10)
    await cancelled(task, 2, goes_on)
    assert await ended(threads() - before)
    assert (len(connections), connections.open) == (1, 0)
    await store.open()
    assert await ids(store) == []
    await store.close()


async def test_a_store_that_can_not_be_opened_leaves_no_thread(tmp_path: Path) -> None:
    before = threads()
    store = SqliteStore(tmp_path)
    with pytest.raises(StoreError):
        await store.open()
    assert await ended(threads() - before)


def test_a_loop_that_ends_before_a_cancelled_close_is_not_called_any_more(
    tmp_path: Path, connections: Connections, caplog: pytest.LogCaptureFixture
) -> None:
    store, goes_on, before = SqliteStore(tmp_path / "store.db"), threading.Event(), threads()

    async def leave() -> None:
        await store.open()
        reading, end = asyncio.create_task(store._do(lambda db: goes_on.wait(10))), asyncio.create_task(store.close())
        await asyncio.sleep(0)
        for task in (reading, end):
            task.cancel()
        await asyncio.gather(reading, end, return_exceptions=True)

    asyncio.run(leave())
    of_the_store = threads() - before
    goes_on.set()
    for thread in of_the_store:
        thread.join(10)
    assert connections.open == 0
    assert caplog.text == ""
