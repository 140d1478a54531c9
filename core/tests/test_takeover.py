"""Tokens that another program obtained are taken over, and none is lost on the way."""

from __future__ import annotations

import asyncio
import types
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

from brokersync import BrokerAuthError, BrokerConfigError, BrokerSync, ProviderRegistry, Secret
from brokersync.errors import BrokerAPIError, BrokerError, BrokerRetryableError, StoreError
from brokersync.events import ConnectionNeedsUser, ConnectionRecovered, Event
from brokersync.manifest import parse_manifests
from brokersync.masterkeys import MasterKeys
from brokersync.plugin import (
    AuthResult,
    BrokerAccount,
    BrokerCredentials,
    BrokerTokenExpiredError,
    BrokerUnavailableError,
    ProviderContext,
    ProviderSpec,
    TradePage,
    TradeRequest,
    hookimpl,
)
from brokersync.records import Connection, ConnectionState, Grant
from brokersync.sealing import Sealer
from brokersync.store import SqlStore
from brokersync.store.sql import Fetch, Script
from brokersync.types import CoveredSpan
from brokersync.vault import GrantVault

NOW = datetime(2026, 3, 2, 15, tzinfo=UTC)
HOUR = timedelta(hours=1)
FIELDS = {"user": "mira", "password": "hidden-password"}
MANIFEST = """
key = "paper"
display_name = "Paper"
contract = 1
environments = ["live"]
auth = ["password"]
licence = "Apache-2.0"
docs = "https://paper.example/docs"
support = "https://paper.example/help"

[hosts]
api = "https://paper.example"

[[user_fields]]
name = "user"
label = "User"
help = "As on the site."

[[user_fields]]
name = "password"
label = "Password"
help = "As on the site."
secret = true

[[sources]]
name = "fills"
precedence = 1
longest_window = "30d"
"""


class Clock:
    moment = NOW

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return 0

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nobody sleeps here")


@attrs.frozen(kw_only=True)
class PaperCredentials(BrokerCredentials):
    user: str
    password: Secret


class Broker:
    """Access tokens of users, and refresh tokens that are good once; `names`: a renewal tells whose it is."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.users = {"hidden-access-0": "mira"}
        self.refreshes = {"hidden-refresh-0": "mira"}
        self.asked: list[str] = []
        self.faults: dict[str, list[BrokerError]] = {}
        self.adopts, self.names, self.careless = True, False, False
        self.rotated, self.answers = asyncio.Event(), asyncio.Event()
        self.answers.set()

    def ask(self, what: str, token: Secret | None) -> str:
        text = token.reveal() if token else "nothing"
        self.asked.append(f"{what} with {text.removeprefix('hidden-')}")
        if self.faults.get(what):
            raise self.faults[what].pop(0)
        if text not in self.users:
            raise BrokerTokenExpiredError("dead") if text == "hidden-dead" else BrokerAuthError("wrong token")
        return self.users[text]

    def fresh(self, user: str, identity: str) -> AuthResult:
        number = len(self.asked)
        self.users[f"hidden-access-{number}"] = user
        self.refreshes[f"hidden-refresh-{number}"] = user
        return AuthResult(
            identity=identity,
            access_token=Secret(f"hidden-access-{number}"),
            refresh_token=Secret(f"hidden-refresh-{number}"),
            expires_at=self.clock.now() + HOUR,
        )

    def plugin(self) -> types.ModuleType:
        @hookimpl
        def brokersync_provider(broker: str) -> ProviderSpec:
            return ProviderSpec(
                credentials=PaperCredentials, create=lambda _: Provider(self), adopt=self.adopt if self.adopts else None
            )

        module = types.ModuleType("paper")
        module.__dict__["brokersync_provider"] = brokersync_provider
        return module

    async def adopt(self, context: ProviderContext, auth: AuthResult) -> AuthResult:
        return auth if self.careless else attrs.evolve(auth, identity=self.ask("who", auth.access_token))


class Provider:
    def __init__(self, broker: Broker) -> None:
        self.broker = broker

    async def authenticate(self, credentials: PaperCredentials) -> AuthResult:
        self.broker.asked.append(f"login of {credentials.user}")
        return self.broker.fresh(credentials.user, credentials.user)

    async def refresh_token(self, auth: AuthResult) -> AuthResult:
        token = auth.refresh_token.reveal() if auth.refresh_token else ""
        self.broker.asked.append(f"refresh with {token.removeprefix('hidden-')}")
        if not token:
            raise BrokerTokenExpiredError("no refresh token")
        user = self.broker.refreshes.pop(token, None)
        self.broker.rotated.set()
        await self.broker.answers.wait()
        if user is None:
            raise BrokerAuthError("The refresh token was refused.")
        return self.broker.fresh(user, user if self.broker.names else auth.identity)

    async def get_accounts(self, auth: AuthResult) -> Sequence[BrokerAccount]:
        user = self.broker.ask("accounts", auth.access_token)
        return [BrokerAccount(account_id=f"of {user}", environment="live")]

    async def get_trades(self, auth: AuthResult, request: TradeRequest) -> AsyncGenerator[TradePage, None]:
        self.broker.ask("trades", auth.access_token)
        covered = tuple(
            CoveredSpan(account_id=one.account_id, environment="live", window=request.window)
            for one in request.accounts
        )
        yield TradePage(covered=covered)

    async def aclose(self) -> None:
        pass


class Spy:
    """The store; notes in the broker's own list when a grant has become durable, and fails where it is told to."""

    def __init__(self, store: SqlStore, asked: list[str]) -> None:
        self._store, self._asked = store, asked
        self.fails: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        return self._watched(name, method) if name in ("keep_grant", "replace_grant", "add_connection") else method

    def _watched(self, name: str, method: Any) -> Any:
        async def call(*values: Any, **named: Any) -> Any:
            if name in self.fails:
                self.fails.remove(name)
                raise StoreError("The disk is full.")
            done = await method(*values, **named)
            self._asked.append("stored")
            return done

        return call


