from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from brokersync.errors import Fault, StoreError
from brokersync.store import SqliteStore
from brokersync.store.schema import SCHEMA_VERSION


async def refusal(path: Path) -> StoreError:
    store = SqliteStore(path)
    with pytest.raises(StoreError) as caught:
        await store.open()
    assert caught.value.remedy
    assert caught.value.fault is Fault.OPERATOR
    with pytest.raises(StoreError, match="not open"):
        await store.connections()
    return caught.value


def names(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


async def opened(path: Path) -> SqliteStore:
    store = SqliteStore(path)
    await store.open()
    return store


async def test_a_store_is_made_with_the_folders_it_needs(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "store.db"
    store = await opened(path)
    assert await store.connections() == ()
    await store.close()
    assert path.is_file()


async def test_every_commit_reaches_the_disk_and_readers_do_not_wait(tmp_path: Path) -> None:
    store = await opened(tmp_path / "store.db")
    asked = ("journal_mode", "synchronous", "busy_timeout")
    told = [await store._do(lambda db, name=name: db.execute(f"PRAGMA {name}").fetchone()[0]) for name in asked]
    assert told == ["wal", 2, 30000]
    await store.close()


async def test_a_store_can_be_closed_and_opened_again_and_again(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db")
    for _ in range(2):
        await store.open()
        await store.open()
        assert await store.data_key("o", lambda: b"key") == b"key"
        await store.close()
        await store.close()


async def test_a_layout_of_a_newer_release_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    await (await opened(path)).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
        db.execute("UPDATE store_layout SET compatible_from = ?", (SCHEMA_VERSION + 1,))
        db.commit()
    before = path.read_bytes()
    error = await refusal(path)
    assert f"layout {SCHEMA_VERSION + 1}" in error.message
    assert "Upgrade" in error.remedy
    assert path.read_bytes() == before


@pytest.mark.parametrize("version", [0, SCHEMA_VERSION, 7])
async def test_another_programs_database_is_refused_and_left_as_it_is(tmp_path: Path, version: int) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE songs (name TEXT)")
        db.execute(f"PRAGMA user_version = {version}")
    before = path.read_bytes()
    assert "something else" in (await refusal(path)).message
    assert path.read_bytes() == before
    assert names(tmp_path) == ["other.db"]


async def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but long enough to be taken for one " * 40)
    before = path.read_bytes()
    assert str(path) in (await refusal(path)).message
    assert path.read_bytes() == before


async def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.touch()
    await (await opened(path)).close()


async def test_a_folder_is_no_store(tmp_path: Path) -> None:
    assert str(tmp_path) in (await refusal(tmp_path)).message


async def test_a_path_that_can_not_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "can not be used" in (await refusal(tmp_path / "file" / "store.db")).message


async def test_a_store_that_another_process_holds_is_busy(tmp_path: Path, impatient: None) -> None:
    store = await opened(tmp_path / "store.db")
    with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="busy") as caught:
            await store.data_key("o", lambda: b"key")
        assert caught.value.remedy
        assert await store.connections() == (), "reading goes on"
    assert await store.data_key("o", lambda: b"key") == b"key"
    await store.close()


async def test_a_disk_that_is_full_is_told_as_such_and_harms_nothing(tmp_path: Path) -> None:
    store = await opened(tmp_path / "store.db")
    await store.cache_put("paper", "live", {"a": 1})
    (pages,) = await store._do(lambda db: db.execute("PRAGMA page_count").fetchone())
    await store._do(lambda db: db.execute(f"PRAGMA max_page_count = {pages}").fetchone())
    with pytest.raises(StoreError, match="full") as caught:
        await store.cache_put("paper", "live", {"b": "x" * 100_000})
    assert "space" in caught.value.remedy
    assert await store.cache_get("paper", "live", ["a", "b"]) == {"a": 1}
    await store._do(lambda db: db.execute("PRAGMA max_page_count = 100000").fetchone())
    await store.cache_put("paper", "live", {"b": 2})
    await store.close()


async def test_a_damaged_store_is_told_as_such(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    await (await opened(path)).close()
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(data)
    assert "malformed" in (await refusal(path)).message


async def test_a_new_store_is_its_owners_alone(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "private.db")
    await store.open()
    await store.close()
    assert (tmp_path / "private.db").stat().st_mode & 0o777 == 0o600
