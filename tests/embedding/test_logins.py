"""Logging in again, and logins that several connections share."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from brokersync import BrokerAuthError, BrokerConfigError, BrokerSync, Settings
from brokersync.events import ConnectionNeedsUser, ConnectionRecovered, TokenRefreshed
from brokersync.plugin import AuthResult, BrokerTokenExpiredError, BrokerUnavailableError, Secret
from brokersync.records import ConnectionState, Deferred, Done
from brokersync.store import SealedGrant

from .broker import KEY, MANIFEST, NOW, Broker, Credentials, Desk, Provider, open_desk

ACTIVE, USER = ConnectionState.ACTIVE, ConnectionState.NEEDS_USER
ONE_LOGIN = "one_login = true\n" + MANIFEST.replace('["live"]', '["live", "demo"]')

WITH_NOTE = MANIFEST.replace(
    "[[sources]]", '[[user_fields]]\nname = "note"\nlabel = "Note"\nhelp = "Any."\nrequired = false\n[[sources]]'
)


@attrs.frozen(kw_only=True)
class WithNote(Credentials):
    note: str | None = None


async def grant(desk: Desk, environment: str = "live") -> SealedGrant:
    found = await desk.bs._shared.store.grant("alice", KEY, environment, "ann")
    assert found is not None
    return found


async def token(desk: Desk, connection_id: str) -> str:
    kept, _ = await desk.bs._shared.vault.load(await desk.bs.connection(connection_id))
    assert kept.auth.access_token is not None
    return kept.auth.access_token.reveal()


def changed_password(_: str) -> BrokerAuthError:
    return BrokerAuthError("The password was changed.")


async def test_logging_in_again_keeps_connection_accounts_and_history_and_withdraws_the_question(
    stores: Any,
) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        (name,) = await desk.connect("ann")
        await desk.bs.run(name)
        first = (await grant(desk)).generation
        before = (
            await desk.bs.connection(name),
            await desk.bs.accounts(name),
            await desk.bs.coverage("alice", KEY, "fills"),
        )
        desk.broker.failing = changed_password
        with pytest.raises(BrokerAuthError):
            await desk.bs.run(name)
        desk.broker.failing = lambda user: None
        desk.broker.login = lambda user: AuthResult(identity=user, access_token=Secret("of the new password"))
        again = await desk.bs.reauthenticate(name, {"user": "ann"})
        assert (again.state, again.reason, again.remedy, again.next_at) == (ACTIVE, None, None, None)
        assert (again.connection_id, again.label, again.since) == (name, before[0].label, before[0].since)
        assert await desk.bs.accounts(name) == before[1]
        assert await desk.bs.coverage("alice", KEY, "fills") == before[2]
        assert await token(desk, name) == "of the new password"
        assert (await grant(desk)).generation == first + 1
        assert len(desk.heard(ConnectionRecovered)) == 1
        outcome = (await desk.bs.run_due())[name]
        assert isinstance(outcome, Done)
        assert (outcome.report.added, outcome.report.modified) == (0, 0)
        assert len(desk.heard(ConnectionRecovered)) == 1
        assert "of the new password" not in repr(desk.events)


async def test_a_field_that_is_not_given_again_is_as_it_was(stores: Any) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        (name,) = await desk.connect("ann")
        await desk.bs.reauthenticate(name, {})
        assert desk.broker.logins == ["ann", "ann"]
        assert desk.heard(ConnectionRecovered) == [], "nobody was asked"


async def test_another_login_is_refused_and_changes_nothing(stores: Any) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        (name,) = await desk.connect("ann")
        before = await desk.bs.connection(name), await grant(desk)
        with pytest.raises(BrokerAuthError, match="Nothing was changed") as caught:
            await desk.bs.reauthenticate(name, {"user": "bob"})
        assert name in caught.value.message
        assert "the login ann" in caught.value.message
        assert "belong to bob" in caught.value.message
        assert caught.value.remedy
        assert (await desk.bs.connection(name), await grant(desk)) == before


async def test_a_login_that_the_broker_refuses_changes_nothing(stores: Any) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        (name,) = await desk.connect("ann")
        before = await desk.bs.connection(name), await grant(desk)

        def refused(user: str) -> AuthResult:
            raise BrokerAuthError("Wrong password.")

        desk.broker.login = refused
        with pytest.raises(BrokerAuthError, match="Wrong password"):
            await desk.bs.reauthenticate(name, {"user": "ann"})
        assert (await desk.bs.connection(name), await grant(desk)) == before


async def test_a_connection_that_is_none_of_the_owners_is_unknown(stores: Any) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        (name,) = await desk.connect("ann")
        for connection_id, owner in ((name, "bob"), ("toy-0", None)):
            with pytest.raises(BrokerConfigError, match="no connection"):
                await desk.bs.reauthenticate(connection_id, {"user": "ann"}, owner=owner)
        assert desk.broker.logins == ["ann"]


async def test_what_the_old_login_meets_is_not_held_against_the_new_one(stores: Any) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        (name,) = await desk.connect("ann")

        async def the_user_logs_in(user: str) -> BrokerAuthError:
            await desk.bs.reauthenticate(name, {"user": user})
            return BrokerAuthError("The session was ended by another.")

        desk.broker.failing = the_user_logs_in
        assert isinstance(await desk.bs.run(name), Deferred)
        assert (await desk.bs.connection(name)).state is ACTIVE
        assert desk.heard(ConnectionNeedsUser) == []


async def test_one_login_is_two_connections_and_one_grant_that_each_renews_for_both(stores: Any) -> None:
    desk = open_desk(stores.place, manifest=ONE_LOGIN)
    async with desk.bs:
        made, generations = [], []
        for side in ("live", "demo"):
            made.append(await desk.bs.connect(KEY, owner="alice", fields={"user": "ann"}, environment=side))
            generations.append((await grant(desk, "")).generation)
        live, demo = [one.connection_id for one in made]
        assert live != demo
        assert generations[1] == generations[0]
        assert desk.broker.logins == ["ann"], "the other side needs no login of its own"
        dead = {await token(desk, live)}

        async def answer(user: str) -> BrokerTokenExpiredError | None:
            return BrokerTokenExpiredError("Expired.") if await token(desk, live) in dead else None

        desk.broker.failing = answer
        for name in (live, demo):
            assert isinstance(await desk.bs.run(name), Done)
        assert desk.broker.renewals == 1
        assert await token(desk, live) == await token(desk, demo)
        for name in (live, demo):
            await desk.bs._shared.store.change_connection(name, state=USER, reason="Log in.")
        await desk.bs.reauthenticate(demo, {"user": "ann"})
        assert {(await desk.bs.connection(name)).state for name in (live, demo)} == {ACTIVE}
        assert {event.connection_id for event in desk.heard(ConnectionRecovered)} == {live, demo}


@pytest.mark.parametrize("how", ["connect", "connect another", "reauthenticate"])
async def test_whichever_way_its_user_logs_in_again_all_connections_of_the_login_work_again(
    stores: Any, how: str
) -> None:
    manifest = ONE_LOGIN.replace('"demo"]', '"demo", "third"]')
    desk = open_desk(stores.place, manifest=manifest)
    async with desk.bs:
        asking = [
            (await desk.bs.connect(KEY, owner="alice", fields={"user": "ann"}, environment=side)).connection_id
            for side in ("live", "demo")
        ]
        desk.broker.failing = changed_password
        await desk.bs.run_due()
        assert {(await desk.bs.connection(name)).state for name in asking} == {USER}
        desk.broker.failing = lambda user: None
        if how == "reauthenticate":
            await desk.bs.reauthenticate(asking[0], {"user": "ann"})
        else:
            side = "live" if how == "connect" else "third"
            await desk.bs.connect(KEY, owner="alice", fields={"user": "ann"}, environment=side)
        for name in asking:
            known = await desk.bs.connection(name)
            assert (known.state, known.reason, known.next_at) == (ACTIVE, None, None)
        assert sorted(event.connection_id for event in desk.heard(ConnectionRecovered)) == sorted(asking)
        ends = await desk.bs.run_due()
        assert {type(ends[name]) for name in asking} == {Done}


async def test_connecting_again_changes_only_what_is_given(stores: Any) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        first = await desk.bs.connect(KEY, owner="alice", fields={"user": "ann"}, label="My IRA", since=NOW)
        await desk.bs.run_due()
        await desk.bs.pause(first.connection_id)
        again = await desk.bs.connect(KEY, owner="alice", fields={"user": "ann"})
        assert again == await desk.bs.connection(first.connection_id)
        assert (again.label, again.since, again.state) == ("My IRA", NOW, ConnectionState.PAUSED)
        assert again.reason
        assert await desk.bs.run_due() == {}
        named = await desk.bs.connect(KEY, owner="alice", fields={"user": "ann"}, label="Another")
        assert (named.label, named.connection_id) == ("Another", first.connection_id)
        await desk.bs.resume(first.connection_id)
        assert desk.heard(ConnectionRecovered) != []


@pytest.mark.parametrize("fields", [{"user": "ann"}, {"user": "ann", "note": "another password"}])
async def test_a_login_that_was_held_up_does_not_replace_one_that_was_made_after_it(
    stores: Any, monkeypatch: pytest.MonkeyPatch, fields: dict[str, str]
) -> None:
    desk = open_desk(stores.place, manifest=WITH_NOTE, credentials=WithNote)
    listing, held_up, go_on = Provider.get_accounts, asyncio.Event(), asyncio.Event()

    async def hangs(provider: Provider, auth: AuthResult) -> Any:
        if auth.access_token == Secret("first"):
            held_up.set()
            await go_on.wait()
        return await listing(provider, auth)

    monkeypatch.setattr(Provider, "get_accounts", hangs)
    async with desk.bs:
        desk.broker.login = lambda user: AuthResult(identity=user, access_token=Secret("first"))
        slow = asyncio.create_task(desk.bs.connect(KEY, owner="alice", fields=fields))
        await held_up.wait()
        desk.clock.advance(minutes=10)
        desk.broker.login = lambda user: AuthResult(identity=user, access_token=Secret("second"))
        quick = await desk.bs.connect(KEY, owner="alice", fields={"user": "ann"})
        go_on.set()
        assert (await slow).connection_id == quick.connection_id
        # what somebody has given anew is not thrown away
        assert await token(desk, quick.connection_id) == ("first" if "note" in fields else "second")


async def test_a_login_stands_though_one_that_works_no_more_was_made_later_by_another_clock(stores: Any) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        desk.clock.advance(minutes=5)
        (name,) = await desk.connect("ann")
        desk.broker.failing = changed_password
        with pytest.raises(BrokerAuthError):
            await desk.bs.run(name)
        desk.clock.advance(minutes=-3)
        desk.broker.failing = lambda user: None
        again = await desk.bs.connect(KEY, owner="alice", fields={"user": "ann"})
        assert (again.connection_id, again.state) == (name, ACTIVE)


@pytest.mark.parametrize("found", ["by the clock", "by a refusal"])
async def test_a_token_endpoint_that_is_away_defers_the_sync_and_leaves_the_grant(stores: Any, found: str) -> None:
    ends = NOW + timedelta(hours=1)
    desk = open_desk(
        stores.place, Broker(login=lambda user: AuthResult(identity=user, access_token=Secret(user), expires_at=ends))
    )
    async with desk.bs:
        (name,) = await desk.connect("ann")
        before = attrs.evolve(await grant(desk), renewing_since=None)

        def away(_: AuthResult) -> AuthResult:
            raise BrokerUnavailableError("HTTP 503.")

        desk.broker.renewal = away
        if found == "by the clock":
            desk.clock.advance(hours=2)
        else:
            desk.broker.failing = lambda user: BrokerTokenExpiredError("HTTP 401.")
        for _ in range(3):
            outcome = await desk.bs.run(name)
            assert isinstance(outcome, Deferred)
            wait = outcome.until - desk.clock.now()
            assert wait > timedelta(0)
            desk.clock.advance(seconds=wait.total_seconds())
        assert (await desk.bs.connection(name)).state is ACTIVE
        assert desk.heard(ConnectionNeedsUser) == []
        assert attrs.evolve(await grant(desk), renewing_since=None) == before
        later = desk.clock.now() + timedelta(hours=1)
        desk.broker.renewal = lambda auth: attrs.evolve(auth, access_token=Secret("another"), expires_at=later)
        desk.broker.failing = lambda user: None
        assert isinstance(await desk.bs.run(name), Done)
        events: list[Any] = desk.heard(TokenRefreshed)
        assert len(events) == (1 if found == "by the clock" else 0)


async def test_connecting_without_fields_names_each_that_is_missing(tmp_path: Path) -> None:
    async with BrokerSync.open(tmp_path / "s.db", settings=Settings()) as bs:
        for fields in (dict[str, str](), {"username": "n"}):
            with pytest.raises(BrokerConfigError) as caught:
                await bs.connect("tradovate", owner="a", fields=fields)
            wanted = [one.name for one in bs.registry.manifest("tradovate").user_fields if one.required]
            missing = [name for name in wanted if name not in fields]
            assert all(f"{name} is missing" in str(caught.value) for name in missing), str(caught.value)
            assert "Its fields are: " in caught.value.remedy
        assert not await bs.connections()
