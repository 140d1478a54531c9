"""A store that an older release wrote is migrated when it is opened, and works on."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from brokersync.records import ChangeKind, ConnectionState, Span, SpanState
from brokersync.store import SqliteStore, migrations
from brokersync.store.schema import SCHEMA_VERSION
from brokersync.types import BookingEffect, TradeBooking, TradeStatus

from .pages import ALL, DAY, RULES, START, WEEK, page, trade

LAYOUTS = sorted(Path(__file__).parent.glob("layouts/*.sql"))


@pytest.fixture(params=LAYOUTS, ids=lambda path: path.stem)
async def old(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """A store written by the release with that layout, with trades, a cancel that waits, and a request begun."""
    path = tmp_path / "store.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(request.param.read_text(encoding="utf-8"))
    store = SqliteStore(path)
    await store.open()
    yield store
    await store.close()


def test_there_is_a_store_of_every_older_layout() -> None:
    assert [path.stem for path in LAYOUTS] == [str(number) for number in range(1, SCHEMA_VERSION)]


def _shape(path: Path) -> dict[str, set[tuple[str, str]]]:
    with closing(sqlite3.connect(path)) as db:
        tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        shape = {name: {row[1:3] for row in db.execute(f"PRAGMA table_info({name})")} for name in tables}
        shape["indexes"] = set(
            db.execute("SELECT name, tbl_name FROM sqlite_master WHERE type = 'index' AND name NOT LIKE 'sqlite_%'")
        )
    return {name: columns for name, columns in shape.items() if not name.startswith("sqlite_")}


async def test_a_migrated_store_has_the_tables_of_a_new_one(old: SqliteStore, tmp_path: Path) -> None:
    new = SqliteStore(tmp_path / "new.db")
    await new.open()
    await new.close()
    assert _shape(old.path) == _shape(new.path)


async def test_a_migrated_store_holds_what_the_old_one_held(old: SqliteStore) -> None:
    (connection,) = await old.connections("o")
    assert (connection.connection_id, connection.state) == ("paper-1", ConnectionState.ACTIVE)
    assert connection.last_synced_at == START + DAY
    grant = await old.grant("o", "paper", "live", "me")
    assert grant is not None
    assert (grant.generation, grant.auth, grant.credentials) == (3, b"auth", b"cred")
    trades, _ = await old.trades("o", ALL)
    assert [(one.trade_id, one.status) for one in trades] == [
        ("a", TradeStatus.CANCELLED),
        ("b", TradeStatus.ACTIVE),
    ]
    assert [change.kind for change in await old.changes("o", 0)] == [
        ChangeKind.ADDED,
        ChangeKind.ADDED,
        ChangeKind.MODIFIED,
    ]
    spans = await old.spans("o", "paper", "fills")
    assert spans["live", "A"] == (Span(window=WEEK, state=SpanState.FINAL),)
    assert [request.cursor for request in await old.open_requests("paper-1")] == ["7"]
    assert await old.bookmark("paper-1", "fills", "live/A") == "m"
    assert (await old.counts("o")).popitem()[1] == {"active": 1, "cancelled": 1, "waiting": 1, "quarantined": 1}
    assert await old.last_report("paper-1") == {"owner": "o", "added": 2}
    assert await old.cache_get("paper", "live", ["ACME"]) == {"ACME": {"id": 1}}


async def test_a_migrated_store_works_on_where_the_old_one_stopped(old: SqliteStore) -> None:
    again = await old.commit_page(page(trade("a", raw={"x": "1"}), trade("b", at=START + DAY)), RULES)
    assert (again.unchanged, again.added, again.modified) == (2, 0, 0)
    late = TradeBooking(
        booking_id="b-cancel", environment="live", account_id="A", effect=BookingEffect.CANCEL, refs=("b",)
    )
    assert (await old.commit_page(page(trade("z"), bookings=()), RULES)).added == 0
    met = await old.commit_page(page(bookings=(TradeBooking.of(trade("z")), late)), RULES)
    assert (met.added, met.modified, met.waiting) == (1, 1, -1)
    assert [change.position for change in await old.changes("o", 0)] == [1, 2, 3, 4, 5]


async def test_a_migration_that_fails_leaves_the_old_store_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(LAYOUTS[0].read_text(encoding="utf-8"))
    before = _shape(path)

    def breaks() -> migrations.Script[None]:
        yield from migrations._to_2()
        raise RuntimeError("the power went out")

    monkeypatch.setattr(migrations, "_STEPS", {2: breaks})
    with pytest.raises(RuntimeError):
        await SqliteStore(path).open()
    assert _shape(path) == before
    monkeypatch.undo()
    store = SqliteStore(path)
    await store.open()
    assert len((await store.trades("o", ALL))[0]) == 2
    await store.close()


async def test_a_store_that_is_only_opened_where_it_stands_is_migrated_too(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(LAYOUTS[0].read_text(encoding="utf-8"))
    store = SqliteStore(path, make=False)
    await store.open()
    assert await store.layout() == SCHEMA_VERSION
    await store.close()


async def test_a_newer_layout_that_says_so_is_worked_with_as_it_is(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db")
    await store.open()
    await store.close()
    with closing(sqlite3.connect(store.path)) as db:
        db.execute("ALTER TABLE trades ADD COLUMN of_a_later_release TEXT")
        db.execute("UPDATE store_layout SET version = ?, compatible_from = ?", (SCHEMA_VERSION + 1, SCHEMA_VERSION))
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
        db.commit()
    await store.open()
    assert (await store.commit_page(page(trade("a")), RULES)).added == 1
    assert [one.trade_id for one in (await store.trades("o", ALL))[0]] == ["a"]
    await store.close()


async def test_a_renewal_in_doubt_stays_so_in_a_migrated_store_and_its_refusals_count_from_then_on(
    tmp_path: Path,
) -> None:
    path = tmp_path / "store.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(LAYOUTS[4].read_text(encoding="utf-8"))
    store = SqliteStore(path)
    await store.open()
    grant = await store.grant("o", "paper", "live", "me")
    assert grant is not None
    assert (grant.renewing_since, grant.expires_at, grant.refused_since) == (START, START + DAY / 24, None)
    await store.close()
