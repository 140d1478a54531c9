"""A login at the broker's own page is begun and finished, by one process or two, and its answer is used once."""

from __future__ import annotations

import asyncio
import types
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import attrs
import pytest

from brokersync import (
    BrokerAuthError,
    BrokerConfigError,
    BrokerError,
    BrokerPluginError,
    BrokerSync,
    OpenConsent,
    ProviderRegistry,
)
from brokersync.events import ConnectionRecovered, Event
from brokersync.manifest import parse_manifests
from brokersync.masterkeys import MasterKeys
from brokersync.plugin import (
    AuthResult,
    BrokerAccount,
    BrokerCredentials,
    BrokerResponseError,
    BrokerTimeoutError,
    BrokerUnavailableError,
    Challenge,
    ProviderContext,
    ProviderSpec,
    Secret,
    TradePage,
    TradeRequest,
    hookimpl,
)
from brokersync.records import Connection, ConnectionState

NOW = datetime(2026, 3, 2, 15, tzinfo=UTC)
CALLBACK = "https://journal.example/callback"
MANIFEST = """
key = "paper"
display_name = "Paper"
contract = 1
environments = ["live", "demo"]
auth = ["password", "oauth2"]
one_login = true
licence = "Apache-2.0"
docs = "https://paper.example/docs"
support = "https://paper.example/help"

[hosts]
api = "https://paper.example"

[[user_fields]]
name = "password"
label = "Password"
help = "As on the site."
secret = true
auth = "password"

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
    password: Secret | None = None


class Broker:
    """Hands out codes, of which each is good once; `asked` is all that it was asked."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.asked: list[str] = []
        self.codes = {"hidden-code-of-mira": "mira", "hidden-code-of-nils": "nils"}
        self.states = iter(f"hidden-state-{number}" for number in range(100))
        self.failing: BrokerError | None = None
        self.accounts_fail: BrokerError | None = None
        self.two_steps = False
        self.page = "https://paper.example/consent"
        self.exchanging, self.going_on = asyncio.Event(), asyncio.Event()
        self.going_on.set()

    def plugin(self) -> types.ModuleType:
        @hookimpl
        def brokersync_provider(broker: str) -> ProviderSpec:
            return ProviderSpec(
                credentials=PaperCredentials,
                create=lambda _: Provider(self),
                consent=lambda one: PaperConsent(self, one),
            )

        module = types.ModuleType("paper")
        module.__dict__["brokersync_provider"] = brokersync_provider
        return module


class PaperConsent:
    def __init__(self, broker: Broker, context: ProviderContext) -> None:
        self.broker, self.context = broker, context

    async def begin(self, credentials: BrokerCredentials, redirect_uri: str | None) -> Challenge:
        assert type(credentials) is BrokerCredentials, "no field is asked for before a consent"
        state = next(self.broker.states)
        return Challenge(
            kind="browser",
            message="Log in at Paper.",
            url=f"{self.broker.page}?state={state}",
            expires_at=self.broker.clock.now() + timedelta(minutes=10),
            state={"state": Secret(state), "redirect_uri": Secret(redirect_uri or "")},
        )

    async def complete(self, challenge: Challenge, answers: Mapping[str, str]) -> AuthResult | Challenge:
        broker = self.broker
        broker.asked.append(f"exchange for {challenge.state['redirect_uri'].reveal()}")
        broker.exchanging.set()
        await broker.going_on.wait()
        if broker.failing is not None:
            raise broker.failing
        if answers.get("error") == "access_denied":
            raise BrokerAuthError("You declined.", code="access_denied")
        if broker.two_steps:
            broker.two_steps = False
            return attrs.evolve(challenge, kind="code", url=None, fields={"code": "What the app shows."})
        user = broker.codes.pop(answers.get("code", ""), None)
        if user is None:
            raise BrokerAuthError(f"Paper does not take the code {answers.get('code')}.")
        return AuthResult(
            identity=user,
            access_token=Secret(f"hidden-access-of-{user}"),
            refresh_token=Secret(f"hidden-refresh-of-{user}"),
        )

    async def revoke(self, auth: AuthResult) -> None:
        self.broker.asked.append(f"revoke {auth.identity}")


