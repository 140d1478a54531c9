"""How far a connection is read, what comes next, and why something will not run by itself."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from brokersync import BrokerAuthError, BrokerSync, Deferred, ProviderRegistry, Settings
from brokersync.errors import BrokerError, BrokerNotReadyError, BrokerUnavailableError
from brokersync.explaining import Outlook

from .broker import Desk, open_desk


async def of(desk: Desk) -> Outlook:
    (found,) = await desk.bs.outlook("alice")
    return found


async def test_before_the_first_sync_everything_is_to_come_and_after_it_the_next_one(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    async with desk.bs:
        (name,) = await desk.connect("ann")
        before = await of(desk)
        (source,) = before.sources
        assert (before.obstacles, source.read_until) == ((), None)
        assert source.next_window is not None
        await desk.bs.run(name)
        after = await of(desk)
        (source,) = after.sources
        assert source.read_until is not None
        assert after.connection.next_at is not None
        assert after.connection.next_at > desk.clock.now()


async def test_a_connection_that_waits_for_its_user_or_is_paused_says_so_and_what_to_do(tmp_path: Path) -> None:
    def refused(_: str) -> BrokerError:
        return BrokerAuthError("The password was changed.", remedy="Give the new one.")

    desk = open_desk(tmp_path)
    async with desk.bs:
        (name,) = await desk.connect("ann")
        await desk.bs.pause(name)
        assert (await of(desk)).obstacles[0].startswith("Its owner has paused it. Resume it")
        await desk.bs.resume(name)
        desk.broker.failing = refused
        with pytest.raises(BrokerAuthError):
            await desk.bs.run(name)
        assert (await of(desk)).obstacles == ("The password was changed. Give the new one.",)


async def test_a_broker_that_is_away_is_named_with_the_time_of_the_next_attempt(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    async with desk.bs:
        await desk.connect("ann")
        await desk.connect(*(f"user{number}" for number in range(9)), owner="others")
        desk.broker.failing = lambda _: BrokerUnavailableError("The broker is down.")
        for _ in range(12):
            await desk.bs.run_due()
            desk.clock.advance(minutes=10)
        assert await desk.bs.incidents(open_only=True)
        (obstacle, *_) = [one for one in (await of(desk)).obstacles if "does not answer since" in one]
        assert "it is asked again at" in obstacle


async def test_what_a_broker_puts_off_says_until_when_and_why(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    async with desk.bs:
        (name,) = await desk.connect("ann")
        await desk.bs.run(name)
        put_off = BrokerNotReadyError("The statement comes tomorrow.", retry_after=timedelta(hours=20))
        desk.broker.failing = lambda _: put_off
        await desk.bs.run(name)
        (source,) = (await of(desk)).sources
        assert source.waits_until == desk.clock.now() + timedelta(hours=20)
        assert source.failing == "is not ready at the broker, as it said on 2030-03-01 09:00 UTC"


async def test_a_plugin_that_is_gone_is_an_obstacle_and_no_error(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    async with desk.bs:
        await desk.connect("ann")
    async with BrokerSync.open(
        tmp_path / "store.db", settings=Settings(), registry=ProviderRegistry(), clock=desk.clock
    ) as bs:
        (found,) = await bs.outlook("alice")
        assert found.sources == ()
        assert "toy" in found.obstacles[0].lower() or "not installed" in found.obstacles[0]


async def test_an_answer_under_way_and_a_source_without_rights_are_told(staged: Any) -> None:
    async with staged("ibkr", days=60, think=timedelta(seconds=60)) as stage:
        bs, clock = stage.bs, stage.clock
        connection = await stage.connect(without="confirmations_query_id")
        outcome = await bs.run(connection.connection_id)
        assert isinstance(outcome, Deferred)
        (found,) = await bs.outlook("me")
        assert "; ".join(found.obstacles) == (
            "confirmations is not read: the login has no Trade Confirmation Flex Query ID; connect it again and give"
            " confirmations_query_id as well."
        )
        assert {one.source for one in found.sources} == {"activity"}
        assert all(one.waits_until and one.waits_until > clock.now() for one in found.sources)


async def test_owners_see_their_own_connections_only(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    async with desk.bs:
        await desk.connect("ann", owner="bob")
        assert await desk.bs.outlook("alice") == ()
