"""Writers at once: no reader of the feed is overtaken, and releases that follow each other work side by side."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from brokersync.queue.planner import job_of
from brokersync.store import PostgresStore, SqlStore, migrations, sqlite_schema
from brokersync.store.schema import SCHEMA_VERSION
from brokersync.store.sql import Script, execute

from .owners import connect, connection, tables
from .pages import ALL, DAY, RULES, START, page, trade
from .pausing import somebody_waits


async def heard(store: SqlStore, since: int = 0, owner: str = "o") -> list[tuple[int, str]]:
    return [(change.position, change.trade_id) for change in await store.changes(owner, since)]


async def test_a_transaction_that_began_first_and_commits_last_stands_behind_the_other(
    slow: Any, other: PostgresStore
) -> None:
    slow._given.at = "UPDATE feed_head"
    first = asyncio.create_task(slow.commit_page(page(trade("first")), RULES))
    await slow._given.reached.wait()
    # everything of the first is written but its place in the feed; the second overtakes it
    await other.commit_page(page(trade("second", account="B")), RULES)
    assert await heard(other) == [(1, "second")]
    slow._given.go_on.set()
    await first
    assert await heard(other, since=1) == [(2, "first")]


async def test_a_position_that_was_taken_is_committed_before_the_next_one_is_taken(
    slow: Any, other: PostgresStore
) -> None:
    slow._given.at = "COMMIT"
    first = asyncio.create_task(slow.commit_page(page(trade("first")), RULES))
    await slow._given.reached.wait()
    second = asyncio.create_task(other.commit_page(page(trade("second", account="B")), RULES))
    await somebody_waits(other, "UPDATE feed_head")
    assert await heard(other) == []
    assert not second.done()
    slow._given.go_on.set()
    await asyncio.gather(first, second)
    assert await heard(other) == [(1, "first"), (2, "second")]


@pytest.mark.parametrize("end", ["forget", "disconnect"])
async def test_who_begins_a_first_sync_while_its_connection_ends_has_nothing_to_sync(
    slow: Any, other: PostgresStore, end: str
) -> None:
    of = connection("gone")
    await connect(other, of, "A")
    # leases are ended first, and this one is no row that could be ended
    slow._given.at = "DELETE FROM connections"
    ending = asyncio.create_task(slow.forget("gone") if end == "forget" else slow.disconnect(of, erase=True, at=START))
    await slow._given.reached.wait()
    begun = asyncio.create_task(
        other.take_lease(f"sync|{of.connection_id}", owner="gone", holder="w", now=START, until=START + DAY)
    )
    await somebody_waits(other, "SELECT 1 FROM owner_keys")
    slow._given.go_on.set()
    await ending
    lease = await begun
    assert await other.connection(of.connection_id) is None
    assert (lease.holder == "") is (end == "forget")


async def test_what_a_sync_has_to_report_is_not_written_while_its_owner_is_forgotten(
    slow: Any, other: PostgresStore
) -> None:
    of = connection("gone")
    await connect(other, of, "A")
    slow._given.at = "DELETE FROM connections"
    ending = asyncio.create_task(slow.forget("gone"))
    await slow._given.reached.wait()
    report = {"owner": "gone", "connection_id": of.connection_id}
    told = asyncio.create_task(other.log_sync(of.connection_id, report, START, synced=True))
    await somebody_waits(other, "SELECT owner FROM connections")
    slow._given.go_on.set()
    await asyncio.gather(ending, told)
    assert "gone" not in str(await tables(other))


@pytest.mark.parametrize("end", ["forget", "disconnect"])
async def test_no_job_is_kept_of_a_connection_that_ends_meanwhile(slow: Any, other: PostgresStore, end: str) -> None:
    of = connection("gone")
    await connect(other, of, "A")
    slow._given.at = "DELETE FROM connections"
    ending = asyncio.create_task(slow.forget("gone") if end == "forget" else slow.disconnect(of, erase=True, at=START))
    await slow._given.reached.wait()
    submitted = asyncio.create_task(other.jobs.submit([job_of(of, START)]))
    await somebody_waits(other, "SELECT connection_id FROM connections")
    slow._given.go_on.set()
    await ending
    assert not (await submitted).new
    assert (await tables(other))["jobs"] == []


@pytest.mark.parametrize("end", ["forget", "disconnect"])
async def test_a_connection_that_ends_takes_the_job_along_that_is_being_submitted(
    slow: Any, other: PostgresStore, end: str
) -> None:
    of = connection("gone")
    await connect(other, of, "A")
    slow._given.at = "INSERT INTO jobs"
    submitted = asyncio.create_task(slow.jobs.submit([job_of(of, START)]))
    await slow._given.reached.wait()
    ending = asyncio.create_task(
        other.forget("gone") if end == "forget" else other.disconnect(of, erase=True, at=START)
    )
    await somebody_waits(other, "SELECT")
    slow._given.go_on.set()
    assert (await submitted).new
    await ending
    assert (await tables(other))["jobs"] == []


async def test_others_commit_while_somebody_rehearses(slow: Any, other: PostgresStore) -> None:
    await other.commit_page(page(trade("before"), owner="rehearses"), RULES)
    async with (
        asyncio.timeout(60),
        slow.rehearsal("rehearses") as rehearsal,
        other.rehearsal("rehearses too") as second,
    ):
        for number in range(3):
            assert (await rehearsal.commit_page(page(trade(f"r{number}"), owner="rehearses"), RULES)).added == 1
            assert (await second.commit_page(page(trade(f"s{number}"), owner="rehearses too"), RULES)).added == 1
            assert (await other.commit_page(page(trade(f"t{number}")), RULES)).added == 1
        told = [trade_id for _, trade_id in await heard(other)]
    assert told == ["t0", "t1", "t2"], "while both still rehearse"
    await other.commit_page(page(trade("after")), RULES)
    assert await heard(other) == [(2, "t0"), (3, "t1"), (4, "t2"), (5, "after")]
    assert await heard(other, owner="rehearses") == [(1, "before")]
    assert await heard(other, owner="rehearses too") == []


async def test_a_rehearsal_holds_its_accounts_from_its_start_so_that_no_page_and_it_wait_for_each_other(
    slow: Any, other: PostgresStore
) -> None:
    await other.commit_page(page(trade("a", account="A"), trade("b", account="B")), RULES)
    async with slow.rehearsal("o") as rehearsal:
        writing = asyncio.create_task(other.commit_page(page(trade("x", account="A"), trade("y", account="B")), RULES))
        await somebody_waits(other, "SELECT environment, account_id")
        for account in "BA":
            assert (await rehearsal.commit_page(page(trade("r", account=account)), RULES)).added == 1
        assert not writing.done()
    assert (await writing).added == 2


async def test_pages_of_one_account_follow_each_other(slow: Any, other: PostgresStore) -> None:
    await other.commit_page(page(trade("before")), RULES)
    slow._given.at = "INSERT INTO bookings"
    first = asyncio.create_task(slow.commit_page(page(trade("same")), RULES))
    await slow._given.reached.wait()
    second = asyncio.create_task(other.commit_page(page(trade("same")), RULES))
    await somebody_waits(other, "SELECT environment, account_id")
    assert not second.done()
    slow._given.go_on.set()
    outcomes = await asyncio.gather(first, second)
    assert [(one.added, one.unchanged) for one in outcomes] == [(1, 0), (0, 1)]


@pytest.mark.parametrize("seed", range(3))
async def test_no_reader_is_overtaken_however_many_write_at_once(stores: Any, seed: int) -> None:
    chance = random.Random(seed)
    writers = [await stores.open() for _ in range(4)]
    reader = await stores.open()
    heard_by: dict[str, list[tuple[int, str]]] = {"o": [], "x": []}
    wanted: dict[str, set[str]] = {"o": set(), "x": set()}
    done = asyncio.Event()

    async def write(store: SqlStore, who: int) -> None:
        for number in range(12):
            owner, account = chance.choice("ox"), chance.choice("ABC")
            names = [f"{who}-{number}-{row}" for row in range(chance.randint(1, 4))]
            wanted[owner].update(names)
            await store.commit_page(page(*(trade(name, account=account) for name in names), owner=owner), RULES)

    async def follow(owner: str) -> None:
        while True:
            last = done.is_set()
            found = await heard(reader, heard_by[owner][-1][0] if heard_by[owner] else 0, owner)
            heard_by[owner] += found
            if last and not found:
                return

    following = [asyncio.create_task(follow(owner)) for owner in heard_by]
    await asyncio.gather(*(write(store, who) for who, store in enumerate(writers)))
    done.set()
    await asyncio.gather(*following)
    for owner, changes in heard_by.items():
        assert [position for position, _ in changes] == sorted({position for position, _ in changes})
        assert sorted(name for _, name in changes) == sorted(wanted[owner])
    assert await reader.feed_position() == sum(map(len, wanted.values()))


async def test_a_release_and_the_one_before_it_write_side_by_side(stores: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The older one is open while the newer one migrates, works on, and is even opened again."""
    older = await stores.open()
    await older.commit_page(page(trade("before")), RULES)

    def next_step() -> Script[None]:
        yield from execute("ALTER TABLE trades ADD COLUMN of_the_next TEXT")

    with monkeypatch.context() as newer_release:
        for module in (migrations, sqlite_schema):
            newer_release.setattr(module, "SCHEMA_VERSION", SCHEMA_VERSION + 1)
        newer_release.setattr(migrations, "COMPATIBLE_FROM", SCHEMA_VERSION)
        newer_release.setattr(migrations, "_STEPS", {SCHEMA_VERSION + 1: next_step})
        newer = await stores.open()
    assert await newer.layout() == SCHEMA_VERSION + 1
    again = await stores.open()

    async def write(store: SqlStore, who: str) -> None:
        for number in range(10):
            await store.commit_page(page(trade(f"{who}-{number}"), trade("before")), RULES)
        if store is newer:
            await store._write(lambda: execute("UPDATE trades SET of_the_next = 'x'"))

    await asyncio.gather(write(older, "older"), write(newer, "newer"), write(again, "again"))
    kept, _ = await older.trades("o", ALL)
    names = [f"{who}-{number}" for who in ("older", "newer", "again") for number in range(10)]
    assert sorted(one.trade_id for one in kept) == sorted([*names, "before"])
    assert sorted(name for _, name in await heard(newer)) == sorted([*names, "before"])
