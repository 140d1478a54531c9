"""What is Postgres' own: its tables, its roles, its URL, and a given pool."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest

from brokersync.errors import BrokerConfigError, StoreError
from brokersync.secret import Secret
from brokersync.store import PostgresStore
from brokersync.store.postgres_run import adapted
from brokersync.store.postgres_schema import layout_sql
from brokersync.store.postgres_url import PostgresUrl, is_url
from brokersync.store.schema import SCHEMA_VERSION
from brokersync.testing.postgres_server import ScratchPostgres

from .pages import ALL, RULES, START, page, trade


@pytest.fixture(scope="module")
def server(own_postgres: Any) -> Iterator[ScratchPostgres]:
    """A server of this file's own, where roles may be made and the database may be anybody's."""
    with own_postgres() as running:
        yield running


@pytest.fixture
async def admin(server: ScratchPostgres) -> AsyncIterator[Any]:
    """The superuser in an empty database; no table is made before the server is known to be ours."""
    db = await asyncpg.connect(server.url)
    assert await db.fetchval("SHOW data_directory") == str(server.data)
    yield db
    for row in await db.fetch("SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_|information_schema|public'"):
        await db.execute(f"DROP SCHEMA {row[0]} CASCADE")
    if await db.fetchval("SELECT 1 FROM pg_roles WHERE rolname = 'worker'"):
        await db.execute("DROP OWNED BY worker; DROP ROLE worker")
    await db.close()


def as_worker(server: ScratchPostgres) -> str:
    return server.url.replace("postgres@", "worker@")


async def shape(db: Any, schema: str) -> list[str]:
    columns = await db.fetch(
        "SELECT table_name, column_name, data_type, is_nullable, collation_name, is_identity"
        " FROM information_schema.columns WHERE table_schema = $1",
        schema,
    )
    indexes = await db.fetch("SELECT replace(indexdef, $1 || '.', '') FROM pg_indexes WHERE schemaname = $1", schema)
    return sorted(map(str, [*columns, *indexes]))


async def test_everything_stands_in_a_schema_of_its_own(server: ScratchPostgres, admin: Any) -> None:
    store = PostgresStore(server.url)
    await store.open()
    await store.commit_page(page(trade("a")), RULES)
    await store.close()
    found = await admin.fetch("SELECT DISTINCT schemaname FROM pg_tables WHERE schemaname !~ '^pg_|information'")
    assert [row[0] for row in found] == ["brokersync"]
    row = await admin.fetchrow("SELECT version FROM brokersync.store_layout")
    assert row[0] == SCHEMA_VERSION


async def test_the_printed_sql_makes_what_opening_makes_and_may_be_run_again(
    server: ScratchPostgres, admin: Any
) -> None:
    opened = PostgresStore(server.url, schema="made")
    await opened.open()
    await opened.close()
    for _ in range(2):
        await admin.execute(layout_sql("printed"))
    assert await shape(admin, "printed") == await shape(admin, "made")
    printed = PostgresStore(server.url, schema="printed")
    await printed.open()
    await printed.commit_page(page(trade("a")), RULES)
    await admin.execute(layout_sql("printed"))
    assert [one.trade_id for one in (await printed.trades("o", ALL))[0]] == ["a"]
    assert await printed.feed_position() == 1
    await printed.close()


@pytest.mark.parametrize("printed", [False, True], ids=["by opening", "by the printed SQL"])
async def test_a_database_of_the_layout_before_is_migrated_and_keeps_what_it_holds(
    server: ScratchPostgres, admin: Any, printed: bool
) -> None:
    store = PostgresStore(server.url)
    await store.open()
    await store.commit_page(page(trade("a")), RULES)
    before = await shape(admin, "brokersync")
    await store.close()
    await admin.execute(
        "SET search_path = brokersync; ALTER TABLE bookings DROP COLUMN as_of, DROP COLUMN told;"
        "ALTER TABLE quarantine DROP COLUMN as_of; DROP TABLE environment_health, environment_incidents;"
        "ALTER TABLE connections DROP COLUMN last_synced_at, DROP COLUMN doubted_since;"
        "CREATE TABLE broker_health (provider TEXT); CREATE TABLE incidents (provider TEXT);"
        "UPDATE store_layout SET version = 2; RESET search_path"
    )
    if printed:
        await admin.execute(layout_sql("brokersync"))
    await store.open()
    assert await shape(admin, "brokersync") == before
    assert (await store.commit_page(page(trade("a"), as_of=START), RULES)).unchanged == 1
    await store.close()


async def test_a_role_that_may_make_no_tables_is_told_what_to_do_and_works_afterwards(
    server: ScratchPostgres, admin: Any
) -> None:
    await admin.execute("CREATE ROLE worker LOGIN")
    store = PostgresStore(as_worker(server))
    with pytest.raises(StoreError, match="may not make them") as caught:
        await store.open()
    assert "brokersync migrate --sql" in caught.value.remedy
    await admin.execute(layout_sql("brokersync"))
    with pytest.raises(StoreError) as caught:
        await store.open()
    assert "migrate --sql --role" in caught.value.remedy
    await admin.execute(layout_sql("brokersync", "worker"))
    await store.open()
    assert (await store.commit_page(page(trade("a")), RULES)).added == 1
    async with store.rehearsal("o") as rehearsal:
        assert (await rehearsal.commit_page(page(trade("b")), RULES)).added == 1
    assert [one.trade_id for one in (await store.trades("o", ALL))[0]] == ["a"]
    await store.close()


async def test_a_schema_of_something_else_is_refused_and_left_as_it_is(server: ScratchPostgres, admin: Any) -> None:
    await admin.execute("CREATE SCHEMA other; CREATE TABLE other.songs (name TEXT)")
    store = PostgresStore(server.url, schema="other")
    with pytest.raises(StoreError, match="something else") as caught:
        await store.open()
    assert "schema" in caught.value.remedy
    assert [row[0] for row in await admin.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'other'")] == [
        "songs"
    ]


async def test_an_empty_schema_that_was_made_for_it_is_taken(server: ScratchPostgres, admin: Any) -> None:
    await admin.execute("CREATE ROLE worker LOGIN; CREATE SCHEMA ready AUTHORIZATION worker")
    store = PostgresStore(as_worker(server), schema="ready")
    await store.open()
    assert await store.connections() == ()
    await store.close()


async def test_stores_that_open_an_empty_database_at_once_all_find_their_tables(
    server: ScratchPostgres, admin: Any
) -> None:
    stores = [PostgresStore(server.url) for _ in range(8)]
    await asyncio.gather(*(store.open() for store in stores))
    keys = await asyncio.gather(
        *(store.data_key("o", lambda number=number: b"%d" % number) for number, store in enumerate(stores))
    )
    assert len(set(keys)) == 1
    await asyncio.gather(*(store.close() for store in stores))


@pytest.mark.parametrize("compatible_from", [SCHEMA_VERSION, SCHEMA_VERSION + 1])
async def test_a_newer_layout_is_worked_with_where_it_says_so(
    server: ScratchPostgres, admin: Any, compatible_from: int
) -> None:
    store = PostgresStore(server.url)
    await store.open()
    await store.close()
    await admin.execute(
        "ALTER TABLE brokersync.trades ADD COLUMN of_a_later_release TEXT;"
        f"UPDATE brokersync.store_layout SET version = {SCHEMA_VERSION + 1}, compatible_from = {compatible_from}"
    )
    if compatible_from > SCHEMA_VERSION:
        with pytest.raises(StoreError, match=f"layout {SCHEMA_VERSION + 1}"):
            await store.open()
        return
    await store.open()
    assert (await store.commit_page(page(trade("a")), RULES)).added == 1
    await store.close()


async def test_a_given_pool_is_used_as_it_is_and_never_closed(server: ScratchPostgres, admin: Any) -> None:
    async with asyncpg.create_pool(server.url, min_size=1, max_size=3) as pool:
        store = PostgresStore(pool=pool, schema="given")
        await store.open()
        await store.commit_page(page(trade("a")), RULES)
        await store.close()
        assert await pool.fetchval("SHOW search_path") == '"$user", public'
        assert await pool.fetchval("SELECT count(*) FROM given.trades") == 1
    with pytest.raises(StoreError, match="not open"):
        await store.connections()


async def test_stores_over_one_connection_that_serves_them_in_turn_keep_apart(
    server: ScratchPostgres, admin: Any
) -> None:
    """As behind a pooler of transactions, where nothing that a session was told can be relied on."""
    async with asyncpg.create_pool(server.url, min_size=1, max_size=1) as pool:
        stores = [PostgresStore(pool=pool, schema=name) for name in ("one", "two")]
        for store in stores:
            await store.open()
        for number in range(3):
            await asyncio.gather(
                *(store.commit_page(page(trade(f"{store.schema}-{number}")), RULES) for store in stores)
            )
        for store in stores:
            found, _ = await store.trades("o", ALL)
            assert [one.trade_id for one in found] == [f"{store.schema}-{number}" for number in range(3)]


async def test_a_commit_is_on_the_disk_whatever_the_servers_default_is(server: ScratchPostgres, admin: Any) -> None:
    await admin.execute("ALTER DATABASE postgres SET synchronous_commit = off")
    try:
        store = PostgresStore(server.url)
        await store.open()
        told: list[str] = []

        def asks() -> Any:
            told.append((yield _fetch("SHOW synchronous_commit"))[0][0])

        await store._write(asks)
        await store._read(asks)
        assert told == ["on", "off"]
        await store.close()
    finally:
        await admin.execute("ALTER DATABASE postgres RESET synchronous_commit")


def _fetch(sql: str) -> Any:
    from brokersync.store.sql import Fetch

    return Fetch(sql)


def test_without_asyncpg_the_extra_is_named_and_nothing_else_misses_it() -> None:
    code = """
