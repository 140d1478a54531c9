from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs
import pytest

from brokersync.config import BrokerSettings, Settings
from brokersync.errors import (
    BrokerAuthError,
    BrokerConfigError,
    BrokerCursorError,
    BrokerNotInstalledError,
    BrokerPluginError,
    Fault,
)
from brokersync.factory import ManagedProvider, get_broker_provider, make_context, make_credentials
from brokersync.manifest import Field, Manifest, parse_manifests
from brokersync.plugin import (
    AssetClass,
    AuthResult,
    BrokerAccount,
    BrokerCredentials,
    BrokerTrade,
    CoveredSpan,
    Instrument,
    ProviderContext,
    ProviderSpec,
    Secret,
    Side,
    TimeWindow,
    TradeBooking,
    TradePage,
    TradeRequest,
    hookimpl,
)
from brokersync.registry import ProviderRegistry

MANIFEST = parse_manifests(
    """
key = "paper"
display_name = "Paper"
contract = 0
environments = ["live", "demo"]
auth = ["password"]
licence = "MIT"
docs = "https://broker.example"
support = "https://broker.example/help"
[hosts]
api = "https://api.broker.example"
[[user_fields]]
name = "username"
label = "User"
help = "Your name."
[[user_fields]]
name = "password"
label = "Password"
help = "Sealed."
secret = true
[[user_fields]]
name = "day"
label = "Day"
help = "First day."
format = "date"
required = false
[[sources]]
name = "history"
precedence = 1
""",
    "test",
)[0]

AUTH = AuthResult(identity="me")
ACCOUNT = BrokerAccount(account_id="A1", environment="live")
WINDOW = TimeWindow(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))
REQUEST = TradeRequest(source="history", window=WINDOW)
TRADE = BrokerTrade(
    provider="paper",
    environment="live",
    account_id="A1",
    trade_id="1",
    instrument=Instrument(symbol="X", asset_class=AssetClass.STOCK),
    side=Side.BUY,
    quantity=Decimal(1),
    price=Decimal("1.5"),
    executed_at=WINDOW.start,
)
PAGE = TradePage(bookings=(TradeBooking.of(TRADE),))


@attrs.frozen(kw_only=True)
class Credentials(BrokerCredentials):
    username: str
    password: Secret
    day: str | None = None


CREDENTIALS = Credentials(username="me", password=Secret("hidden-value"))


class Provider:
    """A provider whose answers a test replaces; an exception as an answer is raised."""

    def __init__(self, **answers: Any) -> None:
        self.answers: dict[str, Any] = {
            "authenticate": AUTH,
            "refresh_token": AUTH,
            "get_accounts": [ACCOUNT],
            "aclose": None,
        } | answers
        self.pages: list[Any] = answers.get("pages", [PAGE])
        self.closed = 0
        self.generators_closed = 0

    def _answer(self, verb: str) -> Any:
        answer = self.answers[verb]
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def authenticate(self, credentials: Credentials) -> Any:
        return self._answer("authenticate")

    async def refresh_token(self, auth: AuthResult) -> Any:
        return self._answer("refresh_token")

    async def get_accounts(self, auth: AuthResult) -> Any:
        return self._answer("get_accounts")

    async def get_trades(self, auth: AuthResult, request: TradeRequest) -> AsyncGenerator[Any, None]:
        try:
            for page in self.pages:
                if isinstance(page, BaseException):
                    raise page
                yield page
        finally:
            self.generators_closed += 1

    async def aclose(self) -> None:
        self.closed += 1
        self._answer("aclose")


class Plugin:
    def __init__(self, spec: ProviderSpec) -> None:
        self._spec = spec

    @hookimpl
    def brokersync_provider(self, broker: str) -> ProviderSpec:
        return self._spec


class Nothing:
    """Stands for the parts of a context that these tests do not use."""

    guard: Any = None


def context_of(environment: str = "live") -> ProviderContext:
    nothing: Any = Nothing()
    return make_context(
        MANIFEST,
        environment=environment,
        settings=Settings(),
        http=nothing,
        clock=nothing,
        hosts=nothing,
        cache=nothing,
    )


