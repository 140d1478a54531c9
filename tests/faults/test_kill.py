"""Workers that are killed, or stopped for too long, lose nothing and double nothing, whenever it happens."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import random
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from brokersync.store.schema import TABLES
from brokersync.store.sql import Fetch, Script
from brokersync_ibkr import orders

from .moved_clock import MovedClock
from .stand import Stand, kept

# what a worker writes for itself, and not for the connection that it has lost
_ITS_OWN = {"leases", "sync_log", "reference_data"}


@pytest.fixture(params=["ibkr", "tradovate"])
async def stand(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Stand]:
    monkeypatch.setenv("BROKERSYNC_KEY", base64.b64encode(bytes(32)).decode())
    monkeypatch.setattr(orders, "_WAITS", (0.1,))  # as the workers do
    made = Stand(request.param, tmp_path, MovedClock.to_noon())
    async with made.serving():
        yield made


async def test_two_workers_killed_at_any_moment_end_like_undisturbed_ones(
    stand: Stand, stores: Any, database: object, sized: Callable[[str, int, int], int]
) -> None:
    where = "Postgres" if database else "SQLite"
    rounds = sized(f"kill -9 of two workers on the same connections of {stand.key}, {where}", 10, 100)
    wanted, requests = await _undisturbed(stand, stores)
    killed = 0
    for number in range(rounds):
        chance = random.Random(number)
        place = stores.new().place
        connections = await stand.connect(place)
        workers = [await stand.start(place, connections) for _ in range(2)]
        victims = chance.choice([workers[:1], workers[1:], workers])
        # counted in requests, since how long they take is the machine's affair; two workers need no fewer than one
        await _kill(stand, victims, chance.randint(1, max(requests * 7 // 10, 1)), chance.uniform(0, 0.05))
        codes = [await _end(worker) for worker in workers]
        killed += -signal.SIGKILL in codes
        assert set(codes) <= {0, -signal.SIGKILL}, "a worker that was left alone ends by itself"
        again = await stand.finish(place, connections)
        assert again == 0 or 0 not in codes, "a worker that was left alone has finished the work of both"
        assert await kept(place) == wanted
    assert killed >= rounds // 2, "hardly ever was a worker killed before it was done"


async def _undisturbed(stand: Stand, stores: Any) -> tuple[Any, int]:
    """What must be there in the end, and how many requests it takes."""
    place = stores.place
    connections = await stand.connect(place)
    await stand.finish(place, connections)
    wanted = await kept(place)
    assert len(wanted) > 50
    return wanted, stand.requests


async def _kill(stand: Stand, victims: list[Process], request: int, delay: float) -> None:
    reached = asyncio.Event()

    async def tell(number: int) -> None:
        if number >= request:
            reached.set()

    stand.on_request = tell
    await asyncio.wait_for(reached.wait(), 120)
    # real time on purpose: the workers are in processes of their own
    await asyncio.sleep(delay)
    stand.on_request = None
    for victim in victims:
        with contextlib.suppress(ProcessLookupError):
            victim.send_signal(signal.SIGKILL)


async def _end(worker: Process) -> int:
    await worker.communicate()
    assert worker.returncode is not None
    return worker.returncode


async def test_nothing_of_a_worker_that_lost_its_lease_is_ever_committed(
    stand: Stand, stores: Any, database: object, sized: Callable[[str, int, int], int]
) -> None:
    where = "Postgres" if database else "SQLite"
    rounds = sized(f"workers of {stand.key} stopped past their lease, {where}", 3, 30)
    wanted, _ = await _undisturbed(stand, stores)
    refused = 0
    for number in range(rounds):
        place = stores.new().place
        connections = (await stand.connect(place))[:1]
        stopped = await stand.start(place, connections, stop_at=1 + number % 2)
        assert stopped.stdout is not None
        line = await stopped.stdout.readline()
        if line != b"stopping\n":  # there were fewer pages than that
            assert await _end(stopped) == 0
            continue
        assert await _end(await stand.start(place, connections)) == 0, "another worker takes over and ends the work"
        before = await _everything(stores)
        stopped.send_signal(signal.SIGCONT)
        said, _ = await stopped.communicate()
        assert (said, stopped.returncode) == (b"refused 1\n", 0)
        refused += 1
        assert await _everything(stores) == before
        trades = await kept(place)
        assert trades
        assert all(wanted[name] == trade for name, trade in trades.items())
    assert refused >= rounds // 2


async def _everything(stores: Any) -> dict[str, list[Any]]:
    store = await stores.open()

    def read() -> Script[dict[str, list[Any]]]:
        found = {}
        for table in TABLES:
            if table.name not in _ITS_OWN:
                found[table.name] = sorted(map(repr, (yield Fetch(f"SELECT * FROM {table.name}"))))
        return found

    return await store._read(read)
