"""A broker that refuses everybody's fresh token is away; a login that it alone refuses is its user's."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from brokersync.doubts import noted
from brokersync.events import ConnectionNeedsUser, ConnectionRecovered, IncidentClosed, IncidentOpened
from brokersync.plugin import AuthResult, BrokerAuthError, BrokerError, BrokerTokenExpiredError, BrokerUnavailableError
from brokersync.records import ConnectionState, Done

from .broker import MANIFEST, Broker, Desk, VirtualClock, open_desk

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
USERS = [f"user {number}" for number in range(50)]


def dead_token(_: str) -> BrokerError:
    return BrokerTokenExpiredError("401 Unauthorized")


def wrong_password(_: str) -> BrokerError:
    return BrokerAuthError("The password is wrong.")


def bare_status(_: str) -> BrokerError:
    return BrokerAuthError("HTTP 403", status=403, certain=False)


def well(_: str) -> None:
    return None


def only(*users: str) -> Any:
    return lambda user: dead_token(user) if user in users else None


async def live(desk: Desk, lasts: timedelta, step: timedelta = MINUTE, concurrency: int = 8) -> None:
    for _ in range(lasts // step):
        await desk.bs.run_due(concurrency=concurrency)
        desk.clock.advance(seconds=step.total_seconds())


async def all_read(desk: Desk) -> None:
    """All fifty are connected and read, and due again at once."""
    await desk.connect(*USERS)
    assert all(isinstance(end, Done) for end in (await desk.bs.run_due()).values())
    desk.clock.advance(hours=7)
    desk.broker.asked.clear()


async def spread(desk: Desk) -> None:
    """All fifty are connected and read, each a few minutes after the one before."""
    for user in USERS:
        await desk.connect(user)
        await live(desk, 7 * MINUTE, 7 * MINUTE)
    await live(desk, 6 * HOUR, 5 * MINUTE)


async def asked_now(desk: Desk) -> set[str]:
    return {one.identity for one in await desk.bs.connections() if one.state is ConnectionState.NEEDS_USER}


@pytest.mark.long_on_postgres
async def test_an_outage_that_shows_as_401_for_everybody_asks_nobody_and_is_one_incident(stores: Any) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        await all_read(desk)
        desk.broker.failing = dead_token
        await live(desk, 6 * HOUR)
        assert desk.heard(ConnectionNeedsUser) == []
        assert all(one.refusals <= 1 for one in await desk.bs.connections()), "counters are frozen"
        (opened,) = desk.heard(IncidentOpened)
        (incident,) = await desk.bs.incidents(open_only=True)
        assert (opened.environment, incident.what) == ("live", "refuses everybody")
        assert opened.reason.startswith("Many logins are refused at once: ")
        # eight run side by side, and others take the places of the first four of five refused ones; then one canary
        # in 12 to 15 minutes; each asks again with a fresh token
        assert len(desk.broker.asked) <= 2 * (8 + 4 + incident.probes)
        assert incident.probes <= 4 + 6 * 60 / 12
        desk.broker.failing = well
        await live(desk, HOUR / 2)
        assert len(desk.heard(IncidentClosed)) == 1
        connections = await desk.bs.connections()
        assert all(one.last_synced_at >= desk.clock.now() - HOUR / 2 for one in connections)
        assert {(one.state, one.refusals) for one in connections} == {(ConnectionState.ACTIVE, 0)}
        assert desk.heard(ConnectionNeedsUser) == []


@pytest.mark.long_on_postgres
@pytest.mark.parametrize("refusal", [bare_status, wrong_password])
async def test_refusals_of_any_kind_of_most_logins_are_one_incident(stores: Any, refusal: Any) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        await all_read(desk)
        desk.broker.failing = refusal
        # one after the other: what is refused for sure asks at once, until it is known to be everybody's
        await live(desk, HOUR, concurrency=1)
        assert len(await asked_now(desk)) == (4 if refusal is wrong_password else 0)
        (opened,) = desk.heard(IncidentOpened)
        assert opened.reason.startswith("Many logins are refused at once: ")
        desk.broker.failing = well
        await live(desk, HOUR / 2)
        assert await asked_now(desk) == set()
        assert len(desk.heard(ConnectionRecovered)) == len(desk.heard(ConnectionNeedsUser))


@pytest.mark.long_on_postgres
async def test_a_canary_never_sends_a_password_twice_that_was_refused_for_sure(stores: Any) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        await all_read(desk)

        def no(what: object) -> AuthResult:
            raise BrokerTokenExpiredError("Not so.") if isinstance(what, AuthResult) else wrong_password("")

        desk.broker.renewal, desk.broker.login, desk.broker.failing = no, no, dead_token
        desk.broker.logins.clear()
        await live(desk, 23 * HOUR, 5 * MINUTE)
        assert len(desk.heard(IncidentOpened)) == 1
        assert len(desk.broker.logins) > len(USERS) / 2
        assert len(desk.broker.logins) == len(set(desk.broker.logins))


async def test_who_is_refused_for_sure_while_the_broker_answers_nobody_else_is_asked(stores: Any) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        (name,) = await desk.connect("ann")
        desk.broker.failing = lambda _: BrokerUnavailableError("503")
        await live(desk, 10 * MINUTE)
        desk.broker.failing = wrong_password
        await live(desk, HOUR / 2)
        assert (await desk.bs.connection(name)).state is ConnectionState.NEEDS_USER


async def test_one_revoked_login_of_fifty_is_asked_for_as_promptly_as_ever(stores: Any) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        await all_read(desk)
        desk.broker.failing = only("user 7")
        await live(desk, 27 * MINUTE)
        assert await asked_now(desk) == {"user 7"}
        assert desk.heard(IncidentOpened) == []
        assert all(
            one.last_synced_at > desk.clock.now() - HOUR for one in await desk.bs.connections() if not one.reason
        )


@pytest.mark.long_on_postgres
@pytest.mark.parametrize("number", [4, 12])
async def test_a_few_revoked_logins_keep_nobody_waiting_and_are_asked_for(stores: Any, number: int) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        await all_read(desk)
        # the first that are run, so that nobody else has been read yet
        revoked = USERS[:number]
        desk.broker.failing = only(*revoked)
        await live(desk, 5 * MINUTE)
        sound = [one for one in await desk.bs.connections() if one.identity not in revoked]
        assert all(one.last_synced_at > desk.clock.now() - 6 * MINUTE for one in sound)
        await live(desk, HOUR)
        assert await asked_now(desk) == set(revoked)
        assert await desk.bs.incidents(open_only=True) == ()


@pytest.mark.long_on_postgres
async def test_in_a_fleet_that_is_read_one_by_one_hardly_anybody_is_asked_and_all_are_let_off(stores: Any) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        await spread(desk)
        desk.broker.failing = dead_token
        await live(desk, 5 * HOUR)
        asked = await asked_now(desk)
        assert len(asked) <= 2
        assert len(desk.heard(IncidentOpened)) == 1
        desk.broker.failing = well
        await live(desk, HOUR / 2)
        assert await asked_now(desk) == set()
        assert len(desk.heard(ConnectionRecovered)) == len(asked)


@pytest.mark.long_on_postgres
async def test_who_was_asked_before_it_was_known_is_let_off_as_soon_as_it_works_again(stores: Any) -> None:
    desk = open_desk(stores.place, refusals=1)
    async with desk.bs:
        await all_read(desk)
        desk.broker.failing = dead_token
        # one after the other: of those that run side by side the fifth may be refused before the first is asked for
        await live(desk, HOUR, concurrency=1)
        asked = await asked_now(desk)
        assert 0 < len(asked) < 5
        desk.broker.failing = well
        await live(desk, HOUR / 2)
        assert await asked_now(desk) == set()
        assert len(desk.heard(ConnectionRecovered)) == len(desk.heard(ConnectionNeedsUser)) == len(asked)


@pytest.mark.long_on_postgres
async def test_a_broker_that_refuses_everybody_for_a_day_means_it(stores: Any) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        await all_read(desk)
        desk.broker.failing = dead_token
        await live(desk, 23 * HOUR, 10 * MINUTE)
        assert desk.heard(ConnectionNeedsUser) == []
        await live(desk, 3 * HOUR, 10 * MINUTE)
        assert len(await asked_now(desk)) == len(USERS)
        assert len(desk.heard(IncidentOpened)) == len(desk.heard(IncidentClosed)) == 1
        # and where it did not mean it after all, nobody waits for the probe of the next day
        desk.broker.failing = well
        await desk.bs.run((await desk.bs.connections())[0].connection_id)
        await live(desk, HOUR / 6)
        assert await asked_now(desk) == set()


@pytest.mark.long_on_postgres
@pytest.mark.parametrize("lasts", [HOUR / 2, 12 * HOUR])
async def test_an_outage_in_which_no_login_is_taken_leaves_nobody_unable_to_log_in(
    stores: Any, lasts: timedelta
) -> None:
    desk = open_desk(stores.place)
    users = USERS[:6]

    def refused_by_status(_: Any) -> Any:
        raise BrokerAuthError("HTTP 401", certain=False)

    def expired(_: Any) -> Any:
        raise BrokerTokenExpiredError("The token has run out.")

    async with desk.bs:
        await desk.connect(*users)
        await desk.bs.run_due()
        desk.clock.advance(hours=7)
        sound, desk.broker.login = desk.broker.login, refused_by_status
        desk.broker.renewal, desk.broker.failing = expired, dead_token
        await live(desk, lasts)
        desk.broker.login, desk.broker.failing = sound, well
        await live(desk, HOUR / 2)
        assert {one.state for one in await desk.bs.connections()} == {ConnectionState.ACTIVE}
        assert desk.heard(ConnectionNeedsUser) == []
        assert await desk.bs.incidents(open_only=True) == ()
        # about one an hour for each: the canary is another one each time
        assert max(Counter(desk.broker.logins).values()) <= 6 + lasts / HOUR


async def test_an_outage_of_a_lone_user_ends_with_the_refusal_of_its_login(stores: Any) -> None:
    desk = open_desk(stores.place)

    def refused(_: Any) -> Any:
        return BrokerAuthError("Wrong password.")

    async with desk.bs:
        [user] = await desk.connect("ann")
        await desk.bs.run_due()
        desk.clock.advance(hours=7)
        desk.broker.failing = lambda _: BrokerUnavailableError("HTTP 503")
        await live(desk, 3 * HOUR)
        assert len(await desk.bs.incidents(open_only=True)) == 1
        desk.broker.failing = refused
        await live(desk, HOUR)
        assert await desk.bs.incidents(open_only=True) == ()
        assert (await desk.bs.connection(user)).state is ConnectionState.NEEDS_USER


async def test_what_was_refused_for_sure_before_an_outage_is_asked_for_in_the_midst_of_it(stores: Any) -> None:
    desk = open_desk(stores.place)
    async with desk.bs:
        [ann, *_] = await desk.connect("ann", "ben", "cid")
        await desk.bs.run_due()
        # the process ends between the refusal and the question to the user
        await desk.bs._shared.store.move_connection(
            ann, lambda known: noted(known, BrokerAuthError("Wrong password."), now=desk.clock.now())
        )
        desk.clock.advance(hours=7)
        desk.broker.failing = lambda _: BrokerUnavailableError("HTTP 503")
        await live(desk, HOUR)
        assert len(await desk.bs.incidents(open_only=True)) == 1

        def not_so(_: AuthResult) -> AuthResult:
            raise BrokerTokenExpiredError("Not so.")

        desk.broker.renewal = not_so
        desk.broker.failing = lambda user: dead_token(user) if user == "ann" else BrokerUnavailableError("HTTP 503")
        await live(desk, 2 * HOUR)
        assert (await desk.bs.connection(ann)).state is ConnectionState.NEEDS_USER
        [incident] = await desk.bs.incidents(open_only=True)
        assert incident.refused_since is None


async def test_a_connection_that_is_resumed_after_a_login_is_due_at_once(stores: Any) -> None:
    desk = open_desk(stores.place, refusals=1)
    async with desk.bs:
        [user] = await desk.connect("ann")
        desk.broker.failing = dead_token
        await desk.bs.run_due()
        await desk.bs.pause(user)
        desk.broker.failing = well
        await desk.bs.reauthenticate(user, {"user": "ann"})
        await desk.bs.resume(user)
        assert [one.connection_id for one in await desk.bs.due()] == [user]


ONE_LOGIN = MANIFEST.replace('environments = ["live"]', 'environments = ["live", "demo", "sim"]\none_login = true')


@pytest.mark.long_on_postgres
@pytest.mark.parametrize(("certain", "times"), [(True, 1), (False, 4)])
async def test_a_refused_password_is_sent_as_often_as_one_login_bears_however_many_connections_and_workers(
    stores: Any, certain: bool, times: int
) -> None:
    clock, broker = VirtualClock(), Broker(trades=0)

    def no(_: Any) -> Any:
        raise BrokerAuthError("no", certain=certain, status=401)

    def expired(_: AuthResult) -> AuthResult:
        raise BrokerTokenExpiredError("The token has run out.")

    desk, other = (open_desk(stores.place, broker, clock, manifest=ONE_LOGIN) for _ in range(2))
    async with desk.bs, other.bs:
        names = [(await desk.connect("ann", environment=one))[0] for one in ("live", "demo", "sim")]
        await desk.bs.run_due()
        clock.advance(hours=7)
        sound, broker.login, broker.renewal, broker.failing = broker.login, no, expired, dead_token
        broker.logins.clear()
        for _ in range(40):
            await asyncio.gather(desk.bs.run_due(), other.bs.run_due())
            clock.advance(hours=1)
        for name in names:
            for one in (desk, other):
                with pytest.raises(BrokerAuthError):
                    await one.bs.run(name)
        assert len(broker.logins) == times
        assert {one.state for one in await desk.bs.connections()} == {ConnectionState.NEEDS_USER}
        # the user gives a new one, which ends as well, and is refused as often as the first
        broker.login, broker.failing = sound, well
        await desk.bs.reauthenticate(names[1], {"user": "ann"})
        assert all(isinstance(end, Done) for end in (await other.bs.run_due()).values())
        broker.login, broker.failing = no, dead_token
        broker.logins.clear()
        for _ in range(40):
            clock.advance(hours=1)
            await asyncio.gather(desk.bs.run_due(), other.bs.run_due())
        assert len(broker.logins) == times


async def test_the_connections_of_one_login_do_not_use_up_its_password_faster_than_one_does(stores: Any) -> None:
    broker = Broker(trades=0)
    desk = open_desk(stores.place, broker, manifest=ONE_LOGIN)

    def no(_: Any) -> Any:
        raise BrokerAuthError("HTTP 401", certain=False)

    def expired(_: AuthResult) -> AuthResult:
        raise BrokerTokenExpiredError("The token has run out.")

    async with desk.bs:
        for environment in ("live", "demo", "sim"):
            await desk.connect("ann", environment=environment)
        await desk.bs.run_due()
        desk.clock.advance(hours=7)
        sound, broker.login, broker.renewal, broker.failing = broker.login, no, expired, dead_token
        broker.logins.clear()
        await live(desk, 20 * MINUTE)
        assert len(broker.logins) == 2
        assert desk.heard(ConnectionNeedsUser) == []
        broker.login, broker.failing = sound, well
        await live(desk, 10 * MINUTE)
        assert {(one.state, one.logins_refused) for one in await desk.bs.connections()} == {(ConnectionState.ACTIVE, 0)}


@pytest.mark.long_on_postgres
async def test_a_password_that_is_refused_to_everybody_is_not_used_up_for_a_login_of_several_connections(
    stores: Any,
) -> None:
    broker = Broker(trades=0)
    desk = open_desk(stores.place, broker, manifest=ONE_LOGIN)

    def no(_: Any) -> Any:
        raise BrokerAuthError("HTTP 401", certain=False)

    def expired(_: AuthResult) -> AuthResult:
        raise BrokerTokenExpiredError("The token has run out.")

    async with desk.bs:
        for user in USERS[:6]:
            for environment in ("live", "demo"):
                await desk.connect(user, environment=environment)
        await desk.bs.run_due()
        desk.clock.advance(hours=7)
        sound, broker.login, broker.renewal, broker.failing = broker.login, no, expired, dead_token
        await live(desk, 12 * HOUR, 5 * MINUTE)
        broker.login, broker.failing = sound, well
        await live(desk, HOUR, 5 * MINUTE)
        assert {one.state for one in await desk.bs.connections()} == {ConnectionState.ACTIVE}
        assert {one.logins_refused for one in await desk.bs.connections()} == {0}


PER_ACCOUNT = MANIFEST.replace('scope = "login"', 'scope = "account"')


@pytest.mark.parametrize("listed", [["a2"], ["a1", "a2"]], ids=["not listed any more", "still listed"])
async def test_an_account_that_is_refused_for_ever_costs_neither_its_login_nor_the_other_accounts(
    tmp_path: Path, listed: list[str]
) -> None:
    desk = open_desk(tmp_path, manifest=PER_ACCOUNT)
    desk.broker.accounts = lambda _: ["a1", "a2"]
    async with desk.bs:
        (name,) = await desk.connect("ann")
        await desk.bs.run_due()
        before = await desk.bs.coverage("alice", "toy", "fills")
        desk.broker.accounts = lambda _: listed
        desk.broker.refused = lambda account: bare_status(account) if account == "a1" else None
        desk.broker.asked.clear()
        await live(desk, 72 * HOUR, 10 * MINUTE)
        known = await desk.bs.connection(name)
        assert (known.state, known.reason, known.refusals) == (ConnectionState.ACTIVE, None, 0)
        assert desk.heard(ConnectionNeedsUser) == []
        after = await desk.bs.coverage("alice", "toy", "fills")
        assert {key[-1]: spans for key, spans in after.items() if spans == before[key]}.keys() == {"a1"}
        report = await desk.bs.last_report(name, "alice")
        assert [(one["status"], one["source"]) for one in report["problems"]] == [(403, "fills")]


async def test_a_login_whose_accounts_are_all_refused_asks_its_user_though_they_are_listed(tmp_path: Path) -> None:
    desk = open_desk(tmp_path, manifest=PER_ACCOUNT)
    desk.broker.accounts = lambda _: ["a1", "a2"]
    async with desk.bs:
        (name,) = await desk.connect("ann")
        desk.broker.refused = bare_status
        await live(desk, HOUR)
        assert (await desk.bs.connection(name)).state is ConnectionState.NEEDS_USER
        desk.broker.refused = well
        await live(desk, 26 * HOUR, HOUR)
        assert (await desk.bs.connection(name)).state is ConnectionState.ACTIVE


async def test_a_password_that_is_refused_while_an_account_is_read_is_the_logins_matter(tmp_path: Path) -> None:
    desk = open_desk(tmp_path, manifest=PER_ACCOUNT)
    desk.broker.accounts = lambda _: ["a1", "a2"]

    def no(_: Any) -> Any:
        raise BrokerAuthError("HTTP 401", certain=False)

    async with desk.bs:
        (name,) = await desk.connect("ann")
        desk.broker.login, desk.broker.renewal, desk.broker.failing = no, no, dead_token
        desk.broker.logins.clear()
        desk.broker.asked.clear()
        await desk.bs.run_due()
        assert (await desk.bs.connection(name)).refusals == 1
        assert len(desk.broker.asked) == 1