@attrs.frozen
class Desk:
    bs: BrokerSync
    store: Spy
    broker: Broker
    vault: GrantVault
    events: list[Event]

    async def take_over(self, access: str = "hidden-access-0", refresh: str | None = None, **more: Any) -> Connection:
        tokens = {"access_token": access, "refresh_token": Secret(refresh or ""), **more.pop("tokens", {})}
        if not refresh:
            del tokens["refresh_token"]
        return await self.bs.take_over("paper", owner="me", tokens=tokens, **more)

    async def grants(self) -> list[str]:
        """Whose logins are kept."""

        def script() -> Script[list[Any]]:
            return (yield Fetch("SELECT identity FROM grants ORDER BY identity"))

        return [row[0] for row in await self.store._read(script)]


@asynccontextmanager
async def open_desk(broker: Broker, store: SqlStore, manifest: str = MANIFEST) -> AsyncIterator[Desk]:
    spy = Spy(store, broker.asked)
    registry = ProviderRegistry()
    registry.register(broker.plugin(), *parse_manifests(manifest, "paper"))
    keys = MasterKeys(bytes(32))
    events: list[Event] = []
    bs = BrokerSync(store=spy, registry=registry, keys=keys, clock=broker.clock, events=events.append)
    async with bs:
        yield Desk(bs, spy, broker, GrantVault(store, Sealer(keys)), events)


@pytest.fixture
async def desk(store: SqlStore) -> AsyncIterator[Desk]:
    async with open_desk(Broker(), store) as made:
        yield made


async def test_a_live_token_becomes_a_connection_that_syncs(desk: Desk) -> None:
    connection = await desk.take_over(tokens={"expires_at": NOW + HOUR, "device": "hidden-device"})
    assert (connection.identity, connection.state) == ("mira", ConnectionState.ACTIVE)
    assert [one.account_id for one in await desk.bs.accounts(connection.connection_id)] == ["of mira"]
    assert desk.broker.asked == ["who with access-0", "stored", "accounts with access-0"]
    grant, fields = await desk.vault.load(connection)
    assert (grant.auth.expires_at, fields) == (NOW + HOUR, {})
    assert grant.auth.secrets == {"device": Secret("hidden-device")}
    await desk.bs.run(connection.connection_id)
    assert "trades with access-0" in desk.broker.asked


