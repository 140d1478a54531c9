from __future__ import annotations

import inspect
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from brokersync.config import KeepSettings
from brokersync.errors import FeedPositionError, LeaseLostError, StoreError
from brokersync.records import ChangeCause, ChangeKind, Disconnected, Pruned
from brokersync.store import EXPORTED, SqliteStore, SqlStore
from brokersync.store.erasing import HISTORY, LOGINS, NOBODYS, OF_CONNECTION
from brokersync.store.exporting import NOT_EXPORTED
from brokersync.store.schema import TABLES

from .owners import KEEP, LATER, connect, connection, export, fill, tables, whole_page
from .pages import ALL, DAY, RULES, START, ids, key, page, trade

NAMES = {table.name for table in TABLES}
WHOSE = {**LOGINS, **HISTORY}


def test_no_table_is_left_out_when_an_owner_is_forgotten() -> None:
    assert set(LOGINS) | set(HISTORY) | set(NOBODYS) == NAMES
    assert len(LOGINS) + len(HISTORY) + len(NOBODYS) == len(NAMES)


def test_no_table_is_left_out_of_an_export_without_a_reason() -> None:
    assert set(EXPORTED) | set(NOT_EXPORTED) == NAMES
    assert not set(EXPORTED) & set(NOT_EXPORTED)
    assert all(NOT_EXPORTED.values())


def test_no_table_is_left_out_when_a_connection_ends() -> None:
    named = {table.name for table in TABLES if "connection_id" in table.columns}
    assert named == {*OF_CONNECTION, "connections", "sync_log"}


async def test_after_forget_no_row_of_the_owner_is_left_and_all_of_another_is(store: SqlStore) -> None:
    await fill(store, "gone")
    await store.prune(LATER, KeepSettings(raw=timedelta(days=9999), logs=timedelta(days=9999), feed=DAY))
    before = await tables(store)
    await fill(store, "stays")
    filled = await tables(store)
    assert {name for name in WHOSE if not before[name]} == set(), "the test must leave something everywhere"
    done = await store.forget("gone")
    assert {name for name, count in done.rows.items() if not count} == set()
    after = await tables(store)
    assert "gone" not in str(after)
    left_alone = NAMES - {"reference_data"}
    for name in left_alone:
        assert len(after[name]) == len(filled[name]) - (len(before[name]) if name in WHOSE else 0), name
    assert await ids(store, "stays") == ["t1-stays", "t2-stays", "t3-stays"]
    assert set((await store.forget("gone")).rows.values()) == {0}, "and again there is nothing"


async def test_forget_on_postgres_says_what_the_server_keeps_and_on_sqlite_that_copies_do(store: SqlStore) -> None:
    remains = " ".join((await store.forget("nobody")).remains)
    assert ("backups" in remains, "VACUUM FULL" in remains) == (True, not isinstance(store, SqliteStore))