def registry_of(create: Callable[[ProviderContext], Any], manifest: Manifest = MANIFEST) -> ProviderRegistry:
    registry = ProviderRegistry()
    registry.register(Plugin(ProviderSpec(credentials=Credentials, create=create)), manifest)
    return registry


def managed(provider: Any) -> ManagedProvider:
    return get_broker_provider(
        "paper", registry=registry_of(lambda context: provider), settings=Settings(), context=context_of()
    )


async def pages_of(provider: ManagedProvider, request: TradeRequest = REQUEST) -> list[TradePage]:
    return [page async for page in provider.get_trades(AUTH, request)]


VERBS: Mapping[str, Callable[[ManagedProvider], Awaitable[Any]]] = {
    "authenticate": lambda provider: provider.authenticate(CREDENTIALS),
    "refresh_token": lambda provider: provider.refresh_token(AUTH),
    "get_accounts": lambda provider: provider.get_accounts(AUTH),
    "get_trades": pages_of,
    "aclose": lambda provider: provider.aclose(),
}


class Panic(BaseException):
    """What a library written in Rust raises where it is broken."""


def failing(verb: str, error: BaseException) -> Provider:
    return Provider(pages=[error]) if verb == "get_trades" else Provider(**{verb: error})


async def test_the_four_verbs_pass_through() -> None:
    provider = managed(Provider())
    assert await provider.authenticate(CREDENTIALS) is AUTH
    assert await provider.refresh_token(AUTH) is AUTH
    assert await provider.get_accounts(AUTH) == (ACCOUNT,)
    assert await pages_of(provider) == [PAGE]
    assert provider.manifest is MANIFEST
    assert provider.spec.credentials is Credentials
    assert provider.context.environment == "live"


@pytest.mark.parametrize("verb", VERBS)
async def test_a_broker_error_is_completed_with_provider_and_verb(verb: str) -> None:
    error = BrokerAuthError("The login is locked.")
    with pytest.raises(BrokerAuthError) as caught:
        await VERBS[verb](managed(failing(verb, error)))
    assert caught.value is error
    assert (error.provider, error.operation) == ("paper", verb)
    assert error.report_to is None


async def test_what_the_plugin_said_of_an_error_is_kept() -> None:
    error = BrokerCursorError("Not one of ours.", provider="other", operation="page")
    with pytest.raises(BrokerCursorError):
        await pages_of(managed(failing("get_trades", error)))
    assert (error.provider, error.operation, error.report_to) == ("other", "page", "https://broker.example/help")


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    "foreign",
    [
        KeyError("their words"),
        NotImplementedError("their words"),
        SystemExit("their words"),
        GeneratorExit("their words"),
        asyncio.CancelledError("their words"),
        Panic("their words"),
    ],
)
async def test_a_foreign_exception_becomes_the_plugins_error_without_its_text(
    verb: str, foreign: BaseException
) -> None:
    with pytest.raises(BrokerPluginError) as caught:
        await VERBS[verb](managed(failing(verb, foreign)))
    error = caught.value
    assert f"broke the contract in {verb}: it raised {type(foreign).__name__}" in error.message
    assert "their words" not in str(error)
    assert error.__cause__ is foreign
    assert (error.provider, error.operation, error.fault) == ("paper", verb, Fault.PLUGIN)
    assert error.report_to == "https://broker.example/help"


@pytest.mark.parametrize("verb", VERBS)
async def test_an_interrupt_passes(verb: str) -> None:
    passing = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt) as caught:
        await VERBS[verb](managed(failing(verb, passing)))
    assert caught.value is passing


class Hanging(Provider):
    """A provider whose every answer is waited for in vain."""

    async def authenticate(self, credentials: Credentials) -> Any:
        await asyncio.Event().wait()

    async def refresh_token(self, auth: AuthResult) -> Any:
        await asyncio.Event().wait()

    async def get_accounts(self, auth: AuthResult) -> Any:
        await asyncio.Event().wait()

    async def aclose(self) -> None:
        await asyncio.Event().wait()

    async def get_trades(self, auth: AuthResult, request: TradeRequest) -> AsyncGenerator[Any, None]:
        await asyncio.Event().wait()
        yield PAGE


