"""A database that goes away in the middle of a sync: a clear error or a clean repeat, and it goes on afterwards."""

from __future__ import annotations

import asyncio
import base64
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from brokersync import BrokerSync
from brokersync.errors import StoreError
from brokersync.store.postgres import PostgresStore
from brokersync.testing.postgres_server import ScratchPostgres

from .stand import Stand, kept


@pytest.fixture(scope="module")
def server(own_postgres: Any) -> Iterator[ScratchPostgres]:
    with own_postgres(durable=True) as running:
        yield running


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKERSYNC_KEY", base64.b64encode(bytes(32)).decode())


class Crash:
    """Ends the server `wait` seconds after request number `moment` came, and starts it again."""

    def __init__(self, server: ScratchPostgres, moment: int, wait: float) -> None:
        self._server, self._moment, self._wait = server, moment, wait
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, request: int) -> None:
        if request == self._moment:
            self._task = asyncio.create_task(self._crash())

    async def _crash(self) -> None:
        # real time on purpose: the sync goes on meanwhile, to any statement of a transaction
        await asyncio.sleep(self._wait)
        await asyncio.to_thread(self._server.stop, "immediate")
        await asyncio.to_thread(self._server.start)

    async def over(self) -> bool:
        """Whether it came to it; the server runs again."""
        if self._task is not None:
            await self._task
        return self._task is not None


async def _sync(stand: Stand, place: str, connections: list[str]) -> bool:
    """Whether it came to its end; else it says why."""
    async with BrokerSync.open(place, settings=stand.settings, clock=stand.clock) as bs:
        found = await asyncio.gather(*(bs.run(one) for one in connections), return_exceptions=True)
    errors = [one for one in found if isinstance(one, BaseException)]
    assert all(isinstance(error, StoreError) and error.remedy for error in errors)
    return not errors


async def test_a_postgres_that_crashes_in_the_middle_of_a_sync_loses_nothing(
    server: ScratchPostgres, tmp_path: Path, sized: Callable[[str, int, int], int]
) -> None:
    rounds = sized("crashes of Postgres in the middle of a sync", 4, 40)
    stand = Stand("tradovate", tmp_path)
    async with stand.serving():
        place = str(tmp_path / "undisturbed.db")
        connections = await stand.connect(place)
        await stand.finish(place, connections)
        requests, wanted = stand.requests, await kept(place)
        crashed = 0
        for number in range(rounds):
            chance = random.Random(number)
            place = f"{server.url}&schema=crash_{number}"
            connections = await stand.connect(place)
            crash = Crash(server, chance.randint(1, requests // 2), chance.uniform(0, 0.02))
            stand.on_request = crash
            whole = await _sync(stand, place, connections)
            stand.on_request = None
            crashed += await crash.over()
            again = await stand.finish(place, connections)
            assert not (whole and again), "what ended without an error was whole"
            assert await kept(place) == wanted
    assert crashed >= rounds - 1


async def test_a_postgres_that_stays_away_is_a_clear_error_and_the_sync_goes_on_when_it_is_back(
    server: ScratchPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("brokersync.store.postgres._WAITS", (0.01, 0.02))
    stand = Stand("tradovate", tmp_path)
    async with stand.serving():
        place = f"{server.url}&schema=away"
        connections = await stand.connect(place)
        async with BrokerSync.open(PostgresStore(place), settings=stand.settings, clock=stand.clock) as bs:
            await asyncio.to_thread(server.stop, "immediate")
            with pytest.raises(StoreError, match="can not be reached") as caught:
                await bs.run(connections[0])
            assert "See that the server runs" in caught.value.remedy
            await asyncio.to_thread(server.start)
            outcome = await bs.run(connections[0])
            assert outcome.report.added > 0


@pytest.mark.parametrize("trouble", ["full", "locked", "read-only"])
async def test_a_file_that_can_not_be_written_is_a_clear_error_and_the_sync_goes_on_afterwards(
    tmp_path: Path, trouble: str, impatient: None
) -> None:
    stand = Stand("tradovate", tmp_path)
    async with stand.serving():
        undisturbed, place = str(tmp_path / "undisturbed.db"), str(tmp_path / "store.db")
        await stand.finish(undisturbed, await stand.connect(undisturbed))
        wanted = await kept(undisturbed)
        connections = await stand.connect(place)
        async with BrokerSync.open(place, settings=stand.settings, clock=stand.clock) as bs:
            await bs.run(connections[0])
            with closing(sqlite3.connect(place, isolation_level=None)) as other:
                await _make(bs, other, trouble)
                with pytest.raises(StoreError) as caught:
                    await bs.run(connections[1])
                assert caught.value.remedy
                assert _WORD[trouble] in caught.value.message
                await _undo(bs, other, trouble)
            outcome = await bs.run(connections[1])
            assert not outcome.report.problems
        assert await kept(place) == wanted


_WORD = {"full": "full", "locked": "busy", "read-only": "readonly"}


async def _make(bs: BrokerSync, other: sqlite3.Connection, trouble: str) -> None:
    if trouble == "locked":
        other.execute("BEGIN IMMEDIATE")
    elif trouble == "full":
        await _pragma(bs, "max_page_count = 1")  # which SQLite takes for: as many as there are
    else:
        await _pragma(bs, "query_only = on")


async def _undo(bs: BrokerSync, other: sqlite3.Connection, trouble: str) -> None:
    if trouble == "locked":
        other.execute("ROLLBACK")
    elif trouble == "full":
        await _pragma(bs, "max_page_count = 1000000")
    else:
        await _pragma(bs, "query_only = off")


async def _pragma(bs: BrokerSync, text: str) -> None:
    await bs._store._do(lambda db: db.execute(f"PRAGMA {text}").fetchall())
