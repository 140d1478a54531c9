"""A worker says that it is alive while it syncs; a store that can not hear it for a while ends nothing too early."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from brokersync.errors import StoreError
from brokersync.events import SyncFailed, SyncRecorded
from brokersync.records import Done, Lease

from .broker import Desk, open_desk

LEASE = timedelta(seconds=15)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The beats go by the loop's time, and the end of the lease by the clock of the desk."""
    monkeypatch.setattr("brokersync.holding._BEATS_PER_LEASE", 3000)


class Beats:
    """Stands between a worker and its store: while a page is read, `away` meets each beat."""

    def __init__(self, desk: Desk, away: Callable[[int], Awaitable[None]]) -> None:
        self._extend, self._away = desk.bs._store.extend_lease, away
        self.reading, self.ended, self.heard = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.missed = 0
        desk.bs._store.extend_lease = self  # type: ignore[method-assign]  # the test stands between
        desk.broker.on_page = lambda _: self._read()

    async def __call__(self, lease: Lease, until: datetime) -> Lease | None:
        if self.reading.is_set():
            self.missed += 1
            await self._away(self.missed)
            self.heard.set()
        return await self._extend(lease, until)

    async def _read(self) -> None:
        self.reading.set()
        try:
            await self.heard.wait()
        finally:
            self.ended.set()


async def test_a_store_that_is_away_for_a_moment_is_asked_again_and_the_sync_ends_well(tmp_path: Path) -> None:
    desk = open_desk(tmp_path, lease=LEASE)

    async def away(number: int) -> None:
        if number <= 3:
            desk.clock.advance(seconds=4)
            raise StoreError("The database is restarting.")

    async with desk.bs:
        (name,) = await desk.connect("ann")
        beats = Beats(desk, away)
        assert isinstance(await asyncio.wait_for(desk.bs.run(name), 30), Done)
    assert beats.missed >= 4


async def test_a_sync_whose_lease_lapses_ends_with_what_the_store_said(tmp_path: Path) -> None:
    desk = open_desk(tmp_path, lease=LEASE)

    async def away(_: int) -> None:
        desk.clock.advance(seconds=6)
        raise StoreError("The database is restarting.", remedy="Wait for it.")

    async with desk.bs:
        (name,) = await desk.connect("ann")
        beats = Beats(desk, away)
        with pytest.raises(StoreError, match="is restarting") as caught:
            await asyncio.wait_for(desk.bs.run(name), 30)
        assert beats.ended.is_set(), "the broker is asked for nothing more"
        assert beats.missed == 3
        assert [event.message for event in desk.heard(SyncFailed)] == [caught.value.message]
        assert [event.outcome for event in desk.heard(SyncRecorded)] == ["failed"]
        del desk.bs._store.extend_lease
        desk.broker.on_page = lambda _: None
        desk.clock.advance(minutes=1)
        assert isinstance(await desk.bs.run(name), Done)


async def test_a_sync_that_is_cancelled_while_its_lease_lapses_is_cancelled(tmp_path: Path) -> None:
    desk = open_desk(tmp_path, lease=LEASE)
    ending = asyncio.Event()

    async def away(_: int) -> None:
        desk.clock.advance(minutes=1)
        raise StoreError("The database is restarting.")

    async def end_slowly() -> None:
        beats.reading.set()
        try:
            await asyncio.Event().wait()
        finally:
            ending.set()
            await asyncio.Event().wait()

    async with desk.bs:
        (name,) = await desk.connect("ann")
        beats = Beats(desk, away)
        desk.broker.on_page = lambda _: end_slowly()
        run = asyncio.create_task(desk.bs.run(name))
        await asyncio.wait_for(ending.wait(), 30)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(run, 30)