@pytest.mark.parametrize("verb", VERBS)
async def test_a_cancellation_that_was_asked_for_passes(verb: str) -> None:
    calling = asyncio.ensure_future(VERBS[verb](managed(Hanging())))
    await asyncio.sleep(0)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await VERBS[verb](managed(Hanging()))


@pytest.mark.parametrize("verb", VERBS)
async def test_a_call_that_is_thrown_away_unfinished_ends_without_a_word(verb: str) -> None:
    call: Any = VERBS[verb](managed(Hanging()))

    async def begin() -> None:
        call.send(None)

    await asyncio.create_task(begin())
    call.close()


@pytest.mark.parametrize(
    ("verb", "answer", "says"),
    [
        ("authenticate", None, "nothing instead of an AuthResult"),
        ("authenticate", AuthResult(identity="me", sources=("history", "other")), "no source other"),
        ("refresh_token", {}, "a dict instead of an AuthResult"),
        ("refresh_token", AuthResult(identity="you"), "another login's identity"),
        ("get_accounts", None, "nothing instead of a sequence"),
        ("get_accounts", "A1", "a str instead of a sequence"),
        ("get_accounts", ["A1"], "a str instead of a BrokerAccount"),
        ("get_accounts", [BrokerAccount(account_id="A1", environment="paper")], "no environment 'paper'"),
        ("get_accounts", [ACCOUNT, ACCOUNT], "one account twice"),
    ],
)
async def test_an_answer_that_breaks_the_contract_is_the_plugins_error(verb: str, answer: Any, says: str) -> None:
    with pytest.raises(BrokerPluginError, match=says) as caught:
        await VERBS[verb](managed(Provider(**{verb: answer})))
    assert caught.value.operation == verb


def booking(**changes: Any) -> TradePage:
    return TradePage(bookings=(attrs.evolve(TradeBooking.of(TRADE), **changes),))


@pytest.mark.parametrize(
    ("page", "says"),
    [
        ([TRADE], "a list instead of a TradePage"),
        (None, "nothing instead of a TradePage"),
        (booking(trade=attrs.evolve(TRADE, provider="other")), "differ in provider"),
        (booking(account_id="A2"), "differ in provider, environment or account"),
        (booking(environment="demo"), "differ in provider, environment or account"),
        (booking(environment="paper"), "no environment paper"),
        (
            TradePage(covered=(CoveredSpan(account_id="A1", environment="paper", window=WINDOW),)),
            "no environment paper",
        ),
        (TradePage(accounts=(BrokerAccount(account_id="A1", environment="paper"),)), "no environment 'paper'"),
        (TradePage(resume_at=WINDOW.start), "needs a cursor"),
    ],
)
async def test_a_page_that_breaks_the_contract_is_the_plugins_error(page: Any, says: str) -> None:
    provider = Provider(pages=[PAGE, page])
    pages = managed(provider).get_trades(AUTH, REQUEST)
    assert await anext(pages) is PAGE
    with pytest.raises(BrokerPluginError, match=says):
        await anext(pages)
    assert provider.generators_closed == 1


async def test_leaving_the_pages_early_closes_the_plugins_generator() -> None:
    provider = Provider(pages=[PAGE, PAGE])
    pages = managed(provider).get_trades(AUTH, REQUEST)
    assert await anext(pages) is PAGE
    await pages.aclose()
    assert provider.generators_closed == 1


async def test_what_the_reader_of_the_pages_raises_is_not_the_plugins_error() -> None:
    pages = managed(Provider()).get_trades(AUTH, REQUEST)
    await anext(pages)
    with pytest.raises(ZeroDivisionError):
        await pages.athrow(ZeroDivisionError())


