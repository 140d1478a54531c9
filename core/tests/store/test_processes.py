"""Real processes on one store: killed at any moment, writing at once, opening a new store at once."""

from __future__ import annotations

import asyncio
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from brokersync.records import Span, SpanState
from brokersync.store import SqliteStore, TradeFilter
from brokersync.types import TimeWindow

_ROWS = 7
START = datetime(2026, 3, 2, tzinfo=UTC)
DAY = timedelta(days=1)

# each page holds its own rows, one row that all pages share, one day of coverage, and where to go on
_CHILD = """
import asyncio, sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from brokersync.records import AccountKey, OpenRequest, PageCommit, Span, SpanState
from brokersync.store import PageRules
from brokersync.store.place import store_at
from brokersync.sync.fold import fold
from brokersync.sync.ledger import cover, reopen
from brokersync.types import AssetClass, BrokerTrade, Instrument, Side, TimeWindow, TradeBooking

START, DAY = datetime(2026, 3, 2, tzinfo=UTC), timedelta(days=1)
WHOLE = TimeWindow(START, START + 90000 * DAY)
place, who, first, end, rows = *sys.argv[1:3], *map(int, sys.argv[3:])

def booking(name):
    return TradeBooking.of(BrokerTrade(
        provider="paper", environment="live", account_id="A", trade_id=name, side=Side.BUY, quantity=Decimal(1),
        instrument=Instrument(symbol="EUR", asset_class=AssetClass.STOCK), price=Decimal(2), executed_at=START,
    ))

def page(number):
    key = AccountKey(owner="o", provider="paper", environment="live", account_id="A")
    request = OpenRequest(connection_id=who, source="fills", account="live/A", window=WHOLE, cursor=str(number + 1))
    day = TimeWindow(START + number * DAY, START + (number + 1) * DAY)
    names = [f"{who}-{number}-{row}" for row in range(rows)] + ["shared"]
    return PageCommit(
        owner="o", provider="paper", source=who, at=START, connection_id=who, request_account="live/A",
        bookings=tuple(booking(name) for name in names), next_request=request,
        spans=((key, Span(window=day, state=SpanState.FINAL)),),
    )

async def main():
    store, _ = store_at(place)
    await store.open()
    known = await store.open_requests(who)
    number = int(known[0].cursor) if known else first
    print("ready", flush=True)
    while number < end:
        await store.commit_page(page(number), PageRules(fold=fold, cover=cover, reopen=reopen, precedence=lambda _: 1))
        number += 1
        print(number, flush=True)
    await store.close()

asyncio.run(main())
"""


def start(place: str, who: str, end: int, rows: int = _ROWS) -> subprocess.Popen[bytes]:
    arguments = [place, who, "0", str(end), str(rows)]
    return subprocess.Popen([sys.executable, "-c", _CHILD, *arguments], stdout=subprocess.PIPE)


async def whole_pages(stores: Any, who: str) -> int:
    """How many pages the store holds; each must be there entirely, and nothing else."""
    store = await stores.open()
    if isinstance(store, SqliteStore):
        assert await store._do(lambda db: db.execute("PRAGMA integrity_check").fetchall()) == [("ok",)]
    found = await store.open_requests(who)
    pages = int(found[0].cursor or 0) if found else 0
    wanted = {f"{who}-{number}-{row}" for number in range(pages) for row in range(_ROWS)}
    wanted |= {"shared"} if pages else set()
    trades, _ = await store.trades("o", TradeFilter(), limit=100_000)
    assert {one.trade_id for one in trades} == wanted
    changes = await store.changes("o", 0, limit=100_000)
    assert sorted(change.trade_id for change in changes) == sorted(wanted)
    assert [change.position for change in changes] == list(range(1, len(changes) + 1))
    spans = (await store.spans("o", "paper", who)).get(("live", "A"), ())
    covered = Span(window=TimeWindow(START, START + pages * DAY), state=SpanState.FINAL) if pages else None
    assert spans == ((covered,) if covered else ())
    await store.close()
    return pages


async def test_a_process_killed_at_any_moment_leaves_entire_pages_and_a_sound_store(
    stores: Any, database: object, sized: Callable[[str, int, int], int]
) -> None:
    moments = random.Random(20260302)
    pages = 0
    for _ in range(sized(f"kill -9 of a process that commits pages, {'Postgres' if database else 'SQLite'}", 6, 100)):
        with start(stores.place, "c", end=1_000_000) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"ready\n"
            for _ in range(moments.randint(1, 6)):
                assert child.stdout.readline()
            await asyncio.sleep(moments.uniform(0, 0.01))  # real time: the child commits in its own process
            child.send_signal(signal.SIGKILL)
        assert child.returncode == -signal.SIGKILL
        now = await whole_pages(stores, "c")
        assert now > pages
        pages = now


async def test_two_processes_that_write_at_once_lose_nothing_and_double_nothing(stores: Any) -> None:
    place = stores.place
    with start(place, "one", end=40) as one, start(place, "two", end=40) as two:
        store = await stores.open()
        heard: list[str] = []
        position = 0
        deadline = time.monotonic() + 120
        while one.poll() is None or two.poll() is None:
            assert time.monotonic() < deadline
            # a reader that follows the feed meanwhile must not step over anything that is committed later
            for change in await store.changes("o", position):
                assert change.position > position
                position = change.position
                heard.append(change.trade_id)
    assert (one.returncode, two.returncode) == (0, 0)
    heard += [change.trade_id for change in await store.changes("o", position, limit=100_000)]
    wanted = {f"{who}-{number}-{row}" for who in ("one", "two") for number in range(40) for row in range(_ROWS)}
    assert sorted(heard) == sorted(wanted | {"shared"})
    trades, _ = await store.trades("o", TradeFilter(), limit=100_000)
    assert {trade.trade_id for trade in trades} == wanted | {"shared"}
    for who in ("one", "two"):
        spans = await store.spans("o", "paper", who)
        assert spans["live", "A"] == (Span(window=TimeWindow(START, START + 40 * DAY), state=SpanState.FINAL),)
    await store.close()


async def test_processes_that_open_one_new_store_at_once_all_find_it(stores: Any) -> None:
    for _ in range(3):
        stores.new()
        # each has a connection of its own, so to the database they are as far apart as processes
        opened = await asyncio.gather(*(stores.open() for _ in range(8)))
        keys = await asyncio.gather(
            *(store.data_key("o", lambda number=number: b"%d" % number) for number, store in enumerate(opened))
        )
        assert len(set(keys)) == 1


async def test_opening_waits_for_another_process_that_is_making_the_same_file(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db")
    with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        # at this stage SQLite refuses the switch to the write-ahead log at once, whatever the busy timeout
        other.execute("BEGIN IMMEDIATE")
        opening = asyncio.create_task(store.open())
        await asyncio.sleep(0.1)  # real time: the store is opened on its own thread
        other.execute("ROLLBACK")
    await opening
    assert await store.connections() == ()
    await store.close()
