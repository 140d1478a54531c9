"""What is asked of a SQLite store while its thread is busy is written together, and each answer is as if alone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brokersync.errors import StoreError
from brokersync.store import SqliteStore, sqlite_run
from brokersync.store.sql import Script, execute, fetch_one


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "store.db")
    await store.open()
    yield store
    await store.close()


def put(name: str, *, text: str = "1", fails: bool = False) -> Callable[[], Script[int]]:
    """Writes a row and counts the rows; or fails behind it."""

    def script() -> Script[int]:
        yield from execute("INSERT INTO reference_data VALUES ('paper', 'live', ?, ?)", name, text)
        if fails:
            raise LookupError(name)
        row = yield from fetch_one("SELECT count(*) FROM reference_data")
        return int(row[0])

    return script


async def names(store: SqliteStore) -> list[str]:
    return sorted(
        await store._do(lambda db: [row[0] for row in db.execute("SELECT name FROM reference_data").fetchall()])
    )


async def gathered(store: SqliteStore, *asked: Awaitable[object]) -> list[object]:
    """Ask for all of it while the thread is busy; what each gave, or raised."""
    goes_on = threading.Event()
    busy = asyncio.create_task(store._do(lambda db: goes_on.wait(10)))
    await asyncio.sleep(0)
    answers = [asyncio.ensure_future(one) for one in asked]
    await asyncio.sleep(0)
    goes_on.set()
    assert await busy
    return await asyncio.gather(*answers, return_exceptions=True)


async def test_what_is_written_together_reaches_the_disk_once(store: SqliteStore) -> None:
    commits: list[str] = []
    await store._do(lambda db: db.set_trace_callback(commits.append))
    answers = await gathered(store, *(store._write(put(f"{n}")) for n in range(50)))
    assert answers == list(range(1, 51))
    assert commits.count("COMMIT") == 1
    assert len(await names(store)) == 50


async def test_who_reads_meanwhile_sees_nothing_that_is_not_kept_yet(store: SqliteStore) -> None:
    first, seen, second = await gathered(store, store._write(put("a")), names(store), store._write(put("b")))
    assert (first, second) == (1, 2)
    assert seen in ([], ["a", "b"])


async def test_what_fails_undoes_itself_and_none_of_the_others(store: SqliteStore) -> None:
    answers = await gathered(store, store._write(put("a")), store._write(put("b", fails=True)), store._write(put("c")))
    assert [str(answer) for answer in answers] == ["1", "b", "2"]
    assert await names(store) == ["a", "c"]


async def test_of_a_disk_that_is_full_each_is_told_for_itself(store: SqliteStore) -> None:
    await store._write(put("there"))
    await store._do(lambda db: db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())
    (pages,) = await store._do(lambda db: db.execute("PRAGMA page_count").fetchone())
    await store._do(lambda db: db.execute(f"PRAGMA max_page_count = {pages}").fetchone())
    small, large, other = await gathered(
        store,
        store._write(put("small")),
        store._write(put("large", text="x" * 100_000)),
        store._write(put("other")),
    )
    assert (small, other) == (2, 3)
    assert isinstance(large, StoreError)
    assert await names(store) == ["other", "small", "there"]


async def test_where_the_transaction_is_lost_nothing_is_written_twice(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ends_it() -> Script[int]:
        yield from execute("ROLLBACK")  # as SQLite does by itself where it can not go on
        return 0

    answers = await gathered(store, store._write(put("a")), store._write(ends_it), store._write(put("b")))
    assert answers[0] == 1
    assert isinstance(answers[1], StoreError)
    assert answers[2] == 2
    assert await names(store) == ["a", "b"]


async def test_a_store_that_is_busy_keeps_all_waiting_once(store: SqliteStore, tmp_path: Path, impatient: None) -> None:
    other = SqliteStore(tmp_path / "store.db")
    await other.open()
    await other._do(lambda db: db.execute("BEGIN IMMEDIATE"))
    answers = await gathered(store, *(store._write(put(f"{n}")) for n in range(3)))
    assert [isinstance(answer, StoreError) for answer in answers] == [True] * 3
    await other._do(lambda db: db.execute("ROLLBACK"))
    await other.close()
    assert await names(store) == []


async def test_what_waits_when_the_store_is_closed_is_done_before(tmp_path: Path) -> None:
    store, goes_on = SqliteStore(tmp_path / "store.db"), threading.Event()
    await store.open()
    busy = asyncio.create_task(store._do(lambda db: goes_on.wait(10)))
    await asyncio.sleep(0)
    waits = asyncio.create_task(store._write(put("a")))
    await asyncio.sleep(0)
    end = asyncio.create_task(store.close())
    await asyncio.sleep(0)
    goes_on.set()
    assert (await busy, await waits) == (True, 1)
    await end


async def test_whoever_gives_up_while_it_waits_has_nothing_written_however_many_wait(store: SqliteStore) -> None:
    async def gives_up(name: str) -> None:
        asking = asyncio.ensure_future(store._write(put(name)))
        await asyncio.sleep(0)
        asking.cancel()
        await asking

    await gathered(store, store._write(put("a")), *(gives_up(f"{n:03}") for n in range(200)))
    assert await names(store) == ["a"]


async def test_others_get_at_the_file_between_what_takes_long(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_run, "_HAS_THE_FILE_FOR", 0.0)
    commits: list[str] = []
    await store._do(lambda db: db.set_trace_callback(commits.append))
    assert await gathered(store, *(store._write(put(f"{n}")) for n in range(9))) == list(range(1, 10))
    assert commits.count("COMMIT") == 9


async def test_a_store_that_is_opened_again_while_it_closes_answers_all(tmp_path: Path) -> None:
    store, goes_on = SqliteStore(tmp_path / "store.db"), threading.Event()
    await store.open()
    busy = asyncio.create_task(store._do(lambda db: goes_on.wait(10)))
    await asyncio.sleep(0)
    before = asyncio.create_task(store._write(put("before")))
    await asyncio.sleep(0)
    end = asyncio.create_task(store.close())
    await asyncio.sleep(0)
    again = asyncio.create_task(store.open())
    goes_on.set()
    await again
    after = asyncio.create_task(store._write(put("after")))
    assert await asyncio.wait_for(asyncio.gather(busy, before, end, after), 30) == [True, 1, None, 2]
    await store.close()


async def test_what_waits_for_a_thread_that_is_gone_is_told_so(tmp_path: Path) -> None:
    thread, goes_on = ThreadPoolExecutor(1), threading.Event()
    store = SqliteStore(tmp_path / "store.db", thread)
    await store.open()
    busy = asyncio.create_task(store._do(lambda db: goes_on.wait(10)))
    await asyncio.sleep(0)
    waits = asyncio.create_task(store._write(put("a")))
    await asyncio.sleep(0)
    thread.shutdown(wait=False)
    goes_on.set()
    assert await busy
    with pytest.raises(RuntimeError, match="shutdown"):
        await asyncio.wait_for(waits, 30)


def test_loops_in_several_threads_may_use_one_store(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db")
    asyncio.run(store.open())

    def write(first: str) -> int:
        async def all_of_them() -> int:
            return len(await asyncio.gather(*(store._write(put(f"{first}{n}")) for n in range(50))))

        return asyncio.run(all_of_them())

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(write, "abcd", timeout=60)) == [50] * 4

    async def end() -> int:
        found = len(await names(store))
        await store.close()
        return found

    assert asyncio.run(end()) == 200


def test_a_store_goes_on_in_a_new_loop_though_the_last_one_left_work_behind(tmp_path: Path) -> None:
    store, goes_on = SqliteStore(tmp_path / "store.db"), threading.Event()
    left: list[asyncio.Future[object]] = []

    async def leave() -> None:
        await store.open()
        asked = (store._do(lambda db: goes_on.wait(10)), store._write(put("never")))
        left.extend(map(asyncio.ensure_future, asked))
        await asyncio.sleep(0)

    async def go_on() -> list[str]:
        await store._write(put("a"))
        found = await names(store)
        await store.close()
        return found

    asyncio.run(leave())
    goes_on.set()
    assert asyncio.run(go_on()) == ["a"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["writes", "fails", "reads", "is cancelled"]), max_size=90))
async def test_who_was_told_that_it_is_kept_finds_it_and_nobody_else(store: SqliteStore, fates: list[str]) -> None:
    await store._do(lambda db: db.execute("DELETE FROM reference_data"))

    async def one(number: int, fate: str) -> object:
        if fate == "reads":
            return len(await names(store))
        asking = asyncio.ensure_future(store._write(put(f"{number:02}", fails=fate == "fails")))
        if fate == "is cancelled":
            await asyncio.sleep(0)
            asking.cancel()
        return await asking

    answers = await gathered(store, *(one(number, fate) for number, fate in enumerate(fates)))
    kept = {
        f"{number:02}" for number, answer in enumerate(answers) if isinstance(answer, int) and fates[number] == "writes"
    }
    assert len(kept) == fates.count("writes")
    assert set(await names(store)) == kept