async def test_a_token_that_soon_ends_is_renewed_and_stored_before_it_is_used_further(desk: Desk) -> None:
    await desk.take_over(refresh="hidden-refresh-0", tokens={"expires_at": "2026-03-02T15:00:30Z"})
    who, stored, refresh, *then = desk.broker.asked
    assert (who, stored, refresh) == ("who with access-0", "stored", "refresh with refresh-0")
    assert then == ["stored", "who with access-3", "stored", "accounts with access-3"]


async def test_a_refresh_token_of_somebody_else_connects_nothing_and_is_good_by_itself_still(desk: Desk) -> None:
    desk.broker.refreshes["hidden-refresh-0"] = "nils"
    soon = {"expires_at": NOW + timedelta(seconds=30)}
    for _ in range(2):
        with pytest.raises(BrokerAuthError, match="access token to mira, and the refresh token to nils") as refused:
            await desk.take_over(refresh="hidden-refresh-0", tokens=soon)
        assert "hidden" not in str(refused.value)
    assert await desk.bs.connections("me") == ()
    assert desk.broker.asked.count("refresh with refresh-0") == 1

    assert (await desk.take_over("hidden-dead", "hidden-refresh-0")).identity == "nils"
    assert (await desk.take_over()).identity == "mira"
    assert await desk.grants() == ["mira", "nils"]


@pytest.mark.parametrize("names", [False, True], ids=["the broker is asked whose it is", "the renewal tells it"])
async def test_a_dead_access_token_is_renewed_and_stored_before_the_new_one_is_used(desk: Desk, names: bool) -> None:
    desk.broker.names = names
    connection = await desk.take_over("hidden-dead", "hidden-refresh-0")
    asked = [what for what in desk.broker.asked if not what.startswith("who with access")]
    assert asked == ["who with dead", "stored", "refresh with refresh-0", "stored", "stored", "accounts with access-3"]
    assert connection.identity == "mira"
    assert await desk.grants() == ["mira"]


async def test_what_was_renewed_before_a_failure_is_gone_on_from_with_the_same_tokens(desk: Desk) -> None:
    desk.broker.faults["who"] = [BrokerTokenExpiredError("dead"), BrokerUnavailableError("down")]
    with pytest.raises(BrokerRetryableError):
        await desk.take_over("hidden-dead", "hidden-refresh-0")
    (made_up,) = await desk.grants()
    assert made_up.startswith("taken over ")
    assert await desk.bs.connections() == ()

    connection = await desk.take_over("hidden-dead", "hidden-refresh-0")
    assert connection.identity == "mira"
    assert [what for what in desk.broker.asked if what.startswith("refresh")] == ["refresh with refresh-0"]
    assert await desk.grants() == ["mira"]


@pytest.mark.parametrize("step", ["keep_grant", "add_connection"])
async def test_a_store_that_fails_on_the_way_costs_a_repetition_and_no_token(desk: Desk, step: str) -> None:
    desk.store.fails.add(step)
    with pytest.raises(StoreError):
        await desk.take_over("hidden-dead", "hidden-refresh-0")
    assert await desk.bs.connections() == ()
    connection = await desk.take_over("hidden-dead", "hidden-refresh-0")
    assert [what for what in desk.broker.asked if what.startswith("refresh")] == ["refresh with refresh-0"]
    assert (connection.identity, await desk.grants()) == ("mira", ["mira"])


