"""Following the feed: each change once, in order, woken at once by this process and soon by others."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from brokersync import Change
from brokersync.clock import SystemClock
from brokersync.errors import FeedPositionError

from .broker import Desk, VirtualClock, open_desk


class StandingClock(VirtualClock):
    """In it no sleep ends, so that what goes on was woken; `sleepers` is released by each."""

    def __init__(self) -> None:
        super().__init__()
        self.sleepers = asyncio.Semaphore(0)

    async def sleep(self, seconds: float) -> None:
        self.sleepers.release()
        await asyncio.Event().wait()


class HeardClock(VirtualClock):
    """It tells of its third sleep; none takes any time."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []
        self.thrice = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if len(self.slept) == 3:
            self.thrice.set()
        await super().sleep(seconds)


async def take(desk: Desk, number: int, since: int = 0, owner: str = "alice") -> list[Change]:
    found: list[Change] = []
    async for change in desk.bs.follow(owner, since):
        found.append(change)
        if len(found) == number:
            break
    return found


async def test_what_is_there_comes_first_and_then_what_is_committed(tmp_path: Path) -> None:
    clock = StandingClock()
    desk = open_desk(tmp_path, clock=clock)
    async with desk.bs:
        first, second = await desk.connect("ann", "ben")
        await desk.bs.run(first)
        reader = asyncio.create_task(take(desk, 4))
        await asyncio.wait_for(clock.sleepers.acquire(), 10)
        assert not reader.done()
        await desk.bs.run(second)
        changes = await asyncio.wait_for(reader, 10)
        assert [change.key.account_id for change in changes] == ["a-ann", "a-ann", "a-ben", "a-ben"]
        assert [change.position for change in changes] == [1, 2, 3, 4]
        assert await desk.bs.changes("alice") == tuple(changes)


async def test_a_reader_goes_on_from_its_position(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    async with desk.bs:
        (name,) = await desk.connect("ann")
        await desk.bs.run(name)
        first, second = await take(desk, 2)
        assert await take(desk, 1, since=first.position) == [second]


async def test_a_commit_of_another_process_is_seen_by_looking(stores: Any) -> None:
    clock = HeardClock()
    desk = open_desk(stores.place, clock=clock)
    other = open_desk(stores.place, broker=desk.broker, clock=clock)
    async with desk.bs, other.bs:
        (name,) = await desk.connect("ann")
        reader = asyncio.create_task(take(desk, 2))
        await clock.thrice.wait()
        await other.bs.run(name)
        assert len(await asyncio.wait_for(reader, 10)) == 2


async def test_how_often_it_looks_is_a_setting(tmp_path: Path) -> None:
    clock = HeardClock()
    desk = open_desk(tmp_path, clock=clock, feed_poll=timedelta(seconds=7))
    async with desk.bs:
        reader = asyncio.create_task(take(desk, 1))
        await clock.thrice.wait()
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
    assert set(clock.slept) == {7}


async def test_owners_hear_their_own_changes_only(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    async with desk.bs:
        (hers,) = await desk.connect("ann", owner="alice")
        (his,) = await desk.connect("ben", owner="bob")
        await desk.bs.run(hers)
        await desk.bs.run(his)
        assert {change.key.account_id for change in await take(desk, 2, owner="bob")} == {"a-ben"}


async def test_it_ends_when_brokersync_closes(tmp_path: Path) -> None:
    clock = StandingClock()
    desk = open_desk(tmp_path, clock=clock)
    async with desk.bs:
        readers = [asyncio.create_task(take(desk, 99)) for _ in range(5)]
        for _ in readers:
            await asyncio.wait_for(clock.sleepers.acquire(), 10)
    assert await asyncio.wait_for(asyncio.gather(*readers), 10) == [[]] * 5
    assert [change async for change in desk.bs.follow("alice")] == []


async def test_many_readers_and_writers_miss_and_repeat_nothing(stores: Any) -> None:
    desk = open_desk(stores.place, clock=StandingClock())
    desk.broker.pages = 3
    async with desk.bs:
        names = await desk.connect(*(f"user {one}" for one in range(8)))
        readers = [asyncio.create_task(take(desk, 8 * 6)) for _ in range(5)]
        await asyncio.gather(*(desk.bs.run(name) for name in names))
        found = await asyncio.wait_for(asyncio.gather(*readers), 30)
        assert all([one.position for one in changes] == list(range(1, 49)) for changes in found)


async def test_a_position_that_is_not_kept_any_more_is_told(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    async with desk.bs:
        (name,) = await desk.connect("ann")
        await desk.bs.run(name)
        desk.clock.advance(days=10_000)
        await desk.bs.prune()
        with pytest.raises(FeedPositionError):
            await asyncio.wait_for(take(desk, 1), 30)


async def test_with_the_real_clock_it_wakes_too(tmp_path: Path) -> None:
    desk = open_desk(tmp_path, clock=SystemClock())  # type: ignore[arg-type]  # the desk never moves its clock here
    async with desk.bs:
        (name,) = await desk.connect("ann")
        reader = asyncio.create_task(take(desk, 2))
        await desk.bs.run(name)
        assert len(await asyncio.wait_for(reader, 10)) == 2