async def test_get_trades_that_is_no_generator_is_the_plugins_error() -> None:
    class Wrong(Provider):
        async def get_trades(self, auth: AuthResult, request: TradeRequest) -> Any:  # type: ignore[override]  # the mistake
            return [PAGE]

    with pytest.raises(BrokerPluginError, match="a coroutine instead of an async generator"):
        await pages_of(managed(Wrong()))


async def test_a_source_that_the_manifest_does_not_declare_is_refused_with_those_it_has() -> None:
    with pytest.raises(BrokerConfigError, match="no source 'fills'") as caught:
        await pages_of(managed(Provider()), attrs.evolve(REQUEST, source="fills"))
    assert caught.value.remedy == "Its sources are: history."


async def test_credentials_of_another_class_are_refused() -> None:
    with pytest.raises(BrokerConfigError, match="make_credentials"):
        await managed(Provider()).authenticate(BrokerCredentials())


async def test_leaving_the_block_closes_the_provider_once() -> None:
    provider = Provider()
    async with managed(provider) as handle:
        pass
    await handle.aclose()
    assert provider.closed == 1


async def test_what_was_made_for_the_provider_is_closed_even_when_the_provider_fails_to_close() -> None:
    closed = []

    async def close() -> None:
        closed.append(True)

    loaded = registry_of(lambda context: Provider(aclose=RuntimeError())).load("paper")
    handle = ManagedProvider(loaded, context_of(), on_close=close)
    with pytest.raises(BrokerPluginError):
        await handle.aclose()
    assert closed == [True]


@pytest.mark.parametrize(
    ("create", "says"),
    [(lambda context: None, "nothing, which lacks methods"), (lambda context: 1 / 0, "ZeroDivisionError")],
)
def test_a_plugin_that_can_not_be_created_is_the_plugins_error(create: Any, says: str) -> None:
    with pytest.raises(BrokerPluginError, match=says) as caught:
        get_broker_provider("paper", registry=registry_of(create), settings=Settings(), context=context_of())
    assert caught.value.operation == "create"


def test_a_broker_of_files_only_has_no_provider() -> None:
    registry = ProviderRegistry()
    reader: Any = Nothing()
    registry.register(Plugin(ProviderSpec(statements=lambda key: reader)), attrs.evolve(MANIFEST, user_fields=()))
    with pytest.raises(BrokerConfigError, match="files only"):
        get_broker_provider("paper", registry=registry, settings=Settings())


def test_a_context_is_given_to_the_plugin_as_it_is() -> None:
    given: list[ProviderContext] = []

    def create(context: ProviderContext) -> Provider:
        given.append(context)
        return Provider()

    context = context_of("demo")
    get_broker_provider("paper", registry=registry_of(create), settings=Settings(), context=context)
    assert given == [context]
    assert context.provider == "paper"
    assert context.manifest is MANIFEST


def test_an_unknown_environment_is_refused_with_those_there_are() -> None:
    with pytest.raises(BrokerConfigError, match="no environment 'paper'") as caught:
        get_broker_provider(
            "paper", environment="paper", registry=registry_of(lambda context: Provider()), settings=Settings()
        )
    assert caught.value.remedy == "Its environments are: live, demo."
    with pytest.raises(BrokerConfigError, match="no environment 'paper'"):
        context_of("paper")
    with pytest.raises(BrokerConfigError, match="no environment 'paper'"):
        get_broker_provider(
            "paper",
            registry=registry_of(lambda context: Provider()),
            settings=Settings(),
            context=attrs.evolve(context_of(), environment="paper"),
        )


def test_an_unknown_broker_is_not_installed() -> None:
    with pytest.raises(BrokerNotInstalledError):
        get_broker_provider("nowhere", registry=ProviderRegistry(), settings=Settings())


@pytest.mark.parametrize(("environment", "expected"), [(None, "live"), ("demo", "demo")])
async def test_without_a_context_the_provider_gets_one_of_its_own(environment: str | None, expected: str) -> None:
    given: list[ProviderContext] = []

    def create(context: ProviderContext) -> Provider:
        given.append(context)
        return Provider()

    provider = get_broker_provider("paper", environment=environment, registry=registry_of(create), settings=Settings())
    async with provider:
        (context,) = given
        assert context.environment == expected
        assert context.hosts["api"] == "https://api.broker.example"
        await context.cache.put_many({"a": 1})
        assert await context.cache.get_many(["a", "b"]) == {"a": 1}
        assert context.clock.now().utcoffset() == timedelta(0)