async def test_what_was_renewed_and_not_stored_is_gone_on_from_with_the_same_tokens(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(_: object) -> bool:
        raise StoreError("The disk is full.")

    async def no_wait(clock: Clock, seconds: float) -> None: ...

    with monkeypatch.context() as patch:
        patch.setattr(desk.store, "replace_grant", gone)
        patch.setattr(Clock, "sleep", no_wait)
        with pytest.raises(StoreError):
            await desk.take_over("hidden-dead", "hidden-refresh-0")
    connection = await desk.take_over("hidden-dead", "hidden-refresh-0")
    assert [what for what in desk.broker.asked if what.startswith("refresh")] == ["refresh with refresh-0"]
    assert (connection.identity, await desk.grants()) == ("mira", ["mira"])


async def test_what_was_renewed_before_a_failure_and_has_died_is_renewed_again(desk: Desk) -> None:
    desk.broker.faults["who"] = [BrokerTokenExpiredError("dead"), BrokerUnavailableError("down")]
    with pytest.raises(BrokerRetryableError):
        await desk.take_over("hidden-dead", "hidden-refresh-0")
    desk.broker.faults["who"] = [BrokerTokenExpiredError("dead"), BrokerTokenExpiredError("dead")]
    assert (await desk.take_over("hidden-dead", "hidden-refresh-0")).identity == "mira"
    assert await desk.grants() == ["mira"]


async def test_who_is_cancelled_while_the_broker_renews_loses_no_token(desk: Desk) -> None:
    desk.broker.answers.clear()
    taking = asyncio.create_task(desk.take_over("hidden-dead", "hidden-refresh-0"))
    await asyncio.wait_for(desk.broker.rotated.wait(), 10)
    for _ in range(2):
        taking.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await taking
    asyncio.get_running_loop().call_soon(desk.broker.answers.set)
    connection = await desk.take_over("hidden-dead", "hidden-refresh-0")
    assert [what for what in desk.broker.asked if what.startswith("refresh")] == ["refresh with refresh-0"]
    assert (connection.identity, await desk.grants()) == ("mira", ["mira"])


@pytest.mark.parametrize(
    ("access", "refresh"),
    [("hidden-wrong", None), ("hidden-dead", None), ("hidden-dead", "hidden-wrong"), ("hidden-wrong", "hidden-wrong")],
)
async def test_a_wrong_token_is_told_without_showing_it_and_nothing_is_kept(
    desk: Desk, access: str, refresh: str | None
) -> None:
    with pytest.raises(BrokerAuthError) as caught:
        await desk.take_over(access, refresh)
    assert "hidden" not in f"{caught.value!r} {caught.value.describe()}"
    assert (await desk.grants(), await desk.bs.connections()) == ([], ())


async def test_the_same_login_again_keeps_its_connection_and_the_fields_it_has(desk: Desk) -> None:
    first = await desk.bs.connect("paper", owner="me", fields=FIELDS)
    desk.broker.users.pop("hidden-access-1")
    desk.broker.faults["accounts"] = [BrokerTokenExpiredError("dead")]
    again = await desk.take_over(refresh="hidden-refresh-0")
    assert again.connection_id == first.connection_id
    grant, fields = await desk.vault.load(again)
    assert (grant.auth.access_token, fields) == (Secret("hidden-access-0"), FIELDS)
    assert await desk.grants() == ["mira"]


async def renewed_since(desk: Desk) -> Connection:
    """Taken over, and renewed since by a sync, so that the broker has replaced the refresh token."""
    connection = await desk.take_over(refresh="hidden-refresh-0", tokens={"expires_at": NOW + HOUR})
    desk.broker.clock.moment = NOW + HOUR
    await desk.bs.run(connection.connection_id)
    assert desk.broker.refreshes.keys() - {"hidden-refresh-0"} == desk.broker.refreshes.keys()
    desk.broker.asked.clear()
    return await desk.bs.connection(connection.connection_id)


async def test_tokens_that_were_taken_over_once_change_nothing_and_are_not_used_again(desk: Desk) -> None:
    connection = await renewed_since(desk)
    before, _ = await desk.vault.load(connection)
    for access in ("hidden-access-0", "hidden-dead"):
        assert await desk.take_over(access, "hidden-refresh-0") == connection
    assert await desk.take_over("", "hidden-refresh-0") == connection
    assert (await desk.vault.load(connection))[0] == before
    assert desk.broker.asked == ["who with access-0", "who with dead"], "the refresh token is not sent"


async def test_what_was_taken_over_is_known_after_a_new_login_and_new_keys(desk: Desk) -> None:
    connection = await renewed_since(desk)
    await desk.bs.reauthenticate(connection.connection_id, FIELDS)
    await desk.bs.rotate_key(data_keys=True)
    before, _ = await desk.vault.load(connection)
    await desk.take_over("hidden-dead", "hidden-refresh-0")
    assert (await desk.vault.load(connection))[0] == before


async def test_tokens_that_were_taken_over_help_where_the_login_was_refused_since_and_are_not_renewed(
    desk: Desk,
) -> None:
    desk.broker.faults["accounts"] = [BrokerAuthError("locked")]
    with pytest.raises(BrokerAuthError, match="locked"):
        await desk.take_over(refresh="hidden-refresh-0")
    with pytest.raises(BrokerAuthError):
        await desk.take_over("hidden-dead", "hidden-refresh-0")
    assert not any(what.startswith("refresh") for what in desk.broker.asked)
    assert (await desk.take_over(refresh="hidden-refresh-0")).state is ConnectionState.ACTIVE


async def asking_since(desk: Desk) -> Connection:
    """Renewed since it was taken over, and then doubted until its user was asked."""
    connection = await renewed_since(desk)
    asks = {"state": ConnectionState.NEEDS_USER, "reason": "refused", "next_at": NOW + 24 * HOUR}
    await desk.bs._shared.store.change_connection(connection.connection_id, **asks)
    return connection


async def test_tokens_that_were_taken_over_never_replace_newer_ones_that_work_and_withdraw_the_question(
    desk: Desk,
) -> None:
    connection = await asking_since(desk)
    before, _ = await desk.vault.load(connection)
    again = await desk.take_over(refresh="hidden-refresh-0")
    assert (again.connection_id, again.state, again.next_at) == (
        connection.connection_id, ConnectionState.ACTIVE, None,
    )  # fmt: skip
    assert (await desk.vault.load(connection))[0] == before
    assert [type(event) for event in desk.events].count(ConnectionRecovered) == 1
    assert desk.broker.asked == ["who with access-0", f"accounts with {shown(before)}"]


async def test_newer_tokens_that_have_ended_are_renewed_before_those_of_before_are_thought_of(desk: Desk) -> None:
    connection = await asking_since(desk)
    before, _ = await desk.vault.load(connection)
    desk.broker.faults["accounts"] = [BrokerTokenExpiredError("dead")]
    assert (await desk.take_over(refresh="hidden-refresh-0")).state is ConnectionState.ACTIVE
    after, _ = await desk.vault.load(connection)
    assert after.generation == before.generation + 1
    assert "refresh with refresh-0" not in desk.broker.asked


async def test_tokens_of_before_that_work_replace_newer_ones_that_are_refused_and_can_not_be_renewed(
    desk: Desk,
) -> None:
    connection = await asking_since(desk)
    desk.broker.refreshes.clear()
    desk.broker.faults["accounts"] = [BrokerTokenExpiredError("dead")]
    assert (await desk.take_over(refresh="hidden-refresh-0")).state is ConnectionState.ACTIVE
    grant, _ = await desk.vault.load(connection)
    assert grant.auth.access_token == Secret("hidden-access-0")


@pytest.mark.parametrize("error", [BrokerUnavailableError("down"), BrokerAPIError("nonsense")], ids=repr)
async def test_nothing_is_replaced_while_the_broker_does_not_say_whether_it_takes_what_is_stored(
    desk: Desk, error: BrokerError
) -> None:
    connection = await asking_since(desk)
    before, _ = await desk.vault.load(connection)
    desk.broker.faults["accounts"] = [error] * 9
    with pytest.raises(type(error)):
        await desk.take_over(refresh="hidden-refresh-0")
    assert (await desk.vault.load(connection))[0] == before
    assert (await desk.bs.connection(connection.connection_id)).state is ConnectionState.NEEDS_USER


async def test_the_question_is_withdrawn_of_all_that_live_by_the_login(store: SqlStore) -> None:
    manifest = MANIFEST.replace('environments = ["live"]', 'environments = ["live", "demo"]\none_login = true')
    async with open_desk(Broker(), store, manifest) as desk:
        live = await asking_since(desk)
        demo = await desk.take_over(refresh="hidden-refresh-0", environment="demo")
        assert {one.state for one in await desk.bs.connections()} == {ConnectionState.ACTIVE}
        assert (demo.environment, len(await desk.bs.connections())) == ("demo", 2)
        assert (await desk.vault.load(demo))[0] == (await desk.vault.load(live))[0]


def shown(grant: Grant) -> str:
    assert grant.auth.access_token is not None
    return grant.auth.access_token.reveal().removeprefix("hidden-")


async def test_other_tokens_do_not_replace_those_that_the_broker_takes_still(desk: Desk) -> None:
    connection = await renewed_since(desk)
    before, _ = await desk.vault.load(connection)
    desk.broker.users["hidden-other"] = "mira"
    assert await desk.take_over("hidden-other", "hidden-refresh-9") == connection
    assert (await desk.vault.load(connection))[0] == before


async def test_tokens_that_can_not_be_renewed_give_way_to_those_that_can(desk: Desk) -> None:
    connection = await desk.take_over()
    await desk.take_over(refresh="hidden-refresh-0")
    grant, _ = await desk.vault.load(connection)
    assert grant.auth.refresh_token == Secret("hidden-refresh-0")
    desk.broker.users["hidden-other"] = "mira"
    desk.broker.users.pop("hidden-access-0")
    await desk.take_over("hidden-other")
    assert (await desk.vault.load(connection))[0].auth == grant.auth


async def test_who_takes_over_the_same_tokens_at_once_gets_the_same_connection(store: SqlStore) -> None:
    broker = Broker()
    async with open_desk(broker, store) as desk:
        broker.answers.clear()
        other = BrokerSync(store=desk.store, registry=desk.bs.registry, keys=MasterKeys(bytes(32)), clock=broker.clock)
        tokens = {"access_token": "hidden-dead", "refresh_token": "hidden-refresh-0"}
        both = [
            asyncio.create_task(bs.take_over("paper", owner="me", tokens=tokens)) for bs in (desk.bs, other, desk.bs)
        ]
        await asyncio.wait_for(broker.rotated.wait(), 10)
        await asyncio.sleep(0.2)
        broker.answers.set()
        found = await asyncio.wait_for(asyncio.gather(*both), 10)
    assert len({one.connection_id for one in found}) == 1
    assert [what for what in broker.asked if what.startswith("refresh")] == ["refresh with refresh-0"]


async def test_one_login_of_two_environments_is_taken_over_into_one_grant(store: SqlStore) -> None:
    broker = Broker()
    manifest = MANIFEST.replace('environments = ["live"]', 'environments = ["live", "demo"]\none_login = true')
    async with open_desk(broker, store, manifest) as desk:
        live = await renewed_since(desk)
        before, _ = await desk.vault.load(live)
        demo = await desk.take_over("hidden-dead", "hidden-refresh-0", environment="demo")
        assert (demo.environment, demo.identity) == ("demo", "mira")
        assert demo.connection_id != live.connection_id
        assert len(await desk.bs.accounts(demo.connection_id)) == 1
        assert (await desk.vault.load(demo))[0] == before
        assert await desk.take_over("hidden-dead", "hidden-refresh-0", environment="demo") == demo


async def test_what_was_taken_over_is_forgotten_with_its_owner(desk: Desk) -> None:
    await renewed_since(desk)
    await desk.bs.forget("me")
    with pytest.raises(BrokerAuthError, match="refused"):
        await desk.take_over("hidden-dead", "hidden-refresh-0")
    assert (await desk.grants(), await desk.bs.connections()) == ([], ())


async def test_fields_are_kept_for_a_later_login(desk: Desk) -> None:
    connection = await desk.take_over(fields=FIELDS | {"password": Secret("hidden-password")})
    desk.broker.users.clear()
    desk.broker.faults["trades"] = [BrokerTokenExpiredError("dead")]
    with pytest.raises(BrokerError):
        await desk.bs.run(connection.connection_id)
    _, fields = await desk.vault.load(connection)
    assert fields == FIELDS


async def test_dead_tokens_with_fields_log_in(desk: Desk) -> None:
    connection = await desk.take_over("hidden-dead", fields=FIELDS)
    assert "login of mira" in desk.broker.asked
    assert (connection.identity, await desk.grants()) == ("mira", ["mira"])


async def test_fields_that_do_not_fit_are_named_before_the_broker_is_asked(desk: Desk) -> None:
    with pytest.raises(BrokerConfigError, match="pasword"):
        await desk.take_over(fields={"user": "mira", "pasword": "hidden"})
    assert desk.broker.asked == []


async def test_a_token_that_ends_without_any_fields_asks_the_user(desk: Desk) -> None:
    connection = await desk.take_over(tokens={"expires_at": NOW + HOUR})
    desk.broker.clock.moment = NOW + 2 * HOUR
    with pytest.raises(BrokerAuthError, match="nothing is kept to log in again with"):
        await desk.bs.run(connection.connection_id)
    assert (await desk.bs.connection(connection.connection_id)).state is ConnectionState.NEEDS_USER


@pytest.mark.parametrize("error", [BrokerUnavailableError("down"), BrokerAPIError("nonsense")], ids=repr)
async def test_accounts_that_can_not_be_listed_now_are_listed_by_the_first_sync(desk: Desk, error: BrokerError) -> None:
    desk.broker.faults["accounts"] = [error]
    connection = await desk.take_over()
    assert await desk.bs.accounts(connection.connection_id) == ()
    await desk.bs.run(connection.connection_id)
    assert len(await desk.bs.accounts(connection.connection_id)) == 1


async def test_a_login_that_is_refused_its_accounts_is_kept_and_asks_the_user(desk: Desk) -> None:
    desk.broker.faults["accounts"] = [BrokerAuthError("locked")]
    with pytest.raises(BrokerAuthError, match="locked"):
        await desk.take_over()
    (connection,) = await desk.bs.connections("me")
    assert (connection.state, connection.reason) == (ConnectionState.NEEDS_USER, "locked")
    assert [type(event) for event in desk.events].count(ConnectionNeedsUser) == 1


async def test_a_plugin_that_takes_no_tokens_says_how_to_go_on(store: SqlStore) -> None:
    broker = Broker()
    broker.adopts = False
    async with open_desk(broker, store) as desk:
        with pytest.raises(BrokerConfigError) as caught:
            await desk.take_over()
    assert "takes no tokens over" in caught.value.message
    assert "user, password" in (caught.value.remedy or "")


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        ({}, "No token is given"),
        ({"access_token": "", "expires_at": "2026-03-02T15:00:00Z"}, "No token is given"),
        ({"access_token": "t", "expires_at": "2026-03-02T15:00:00"}, "expires_at is no time with a zone"),
        ({"access_token": "t", "expires_at": datetime(2026, 3, 2)}, "expires_at is no time with a zone"),
        ({"access_token": "t", "grant_expires_at": "soon"}, "grant_expires_at is no time with a zone"),
        ({"access_token": 7}, "access_token is no text"),
    ],
)
async def test_tokens_that_can_not_be_meant_are_said(desk: Desk, tokens: dict[str, Any], said: str) -> None:
    with pytest.raises(BrokerConfigError, match=said):
        await desk.bs.take_over("paper", owner="me", tokens=tokens)
    assert desk.broker.asked == []


async def test_a_login_of_an_owner_without_a_name_is_refused_before_the_broker_is_asked(desk: Desk) -> None:
    for connecting in (
        desk.bs.take_over("paper", owner=" ", tokens={"access_token": "t"}),
        desk.bs.connect("paper", owner="", fields={}),
    ):
        with pytest.raises(BrokerConfigError, match="owner is empty"):
            await connecting
    assert desk.broker.asked == []


async def test_a_plugin_that_does_not_say_whose_tokens_they_are_broke_the_contract(desk: Desk) -> None:
    desk.broker.careless = True
    with pytest.raises(BrokerError, match="did not say who"):
        await desk.take_over()
    assert (await desk.grants(), await desk.bs.connections()) == ([], ())


async def test_logging_in_again_without_fields_names_those_that_were_never_given(desk: Desk) -> None:
    connection = await desk.take_over()
    with pytest.raises(BrokerConfigError, match="is missing"):
        await desk.bs.reauthenticate(connection.connection_id, {})