class Provider:
    def __init__(self, broker: Broker) -> None:
        self.broker = broker

    async def authenticate(self, credentials: PaperCredentials) -> AuthResult:
        return AuthResult(identity="mira", access_token=Secret("hidden-access-by-password"))

    async def refresh_token(self, auth: AuthResult) -> AuthResult:
        raise AssertionError("nothing has ended")

    async def get_accounts(self, auth: AuthResult) -> Sequence[BrokerAccount]:
        self.broker.asked.append(f"accounts of {auth.identity}")
        if self.broker.accounts_fail is not None:
            raise self.broker.accounts_fail
        return [BrokerAccount(account_id=f"of {auth.identity}", environment="live")]

    async def get_trades(self, auth: AuthResult, request: TradeRequest) -> AsyncGenerator[TradePage, None]:
        yield TradePage()

    async def aclose(self) -> None:
        pass


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def heard() -> list[Event]:
    return []


@pytest.fixture
def process(broker: Broker, stores: Any, heard: list[Event]) -> Any:
    """Makes a `BrokerSync` as each process over the one store has it."""

    def make(manifest: str = MANIFEST) -> BrokerSync:
        registry = ProviderRegistry()
        registry.register(broker.plugin(), *parse_manifests(manifest, "paper"))
        return BrokerSync.open(
            stores.place, registry=registry, keys=MasterKeys(bytes(32)), clock=broker.clock, events=heard.append
        )

    return make


def answered(begun: OpenConsent, user: str = "mira") -> dict[str, str]:
    """What comes back with the redirect."""
    (state,) = parse_qs(urlsplit(begun.url or "").query)["state"]
    return {"code": f"hidden-code-of-{user}", "state": state}


async def begun_by(bs: BrokerSync, owner: str = "ann") -> OpenConsent:
    return await bs.begin_consent("paper", owner=owner, redirect_uri=CALLBACK, label="Mine", environment="demo")


async def test_a_login_begun_by_one_process_is_finished_by_another(process: Any, broker: Broker) -> None:
    async with process() as first:
        begun = await begun_by(first)
    async with process() as other:
        answers = answered(begun)
        connection = await other.finish_consent(answers["state"], answers, owner="ann")

        assert isinstance(connection, Connection)
        assert (connection.identity, connection.label, connection.environment) == ("mira", "Mine", "demo")
        assert [one.account_id for one in await other.accounts(connection.connection_id)] == ["of mira"]
    assert broker.asked == [f"exchange for {CALLBACK}", "accounts of mira"]


async def test_an_answer_is_used_once_however_many_bring_it(process: Any, broker: Broker) -> None:
    async with process() as one, process() as other:
        begun = await begun_by(one)
        finish = [bs.finish_consent(begun.consent_id, answered(begun), owner="ann") for bs in (one, other, one)]
        outcomes = await asyncio.gather(*finish, return_exceptions=True)

    assert sorted(type(outcome).__name__ for outcome in outcomes) == [
        "BrokerAuthError",
        "BrokerAuthError",
        "Connection",
    ]
    assert broker.asked.count(f"exchange for {CALLBACK}") == 1


async def test_an_answer_of_another_owner_opens_nothing(process: Any, broker: Broker) -> None:
    async with process() as bs:
        begun = await begun_by(bs)
        with pytest.raises(BrokerAuthError, match="no such login under way"):
            await bs.finish_consent(begun.consent_id, answered(begun), owner="eve")

        assert isinstance(await bs.finish_consent(begun.consent_id, answered(begun), owner="ann"), Connection)


async def test_a_login_that_takes_too_long_is_over(process: Any, broker: Broker) -> None:
    async with process() as bs:
        begun = await begun_by(bs)
        assert begun.expires_at == NOW + timedelta(minutes=10)
        broker.clock.moment = begun.expires_at
        with pytest.raises(BrokerAuthError, match="took too long"):
            await bs.finish_consent(begun.consent_id, answered(begun), owner="ann")
    assert broker.asked == []


async def test_to_decline_is_told_by_its_code_and_keeps_nothing(process: Any, broker: Broker) -> None:
    async with process() as bs:
        begun = await begun_by(bs)
        with pytest.raises(BrokerAuthError) as caught:
            await bs.finish_consent(begun.consent_id, {"error": "access_denied"}, owner="ann")

        assert (caught.value.code, caught.value.provider) == ("access_denied", "paper")
        assert await bs.connections("ann") == ()