async def test_a_test_brings_its_own_clock() -> None:
    given: list[ProviderContext] = []
    mine: Any = Nothing()

    def create(context: ProviderContext) -> Provider:
        given.append(context)
        return Provider()

    async with get_broker_provider("paper", registry=registry_of(create), settings=Settings(), clock=mine):
        assert given[0].clock is mine


def test_the_operators_fields_reach_the_plugin() -> None:
    client = Field(name="client_id", label="Client", help="From the broker.")
    secret = Field(name="client_secret", label="Secret", help="From the broker.", secret=True)
    manifest = attrs.evolve(MANIFEST, operator_fields=(client, secret))
    own = {"client_id": "c", "client_secret": "hidden-value"}
    nothing: Any = Nothing()

    def made(settings: Mapping[str, str]) -> ProviderContext:
        return make_context(
            manifest,
            environment="live",
            settings=Settings(brokers={"paper": BrokerSettings(settings=settings)}),
            http=nothing,
            clock=nothing,
            hosts=nothing,
            cache=nothing,
        )

    assert made(own).settings == own
    assert "hidden-value" not in repr(made(own))
    with pytest.raises(BrokerConfigError, match="client_secret is missing") as caught:
        made({"client_id": "c"})
    assert caught.value.fault is Fault.OPERATOR


def loaded_paper(kind: type[BrokerCredentials] = Credentials) -> Any:
    registry = ProviderRegistry()
    return registry.register(Plugin(ProviderSpec(credentials=kind, create=lambda context: Provider())), MANIFEST)


def test_credentials_are_built_from_a_users_fields() -> None:
    made = make_credentials(loaded_paper(), {"username": " me ", "password": "hidden-value", "day": ""})
    assert made == CREDENTIALS
    assert "hidden-value" not in repr(made)


def test_every_mistaken_field_is_named_and_no_value_shown() -> None:
    with pytest.raises(BrokerConfigError) as caught:
        make_credentials(loaded_paper(), {"user": "hidden-value", "password": " ", "day": "hidden-value"})
    assert "user is unknown; username is missing; password is missing; day must be a date" in caught.value.message
    assert "hidden-value" not in str(caught.value)
    assert caught.value.fault is Fault.USER


def test_credentials_that_the_plugins_class_refuses_show_none_of_its_text() -> None:
    @attrs.frozen(kw_only=True)
    class Picky(Credentials):
        def __attrs_post_init__(self) -> None:
            raise ValueError(f"{self.password.reveal()} is too short")

    with pytest.raises(BrokerConfigError, match="does not accept these credentials") as caught:
        make_credentials(loaded_paper(Picky), {"username": "me", "password": "hidden-value"})
    assert "hidden-value" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_broker_without_credentials_takes_no_fields() -> None:
    registry = ProviderRegistry()
    reader: Any = Nothing()
    manifest = attrs.evolve(MANIFEST, user_fields=())
    loaded = registry.register(Plugin(ProviderSpec(statements=lambda key: reader)), manifest)
    assert make_credentials(loaded, {}) == BrokerCredentials()


def test_a_managed_provider_is_a_broker_provider() -> None:
    from brokersync.plugin import BrokerProvider

    assert isinstance(managed(Provider()), BrokerProvider)


def test_without_settings_they_are_those_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, site: Any
) -> None:
    site.plugin("alpha", distribution="brokersync-one")
    file = tmp_path / "brokersync.toml"
    file.write_text('[brokers.alpha]\ndistribution = "elsewhere"\n')
    monkeypatch.setenv("BROKERSYNC_CONFIG", str(file))
    with pytest.raises(BrokerConfigError, match="pinned to the distribution 'elsewhere'"):
        get_broker_provider("alpha")