import asyncio, sys
sys.modules["asyncpg"] = None
from brokersync.errors import BrokerConfigError
from brokersync.store import PostgresStore
store = PostgresStore("postgresql://somebody:hidden@nowhere/x")
try:
    asyncio.run(store.open())
except BrokerConfigError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "brokersync[postgres]" in done.stdout
    assert "hidden" not in done.stdout


def test_common_sql_becomes_that_of_postgres() -> None:
    assert adapted("SELECT a FROM t WHERE b = ? AND c IN (??) {for_update}") == (
        "SELECT a FROM t WHERE b = $1 AND c = ANY ($2) FOR UPDATE"
    )
    assert adapted("DELETE FROM t WHERE c NOT IN (??) AND b = ?") == "DELETE FROM t WHERE c <> ALL ($1) AND b = $2"


URL = "postgresql://me:hid%40den@db.example:6432/journal?password=hidden2&sslmode=require&schema=mine"


def test_a_url_is_a_secret_of_which_server_and_database_are_shown() -> None:
    url = PostgresUrl.parse(URL)
    assert url.shown == "journal on db.example:6432"
    assert url.schema == "mine"
    assert url.dsn.reveal() == "postgresql://me:hid%40den@db.example:6432/journal?password=hidden2&sslmode=require"
    store = PostgresStore(Secret(URL))
    assert (store.schema, store.where) == ("mine", "journal on db.example:6432, schema mine")
    assert "hid" not in repr(url) + repr(vars(store))