@pytest.mark.parametrize(
    "error", [BrokerTimeoutError("no answer"), BrokerUnavailableError("away"), BrokerResponseError("nonsense")]
)
async def test_after_an_exchange_of_unknown_outcome_the_login_is_begun_anew(
    process: Any, broker: Broker, error: BrokerError
) -> None:
    async with process() as bs:
        begun, broker.failing = await begun_by(bs), error
        with pytest.raises(type(error), match="Begin the login again"):
            await bs.finish_consent(begun.consent_id, answered(begun), owner="ann")
        broker.failing = None
        with pytest.raises(BrokerAuthError, match="no such login under way"):
            await bs.finish_consent(begun.consent_id, answered(begun), owner="ann")
    assert broker.asked == [f"exchange for {CALLBACK}"]


async def test_an_exchange_is_seen_through_when_the_browser_goes_away(process: Any, broker: Broker) -> None:
    async with process() as bs:
        begun = await begun_by(bs)
        broker.going_on.clear()
        request = asyncio.create_task(bs.finish_consent(begun.consent_id, answered(begun), owner="ann"))
        await broker.exchanging.wait()
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        broker.going_on.set()
    async with process() as bs:  # closing has waited for it
        (connection,) = await bs.connections("ann")
        assert connection.identity == "mira"


async def test_accounts_that_can_not_be_listed_now_cost_no_login(process: Any, broker: Broker) -> None:
    async with process() as bs:
        begun, broker.accounts_fail = await begun_by(bs), BrokerUnavailableError("away")
        connection = await bs.finish_consent(begun.consent_id, answered(begun), owner="ann")

        assert isinstance(connection, Connection)
        assert connection.state is ConnectionState.ACTIVE


async def test_a_login_of_several_steps_goes_on_under_the_same_name(process: Any, broker: Broker) -> None:
    broker.two_steps = True
    async with process() as bs:
        begun = await begun_by(bs)
        step = await bs.finish_consent(begun.consent_id, {}, owner="ann")
        assert isinstance(step, OpenConsent)
        assert (step.kind, dict(step.fields)) == ("code", {"code": "What the app shows."})

        done = await bs.finish_consent(step.consent_id, {"code": "hidden-code-of-mira"}, owner="ann")
        assert isinstance(done, Connection)


async def test_a_login_that_has_ended_is_renewed_by_its_own_user_only(
    process: Any, broker: Broker, heard: list[Event]
) -> None:
    async with process() as bs:
        begun = await begun_by(bs)
        connection = await bs.finish_consent(begun.consent_id, answered(begun), owner="ann")
        name = connection.connection_id
        await bs._store.change_connection(name, state=ConnectionState.NEEDS_USER)

        again = await bs.renew_consent(name, owner="ann", redirect_uri=CALLBACK)
        with pytest.raises(BrokerAuthError, match="belongs to the login mira"):
            await bs.finish_consent(again.consent_id, answered(again, "nils"), owner="ann")
        assert (await bs.connection(name)).state is ConnectionState.NEEDS_USER

        broker.codes["hidden-code-of-mira"] = "mira"
        again = await bs.renew_consent(name, owner="ann", redirect_uri=CALLBACK)
        renewed = await bs.finish_consent(again.consent_id, answered(again), owner="ann")
        assert (renewed.connection_id, renewed.state) == (name, ConnectionState.ACTIVE)
    assert [type(event) for event in heard if isinstance(event, ConnectionRecovered)] == [ConnectionRecovered]


async def test_a_consent_keeps_the_password_that_the_login_had(process: Any, broker: Broker) -> None:
    async with process() as bs:
        first = await bs.connect("paper", owner="ann", fields={"password": "hidden-password"}, environment="demo")
        begun = await begun_by(bs)
        same = await bs.finish_consent(begun.consent_id, answered(begun), owner="ann")

        assert same.connection_id == first.connection_id
        grant, fields = await bs._shared.vault.load(same)
        assert fields == {"password": "hidden-password"}
        assert grant.auth.refresh_token == Secret("hidden-refresh-of-mira")


