"""Two sessions on Postgres: an owner connects or joins while being forgotten or disconnected."""

from __future__ import annotations

import asyncio
from typing import Any

import attrs
import pytest

from brokersync.store import PostgresStore

from .owners import connect, connection, grant, tables
from .pausing import ends_or_waits

LOCKS_KEY = "SELECT 1 FROM owner_keys"


@pytest.mark.parametrize("known", [True, False])
async def test_who_connects_while_the_history_is_erased_connects_after_it(
    slow: Any, other: PostgresStore, known: bool
) -> None:
    of = connection("gone", 2)
    if known:
        await connect(other, connection("gone"), "A")
    slow._given.at = "DELETE FROM accounts"
    forgetting = asyncio.create_task(slow.forget("gone"))
    await slow._given.reached.wait()
    connecting = asyncio.create_task(connect(other, of, "A"))
    await ends_or_waits(connecting, other, "INSERT INTO owner_keys")
    slow._given.go_on.set()
    await asyncio.gather(forgetting, connecting)
    assert [one.account_id for one in await other.accounts(of.connection_id)] == ["A"]
    await other.forget("gone")
    left = await tables(other)
    assert "gone" not in str(left)
    assert left["connection_accounts"] == []


async def test_who_joins_a_login_while_its_owner_is_forgotten_is_forgotten_too(slow: Any, other: PostgresStore) -> None:
    of = connection("gone", one_login=True)
    await connect(other, of, "A")
    joined = attrs.evolve(of, connection_id="joined", environment="demo")
    slow._given.at = "SELECT data FROM connections"
    joining = asyncio.create_task(slow.join_connection(joined))
    await slow._given.reached.wait()
    forgetting = asyncio.create_task(other.forget("gone"))
    await ends_or_waits(forgetting, other, LOCKS_KEY)
    slow._given.go_on.set()
    assert await joining == joined
    await forgetting
    assert "gone" not in str(await tables(other))


async def test_nobody_joins_a_login_whose_owner_has_no_key(slow: Any, other: PostgresStore) -> None:
    of = connection("o", one_login=True)
    await other.add_connection(of, grant(of))
    assert await slow.join_connection(attrs.evolve(of, connection_id="joined", environment="demo")) is None
    assert await other.connections("o") == (of,)


async def test_a_connection_is_joined_before_it_ends_or_after(slow: Any, other: PostgresStore) -> None:
    of = connection("o")
    await connect(other, of)
    slow._given.at = "SELECT data FROM connections"
    joining = asyncio.create_task(slow.join_connection(attrs.evolve(of, connection_id="new")))
    await slow._given.reached.wait()
    ending = asyncio.create_task(other.disconnect(of, erase=False, at=of.created_at))
    await ends_or_waits(ending, other, LOCKS_KEY)
    slow._given.go_on.set()
    assert await joining == of
    assert await ending is not None
    assert await other.connections("o") == ()


async def test_what_is_connected_again_while_it_ends_is_a_new_connection(slow: Any, other: PostgresStore) -> None:
    of = connection("o")
    await other.add_connection(of, grant(of))
    new = attrs.evolve(of, connection_id="new")
    slow._given.at = "SELECT data FROM connections"
    adding = asyncio.create_task(slow.add_connection(new, grant(of)))
    await slow._given.reached.wait()
    # a grant that is sealed with no key locks none
    await other.disconnect(of, erase=False, at=of.created_at)
    slow._given.go_on.set()
    assert await adding == new
    assert await other.connections("o") == (new,)


async def test_a_key_that_is_destroyed_while_another_is_made_gives_way_to_it(slow: Any, other: PostgresStore) -> None:
    slow._given.at = "INSERT INTO owner_keys"
    making = asyncio.create_task(slow.data_key("o", lambda: b"new"))
    await slow._given.reached.wait()
    await other.data_key("o", lambda: b"old")
    slow._given.then("SELECT wrapped")
    await slow._given.reached.wait()
    await other.forget("o")
    slow._given.go_on.set()
    assert await making == b"new"
    assert await other.wrapped_key("o") == b"new"
