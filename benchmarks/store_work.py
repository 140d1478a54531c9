"""What the table of the store measures, each in a process of its own: `python -m benchmarks.store_work CASE`.

Prints the milliseconds for 100,000 trades, 500 a commit, made before the clock starts; `BENCHMARK_TRADES` is another
number of them.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from brokersync.records import AccountKey, PageCommit, Span, SpanState
from brokersync.store import PageRules, PostgresStore, SqliteStore, page
from brokersync.store.contents import booking_content, trade_content
from brokersync.store.rows import sortable
from brokersync.store.sql import Script
from brokersync.sync.fold import fold
from brokersync.sync.ledger import cover, reopen
from brokersync.types import AssetClass, BrokerTrade, Instrument, Side, TimeWindow, TradeBooking

SIZE, A_COMMIT = int(os.environ.get("BENCHMARK_TRADES", "100000")), 500
START = datetime(2024, 1, 1, tzinfo=UTC)
RULES = PageRules(fold=fold, cover=cover, reopen=reopen, precedence=lambda _: 1)
INSTRUMENTS = [
    Instrument(symbol=name, asset_class=AssetClass.FUTURE, currency="USD", multiplier=Decimal(5), exchange="CME")
    for name in ("MESZ6", "NQZ6", "CLF7", "MESH7")
]


def trades(size: int) -> list[BrokerTrade]:
    return [
        BrokerTrade(
            provider="b", environment="live", account_id="A", trade_id=f"fill:{number}", order_id=str(number // 2),
            instrument=INSTRUMENTS[number % 4], side=Side.BUY if number % 2 else Side.SELL,
            quantity=Decimal(number % 9 + 1),
            price=Decimal(20000 + number % 400) / 4, executed_at=START + number * timedelta(minutes=1),
        )
        for number in range(size)
    ]  # fmt: skip


def pages(size: int, *, covered: bool = True) -> list[PageCommit]:
    made = [TradeBooking.of(one) for one in trades(size)]
    key = AccountKey(owner="o", provider="b", environment="live", account_id="A")
    found = []
    for first in range(0, size, A_COMMIT):
        window = TimeWindow(START + first * timedelta(minutes=1), START + (first + A_COMMIT) * timedelta(minutes=1))
        spans = ((key, Span(window=window, state=SpanState.FINAL)),) if covered else ()
        rows = tuple(made[first : first + A_COMMIT])
        found.append(PageCommit(owner="o", provider="b", source="fills", at=START, bookings=rows, spans=spans))
    return found


def rows(size: int) -> list[tuple[str, ...]]:
    """Trades as a plain table keeps them, with their text ready made."""
    return [
        (one.account_id, one.trade_id, sortable(one.executed_at), one.instrument.symbol, trade_content(one))
        for one in trades(size)
    ]


COLUMNS = "account TEXT, trade_id TEXT, executed_at TEXT, symbol TEXT, content TEXT"


def parts(found: list[tuple[str, ...]]) -> Iterator[list[tuple[str, ...]]]:
    for first in range(0, len(found), A_COMMIT):
        yield found[first : first + A_COMMIT]


def sqlite_floor(_: str) -> float:
    """A table without a key, one commit for each part."""
    found = rows(SIZE)
    with tempfile.TemporaryDirectory() as folder, closing(sqlite3.connect(Path(folder) / "x.db")) as db:
        db.isolation_level = None
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"CREATE TABLE plain ({COLUMNS})")
        began = time.perf_counter()
        for part in parts(found):
            db.execute("BEGIN")
            db.executemany("INSERT INTO plain VALUES (?, ?, ?, ?, ?)", part)
            db.execute("COMMIT")
        return (time.perf_counter() - began) * 1000


def encoding(_: str) -> float:
    """What no store can do without: the text and the hash of each booking, and the text of its trade."""
    found = [TradeBooking.of(one) for one in trades(SIZE)]
    began = time.perf_counter()
    for one in found:
        booking_content(one)
        if one.trade is not None:
            trade_content(one.trade)
    return (time.perf_counter() - began) * 1000


async def _pages(store: Any, found: list[PageCommit]) -> float:
    began = time.perf_counter()
    for one in found:
        await store.commit_page(one, RULES)
    return (time.perf_counter() - began) * 1000


def _publish_nothing(*_: Any) -> Script[None]:
    yield from ()


async def _ours(store: Any, what: str) -> float:
    if "feed" in what:
        page.publish = _publish_nothing
    await store.open()
    try:
        found = pages(SIZE, covered="ledger" not in what)
        fresh = await _pages(store, found)
        if "resync" not in what:
            return fresh
        before = await store.feed_position()
        again = await _pages(store, found)
        assert await store.feed_position() == before, "a resync writes no change"
        return again
    finally:
        await store.close()


def sqlite_ours(what: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_ours(SqliteStore(Path(folder) / "x.db"), what))


async def _postgres(url: str, what: str) -> float:
    import asyncpg

    if what.startswith("postgres ours"):
        return await _ours(PostgresStore(url, schema="bench"), what)
    found = rows(SIZE)
    db = await asyncpg.connect(url)
    await db.execute("CREATE SCHEMA bench; SET search_path = bench")
    await db.execute(f"CREATE TABLE plain ({COLUMNS}, PRIMARY KEY (account, trade_id))")
    try:
        if "resync" in what:
            await _write_plain(db, found, what)
        began = time.perf_counter()
        await _write_plain(db, found, what)
        return (time.perf_counter() - began) * 1000
    finally:
        await db.close()


async def _write_plain(db: Any, found: list[tuple[str, ...]], what: str) -> None:
    upsert = "ON CONFLICT (account, trade_id) DO UPDATE SET content = excluded.content"
    for part in parts(found):
        async with db.transaction():
            if "copy" in what:
                await db.copy_records_to_table("plain", records=part)
            else:
                await db.executemany(f"INSERT INTO plain VALUES ($1, $2, $3, $4, $5) {upsert}", part)


def postgres(what: str) -> float:
    from brokersync.testing.postgres_server import scratch_postgres

    with scratch_postgres(durable=True) as server:
        return asyncio.run(_postgres(server.url, what))


CASES = {
    "sqlite floor": sqlite_floor,
    "encoding": encoding,
    **dict.fromkeys(
        ["sqlite ours fresh", "sqlite ours without ledger", "sqlite ours without feed", "sqlite ours resync"],
        sqlite_ours,
    ),
    **dict.fromkeys(
        [
            "postgres executemany fresh", "postgres executemany resync", "postgres copy", "postgres ours fresh",
            "postgres ours without ledger", "postgres ours without feed", "postgres ours resync",
        ],
        postgres,
    ),
}  # fmt: skip


if __name__ == "__main__":
    print(CASES[sys.argv[1]](sys.argv[1]))