async def test_nothing_of_a_login_under_way_stands_in_the_store_in_clear(
    process: Any, broker: Broker, stores: Any
) -> None:
    async with process() as bs:
        begun = await begun_by(bs)
        assert "hidden" not in repr(begun)
    assert b"hidden" not in await stores.content()


async def test_a_login_that_was_begun_and_left_goes_with_what_is_pruned(process: Any, broker: Broker) -> None:
    async with process() as bs:
        begun, later = await begun_by(bs), await begun_by(bs)
        broker.clock.moment += timedelta(minutes=9)
        await bs.prune()
        assert isinstance(await bs.finish_consent(begun.consent_id, answered(begun), owner="ann"), Connection)
        broker.clock.moment += timedelta(minutes=2)
        await bs.prune()
        exported = [line async for line in bs.export("ann")]
        broker.clock.moment = NOW
        with pytest.raises(BrokerAuthError, match="no such login"):
            await bs.finish_consent(later.consent_id, answered(later), owner="ann")
    assert sum('"record":"login"' in line.replace(" ", "") for line in exported) == 1


async def test_who_is_forgotten_has_no_login_under_way(process: Any, broker: Broker, stores: Any) -> None:
    async with process() as bs:
        begun = await begun_by(bs)
        await bs.forget("ann")
        with pytest.raises(BrokerAuthError, match="no such login"):
            await bs.finish_consent(begun.consent_id, answered(begun), owner="ann")


async def test_a_data_key_that_is_replaced_meanwhile_changes_nothing(process: Any, broker: Broker) -> None:
    async with process() as bs:
        begun = await begun_by(bs)
        await bs.rotate_key(data_keys=True)
        assert isinstance(await bs.finish_consent(begun.consent_id, answered(begun), owner="ann"), Connection)


async def test_no_error_shows_what_came_back(process: Any, broker: Broker) -> None:
    async with process() as bs:
        begun = await begun_by(bs)
        with pytest.raises(BrokerAuthError) as caught:
            await bs.finish_consent(begun.consent_id, {"code": "hidden-code-of-nobody"}, owner="ann")
    assert "does not take the code ***" in caught.value.message
    assert "hidden" not in f"{caught.value!r} {caught.value.describe()}"


@pytest.mark.parametrize(
    "uri",
    ["http://journal.example/", "https://a@evil.example/", "https://x/#f", "journal.example", "", "ftp://127.0.0.1/"],
)
async def test_an_address_that_a_login_must_not_be_sent_to_is_refused(process: Any, broker: Broker, uri: str) -> None:
    async with process() as bs:
        with pytest.raises(BrokerConfigError, match=r"redirect_uri"):
            await bs.begin_consent("paper", owner="ann", redirect_uri=uri)
        for good in (CALLBACK, "http://127.0.0.1:8765/callback", "http://[::1]:80/", "http://localhost:1/"):
            assert (await bs.begin_consent("paper", owner="ann", redirect_uri=good)).url


@pytest.mark.parametrize("page", ["file:///etc/passwd", "http://paper.example/", "javascript:alert(1)", "x"])
async def test_nobody_is_sent_to_a_page_that_is_no_https_address(process: Any, broker: Broker, page: str) -> None:
    broker.page = page
    async with process() as bs:
        with pytest.raises(BrokerPluginError, match="no https address"):
            await begun_by(bs)


async def test_a_broker_without_a_page_of_its_own_says_what_to_do(process: Any, broker: Broker) -> None:
    async with process(MANIFEST.replace(', "oauth2"', "")) as bs:
        with pytest.raises(BrokerConfigError, match=r"Connect with its fields: password"):
            await bs.begin_consent("paper", owner="ann", redirect_uri=CALLBACK)


async def test_a_form_asks_for_what_belongs_to_its_way_to_log_in(broker: Broker) -> None:
    (manifest,) = parse_manifests(MANIFEST, "paper")
    assert list(manifest.form()["properties"]) == ["password"]
    assert manifest.form(consent=True)["properties"] == {}


async def test_a_connection_that_is_left_has_its_consent_revoked(process: Any, broker: Broker) -> None:
    async with process() as bs:
        begun = await begun_by(bs)
        connection = await bs.finish_consent(begun.consent_id, answered(begun), owner="ann")
        assert (await bs.disconnect(connection.connection_id)).revoked
    assert broker.asked[-1] == "revoke mira"
