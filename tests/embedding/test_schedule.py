"""When a connection is due, in which order, and that running what is due harms nobody."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from brokersync import BrokerAPIError, BrokerAuthError, BrokerConfigError
from brokersync.events import SyncRecorded
from brokersync.plugin import BrokerError, BrokerNotReadyError
from brokersync.records import Deferred, Done

from .broker import KEY, Desk, a_bug, open_desk

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


async def due(desk: Desk, owner: str | None = None) -> list[str]:
    return [one.identity for one in await desk.bs.due(owner)]


async def test_a_new_connection_is_due_and_a_synced_one_after_the_time_that_is_set(stores: Any) -> None:
    desk = open_desk(stores.place, sync_every=2 * HOUR)
    async with desk.bs:
        (name,) = await desk.connect("ann")
        assert await due(desk) == ["ann"]
        assert isinstance((await desk.bs.run_due())[name], Done)
        assert (await desk.bs.connection(name)).next_at == desk.clock.now() + 2 * HOUR
        assert await due(desk) == []
        desk.clock.advance(hours=2)
        assert await due(desk) == ["ann"]


async def test_a_connection_that_was_synced_by_a_clock_that_was_ahead_is_due_when_it_is_right_again(
    stores: Any,
) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        [name] = await desk.connect("ann")
        await desk.bs.run_due()
        desk.clock.advance(days=20)
        await desk.bs.run_due()
        desk.clock.advance(days=-20)
        assert [one.connection_id for one in await desk.bs.due()] == [name]
        await desk.bs.run_due()
        assert await desk.bs.due() == ()


async def test_a_connection_that_was_made_by_a_clock_ahead_is_read_as_one_that_was_made_now(stores: Any) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        desk.clock.advance(days=30)
        [name] = await desk.connect("ann")
        desk.clock.advance(days=-30)
        await desk.bs.run(name)
        assert (await desk.bs.connection(name)).created_at == desk.clock.now()
        [[first, *_]] = (await desk.bs.coverage("alice", KEY, "fills")).values()
        assert first.window.start.date() == (desk.clock.now() - timedelta(days=10)).date()


async def test_a_run_of_some_sources_puts_the_others_off_no_further(stores: Any) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        [name] = await desk.connect("ann")
        await desk.bs.run_due()
        due = (await desk.bs.connection(name)).next_at
        for _ in range(3):
            desk.clock.advance(hours=1)
            await desk.bs.run(name, sources=["fills"])
        assert (await desk.bs.connection(name)).next_at == due
        await desk.bs.run(name)
        assert (await desk.bs.connection(name)).next_at == due + 3 * HOUR


async def test_a_deferred_sync_is_due_when_the_broker_said(stores: Any) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        (name,) = await desk.connect("ann")
        desk.broker.failing = lambda _: BrokerNotReadyError("Not yet.", retry_after=17 * MINUTE)
        outcome = (await desk.bs.run_due())[name]
        assert isinstance(outcome, Deferred)
        assert (await desk.bs.connection(name)).next_at == outcome.until == desk.clock.now() + 17 * MINUTE


@pytest.mark.long_on_postgres
async def test_what_the_broker_refuses_is_not_hammered(stores: Any) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        await desk.connect("ann")
        desk.broker.failing = lambda _: BrokerAPIError("No.")
        for _ in range(24 * 60):
            await desk.bs.run_due()
            desk.clock.advance(minutes=1)
        assert len(desk.heard(SyncRecorded)) == 4


async def test_history_that_vanishes_is_read_before_it_does_and_before_the_rest(stores: Any) -> None:
    desk = open_desk(stores.place, retention="limited")
    async with desk.bs:
        first, second = await desk.connect("ann", "ben")
        await desk.bs.run_due()
        store = desk.bs._store
        now = desk.clock.now() + 6 * HOUR
        await store.change_connection(second, deadline=now + 10 * MINUTE)
        desk.clock.advance(hours=6)
        assert await due(desk) == ["ben", "ann"]
        await store.change_connection(first, deadline=now + 2 * MINUTE)
        await store.change_connection(second, deadline=now + 29 * MINUTE)
        assert await due(desk) == ["ann", "ben"]


@pytest.mark.long_on_postgres
async def test_the_deadline_of_what_a_source_forgets_is_kept_on_the_connection(stores: Any) -> None:
    desk = open_desk(stores.place, retention="session")
    async with desk.bs:
        (name,) = await desk.connect("ann")
        await desk.bs.run_due()
        known = await desk.bs.connection(name)
        midnight = desk.clock.now().replace(hour=0) + timedelta(days=1)
        assert known.deadline == midnight
        runs = 0
        while desk.clock.now() < midnight:
            runs += len(await desk.bs.run_due())
            desk.clock.advance(minutes=1)
        last = [event.report.started_at for event in desk.heard(SyncRecorded)][-1]
        # every six hours, half an hour before the session's end, and once more three minutes before it
        assert runs == 4
        assert last == midnight - 3 * MINUTE


async def test_each_owner_is_run_alone_where_that_is_asked(stores: Any) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        await desk.connect("ann", owner="alice")
        await desk.connect("ben", owner="bob")
        assert await due(desk, "bob") == ["ben"]
        assert len(await desk.bs.run_due("bob")) == 1
        assert await due(desk) == ["ann"]


async def test_one_connections_failure_keeps_no_other_from_being_run(stores: Any) -> None:
    desk = open_desk(stores.place)

    def refused(user: str) -> BrokerError | None:
        return BrokerAuthError("The password was changed.") if user == "ben" else None

    async with desk.bs:
        names = await desk.connect("ann", "ben", "cid", "dot")
        desk.broker.failing = refused

        with a_bug(of=names[2]):
            ends = await desk.bs.run_due(concurrency=2)
        assert [type(ends[name]) for name in names] == [Done, BrokerAuthError, RuntimeError, Done]


async def test_no_more_than_the_given_number_run_at_a_time(stores: Any) -> None:
    desk = open_desk(stores.place)
    running, most = 0, 0
    three = asyncio.Barrier(3)

    async def count() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await three.wait()
        running -= 1

    async with desk.bs:
        await desk.connect(*(f"user {one}" for one in range(12)))
        desk.broker.on_page = lambda _: count()
        await desk.bs.run_due(concurrency=3)
        assert most == 3


async def test_workers_that_share_a_store_run_each_connection_once(stores: Any) -> None:
    first = open_desk(stores.place)
    second = open_desk(stores.place, broker=first.broker, clock=first.clock)
    async with first.bs, second.bs:
        names = await first.connect(*(f"user {one}" for one in range(12)))
        ends = await asyncio.gather(first.bs.run_due(), second.bs.run_due())
        done = [name for one in ends for name, end in one.items() if isinstance(end, Done)]
        assert sorted(done) == sorted(names)
        assert sorted(first.broker.asked) == sorted(f"user {one}" for one in range(12))


async def test_what_is_old_is_pruned_once_an_hour_by_one_of_all_processes(
    stores: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = open_desk(stores.place)
    second = open_desk(stores.place, clock=first.clock)
    async with first.bs, second.bs:
        pruned: list[object] = []

        async def prune(now: object, _: object) -> None:
            pruned.append(now)

        for desk in (first, second):
            monkeypatch.setattr(desk.bs._store, "prune", prune)
        for _ in range(3 * 60):
            await asyncio.gather(first.bs.run_due(), second.bs.run_due())
            first.clock.advance(minutes=1)
        assert len(pruned) == 3


async def test_run_due_leaves_alone_what_is_running_here(stores: Any) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        (name,) = await desk.connect("ann")
        inside: list[object] = []

        async def meanwhile() -> None:
            inside.append(await desk.bs.run_due())

        desk.broker.on_page = lambda _: meanwhile()
        assert isinstance(await desk.bs.run(name), Done)
        assert inside == [{}]


async def test_cancelling_ends_a_sync_at_the_next_page_and_keeps_what_was_read(stores: Any) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        (name,) = await desk.connect("ann")
        desk.broker.pages = 5
        desk.broker.on_page = lambda number: desk.bs.cancel(name) if number == 2 else None
        outcome = await desk.bs.run(name)
        assert isinstance(outcome, Deferred)
        assert outcome.reason == "The sync was cancelled."
        assert outcome.report.pages == len(desk.broker.asked) == 3
        assert desk.bs.cancel(name) is False
        desk.broker.on_page = lambda _: None
        assert isinstance(await desk.bs.run(name), Done)
        assert len([trade async for trade in desk.bs.trades("alice")]) == 10


@pytest.mark.parametrize("page", range(3))
async def test_a_cancelled_task_leaves_nothing_that_the_next_run_can_not_mend(stores: Any, page: int) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        (name,) = await desk.connect("ann")
        desk.broker.pages = 3
        task = asyncio.create_task(desk.bs.run(name))
        desk.broker.on_page = lambda number: task.cancel() if number == page else None
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [event.outcome for event in desk.heard(SyncRecorded)] == ["cancelled"]
        desk.broker.on_page = lambda _: None
        assert isinstance(await desk.bs.run(name), Done)
        assert len([trade async for trade in desk.bs.trades("alice")]) == 6


@pytest.mark.parametrize("places", [0, -1])
async def test_running_none_at_a_time_is_refused_and_not_waited_for(stores: Any, places: int) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        await desk.connect("ann")
        with pytest.raises(BrokerConfigError, match="concurrency"):
            await asyncio.wait_for(desk.bs.run_due(concurrency=places), 5)


async def test_a_time_without_a_zone_is_refused_before_the_broker_is_asked(stores: Any) -> None:
    desk, naive = open_desk(stores.place), datetime(2030, 1, 1)
    async with desk.bs:
        with pytest.raises(BrokerConfigError, match="zone"):
            await desk.bs.connect("toy", owner="alice", fields={"user": "ann"}, since=naive)
        assert desk.broker.logins == []
        (name,) = await desk.connect("ann")
        with pytest.raises(BrokerConfigError, match="zone"):
            await desk.bs.run(name, again_from=naive)
