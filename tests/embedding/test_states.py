"""What a connection says of itself while its login fails and works again."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from brokersync import BrokerAuthError, BrokerConfigError, ProviderRegistry, Settings
from brokersync.events import (
    ConnectionNeedsOperator,
    ConnectionNeedsUser,
    ConnectionPaused,
    ConnectionRecovered,
    Event,
    SyncRecorded,
)
from brokersync.plugin import AuthResult, BrokerError, BrokerTokenExpiredError, BrokerUnavailableError, Secret
from brokersync.records import ConnectionState, Deferred, Done
from brokersync.service import BrokerSync

from .broker import KEYS, Desk, open_desk

ACTIVE, USER, OPERATOR, PAUSED = ConnectionState


def dead_token(_: str) -> BrokerError:
    return BrokerTokenExpiredError("The token is not valid.")


def refused(_: str) -> BrokerError:
    return BrokerAuthError("The password was changed.", remedy="Give the new one.")


def well(_: str) -> None:
    return None


async def state(desk: Desk, name: str) -> ConnectionState:
    return (await desk.bs.connection(name)).state


async def doubt(desk: Desk, name: str) -> Deferred:
    outcome = await desk.bs.run(name)
    assert isinstance(outcome, Deferred)
    return outcome


async def test_a_fresh_token_that_is_refused_asks_nobody_before_the_third_time(stores: Any) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        (name,) = await desk.connect("ann")
        desk.broker.failing = dead_token
        waits = []
        for count in (1, 2):
            outcome = await doubt(desk, name)
            waits.append(outcome.until - desk.clock.now())
            known = await desk.bs.connection(name)
            assert (known.state, known.refusals, known.next_at) == (ACTIVE, count, outcome.until)
            desk.clock.advance(hours=1)
        assert waits == [timedelta(minutes=5), timedelta(minutes=20)]
        assert desk.heard(ConnectionNeedsUser) == []
        with pytest.raises(BrokerAuthError):
            await desk.bs.run(name)
        known = await desk.bs.connection(name)
        assert known.state is USER
        assert known.reason
        assert known.remedy
        assert len(desk.heard(ConnectionNeedsUser)) == 1


async def test_one_success_withdraws_the_count(stores: Any) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        (name,) = await desk.connect("ann")
        for _ in range(3):
            desk.broker.failing = dead_token
            await doubt(desk, name)
            await doubt(desk, name)
            desk.broker.failing = well
            assert isinstance(await desk.bs.run(name), Done)
            assert (await desk.bs.connection(name)).refusals == 0
        assert desk.heard(ConnectionNeedsUser) == desk.heard(ConnectionRecovered) == []


async def test_the_number_of_doubts_is_a_setting(stores: Any) -> None:
    desk = open_desk(stores.place, refusals=1)
    async with desk.bs:
        (name,) = await desk.connect("ann")
        desk.broker.failing = dead_token
        with pytest.raises(BrokerAuthError):
            await desk.bs.run(name)
        assert await state(desk, name) is USER


async def test_a_certain_refusal_asks_at_once_and_its_token_is_tried_once_a_day(stores: Any) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        (name,) = await desk.connect("ann")
        desk.broker.failing = refused
        ends = await desk.bs.run_due()
        assert isinstance(ends[name], BrokerAuthError)
        known = await desk.bs.connection(name)
        assert (known.state, known.reason, known.remedy) == (USER, "The password was changed.", "Give the new one.")
        asked = len(desk.broker.asked)
        for _ in range(60):
            desk.clock.advance(hours=1)
            await desk.bs.run_due()
        assert len(desk.broker.asked) == asked + 2
        with pytest.raises(BrokerAuthError):
            await desk.bs.run(name)
        assert len(desk.broker.asked) == asked + 3
        assert len(desk.heard(ConnectionNeedsUser)) == 1
        desk.broker.failing = well
        desk.clock.advance(days=1)
        assert isinstance((await desk.bs.run_due())[name], Done)
        assert await state(desk, name) is ACTIVE
        assert len(desk.heard(ConnectionRecovered)) == 1
        assert desk.broker.logins == ["ann"]


@pytest.mark.long_on_postgres
@pytest.mark.parametrize(("said", "sent"), [({}, 1), ({"status": 401, "certain": False}, 4)])
async def test_a_refused_password_is_not_sent_again_and_again(stores: Any, said: dict[str, Any], sent: int) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        (name,) = await desk.connect("ann")

        def no_renewal(_: object) -> AuthResult:
            raise BrokerTokenExpiredError("This broker renews nothing.")

        def no_login(_: str) -> AuthResult:
            raise BrokerAuthError("Not with this password.", **said)

        desk.broker.renewal, desk.broker.login, desk.broker.failing = no_renewal, no_login, dead_token
        desk.broker.logins.clear()
        for _ in range(10 * 24):
            await desk.bs.run_due()
            with suppress(BrokerAuthError):
                await desk.bs.run(name)
            desk.clock.advance(hours=1)
        known = await desk.bs.connection(name)
        assert (known.state, known.reason) == (USER, "Not with this password.")
        assert len(desk.broker.logins) == sent
        assert len(desk.heard(ConnectionNeedsUser)) == 1
        desk.broker.login = lambda user: AuthResult(identity=user, access_token=Secret("of the new password"))
        await desk.bs.reauthenticate(name, {"user": "ann"})
        desk.broker.failing = well
        assert isinstance(await desk.bs.run(name), Done)
        desk.broker.logins.clear()
        desk.broker.login, desk.broker.failing = no_login, dead_token
        with suppress(BrokerAuthError):
            await desk.bs.run(name)
        assert desk.broker.logins == ["ann"], "another login, and so another password"


async def test_a_bare_status_asks_nobody_before_the_third_time_and_withdraws_its_question(stores: Any) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        (name,) = await desk.connect("ann")
        desk.broker.failing = lambda _: BrokerAuthError("HTTP 403", status=403, certain=False)
        for count in (1, 2):
            await doubt(desk, name)
            assert (await desk.bs.connection(name)).refusals == count
        with pytest.raises(BrokerAuthError):
            await desk.bs.run(name)
        assert await state(desk, name) is USER
        desk.broker.failing = well
        desk.clock.advance(days=1)
        await desk.bs.run_due()
        assert await state(desk, name) is ACTIVE
        assert len(desk.heard(ConnectionRecovered)) == 1


async def test_a_probe_that_meets_an_outage_is_made_again_ever_more_rarely(stores: Any) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        name, *_ = await desk.connect("ann", "ben", "cid")
        desk.broker.failing = lambda user: refused(user) if user == "ann" else None
        await desk.bs.run_due()
        desk.broker.failing = lambda user: BrokerUnavailableError("503") if user == "ann" else None
        desk.clock.advance(hours=23, minutes=59)
        await desk.bs.run_due()
        desk.events.clear()
        for _ in range(60):
            desk.clock.advance(minutes=1)
            await desk.bs.run_due()
        # after 30 seconds, 1, 2, 4, ... minutes
        assert 4 <= len([one for one in desk.heard(SyncRecorded) if one.connection_id == name]) <= 7


@pytest.mark.long_on_postgres
async def test_an_uncertain_one_is_probed_daily_and_withdraws_its_question_by_itself(stores: Any) -> None:
    desk = open_desk(stores.place, refusals=1)
    async with desk.bs:
        (name,) = await desk.connect("ann")
        desk.broker.failing = dead_token
        await desk.bs.run_due()
        asked = len(desk.broker.asked)
        for _ in range(10 * 24):
            desk.clock.advance(hours=1)
            await desk.bs.run_due()
        # each probe is one request and its repetition with a fresh token
        assert len(desk.broker.asked) - asked == 2 * 10
        assert len(desk.heard(ConnectionNeedsUser)) == 1
        desk.broker.failing = well
        desk.clock.advance(days=1)
        await desk.bs.run_due()
        assert await state(desk, name) is ACTIVE
        assert len(desk.heard(ConnectionRecovered)) == 1


async def test_connecting_again_withdraws_the_question_and_says_so_once(stores: Any) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        (name,) = await desk.connect("ann")
        desk.broker.failing = refused
        await desk.bs.run_due()
        assert await desk.connect("ann") == [name]
        assert await state(desk, name) is ACTIVE
        await desk.connect("ann")
        assert len(desk.heard(ConnectionRecovered)) == 1
        desk.broker.failing = well
        assert isinstance((await desk.bs.run_due())[name], Done)


async def test_a_broker_that_is_away_proves_nothing_about_a_login(stores: Any) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        (name,) = await desk.connect("ann")
        desk.broker.failing = refused
        await desk.bs.run_due()
        desk.broker.failing = lambda _: BrokerUnavailableError("503")
        assert isinstance(await desk.bs.run(name), Deferred)
        assert await state(desk, name) is USER
        assert desk.heard(ConnectionRecovered) == []
        assert await desk.bs.due() == ()


async def test_a_missing_plugin_asks_the_operator_and_recovers_when_it_is_there(stores: Any) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        (name,) = await desk.connect("ann")
        registry = desk.bs.registry
    heard: list[Event] = []
    async with BrokerSync.open(
        stores.place,
        registry=ProviderRegistry(),
        keys=KEYS,
        settings=Settings(),
        clock=desk.clock,
        events=heard.append,
    ) as bs:
        for _ in range(2):
            (end,) = (await bs.run_due()).values()
            assert isinstance(end, BrokerConfigError)
            desk.clock.advance(hours=2)
        known = await bs.connection(name)
        assert known.state is OPERATOR
        assert known.reason
        assert known.remedy
    assert len([event for event in heard if type(event) is ConnectionNeedsOperator]) == 1
    async with BrokerSync.open(
        stores.place, registry=registry, keys=KEYS, settings=Settings(), clock=desk.clock, events=heard.append
    ) as bs:
        await bs.run_due()
        assert (await bs.connection(name)).state is ACTIVE
    assert len([event for event in heard if type(event) is ConnectionRecovered]) == 1


class Panic(BaseException):
    """What a library written in Rust raises where it is broken."""


@pytest.mark.parametrize("error", [asyncio.CancelledError, Panic])
@pytest.mark.parametrize("where", ["trades", "renewal", "login"])
async def test_whatever_a_plugin_raises_is_its_own_failure_and_harms_no_other_connection(
    stores: Any, error: type[BaseException], where: str
) -> None:
    desk = open_desk(stores.place)
    expired = BrokerTokenExpiredError("Expired.")

    def broken(of: object) -> Any:
        raise error

    def renewal(auth: AuthResult) -> AuthResult:
        raise error if where == "renewal" else expired

    async with desk.bs:
        bad, good = await desk.connect("bad", "good")
        desk.broker.failing = lambda user: None if user == "good" else broken(user) if where == "trades" else expired
        desk.broker.renewal, desk.broker.login = renewal, broken
        ends = await desk.bs.run_due(concurrency=1)
        assert {name: type(end) for name, end in ends.items()} == {bad: Done, good: Done}
        assert await state(desk, bad) is OPERATOR
        for _ in range(30):
            desk.clock.advance(minutes=1)
            assert bad not in await desk.bs.run_due()
        assert desk.broker.asked.count("bad") == 1
        assert len(desk.broker.logins) == 2 + (where == "login")


async def test_a_wrong_source_is_the_callers_mistake_and_changes_no_state(stores: Any) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        (name,) = await desk.connect("ann")
        with pytest.raises(BrokerConfigError, match="no source"):
            await desk.bs.run(name, sources=["nonsense"])
        assert await state(desk, name) is ACTIVE


@pytest.mark.parametrize("given", [False, True], ids=["not given", "given meanwhile"])
async def test_a_pause_gives_nobody_what_its_user_was_asked_for(stores: Any, given: bool) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        [name] = await desk.connect("ann")
        desk.broker.failing = lambda _: BrokerAuthError("Wrong password.", remedy="Give the right one.")
        await desk.bs.run_due()
        await desk.bs.pause(name)
        desk.broker.failing = lambda _: None
        if given:
            await desk.bs.reauthenticate(name, {"user": "ann"})
        resumed = await desk.bs.resume(name)
        expected = (ACTIVE, None, None) if given else (USER, "Wrong password.", "Give the right one.")
        assert (resumed.state, resumed.reason, resumed.remedy) == expected
        assert len(desk.heard(ConnectionRecovered)) == int(given)


async def test_a_paused_connection_is_left_alone_until_it_is_resumed(stores: Any) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        (name,) = await desk.connect("ann")
        paused = await desk.bs.pause(name)
        assert (paused.state, bool(paused.reason), bool(paused.remedy)) == (PAUSED, True, True)
        await desk.bs.pause(name)
        assert await desk.bs.run_due() == {}
        assert isinstance(await desk.bs.run(name), Deferred)
        assert desk.broker.asked == []
        assert (await desk.bs.resume(name)).state is ACTIVE
        assert isinstance((await desk.bs.run_due())[name], Done)
        assert len(desk.heard(ConnectionPaused)) == len(desk.heard(ConnectionRecovered)) == 1


async def test_a_connection_that_is_paused_while_it_is_read_stays_paused(stores: Any) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        (name,) = await desk.connect("ann")
        desk.broker.pages = 3
        desk.broker.on_page = lambda number: desk.bs.pause(name) if number == 0 else None
        assert isinstance(await desk.bs.run(name), Deferred)
        assert await state(desk, name) is PAUSED
        assert len(desk.broker.asked) == 1


async def test_each_run_ends_with_one_record_whatever_its_end(stores: Any) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        (name,) = await desk.connect("ann")
        await desk.bs.run(name)
        desk.broker.failing = dead_token
        await desk.bs.run(name)
        desk.broker.failing = refused
        with pytest.raises(BrokerAuthError):
            await desk.bs.run(name)
        await desk.bs.pause(name)
        await desk.bs.run(name)
        records = desk.heard(SyncRecorded)
        assert [one.outcome for one in records] == ["done", "deferred", "failed", "deferred"]
        assert [one.report.added for one in records] == [2, 0, 0, 0]
        assert [bool(one.reason) for one in records] == [False, True, True, True]
        assert desk.events[-1] is records[-1]