@pytest.mark.parametrize("url", ["mysql://a:hidden@b/c", "postgresql://a:hidden@b:port/c", "postgresql://[hidden", "x"])
def test_a_url_that_is_not_understood_is_never_shown(url: str) -> None:
    with pytest.raises(BrokerConfigError) as caught:
        PostgresStore(url)
    assert "hidden" not in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize("name", ["", "Mixed", "a b", 'a"', "pg_x", "x" * 64, "a;drop", "1a"])
def test_a_schema_has_a_plain_name(name: str) -> None:
    with pytest.raises(BrokerConfigError, match="schema"):
        PostgresStore("postgresql://x", schema=name or " ")


def test_a_store_has_either_a_url_or_a_pool() -> None:
    with pytest.raises(BrokerConfigError):
        PostgresStore()
    with pytest.raises(BrokerConfigError):
        PostgresStore("postgresql://x", pool=object())


def test_a_path_is_no_url() -> None:
    assert is_url("postgres://x")
    for place in ("mysql://x", "postgresql:/u:pw@h/d", "postgres:u", "host=h password=pw", "dbname=d user = u"):
        assert is_url(place), "so that it is refused and neither makes a file nor is shown"
    assert not any(map(is_url, ["postgresql", "postgresql.db", "/a/postgresql:/x", "C:\\x", None]))