async def test_an_interrupted_forget_has_destroyed_the_key_and_is_repeated(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(store, "gone")

    def power_cut(_: str) -> Any:
        raise RuntimeError

    with monkeypatch.context() as patched:
        patched.setattr("brokersync.store.erasing.erase", power_cut)
        with pytest.raises(RuntimeError):
            await store.forget("gone")
    assert await store.wrapped_key("gone") is None
    assert await store.connections("gone") == ()
    assert await ids(store, "gone"), "the history is still to go"
    await store.forget("gone")
    assert "gone" not in str(await tables(store))


@pytest.mark.parametrize("end", ["forget", "disconnect", "erase"])
async def test_a_sync_under_way_commits_nothing_and_leaves_nothing_once_its_connection_has_ended(
    store: SqlStore, end: str
) -> None:
    of = connection("gone")
    await connect(store, of, "A")
    lease = await store.take_lease(f"sync|{of.connection_id}", owner="gone", holder="w", now=START, until=START + DAY)
    if end == "forget":
        await store.forget("gone")
    else:
        await store.disconnect(of, erase=end == "erase", at=START)
    before = await tables(store)
    with pytest.raises(LeaseLostError):
        await store.commit_page(whole_page(of, lease=lease), RULES)
    with pytest.raises(LeaseLostError):
        await store.put_failing(of.connection_id, "fills", "", (), lease=lease)
    await store.put_accounts(of, (), START)
    await store.log_sync(of.connection_id, {"owner": "gone", "connection_id": of.connection_id}, START)
    assert await store.extend_lease(lease, START + 2 * DAY) is None
    await store.release_lease(lease)
    assert await tables(store) == before


async def test_the_lease_of_an_owner_who_has_been_forgotten_is_nobodys_and_leaves_nothing(store: SqlStore) -> None:
    await fill(store, "gone")
    await store.forget("gone")
    lease = await store.take_lease("sync|c1-gone", owner="gone", holder="w", now=START, until=START + DAY)
    assert lease.holder == ""
    assert "gone" not in str(await tables(store))


async def test_a_connection_that_ends_leaves_its_history_and_nothing_else(store: SqlStore) -> None:
    of = await fill(store, "o")
    assert await store.disconnect(of, erase=False, at=LATER) == Disconnected()
    after = await tables(store)
    empty = {name for name in NAMES if not after[name]}
    assert empty >= {*OF_CONNECTION, "connections", "grants", "leases"}
    assert not empty & (set(HISTORY) - {"feed_starts"})
    assert await ids(store) == ["t1-o", "t2-o", "t3-o"]
    assert await store.disconnect(of, erase=False, at=LATER) is None


async def test_connecting_again_goes_on_where_the_connection_had_ended(store: SqlStore) -> None:
    of = await fill(store, "o")
    spans = await store.spans("o", "paper", "fills")
    await store.disconnect(of, erase=False, at=LATER)
    again = attrs.evolve(of, connection_id="new")
    await connect(store, again, "A")
    assert await store.spans("o", "paper", "fills") == spans
    outcome = await store.commit_page(whole_page(again), RULES)
    assert (outcome.added, outcome.unchanged) == (0, 2)


async def test_a_login_that_another_connection_uses_stays(store: SqlStore) -> None:
    shared = {"identity": "me", "one_login": True}
    live, demo = connection("o", 1, **shared), connection("o", 2, environment="demo", **shared)
    for of in (live, demo):
        await connect(store, of)
    assert await store.shares_grant(live)
    await store.disconnect(live, erase=False, at=START)
    assert await store.grant("o", "paper", "", "me") is not None
    assert not await store.shares_grant(demo)
    await store.disconnect(demo, erase=False, at=START)
    assert await store.grant("o", "paper", "", "me") is None


async def test_erasing_takes_the_accounts_that_no_other_connection_sees(store: SqlStore) -> None:
    of, other = connection("o", 1), connection("o", 2)
    await connect(store, of, "A", "B")
    await connect(store, other, "B")
    await store.commit_page(whole_page(of, "A"), RULES)
    await store.commit_page(whole_page(of, "B", bookings=()), RULES)
    await store.commit_page(page(trade("in-b", account="B")), RULES)
    position = await store.feed_position()
    assert await store.disconnect(of, erase=True, at=START + DAY) == Disconnected(accounts=1, trades=2)
    assert await ids(store) == ["in-b"]
    assert list(await store.counts("o")) == [key(account="B")]
    assert {account for _, account in await store.spans("o", "paper", "fills")} == {"B"}
    told = await store.changes("o", position)
    assert [(one.trade_id, one.kind, one.cause, one.key) for one in told] == [
        (name, ChangeKind.REMOVED, ChangeCause.ERASED, key()) for name in ("t1-o", "t2-o")
    ]
    assert [one.position for one in told] == [position + 1, position + 2] == [position + 1, await store.feed_position()]
    after = await tables(store)
    assert "odd-o" not in str(after)
    assert not after["raw_rows"]
    assert not after["sync_log"]


async def test_an_account_that_was_erased_can_come_back_and_its_feed_replays(store: SqlStore) -> None:
    of = connection("o")
    await connect(store, of, "A")
    await store.commit_page(whole_page(of), RULES)
    await store.disconnect(of, erase=True, at=START)
    assert await store.counts("o") == {}
    again = attrs.evolve(of, connection_id="new")
    await connect(store, again, "A")
    assert (await store.commit_page(whole_page(again), RULES)).added == 2
    alive: set[str] = set()
    for change in await store.changes("o", 0):
        if change.kind is ChangeKind.REMOVED:
            alive.remove(change.trade_id)
        else:
            alive.add(change.trade_id)
    assert alive == set(await ids(store)) == {"t1-o", "t2-o"}


async def test_another_owners_connection_can_not_be_ended(store: SqlStore) -> None:
    of = await fill(store, "o")
    assert await store.disconnect(attrs.evolve(of, owner="x"), erase=True, at=START) is None
    assert await store.connections("o") == (await store.connection(of.connection_id),)


async def test_an_export_holds_everything_of_the_owner_once_and_nothing_of_another(store: SqlStore) -> None:
    await fill(store, "o")
    alone = await export(store, "o")
    await fill(store, "other")
    assert await export(store, "o") == alone
    assert "other" not in str(alone)
    counted = {name: sum(one["record"] == name for one in alone) for name in {one["record"] for one in alone}}
    assert counted == {
        "connection": 1, "login": 1, "account": 1, "sees": 1, "booking": 3, "trade": 3, "change": 3, "coverage": 1,
        "request": 1, "finished": 1, "failing": 1, "bookmark": 1, "quarantined": 2, "sync": 2,
    }  # fmt: skip
    booking = next(one for one in alone if one["record"] == "booking")
    assert (booking["raw"], booking["account_id"], booking["version"]) == ({"row": "t1-o"}, "A", 1)
    assert booking["booking"]["trade"]["price"] == "2"
    assert "credentials" not in str(alone)


async def test_what_is_old_goes_and_what_is_young_stays(store: SqlStore) -> None:
    of = await fill(store, "o")
    assert await store.prune(START + DAY, KEEP) == Pruned(), "nothing is old yet"
    assert await store.prune(LATER, KEEP) == Pruned(raw=2, logs=1, feed=2)
    assert await store.prune(LATER, KEEP) == Pruned()
    assert await ids(store) == ["t1-o", "t2-o", "t3-o"], "trades are no payloads"
    assert await store.last_report(of.connection_id) == {"owner": "o", "added": 1}
    assert await store.prune(LATER + timedelta(days=9999), KEEP) == Pruned(feed=1), "a connection keeps its last report"
    await store.disconnect(of, erase=False, at=LATER)
    assert await store.prune(LATER + timedelta(days=9999), KEEP) == Pruned(logs=1)


async def test_a_reader_behind_what_is_kept_is_told_and_others_read_on(store: SqlStore) -> None:
    await store.commit_page(page(trade("a"), owner="old"), RULES)
    await store.commit_page(page(trade("a"), owner="young", at=LATER), RULES)
    await store.commit_page(page(trade("b"), owner="old", at=LATER), RULES)
    await store.prune(LATER, KEEP)
    with pytest.raises(FeedPositionError) as caught:
        await store.changes("old", 0)
    assert caught.value.kept_from == 1
    assert [one.trade_id for one in await store.changes("old", 1)] == ["b"]
    assert [one.trade_id for one in await store.changes("young", 0)] == ["a"], "nothing of this owner is gone"
    assert await store.changes("new", 0) == ()


async def test_a_reader_ahead_of_the_feed_is_told_instead_of_waiting_until_it_has_missed_what_comes(
    store: SqlStore,
) -> None:
    await store.commit_page(page(trade("a")), RULES)
    position = await store.feed_position()
    assert await store.changes("o", position) == ()
    assert len(await store.changes("o", -1)) == 1
    with pytest.raises(FeedPositionError, match="ends at position"):
        await store.changes("o", position + 1)


async def test_the_feed_is_pruned_in_its_order_so_that_no_reader_misses_an_entry(store: SqlStore) -> None:
    for name, at in (("a", START), ("b", LATER), ("c", START)):
        await store.commit_page(page(trade(name), at=at), RULES)
    assert (await store.prune(LATER, KEEP)).feed == 1
    assert [one.trade_id for one in await store.changes("o", 1)] == ["b", "c"]


async def test_pruning_goes_in_small_steps(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("brokersync.store.sql_store._PRUNED_AT_ONCE", 3)
    rows = [trade(f"t{number}", raw={"n": number}) for number in range(10)]
    await store.commit_page(page(*rows), RULES)
    assert await store.prune(LATER, KEEP) == Pruned(raw=10, feed=10)


async def test_an_erased_account_is_forgotten_with_its_last_entry_in_the_feed(store: SqlStore) -> None:
    of = connection("o")
    await connect(store, of, "A")
    await store.commit_page(whole_page(of), RULES)
    await store.disconnect(of, erase=True, at=START)
    await store.prune(START + DAY, KEEP)
    assert len((await tables(store))["accounts"]) == 1
    await store.prune(LATER, KEEP)
    assert (await tables(store))["accounts"] == []


async def test_leases_that_ended_long_ago_go(store: SqlStore) -> None:
    await store.take_lease("sync|c", owner="", holder="w", now=START, until=START + DAY)
    await store.prune(START + 1.5 * DAY, KEEP)
    assert len((await tables(store))["leases"]) == 1
    await store.prune(START + 3 * DAY, KEEP)
    assert (await tables(store))["leases"] == []


def _bytes(folder: Path) -> bytes:
    return b"".join(one.read_bytes() for one in sorted(folder.iterdir()))


async def test_after_forget_no_byte_of_the_owner_is_in_any_file_of_a_sqlite_store(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db")
    await store.open()
    for owner in ("gone", "stays"):
        for number in range(5):
            await store.commit_page(page(trade(f"{owner}-{number}"), owner=owner), RULES)
        await fill(store, owner)
    reader = SqliteStore(tmp_path / "store.db")
    await reader.open()
    assert await reader.trades("stays", ALL)
    assert b"gone" in _bytes(tmp_path)
    await store.forget("gone")
    assert b"gone" not in _bytes(tmp_path), "while both are open"
    assert b"stays" in _bytes(tmp_path)
    await reader.close()
    await store.close()
    assert b"gone" not in _bytes(tmp_path)


async def test_a_reader_that_keeps_the_log_from_being_emptied_is_named(tmp_path: Path, impatient: None) -> None:
    store, reader = SqliteStore(tmp_path / "store.db"), SqliteStore(tmp_path / "store.db")
    for one in (store, reader):
        await one.open()
    await fill(store, "gone")
    await reader._do(lambda db: db.execute("BEGIN"))
    await reader._do(lambda db: db.execute("SELECT count(*) FROM trades").fetchone())
    with pytest.raises(StoreError) as caught:
        await store.forget("gone")
    assert caught.value.remedy
    await reader._do(lambda db: db.execute("COMMIT"))
    await store.forget("gone")
    assert b"gone" not in _bytes(tmp_path)
    for one in (store, reader):
        await one.close()


async def test_the_leases_under_a_name_are_those_of_nobody_that_are_held(store: SqlStore) -> None:
    until = START + DAY
    for name, owner in (
        ("a|b|2", ""),
        ("a|b|10", ""),
        ("a|b|", ""),
        ("a|b", ""),
        ("a|bc|1", ""),
        ("a|b|o", "ann"),
        ("b", ""),
    ):
        await store.take_lease(name, owner=owner, holder="w", now=START, until=until)
    await store.release_lease(await store.take_lease("a|b|free", owner="", holder="w", now=START, until=until))
    await store.take_lease("a|b|over", owner="", holder="w", now=START, until=START + DAY / 2)
    found = await store.leases_under("a|b|", START + DAY / 2)
    assert [(one.name, one.holder, one.expires_at) for one in found] == [
        (name, "w", until) for name in ("a|b|", "a|b|10", "a|b|2")
    ]
    assert await store.leases_under("a|b|", until) == ()


def test_every_method_of_a_store_is_told_whose_rows_it_may_touch() -> None:
    """A new method that is told neither owner nor connection has to be looked at: whose rows can it read or change?"""
    by_the_operator = {
        "connections", "due_connections", "overdue_connections", "wrapped_keys", "ending_grants", "prune",
        "feed_position",
    }  # fmt: skip
    of_reports_whose_names_the_service_knows = {"past_reports"}
    nobodys = {
        "open", "close", "layout", "cache_get", "cache_put", "broker_health", "broker_healths",
        "change_health", "incidents", "leases_under",
    }  # fmt: skip
    names_an_owner = (
        "Connection",
        "SealedGrant",
        "Grant",
        "Grant | SealedGrant",
        "Lease",
        "PageCommit",
        "AccountKey",
        "BookingSearch",
    )
    looked_at = by_the_operator | of_reports_whose_names_the_service_knows | nobodys
    methods = {
        name: inspect.signature(method).parameters
        for name, method in inspect.getmembers(SqlStore, inspect.isfunction)
        if not name.startswith("_")
    }
    untold = {
        name
        for name, words in methods.items()
        if not any(
            (one.name in ("owner", "connection_id") and one.annotation == "str") or one.annotation in names_an_owner
            for one in words.values()
        )
    }
    assert untold == looked_at
    assert len(methods) > 50
