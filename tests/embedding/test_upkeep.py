"""Grants that nobody uses: renewed before they lapse, and their end told where only the user can help."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import attrs
import pytest

from brokersync import BrokerPluginError, ProviderRegistry
from brokersync.errors import StoreError
from brokersync.events import LoginEnding
from brokersync.plugin import (
    AuthResult,
    BrokerAuthError,
    BrokerTokenExpiredError,
    BrokerUnavailableError,
    Secret,
)
from brokersync.records import Connection, ConnectionState, Done
from brokersync.service import BrokerSync

from .broker import KEYS, MANIFEST, NOW, Broker, Desk, VirtualClock, open_desk

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NEVER = timedelta(days=9999)


def ending(lasts: timedelta) -> Callable[[str], AuthResult]:
    return lambda user: AuthResult(
        identity=user, access_token=Secret("hidden"), refresh_token=Secret("hidden"), grant_expires_at=NOW + lasts
    )


def sliding(desk: Desk, lasts: timedelta) -> Callable[[AuthResult], AuthResult]:
    """Each renewal moves the end; a grant that has lapsed is dead."""

    def renewed(auth: AuthResult) -> AuthResult:
        now = desk.clock.now()
        assert auth.grant_expires_at is not None
        if auth.grant_expires_at <= now:
            raise BrokerTokenExpiredError("The grant has lapsed.")
        return attrs.evolve(auth, access_token=Secret(f"hidden {now}"), grant_expires_at=now + lasts)

    return renewed


def fixed(auth: AuthResult) -> AuthResult:
    return attrs.evolve(auth, access_token=Secret(f"{auth.access_token} hidden"))


def impossible(_: AuthResult) -> AuthResult:
    raise BrokerTokenExpiredError("It can not be renewed.")


async def live(desk: Desk, lasts: timedelta, step: timedelta = HOUR) -> None:
    """Nobody syncs; the planner is called every hour."""
    for _ in range(lasts // step):
        desk.clock.advance(seconds=step.total_seconds())
        await desk.bs.run_due()


@pytest.mark.long_on_postgres
async def test_a_grant_that_lapses_in_a_day_is_kept_alive_for_weeks(stores: Any) -> None:
    desk = open_desk(stores.place, Broker(login=ending(26 * HOUR)), sync_every=NEVER)
    desk.broker.renewal = sliding(desk, 26 * HOUR)
    async with desk.bs:
        await desk.connect("ann")
        await live(desk, 14 * DAY)
        assert await desk.bs.renew_grants() == ()
        assert 14 <= desk.broker.renewals <= 14 * 2
        assert desk.heard(LoginEnding) == []
        assert desk.broker.logins == ["ann"]


@pytest.mark.long_on_postgres
async def test_a_grant_with_a_far_end_is_left_alone_until_it_comes_near(stores: Any) -> None:
    desk = open_desk(stores.place, Broker(login=ending(90 * DAY)), sync_every=NEVER)
    desk.broker.renewal = sliding(desk, 90 * DAY)
    async with desk.bs:
        await desk.connect("ann")
        await live(desk, 82 * DAY, 6 * HOUR)
        assert desk.broker.renewals == 0
        await live(desk, 8 * DAY, 6 * HOUR)
        assert desk.broker.renewals == 1
        assert desk.heard(LoginEnding) == []


@pytest.mark.long_on_postgres
async def test_the_user_is_told_once_of_an_end_that_no_renewal_moves(stores: Any) -> None:
    desk = open_desk(stores.place, Broker(login=ending(30 * DAY), renewal=fixed), sync_every=NEVER)
    async with desk.bs:
        (name,) = await desk.connect("ann")
        await live(desk, 22 * DAY)
        assert desk.heard(LoginEnding) == []
        await live(desk, 2 * DAY)
        (shown,) = await desk.bs.outlook("alice")
        assert shown.obstacles == ("Its login ends on 2030-03-31 09:00 UTC. Log in again soon.",)
        await live(desk, 7 * DAY)
        (told,) = desk.heard(LoginEnding)
        assert (told.provider, told.connection_id, told.until) == ("toy", name, NOW + 30 * DAY)
        assert "ends on 2030-03-31 at 09:00 UTC" in told.reason
        assert desk.broker.renewals <= 8, "once a day, for seven days"
        assert "hidden" not in repr(desk.events)


@pytest.mark.parametrize("end", ["paused", "disconnected"])
async def test_what_the_store_did_not_take_of_an_idle_login_is_stored_as_soon_as_it_does(
    stores: Any, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    async def gone(_: object) -> bool:
        raise StoreError("The disk is full.")

    desk = open_desk(stores.place, Broker(login=ending(DAY)), sync_every=NEVER)
    desk.broker.renewal = sliding(desk, 30 * DAY)
    async with desk.bs:
        (name,) = await desk.connect("ann")
        with monkeypatch.context() as patch:
            patch.setattr(desk.bs._store, "replace_grant", gone)
            for _ in range(3):
                with pytest.raises(StoreError):
                    await desk.bs.renew_grants()
        vault = desk.bs._shared.vault
        assert vault.held("alice")
        await (desk.bs.pause(name) if end == "paused" else desk.bs.disconnect(name))
        assert await desk.bs.renew_grants() == ()
        assert vault.held(None) == ()
        assert desk.broker.renewals == 1
        if end == "paused":
            grant, _ = await vault.load(await desk.bs.connection(name))
            assert grant.auth.grant_expires_at is not None
            assert grant.auth.grant_expires_at - NOW >= 30 * DAY


@pytest.mark.parametrize("renewal", [fixed, impossible])
async def test_nobody_is_told_of_an_end_that_a_login_with_what_is_kept_moves(stores: Any, renewal: Any) -> None:
    """The refresh token of a password login ends, and the password makes another."""
    desk = open_desk(stores.place, Broker(renewal=renewal), sync_every=NEVER)
    desk.broker.login = lambda user: attrs.evolve(
        ending(30 * DAY)(user), grant_expires_at=desk.clock.now() + 30 * DAY, access_token=Secret(f"{desk.clock.now()}")
    )
    async with desk.bs:
        await desk.connect("ann")
        await live(desk, 100 * DAY, 6 * HOUR)
        assert desk.heard(LoginEnding) == []
        assert len(desk.broker.logins) == 1 + 4, "once for each end, when it comes near"


@pytest.mark.parametrize(
    "refusal", [BrokerAuthError("The code of this minute is asked for."), BrokerTokenExpiredError("Locked out.")]
)
async def test_the_user_is_told_where_the_login_with_what_is_kept_is_refused(stores: Any, refusal: Exception) -> None:
    desk = open_desk(stores.place, Broker(login=ending(30 * DAY), renewal=fixed), sync_every=NEVER)
    async with desk.bs:
        (name,) = await desk.connect("ann")

        def refused(_: str) -> AuthResult:
            raise refusal

        desk.broker.login = refused
        await live(desk, 29 * DAY, 6 * HOUR)
        assert len(desk.heard(LoginEnding)) == 1
        assert len(desk.broker.logins) == 1 + 1, "asked once, and not sent again and again"
        assert (await desk.bs.connection(name)).state is ConnectionState.ACTIVE, "its token lives on"


async def test_an_outage_of_the_login_is_no_reason_to_ask_its_user(stores: Any) -> None:
    desk = open_desk(stores.place, Broker(login=ending(30 * DAY), renewal=fixed), sync_every=NEVER)
    async with desk.bs:
        await desk.connect("ann")

        def away(_: str) -> AuthResult:
            raise BrokerUnavailableError("HTTP 503.")

        desk.broker.login = away
        await live(desk, 25 * DAY, 6 * HOUR)
        assert desk.heard(LoginEnding) == []
        assert 1 < len(desk.broker.logins) <= 4, "about once a day"
        desk.broker.login = ending(90 * DAY)
        await live(desk, 5 * DAY, 6 * HOUR)
        assert desk.heard(LoginEnding) == []


async def test_a_token_that_can_not_be_renewed_is_told_of_after_one_login_that_changed_nothing(stores: Any) -> None:
    desk = open_desk(stores.place, Broker(login=ending(30 * DAY), renewal=impossible), sync_every=NEVER)
    async with desk.bs:
        await desk.connect("ann")
        await live(desk, 31 * DAY, 6 * HOUR)
        assert len(desk.heard(LoginEnding)) == 1
        assert desk.broker.logins == ["ann"] * 2, "once, which has the same end"


@pytest.mark.long_on_postgres
async def test_a_new_login_with_a_new_end_is_told_of_again(stores: Any) -> None:
    desk = open_desk(stores.place, Broker(login=ending(5 * DAY), renewal=impossible), sync_every=NEVER)
    async with desk.bs:
        (name,) = await desk.connect("ann")
        await live(desk, DAY)
        await desk.bs.reauthenticate(name, {})
        await live(desk, DAY)
        assert len(desk.heard(LoginEnding)) == 1, "the end is the same"
        desk.broker.login = ending(40 * DAY)
        await desk.bs.reauthenticate(name, {})
        await live(desk, 35 * DAY, 6 * HOUR)
        assert [event.until for event in desk.heard(LoginEnding)] == [NOW + 5 * DAY, NOW + 40 * DAY]


async def test_of_two_workers_one_looks_after_a_grant(stores: Any) -> None:
    broker, clock = Broker(login=ending(2 * DAY), renewal=fixed), VirtualClock()
    one, two = (open_desk(stores.place, broker, clock, sync_every=NEVER) for _ in range(2))
    async with one.bs, two.bs:
        await one.connect("ann")
        await asyncio.gather(*(desk.bs.renew_grants() for desk in (one, two) for _ in range(5)))
        assert broker.renewals == 1
        await asyncio.gather(*(desk.bs.renew_grants() for desk in (one, two) for _ in range(5)))
        assert len(one.heard(LoginEnding) + two.heard(LoginEnding)) == 1


async def test_a_renewal_that_fails_is_an_answer_and_is_tried_again_in_time(stores: Any) -> None:
    desk = open_desk(stores.place, Broker(login=ending(26 * HOUR)), sync_every=NEVER)

    def away(_: AuthResult) -> AuthResult:
        raise BrokerUnavailableError("HTTP 503.")

    desk.broker.renewal = away
    async with desk.bs:
        await desk.connect("ann", "bob")
        problems = await desk.bs.renew_grants()
        assert [type(problem) for problem in problems] == [BrokerUnavailableError] * 2
        assert await desk.bs.renew_grants() == (), "not again at once"
        desk.broker.renewal = sliding(desk, 26 * HOUR)
        await live(desk, 3 * DAY)
        assert desk.heard(LoginEnding) == []
        assert desk.broker.logins == ["ann", "bob"]


async def test_a_login_whose_user_is_asked_already_is_left_alone(stores: Any) -> None:
    desk = open_desk(stores.place, Broker(login=ending(2 * DAY), renewal=impossible), sync_every=NEVER)
    async with desk.bs:
        (name,) = await desk.connect("ann")
        desk.broker.failing = lambda user: BrokerAuthError("Revoked.")
        await desk.bs.run_due()
        assert (await desk.bs.connection(name)).state is ConnectionState.NEEDS_USER
        told, renewals = len(desk.heard(LoginEnding)), desk.broker.renewals
        await live(desk, DAY)
        assert (len(desk.heard(LoginEnding)), desk.broker.renewals) == (told, renewals)


async def hold(desk: Desk, name: str, state: ConnectionState) -> None:
    """Bring a connection into a state in which it is not synced."""
    if state is ConnectionState.PAUSED:
        await desk.bs.pause(name)
    else:
        desk.broker.failing = lambda user: BrokerPluginError("The plugin is broken.")
        desk.clock.advance(minutes=1)
        await desk.bs.run_due()
    assert (await desk.bs.connection(name)).state is state


@pytest.mark.long_on_postgres
@pytest.mark.parametrize("state", [ConnectionState.PAUSED, ConnectionState.NEEDS_OPERATOR])
async def test_a_login_is_kept_alive_while_its_connection_is_not_synced(stores: Any, state: ConnectionState) -> None:
    desk = open_desk(stores.place, Broker(login=ending(26 * HOUR)), sync_every=NEVER)
    desk.broker.renewal = sliding(desk, 26 * HOUR)
    async with desk.bs:
        (name,) = await desk.connect("ann")
        await hold(desk, name, state)
        await live(desk, 14 * DAY)
        assert (await desk.bs.connection(name)).state is state
        assert 14 <= desk.broker.renewals <= 14 * 2
        desk.broker.failing = lambda user: None
        await desk.bs.resume(name)
        assert isinstance(await desk.bs.run(name), Done)
        assert desk.broker.logins == ["ann"]
        assert desk.heard(LoginEnding) == []


@pytest.mark.long_on_postgres
async def test_the_user_is_told_of_the_end_of_a_paused_login_by_the_time_that_is_set(stores: Any) -> None:
    desk = open_desk(stores.place, Broker(login=ending(30 * DAY), renewal=fixed), sync_every=NEVER)
    async with desk.bs:
        (name,) = await desk.connect("ann")
        await desk.bs.pause(name)
        await live(desk, 22 * DAY, 6 * HOUR)
        assert desk.heard(LoginEnding) == []
        await live(desk, 2 * DAY, 6 * HOUR)
        (told,) = desk.heard(LoginEnding)
        assert (told.connection_id, told.until) == (name, NOW + 30 * DAY)
        assert desk.broker.asked == []


@pytest.mark.long_on_postgres
async def test_the_user_is_told_of_a_login_that_nothing_can_renew_for_want_of_its_plugin(stores: Any) -> None:
    desk = open_desk(stores.place, Broker(login=ending(30 * DAY)), sync_every=NEVER)
    async with desk.bs:
        (name,) = await desk.connect("ann")
    bare = BrokerSync.open(
        stores.place,
        registry=ProviderRegistry(),
        keys=KEYS,
        settings=desk.bs.settings,
        clock=desk.clock,
        events=desk.events.append,
    )
    async with bare as bs:
        without = Desk(bs, desk.broker, desk.clock, desk.events)
        await live(without, 22 * DAY, 6 * HOUR)
        assert (await bs.connection(name)).state is ConnectionState.NEEDS_OPERATOR
        assert desk.heard(LoginEnding) == []
        await live(without, 2 * DAY, 6 * HOUR)
        (told,) = desk.heard(LoginEnding)
        assert (told.connection_id, told.until) == (name, NOW + 30 * DAY)


async def test_a_refused_login_that_serves_a_paused_connection_too_is_left_alone(stores: Any) -> None:
    both = MANIFEST.replace('["live"]', '["live", "demo"]\none_login = true')
    desk = open_desk(stores.place, Broker(login=ending(2 * DAY), renewal=impossible), manifest=both, sync_every=NEVER)
    async with desk.bs:
        (name,) = await desk.connect("ann")
        paused = await desk.bs.connect("toy", owner="alice", fields={"user": "ann"}, environment="demo")
        await desk.bs.pause(paused.connection_id)
        desk.broker.failing = lambda user: BrokerAuthError("Revoked.")
        await desk.bs.run_due()
        assert (await desk.bs.connection(name)).state is ConnectionState.NEEDS_USER
        told, renewals = len(desk.heard(LoginEnding)), desk.broker.renewals
        await live(desk, DAY)
        assert (len(desk.heard(LoginEnding)), desk.broker.renewals) == (told, renewals)


async def test_a_bug_that_one_login_meets_keeps_no_other_from_being_renewed(
    stores: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = open_desk(stores.place, Broker(login=ending(26 * HOUR)), sync_every=NEVER)
    desk.broker.renewal = sliding(desk, 26 * HOUR)
    async with desk.bs:
        first, *_ = names = await desk.connect("ann", "ben")
        for name in names:
            await desk.bs.pause(name)
        load = desk.bs._shared.vault.load

        async def broken(connection: Connection) -> Any:
            if connection.connection_id == first:
                raise ValueError("a bug")
            return await load(connection)

        monkeypatch.setattr(desk.bs._shared.vault, "load", broken)
        assert {name: type(end) for name, end in (await desk.bs.run_due()).items()} == {first: ValueError}
        assert desk.broker.renewals == 1, "that of the other one"
        desk.clock.advance(seconds=20 * 3600)
        (error,) = await desk.bs.renew_grants()
        assert "a bug of brokersync, or of the program around it: ValueError" in error.message
        monkeypatch.undo()
        desk.clock.advance(seconds=4 * 3600)
        assert await desk.bs.renew_grants() == ()
        assert desk.broker.renewals == 3


async def test_a_call_for_one_owner_looks_after_that_owners_grants(stores: Any) -> None:
    desk = open_desk(stores.place, Broker(login=ending(2 * DAY), renewal=fixed), sync_every=NEVER)
    async with desk.bs:
        await desk.connect("ann", owner="alice")
        await desk.connect("ann", owner="bob")
        await desk.bs.renew_grants("bob")
        assert desk.broker.renewals == 1


@pytest.mark.long_on_postgres
async def test_the_user_is_told_once_of_an_end_that_failing_renewals_do_not_move(stores: Any) -> None:
    desk = open_desk(stores.place, Broker(login=ending(30 * DAY)), sync_every=NEVER)

    def away(_: AuthResult) -> AuthResult:
        raise BrokerUnavailableError("HTTP 503.")

    desk.broker.renewal = away
    async with desk.bs:
        (name,) = await desk.connect("ann")
        await live(desk, 26 * DAY)
        assert desk.heard(LoginEnding) == [], "there is time left to renew it"
        await live(desk, 3 * DAY)
        (told,) = desk.heard(LoginEnding)
        assert (told.connection_id, told.until) == (name, NOW + 30 * DAY)
        assert "HTTP 503." in told.reason
