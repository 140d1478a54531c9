"""An owner who connects while being forgotten, and links between connections and accounts that outlived one of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from brokersync.records import Connection, Disconnected, Forgotten
from brokersync.store import SqlStore
from brokersync.store.sql import Put, Script

from .owners import KEEP, connect, connection, fill, tables, whole_page
from .pages import RULES, START, ids


async def forget_while_connecting(store: SqlStore, again: Connection, patch: pytest.MonkeyPatch) -> Forgotten:
    """The owner connects again, by another process, between the two transactions."""
    write, begun = store._write, list[str]()

    async def and_connect(script: Callable[[], Script[Any]]) -> Any:
        done = await write(script)
        if not begun:
            begun.append(again.owner)
            await connect(store, again, "A", "B")
        return done

    with patch.context() as patched:
        patched.setattr(store, "_write", and_connect)
        return await store.forget(again.owner)


async def link(store: SqlStore, connection_id: str, account: int) -> None:
    """What a release before could leave behind."""

    def script() -> Script[None]:
        yield Put("connection_accounts", ("connection_id", "account"), [(connection_id, account)])

    await store._write(script)


async def number_of(store: SqlStore, owner: str) -> int:
    rows = (await tables(store))["accounts"]
    return next(int(account) for account, whose, *_ in rows if whose == owner)


async def test_who_connects_while_being_forgotten_is_forgotten_too(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(store, "gone")
    await forget_while_connecting(store, connection("gone", 2), monkeypatch)
    left = await tables(store)
    assert "gone" not in str(left)
    assert left["connection_accounts"] == []


async def test_what_is_forgotten_is_counted_with_what_was_connected_meanwhile(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(store, "gone")
    done = await forget_while_connecting(store, connection("gone", 2), monkeypatch)
    counted = {table: done.rows[table] for table in ("owner_keys", "connections", "connection_accounts", "accounts")}
    assert counted == {"owner_keys": 2, "connections": 2, "connection_accounts": 3, "accounts": 2}
    assert done.rows["trades"] == 3


async def test_an_owner_who_connected_while_being_forgotten_does_not_see_the_accounts_of_the_next(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = connection("gone", 2)
    await connect(store, connection("gone"), "A")
    await forget_while_connecting(store, again, monkeypatch)
    of = await fill(store, "next")
    assert await store.accounts(again.connection_id) == ()
    assert await store.disconnect(of, erase=True, at=START) == Disconnected(accounts=1, trades=3)


async def test_a_connection_shows_no_account_of_another_owner(store: SqlStore) -> None:
    of, other = connection("o"), connection("x")
    await connect(store, of, "A")
    await connect(store, other, "B")
    await link(store, of.connection_id, await number_of(store, "x"))
    assert [one.account_id for one in await store.accounts(of.connection_id)] == ["A"]


async def test_erasing_takes_nothing_of_another_owner(store: SqlStore) -> None:
    of, other = connection("o"), await fill(store, "x")
    await connect(store, of)
    await link(store, of.connection_id, await number_of(store, "x"))
    await store.disconnect(other, erase=False, at=START)
    assert await store.disconnect(of, erase=True, at=START) == Disconnected()
    assert len(await ids(store, "x")) == 3


@pytest.mark.parametrize("who", ["gone", "c1-x"])
async def test_no_link_of_who_is_gone_or_of_another_owner_keeps_an_account_from_being_erased(
    store: SqlStore, who: str
) -> None:
    of = connection("o")
    await connect(store, of, "A")
    await connect(store, connection("x"))
    await store.commit_page(whole_page(of), RULES)
    await link(store, who, await number_of(store, "o"))
    assert await store.disconnect(of, erase=True, at=START) == Disconnected(accounts=1, trades=2)


async def test_who_is_forgotten_leaves_no_link_to_the_accounts_whose_connection_had_gone_before(
    store: SqlStore,
) -> None:
    await connect(store, connection("o"), "A")
    await link(store, "before", await number_of(store, "o"))
    assert (await store.forget("o")).rows["connection_accounts"] == 2
    assert (await tables(store))["connection_accounts"] == []


async def test_links_of_what_is_gone_or_of_two_owners_are_pruned(store: SqlStore) -> None:
    of, other = connection("o"), connection("x")
    await connect(store, of, "A")
    await connect(store, other, "B")
    own = sorted((await tables(store))["connection_accounts"])
    number = await number_of(store, "o")
    for connection_id, account in (("gone", number), (of.connection_id, 99), (other.connection_id, number)):
        await link(store, connection_id, account)
    await store.prune(START, KEEP)
    assert sorted((await tables(store))["connection_accounts"]) == own
