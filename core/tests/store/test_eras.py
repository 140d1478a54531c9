"""An owner's history is erased at any moment of what is written to it without a lease: files, and rows read again."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace
from typing import Any, BinaryIO

import asyncpg
import pytest

from brokersync import BrokerSync, ProviderRegistry, SyncReport
from brokersync.clock import SystemClock
from brokersync.errors import ErasedError
from brokersync.manifest import parse_manifests
from brokersync.plugin import (
    CoveredSpan,
    ProviderSpec,
    QuarantinedRow,
    StatementHints,
    TradeBooking,
    TradePage,
    hookimpl,
)
from brokersync.store import PostgresStore, SqlStore

from .owners import connect, connection, tables
from .pages import WEEK, trade

(MANIFEST,) = parse_manifests(
    """
key = "paper"
display_name = "Paper"
contract = 1
environments = ["live"]
auth = ["none"]
licence = "Apache-2.0"
docs = "https://paper.example/docs"
support = "https://paper.example/help"
[[sources]]
name = "fills"
precedence = 1
files = true
""",
    "here",
)
PAGES = 2
OF = connection("gone")
Erase = Callable[[Any], Awaitable[Any]]


class Reader:
    """A file of some pages, the last of which says what all of them cover."""

    def recognises(self, head: bytes) -> bool:
        return True

    def source(self, file: BinaryIO, hints: StatementHints) -> str:
        return "fills"

    def read_statement(self, file: BinaryIO, hints: StatementHints) -> Iterator[TradePage]:
        for number in range(PAGES):
            raw = {"row": f"gone-{number}"}
            covered = (CoveredSpan(account_id="A", environment="live", window=WEEK),) if number == PAGES - 1 else ()
            strange = QuarantinedRow(reason="strange", raw={"odd": f"gone-odd-{number}"})
            one = TradeBooking.of(trade(f"gone-{number}", raw=raw))
            yield TradePage(bookings=(one,), covered=covered, quarantined=(strange,))


def again(source: str, kept: Any) -> Iterator[TradePage]:
    """A corrected plugin that understands no row any more."""
    for row in kept:
        yield TradePage(quarantined=(QuarantinedRow(reason="unknown", raw=row.raw),))


def registry() -> ProviderRegistry:
    spec = ProviderSpec(statements=lambda key: Reader(), renormalise=again)
    module = SimpleNamespace(brokersync_provider=hookimpl(lambda broker: spec), __name__="paper")
    made = ProviderRegistry()
    made.register(module, MANIFEST)  # type: ignore[arg-type]  # a namespace serves as well as a module
    return made


def over(store: Any) -> BrokerSync:
    return BrokerSync(store=store, registry=registry(), keys=None)  # type: ignore[arg-type]  # nothing is sealed


async def imported(store: Any, **facts: Any) -> SyncReport:
    return await over(store).import_statement("paper", io.BytesIO(b""), owner="gone", **facts)


async def forget(store: Any) -> None:
    await store.forget("gone")


async def erase(store: Any) -> None:
    await store.disconnect(OF, erase=True, at=SystemClock().now())


every_erasing = pytest.mark.parametrize("erasing", [forget, erase])


class Interrupting:
    """The store, with something done before or after one of its calls."""

    def __init__(self, store: SqlStore, at: int, what: Erase) -> None:
        self._store, self.left, self._what = store, at, what

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        async def call(*words: Any, **named: Any) -> Any:
            await self._step()
            result = await method(*words, **named)
            await self._step()
            return result

        return call

    async def _step(self) -> None:
        self.left -= 1
        if self.left == 0:
            await self._what(self._store)


async def whole(store: SqlStore) -> bool:
    """Whether all of the file is there, else that nothing of it is: no row, and no claim to have read any."""
    found = await tables(store)
    kept = {name: len(found[name]) for name in ("trades", "bookings", "raw_rows", "coverage", "quarantine")}
    if kept["coverage"]:
        assert kept == {"trades": PAGES, "bookings": PAGES, "raw_rows": PAGES, "coverage": 1, "quarantine": PAGES}
        return True
    assert set(kept.values()) == {0}, kept
    return False


@every_erasing
async def test_a_file_is_kept_whole_or_not_at_all_whenever_its_owners_history_is_erased(
    store: SqlStore, erasing: Erase
) -> None:
    ends = []
    for at in range(1, 100):
        await connect(store, OF, "A")
        interrupted = Interrupting(store, at, erasing)
        try:
            ends.append((await imported(interrupted)).added)
        except ErasedError as error:
            ends.append(error.remedy)
        if interrupted.left > 0:
            break
        assert await whole(store) is (at == 1), at
        if at > 1 and erasing is forget:
            assert "gone" not in str(await tables(store)), at
        await connect(store, OF, "A")
        await imported(store)
        assert await whole(store), "it can be imported again"
        await store.forget("gone")
    told = ErasedError("").remedy
    assert told
    assert ends == [PAGES, *[told] * (2 * PAGES + 4), PAGES, PAGES], "whole at first and last, else told of"


async def test_rows_are_read_again_only_until_they_are_erased(store: SqlStore) -> None:
    for at in range(1, 100):
        await connect(store, OF, "A")
        await imported(store)
        interrupted = Interrupting(store, at, forget)
        with suppress(ErasedError):
            await over(interrupted).renormalise("gone")
        if interrupted.left > 0:
            break
        assert "gone" not in str(await tables(store)), at
    assert at > 10


async def test_two_files_at_once_are_both_kept(store: SqlStore) -> None:
    reports = await asyncio.gather(*(imported(store) for _ in range(3)))
    # which of them adds which page is left to chance
    assert sum(one.added for one in reports) == PAGES
    assert await whole(store)


async def test_who_erases_elsewhere_or_only_ends_a_connection_disturbs_no_file(store: SqlStore) -> None:
    other, elsewhere, twin = connection("other"), connection("gone", 2, provider="else"), connection("gone", 3)
    for of in (OF, other, elsewhere, twin):
        await connect(store, of)

    async def end(_: Any) -> None:
        await store.forget("other")
        await store.disconnect(elsewhere, erase=True, at=SystemClock().now())
        await store.disconnect(twin, erase=False, at=SystemClock().now())

    assert (await imported(Interrupting(store, 6, end))).added == PAGES
    assert await whole(store)


async def test_a_file_broken_off_since_another_account_was_erased_says_what_stays_and_is_whole_when_repeated(
    store: SqlStore,
) -> None:
    twin = connection("gone", 2)
    await connect(store, OF, "A")
    await connect(store, twin, "B")

    async def end(_: Any) -> None:
        await store.disconnect(twin, erase=True, at=SystemClock().now())

    with pytest.raises(ErasedError) as raised:
        await imported(Interrupting(store, 6, end))
    assert "of accounts that were not erased stays" in raised.value.message
    assert raised.value.remedy.startswith("Repeat it")
    assert len((await tables(store))["trades"]) == 1
    await imported(store)
    assert await whole(store)


async def test_a_dry_run_begins_nothing(store: SqlStore) -> None:
    await imported(store, dry_run=True)
    found = await tables(store)
    assert not any(found[name] for name in ("leases", "trades", "sync_log"))


class Stopping:
    """A pool whose connections wait before the statement of this number, until they may go on."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self.left = 0
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()

    def stop_at(self, number: int) -> None:
        self.left = number
        self.reached.clear()
        self.go_on.clear()

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Any]:
        async with self._pool.acquire() as db:
            yield _Connection(self, db)

    async def step(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.reached.set()
            await self.go_on.wait()


class _Connection:
    def __init__(self, pool: Stopping, db: Any) -> None:
        self._pool, self._db = pool, db

    def __getattr__(self, name: str) -> Any:
        work = getattr(self._db, name)

        async def watched(*words: Any) -> Any:
            await self._pool.step()
            return await work(*words)

        return watched if name in ("execute", "executemany", "fetch") else work


@pytest.fixture
async def pool(postgres_url: str) -> AsyncIterator[Any]:
    async with asyncpg.create_pool(postgres_url, max_size=20) as made:
        yield made
        await made.execute("DROP SCHEMA IF EXISTS test_eras CASCADE")


async def _settled(pool: Any, *tasks: asyncio.Task[Any]) -> None:
    """Returns when one of them has come to its end, or waits for somebody else's lock."""
    waiting = (
        "SELECT count(*) FROM pg_locks JOIN pg_class ON pg_class.oid = relation"
        " JOIN pg_stat_activity USING (pid) WHERE wait_event_type = 'Lock' AND relnamespace = 'test_eras'::regnamespace"
    )
    async with asyncio.timeout(60):
        while not any(one.done() for one in tasks):
            if await pool.fetchval(waiting):
                return
            await asyncio.sleep(0.002)  # real time: the server alone knows


@every_erasing
@pytest.mark.parametrize("first", ["file", "erasing"])
async def test_on_postgres_a_file_is_kept_whole_or_not_at_all_at_every_statement_of_either(
    pool: Any, erasing: Erase, first: str
) -> None:
    slow = PostgresStore(pool=Stopping(pool), schema="test_eras")  # type: ignore[arg-type]  # it serves as a pool
    other = PostgresStore(pool=pool, schema="test_eras")
    await slow.open()
    await other.open()
    stopping, told = slow._given, 0
    for at in range(1, 1000):
        await connect(other, OF, "A")
        stopping.stop_at(at)
        one = asyncio.create_task(imported(slow) if first == "file" else erasing(slow))
        stopped = asyncio.create_task(stopping.reached.wait())
        await asyncio.wait((one, stopped), return_when=asyncio.FIRST_COMPLETED)
        if not stopped.done():
            stopped.cancel()
            await one
            break
        two = asyncio.create_task(erasing(other) if first == "file" else imported(other))
        await _settled(pool, two)
        stopping.go_on.set()
        ends = await asyncio.gather(one, two, return_exceptions=True)
        errors = [end for end in ends if isinstance(end, BaseException)]
        assert all(isinstance(error, ErasedError) for error in errors), (at, errors)
        told += len(errors)
        kept = await whole(other)
        assert not (kept and errors), at
        if not kept and erasing is forget:
            assert "gone" not in str(await tables(other)), at
        await other.forget("gone")
    assert at > 10
    assert told > 0 or first == "erasing", "who begins when it is erased may wait for the end"
