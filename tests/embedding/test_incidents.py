"""A broker that is away for hours is one incident, however many connections it has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from brokersync.config import RetrySettings
from brokersync.events import ConnectionNeedsUser, IncidentClosed, IncidentOpened, SyncRecorded
from brokersync.plugin import BrokerError, BrokerTokenExpiredError, BrokerUnavailableError
from brokersync.records import ConnectionState, Deferred, Done

from .broker import MANIFEST, Desk, open_desk

HOUR = timedelta(hours=1)


def away(_: str) -> BrokerError:
    return BrokerUnavailableError("The broker fails on its side.", status=503)


def well(_: str) -> None:
    return None


async def fail_all(desk: Desk) -> None:
    desk.broker.failing = away
    desk.clock.advance(hours=7)
    await desk.bs.run_due()


async def live(desk: Desk, hours: float) -> int:
    """A minute after the other, as a loop in a backend would; the number of syncs that asked the broker."""
    asked, end = 0, desk.clock.now() + timedelta(hours=hours)
    while desk.clock.now() < end:
        asked += len(await desk.bs.run_due())
        desk.clock.advance(minutes=1)
    return asked


def bytes_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


async def states(desk: Desk) -> set[ConnectionState]:
    return {one.state for one in await desk.bs.connections()}


@pytest.mark.long_on_postgres
async def test_a_broker_away_for_six_hours_is_one_incident_for_all_connections(
    stores: Any, sized: Callable[[str, int, int], int]
) -> None:
    number = sized("connections of a broker that is away for six hours", 60, 1000)
    desk = open_desk(stores.place, retry=RetrySettings(attempts=2))
    async with desk.bs:
        await desk.connect(*(f"user {one}" for one in range(number)))
        assert all(isinstance(end, Done) for end in (await desk.bs.run_due()).values())
        desk.broker.failing = away
        desk.clock.advance(hours=7)
        desk.broker.asked.clear()
        runs = await live(desk, hours=6)
        assert await states(desk) == {ConnectionState.ACTIVE}
        assert not any(one.refusals for one in await desk.bs.connections())
        (opened,) = desk.heard(IncidentOpened)
        (incident,) = await desk.bs.incidents(open_only=True)
        assert (opened.provider, opened.connection_id, incident.probes > 0) == ("toy", "", True)
        # 1 + 2 + 4 + 8 minutes, then one in 12 to 15
        assert incident.probes <= 4 + 6 * 60 / 12
        # the third failure opens it; until then the eight that run side by side, and the two that took the places of
        # the first two, have each asked twice
        assert len(desk.broker.asked) <= 10 * 2 + incident.probes
        assert runs <= 10 + number + incident.probes
        desk.broker.failing = well
        desk.broker.asked.clear()
        await live(desk, hours=0.5)
        (closed,) = desk.heard(IncidentClosed)
        assert closed.duration >= 6 * HOUR - timedelta(minutes=5)
        assert (closed.probes, closed.kept_waiting) == (incident.probes + 1, number - 1)
        assert len(set(desk.broker.asked)) == number
        assert await desk.bs.incidents(open_only=True) == ()
        assert all(one.last_synced_at > incident.probe_at - HOUR for one in await desk.bs.connections())
        assert await states(desk) == {ConnectionState.ACTIVE}
        assert desk.heard(ConnectionNeedsUser) == []


async def test_those_that_waited_come_back_over_a_minute_and_not_at_once(stores: Any) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        await desk.connect(*(f"user {one}" for one in range(40)))
        await fail_all(desk)
        desk.broker.failing = well
        desk.clock.advance(hours=1)
        assert len(await desk.bs.due()) == 1
        await desk.bs.run_due()
        counts = []
        for _ in range(7):
            counts.append(len(await desk.bs.due()))
            desk.clock.advance(seconds=10)
        assert counts[0] < 5
        assert counts == sorted(counts)
        assert counts[-1] == 39


async def test_an_incident_makes_every_run_wait_without_a_request(stores: Any) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        names = await desk.connect("ann", "ben", "cid", "dot")
        await fail_all(desk)
        desk.broker.asked.clear()
        (incident,) = await desk.bs.incidents(open_only=True)
        for name in names:
            outcome = await desk.bs.run(name)
            assert isinstance(outcome, Deferred)
            assert incident.probe_at <= outcome.until <= incident.probe_at + timedelta(minutes=1)
            assert outcome.reason
        assert desk.broker.asked == []


async def test_of_many_runs_at_the_time_of_a_probe_one_asks_and_asks_once(stores: Any) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        names = await desk.connect("ann", "ben", "cid", "dot")
        await fail_all(desk)
        desk.clock.advance(minutes=1)
        desk.broker.asked.clear()
        await asyncio.gather(*(desk.bs.run(name) for name in names))
        assert len(desk.broker.asked) == 1
        assert len(desk.heard(IncidentOpened)) == 1


async def test_another_process_takes_part_in_the_same_incident(stores: Any) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        names = await desk.connect("ann", "ben", "cid")
        await fail_all(desk)
        other = open_desk(stores.place, clock=desk.clock)
        async with other.bs:
            assert isinstance(await other.bs.run(names[0]), Deferred)
            assert other.broker.asked == []
            other.clock.advance(minutes=2)
            assert isinstance(await other.bs.run(names[1]), Done)
            assert len(other.heard(IncidentClosed)) == 1
        assert desk.heard(IncidentClosed) == []
        assert await desk.bs.incidents(open_only=True) == ()


async def test_one_connection_alone_has_its_incidents_too(stores: Any) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        (name,) = await desk.connect("ann")
        desk.broker.failing = away
        waits = []
        for _ in range(3):
            assert desk.heard(IncidentOpened) == []
            outcome = await desk.bs.run(name)
            assert isinstance(outcome, Deferred)
            waits.append(outcome.until - desk.clock.now())
            desk.clock.advance(hours=1)
        assert waits[0] < waits[1]
        assert len(desk.heard(IncidentOpened)) == 1
        desk.broker.failing = well
        assert isinstance(await desk.bs.run(name), Done)
        assert [event.kept_waiting for event in desk.heard(IncidentClosed)] == [0]


async def test_what_a_broker_says_to_one_owner_is_told_to_no_other_and_does_not_outlive_forget(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    async with desk.bs:
        names = [(await desk.connect(f"canary-{owner}", owner=owner))[0] for owner in ("bob", "carol", "alice")]
        desk.broker.failing = lambda user: BrokerUnavailableError(f"The broker says: 'no place for {user}'")
        for name in names:
            await desk.bs.run(name)
        assert len(desk.heard(IncidentOpened)) == 1
        deferred = await desk.bs.run(names[0])
        assert isinstance(deferred, Deferred)
        (incident,) = await desk.bs.incidents()
        for told in (deferred.reason, incident.reason, desk.heard(IncidentOpened)[0].reason):
            assert "not reachable or failing" in told
            assert "canary" not in told
        desk.broker.failing = well
        await live(desk, hours=0.5)
        await desk.bs.forget("alice")
    kept = bytes_in(tmp_path)
    assert b"canary-bob" in kept
    assert b"alice" not in kept


@pytest.mark.long_on_postgres
async def test_one_broken_connection_among_others_is_no_incident_and_is_asked_ever_more_rarely(stores: Any) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        _, ben, *_ = await desk.connect("ann", "ben", "cid", "dot")
        desk.broker.failing = lambda user: away(user) if user == "ben" else None
        await live(desk, hours=12)
        assert desk.heard(IncidentOpened) == []
        # after 30 seconds, 1, 2, 4, ... minutes, and then once an hour
        runs = [event for event in desk.heard(SyncRecorded) if event.connection_id == ben]
        assert 16 <= len(runs) <= 19
        assert await states(desk) == {ConnectionState.ACTIVE}


@pytest.mark.long_on_postgres
async def test_three_broken_accounts_among_thirty_are_their_own_trouble(stores: Any) -> None:
    desk = open_desk(stores.place, retry=RetrySettings(attempts=1))
    async with desk.bs:
        broken, names = {"user 0", "user 1", "user 2"}, []
        for number in range(30):
            names += await desk.connect(f"user {number}")
            await live(desk, hours=0.1)
        desk.broker.failing = lambda user: away(user) if user in broken else None
        kept_waiting = 0
        for _ in range(2 * 24):
            await live(desk, hours=0.5)
            kept_waiting += isinstance(await desk.bs.run(names[-1]), Deferred)
        # the first time they are the only ones that are tried for a while, one after the other
        assert kept_waiting <= 1
        assert sum((one.duration for one in desk.heard(IncidentClosed)), timedelta(0)) < HOUR
        assert len(desk.heard(IncidentOpened)) == len(desk.heard(IncidentClosed)) <= 1
        desk.events.clear()
        desk.broker.failing = away
        await live(desk, hours=12)
        assert len(desk.heard(IncidentOpened)) == 1
        assert desk.heard(IncidentClosed) == []


async def test_a_sound_connection_that_is_run_by_hand_is_a_probe_and_ends_the_incident(stores: Any) -> None:
    desk = open_desk(stores.place, retry=RetrySettings(attempts=1))
    async with desk.bs:
        *broken, sound = await desk.connect("ann", "ben", "cid", "sound")
        await desk.bs.run_due()
        desk.clock.advance(hours=1)
        desk.broker.failing = lambda user: None if user == "sound" else away(user)
        for name in broken:
            await desk.bs.run(name)
        (incident,) = await desk.bs.incidents(open_only=True)
        assert isinstance(await desk.bs.run(sound), Deferred)
        desk.clock.advance(seconds=(incident.probe_at - desk.clock.now()).total_seconds())
        assert isinstance(await desk.bs.run(sound), Done)
        assert await desk.bs.incidents(open_only=True) == ()


@pytest.mark.long_on_postgres
async def test_doubts_do_not_count_while_the_broker_is_away(stores: Any) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        names = await desk.connect("ann", "ben", "cid")
        await fail_all(desk)
        desk.broker.failing = lambda _: BrokerTokenExpiredError("401 from a half-dead broker")
        await live(desk, hours=6)
        assert [(await desk.bs.connection(name)).refusals for name in names] == [0, 0, 0]
        assert await states(desk) == {ConnectionState.ACTIVE}


async def test_what_fails_for_one_canary_is_asked_of_another_next_time(stores: Any) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        await desk.connect("ann", "ben", "cid")
        await fail_all(desk)
        desk.broker.failing = lambda user: away(user) if user == "ann" else None
        await live(desk, hours=0.2)
        assert len(desk.heard(IncidentClosed)) == 1


async def test_a_long_sync_that_gets_its_pages_keeps_three_broken_connections_from_being_an_incident(
    stores: Any,
) -> None:
    desk = open_desk(stores.place, retry=RetrySettings(attempts=1))
    async with desk.bs:
        long, *broken = await desk.connect("long", "ben", "cid", "dot")
        desk.broker.failing = lambda user: None if user == "long" else away(user)
        desk.broker.pages = len(broken) + 1

        async def another_fails(number: int) -> None:
            if desk.broker.asked[-1] == "long" and number < len(broken):
                await desk.bs.run(broken[number])
                desk.clock.advance(seconds=11)

        desk.broker.on_page = another_fails
        assert isinstance(await desk.bs.run(long), Done)
        assert len(desk.broker.asked) >= 2 * len(broken)
        assert desk.heard(IncidentOpened) == []


@pytest.mark.long_on_postgres
@pytest.mark.parametrize("kept", [True, False])
async def test_what_was_begun_keeps_its_place_through_an_incident(stores: Any, *, kept: bool) -> None:
    desk = open_desk(stores.place, retry=RetrySettings(attempts=1))
    async with desk.bs:
        (name,) = await desk.connect("ann")
        desk.broker.pages = 3
        # the first page comes, the second one does not
        desk.broker.failing = lambda _: away("") if len(desk.broker.asked) > 1 and kept else None
        await desk.bs.run(name)
        before = await desk.bs._store.open_requests(name)
        assert bool(before) is kept
        desk.broker.failing = away
        await live(desk, hours=6)
        (*after,) = await desk.bs._store.open_requests(name)
        # what failed before the incident was known is counted, and nothing of it
        assert all(one.attempts <= 4 for one in after)
        desk.broker.failing = well
        await live(desk, hours=1)
        assert await desk.bs._store.open_requests(name) == ()
        assert len([trade async for trade in desk.bs.trades("alice")]) == 6


@pytest.mark.long_on_postgres
@pytest.mark.parametrize("down", ["demo", "live"])
async def test_one_environment_that_is_away_stops_no_other(stores: Any, down: str) -> None:
    manifest = MANIFEST.replace('["live"]', '["live", "demo"]')
    desk = open_desk(stores.place, manifest=manifest, retry=RetrySettings(attempts=1))
    up = "live" if down == "demo" else "demo"
    async with desk.bs:
        waiting = await desk.connect("down 1", "down 2", "down 3", environment=down)
        well_off = await desk.connect("up 1", "up 2", "up 3", environment=up)
        desk.broker.failing = lambda user: away(user) if user.startswith("down") else None
        await live(desk, hours=24)
        (opened,) = desk.heard(IncidentOpened)
        assert (opened.provider, opened.environment) == ("toy", down)
        (incident,) = await desk.bs.incidents(open_only=True)
        assert (incident.provider, incident.environment) == ("toy", down)
        read = [await desk.bs.connection(name) for name in well_off]
        assert all(one.last_synced_at > desk.clock.now() - 7 * HOUR for one in read)
        obstacles = {one.connection.connection_id: one.obstacles for one in await desk.bs.outlook("alice")}
        assert all(obstacles[name] for name in waiting)
        assert not any(obstacles[name] for name in well_off)
        desk.broker.failing = well
        await live(desk, hours=1)
        (closed,) = desk.heard(IncidentClosed)
        assert (closed.environment, closed.kept_waiting) == (down, 2)
