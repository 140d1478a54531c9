"""Workers of a backend: they sync what is due and what is asked for, and stop without a loss."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import asynccontextmanager, closing, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from brokersync import BrokerAuthError, BrokerConfigError, BrokerSync, ConnectionState
from brokersync.config import QueueSettings
from brokersync.errors import ClosedError, StoreError
from brokersync.events import JobsCounted, JobStuck, SyncDeferred, SyncRecorded
from brokersync.jobs import JobCounts
from brokersync.plugin import BrokerNotReadyError
from brokersync.queue import worker as worker_module
from brokersync.queue.planner import job_of
from brokersync.store import TradeFilter

from .broker import MANIFEST, Broker, Desk, a_bug, open_desk

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
QUICK = QueueSettings(look_every=timedelta(milliseconds=5), plan_every=timedelta(milliseconds=10))
_ONE_AN_HOUR = '\n[[limits]]\nscope = "app"\namount = 1\nperiod = "1h"\n'
LIMITED = MANIFEST.replace("[[sources]]", f"{_ONE_AN_HOUR}\n[[sources]]")


def open_it(stores: Any, broker: Broker | None = None, **settings: Any) -> Desk:
    return open_desk(stores.place, broker, **({"queue": QUICK} | settings))


@asynccontextmanager
async def working(desk: Desk, **options: Any) -> Any:
    """A worker that runs meanwhile, and has stopped afterwards."""
    worker = desk.bs.worker(**options)
    running = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        worker.stop()
        with suppress(ClosedError):
            await asyncio.wait_for(running, 30)


async def until(true: Callable[[], Any]) -> None:
    """Returns when it is; the worker is another task, and says nothing to this one."""
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110  there is no event for whatever a test looks at
            await asyncio.sleep(0.002)


def recorded(desk: Desk) -> list[str]:
    return [one.outcome for one in desk.heard(SyncRecorded)]


async def idle(bs: BrokerSync) -> None:
    """Returns when no job may begin and none runs."""
    async with asyncio.timeout(30):
        while (counts := await bs.job_counts()).ready or counts.running:  # noqa: ASYNC110  as above
            await asyncio.sleep(0.002)


async def test_a_worker_syncs_what_is_due_and_leaves_nothing_behind(stores: Any) -> None:
    desk = open_it(stores)
    async with desk.bs:
        tasks = asyncio.all_tasks()
        names = await desk.connect("ann", "ben", "cid")
        async with working(desk) as worker:
            await until(lambda: len(recorded(desk)) == 3)
            await idle(desk.bs)
        assert worker.outcomes == {"done": 3}
        assert sorted(desk.broker.asked) == ["ann", "ben", "cid"]
        assert all([(await desk.bs.connection(name)).last_synced_at for name in names])
        assert await desk.bs.job_counts() == JobCounts()
        assert asyncio.all_tasks() == tasks


async def test_what_somebody_asks_for_is_synced_though_it_is_not_due(stores: Any) -> None:
    desk = open_it(stores)
    async with desk.bs:
        first, _ = await desk.connect("ann", "ben")
        await desk.bs.run_due()
        async with working(desk):
            await desk.bs.sync_now(first, owner="alice")
            await desk.bs.sync_now(first)
            await until(lambda: len(recorded(desk)) == 3)
            await idle(desk.bs)
        assert sorted(desk.broker.asked) == ["ann", "ann", "ben"]


async def test_another_owners_connection_can_not_be_asked_for_and_a_paused_one_neither(stores: Any) -> None:
    desk = open_it(stores)
    async with desk.bs:
        (name,) = await desk.connect("ann")
        with pytest.raises(BrokerConfigError):
            await desk.bs.sync_now(name, owner="bob")
        await desk.bs.pause(name)
        with pytest.raises(BrokerConfigError, match="paused"):
            await desk.bs.sync_now(name)
        assert (await desk.bs.job_counts()).ready == 0


async def test_the_job_of_a_connection_that_is_paused_or_ended_meanwhile_is_dropped(stores: Any) -> None:
    desk = open_it(stores)
    async with desk.bs:
        paused, ended = await desk.connect("ann", "ben")
        for name in (paused, ended):
            await desk.bs.sync_now(name)
        await desk.bs.pause(paused)
        await desk.bs.disconnect(ended)
        assert (await desk.bs.job_counts()).ready == 1
        async with working(desk):
            await idle(desk.bs)
        assert recorded(desk) == []
        assert await desk.bs.job_counts() == JobCounts()


async def test_a_deferred_sync_goes_on_when_the_broker_said_and_holds_no_place_till_then(stores: Any) -> None:
    desk = open_it(stores)
    async with desk.bs:
        await desk.connect("ann")
        desk.broker.failing = lambda _: BrokerNotReadyError("Not yet.", retry_after=17 * MINUTE)
        async with working(desk, concurrency=1):
            await until(lambda: recorded(desk) == ["deferred"])
            await idle(desk.bs)
            assert (await desk.bs.job_counts()).later == 1
            desk.broker.failing = lambda _: None
            # before the time goes on: what is due is looked for once in a while of the clock's time
            await desk.connect("ben")
            desk.clock.advance(minutes=16, seconds=59)
            await until(lambda: len(recorded(desk)) == 2)
            assert desk.broker.asked == ["ann", "ben"]
            desk.clock.advance(seconds=1)
            await until(lambda: len(recorded(desk)) == 3)
        assert desk.broker.asked == ["ann", "ben", "ann"]


async def test_a_limit_of_all_connections_has_the_others_wait_without_a_try_each(stores: Any) -> None:
    desk = open_it(stores, manifest=LIMITED)
    async with desk.bs:
        await desk.connect("ann", "ben", "cid", "dot")
        async with working(desk, concurrency=1):
            for hours in range(1, 5):
                await until(lambda hours=hours: recorded(desk).count("done") == hours)
                desk.clock.advance(hours=1)
        assert sorted(desk.broker.asked) == ["ann", "ben", "cid", "dot"]
        assert len(desk.heard(SyncDeferred)) <= 3


async def test_a_sync_that_fails_is_done_with_until_its_connection_is_due_again(stores: Any) -> None:
    desk = open_it(stores)
    async with desk.bs:
        (name,) = await desk.connect("ann")
        desk.broker.failing = lambda _: BrokerAuthError("The password was changed.")
        async with working(desk) as worker:
            await until(lambda: recorded(desk))
            await idle(desk.bs)
            desk.clock.advance(seconds=30)
            await asyncio.sleep(0.05)  # several plans
        assert worker.outcomes == {"failed": 1}
        assert (await desk.bs.connection(name)).state is ConnectionState.NEEDS_USER
        assert await desk.bs.job_counts() == JobCounts()


async def test_a_bug_is_not_met_again_at_once(stores: Any) -> None:
    desk = open_it(stores)
    async with desk.bs:
        (name,) = await desk.connect("ann")
        with a_bug():
            async with working(desk):
                await until(lambda: recorded(desk))
                await idle(desk.bs)
                assert (await desk.bs.connection(name)).next_at == desk.clock.now() + HOUR
                desk.clock.advance(minutes=59)
                await asyncio.sleep(0.05)  # several plans
        assert recorded(desk) == ["failed"]


async def test_stopping_has_a_sync_end_at_its_page_and_another_worker_goes_on(stores: Any) -> None:
    desk = open_it(stores, Broker(pages=3, trades=5))
    other = open_desk(stores.place, desk.broker, desk.clock, queue=QUICK)
    read, go_on = asyncio.Event(), asyncio.Event()

    async def at_the_second_page(number: int) -> None:
        if number == 1 and not go_on.is_set():
            read.set()
            await go_on.wait()

    async with desk.bs, other.bs:
        (name,) = await desk.connect("ann")
        desk.broker.on_page = at_the_second_page
        async with working(desk, stop_within=MINUTE) as worker:
            await read.wait()
            worker.stop()
            go_on.set()
        assert recorded(desk) == ["deferred"]
        assert (await desk.bs.connection(name)).next_at == desk.clock.now(), "it is due for whoever comes"
        async with working(other):
            await until(lambda: recorded(other) == ["done"])
        trades = [one.trade_id async for one in other.bs.trades("alice", TradeFilter())]
        assert len(trades) == len(set(trades)) == 15
        assert [change.kind for change in await other.bs.changes("alice", 0, 100)] == ["added"] * 15


async def test_what_does_not_end_in_time_is_ended_where_it_is_and_is_free_at_once(stores: Any) -> None:
    desk = open_it(stores)
    other = open_desk(stores.place, desk.broker, desk.clock, queue=QUICK)
    hanging = asyncio.Event()

    async def hang(_: int) -> None:
        hanging.set()
        await asyncio.Event().wait()

    async with desk.bs, other.bs:
        await desk.connect("ann")
        desk.broker.on_page = hang
        async with working(desk, stop_within=timedelta(milliseconds=20)):
            await hanging.wait()
        assert recorded(desk) == ["cancelled"]
        assert (await other.bs.job_counts()).ready == 1
        desk.broker.on_page = lambda _: None
        async with working(other):
            await until(lambda: recorded(other) == ["done"])


async def test_a_sync_that_shows_no_sign_of_life_is_ended_and_left_to_another_worker(stores: Any) -> None:
    stuck_soon = attrs.evolve(QUICK, stuck_after=timedelta(milliseconds=50))
    desk = open_it(stores, queue=stuck_soon, long_wait=timedelta(0), page_wait=timedelta(0))
    other = open_desk(stores.place, Broker(), desk.clock, queue=QUICK)
    desk.broker.on_page = lambda _: asyncio.Event().wait()
    async with desk.bs, other.bs:
        await desk.connect("ann")
        async with working(desk):
            await until(lambda: desk.heard(JobStuck))
            async with working(other):
                await until(lambda: recorded(other) == ["done"])
        assert recorded(desk) == ["cancelled"]
        assert desk.heard(JobStuck)[0].silent_for == timedelta(milliseconds=50)


async def test_a_worker_tells_how_many_jobs_wait_and_for_how_long(stores: Any) -> None:
    desk = open_it(stores)
    async with desk.bs:
        for user in ("ann", "bob"):
            await desk.connect(user)
        await desk.bs._engine.submit(*(job_of(one, desk.clock.now()) for one in await desk.bs.connections()))
        desk.clock.advance(minutes=3)
        desk.broker.on_page = lambda _: asyncio.Event().wait()
        async with working(desk, concurrency=1, stop_within=timedelta(milliseconds=1)):
            await until(lambda: desk.heard(JobsCounted))
        told = desk.heard(JobsCounted)[0]
        assert (told.ready + told.running, told.later, told.oldest) == (2, 0, timedelta(minutes=3))


async def test_closing_ends_a_worker_and_gives_its_jobs_back(stores: Any) -> None:
    desk = open_it(stores)
    other = open_desk(stores.place, Broker(), desk.clock, queue=QUICK)
    hanging = asyncio.Event()

    async def hang(_: int) -> None:
        hanging.set()
        await asyncio.Event().wait()

    desk.broker.on_page = hang
    async with other.bs:
        async with desk.bs:
            await desk.connect("ann")
            running = asyncio.create_task(desk.bs.worker().run())
            await hanging.wait()
        with pytest.raises(ClosedError):
            await running
        assert (await other.bs.job_counts()).ready == 1


async def test_a_worker_tells_whether_it_is_ready(stores: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = open_it(stores)
    async with desk.bs:
        worker = desk.bs.worker()
        assert await worker.trouble() == "The worker does not run."
        async with working(desk) as worker:
            await asyncio.sleep(0)
            await until(lambda: worker._works)
            assert await worker.trouble() is None

            async def away() -> int:
                raise StoreError("The store is away.")

            monkeypatch.setattr(desk.bs._store, "layout", away)
            assert await worker.trouble() == "The store is away."
            worker.stop()
            assert await worker.trouble() == "The worker is stopping."


async def test_a_worker_whose_store_lets_nobody_write_says_so_and_stops_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "_STORE_ANSWERS_WITHIN", 0.05)
    monkeypatch.setattr(worker_module, "_LETS_GO_WITHIN", 0.05)
    desk, hanging = open_desk(tmp_path, queue=QUICK), asyncio.Event()

    async def hang(_: int) -> None:
        hanging.set()
        await asyncio.Event().wait()

    desk.broker.on_page = hang
    async with asyncio.timeout(15):  # SQLite itself would wait for thirty seconds, for each of several writes
        with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as other:
            async with desk.bs:
                await desk.connect("ann")
                async with working(desk, stop_within=timedelta(0)) as worker:
                    await hanging.wait()
                    other.execute("BEGIN IMMEDIATE")
                    assert await worker.trouble() == "The store has not answered for 0 seconds."
    async with open_desk(tmp_path, Broker(), desk.clock, queue=QUICK).bs as bs:
        assert (await bs.job_counts()).running == 1, "it is free when its hold has ended"


async def test_several_workers_sync_each_connection_once(stores: Any) -> None:
    desk = open_it(stores)
    other = open_desk(stores.place, desk.broker, desk.clock, queue=QUICK)
    async with desk.bs, other.bs:
        names = await desk.connect(*(f"user {number:02}" for number in range(12)))
        async with working(desk, concurrency=3), working(other, concurrency=3):
            await until(lambda: len(recorded(desk)) + len(recorded(other)) >= len(names))
            await idle(desk.bs)
        assert recorded(desk) + recorded(other) == ["done"] * len(names)
        assert sorted(desk.broker.asked) == [f"user {number:02}" for number in range(12)]


async def test_a_job_tells_its_position_and_when_it_is_expected(stores: Any) -> None:
    desk = open_it(stores)
    async with desk.bs:
        mine, other = await desk.connect("ann", "ben")
        await desk.connect("cid", owner="bob")
        await desk.bs.run_due()
        desk.clock.advance(minutes=1)
        await desk.bs.sync_now(mine)
        desk.clock.advance(seconds=1)
        await desk.bs.sync_now(other)
        places = {one.job.connection_id: one for one in await desk.bs.job_places("alice")}
        assert (places[mine].position, places[other].position) == (1, 2)
        # three syncs have ended in the last ten minutes
        assert places[other].expected_at == desk.clock.now() + 2 * timedelta(minutes=10) / 3
        assert places[mine].job.asked
        assert await desk.bs.job_places("bob") == ()


async def test_a_job_that_waits_or_runs_tells_so(stores: Any) -> None:
    desk = open_it(stores)
    hanging = asyncio.Event()

    async def hang(_: int) -> None:
        hanging.set()
        await asyncio.Event().wait()

    async with desk.bs:
        await desk.connect("ann")
        desk.broker.failing = lambda _: BrokerNotReadyError("Not yet.", retry_after=MINUTE)
        async with working(desk, stop_within=timedelta(0)):
            await until(lambda: recorded(desk))
            await idle(desk.bs)
            (place,) = await desk.bs.job_places("alice")
            assert (place.position, place.expected_at) == (0, desk.clock.now() + MINUTE)
            desk.broker.failing = lambda _: None
            desk.broker.on_page = hang
            desk.clock.advance(minutes=1)
            await hanging.wait()
            (place,) = await desk.bs.job_places("alice")
            assert (place.running, place.expected_at) == (True, None)
