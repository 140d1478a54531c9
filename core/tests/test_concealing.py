"""What a plugin raises shows no secret that it was given, wherever it raises and whatever it raises."""

from __future__ import annotations

import asyncio
import base64
import json
import traceback
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import attrs
import pytest

from brokersync.concealing import ConcealedError, KnownSecrets
from brokersync.config import BrokerSettings, Settings
from brokersync.errors import (
    BrokerAPIError,
    BrokerAuthError,
    BrokerError,
    BrokerInputNeededError,
    BrokerInteractionRequiredError,
    BrokerPluginError,
    BrokerTokenExpiredError,
    BrokerUnavailableError,
)
from brokersync.factory import get_broker_provider, make_context
from brokersync.managed import ManagedProvider
from brokersync.manifest import parse_manifests
from brokersync.plugin import (
    AuthResult,
    BrokerAccount,
    BrokerCredentials,
    Challenge,
    ProviderContext,
    ProviderSpec,
    QuarantinedRow,
    Secret,
    TimeWindow,
    TradePage,
    TradeRequest,
    hookimpl,
)
from brokersync.registry import ProviderRegistry

MANIFEST = parse_manifests(
    """
key = "paper"
display_name = "Paper"
contract = 1
environments = ["live"]
auth = ["password"]
licence = "MIT"
docs = "https://broker.example"
support = "https://broker.example/help"
[hosts]
api = "https://api.broker.example"
[[operator_fields]]
name = "app_key"
label = "App key"
help = "Sealed."
secret = true
[[user_fields]]
name = "user"
label = "User"
help = "Your name."
[[user_fields]]
name = "password"
label = "Password"
help = "Sealed."
secret = true
[[user_fields]]
name = "pin"
label = "PIN"
help = "Sealed."
secret = true
required = false
[[sources]]
name = "history"
precedence = 1
""",
    "test",
)[0]

SECRETS = {
    "app_key": "canary-app 7f/1",
    "password": 'canary-"pass" 7f+2',
    "pin": "canary-pin-7f3",
    "access_token": "canary-access-7f4",
    "refresh_token": "canary-refresh-7f5",
    "other": "canary-other-7f6",
}
WINDOW = TimeWindow(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))
REQUEST = TradeRequest(source="history", window=WINDOW)
AUTH = AuthResult(
    identity="me",
    access_token=Secret(SECRETS["access_token"]),
    refresh_token=Secret(SECRETS["refresh_token"]),
    secrets={"other": Secret(SECRETS["other"])},
)
SETTINGS = Settings(brokers={"paper": BrokerSettings(settings={"app_key": SECRETS["app_key"]})})
Raise = Callable[[str], BaseException]


@attrs.frozen(kw_only=True)
class Credentials(BrokerCredentials):
    user: str
    password: Secret
    pin: Secret | None = None


CREDENTIALS = Credentials(user="me", password=Secret(SECRETS["password"]), pin=Secret(SECRETS["pin"]))


@attrs.define
class Provider:
    """Raises at `place` what the test wants of it; a login always works before."""

    place: str
    error: BaseException
    page: TradePage = attrs.field(factory=TradePage)
    auth: AuthResult = attrs.field(factory=lambda: AUTH)
    accounts: tuple[BrokerAccount, ...] = ()

    def _come_to(self, place: str) -> None:
        if self.place == place:
            raise self.error

    async def authenticate(self, credentials: Credentials) -> AuthResult:
        self._come_to("authenticate")
        return self.auth

    async def refresh_token(self, auth: AuthResult) -> AuthResult:
        self._come_to("refresh_token")
        return auth

    async def get_accounts(self, auth: AuthResult) -> list[BrokerAccount]:
        self._come_to("get_accounts")
        return [*self.accounts]

    async def get_trades(self, auth: AuthResult, request: TradeRequest) -> AsyncGenerator[TradePage, None]:
        self._come_to("before pages")
        yield self.page
        self._come_to("between pages")
        yield self.page

    async def aclose(self) -> None:
        self._come_to("aclose")


def _managed(provider: Provider) -> ManagedProvider:
    async def diagnose(context: ProviderContext, auth: AuthResult) -> list[str]:
        provider._come_to("diagnose")
        return [f"Your token is {SECRETS['access_token']}."]

    class Plugin:
        @hookimpl
        def brokersync_provider(self, broker: str) -> ProviderSpec:
            return ProviderSpec(credentials=Credentials, create=lambda context: provider, diagnose=diagnose)

    registry = ProviderRegistry()
    registry.register(Plugin(), MANIFEST)
    nothing: Any = type("Nothing", (), {"guard": None})()
    context = make_context(
        MANIFEST, environment="live", settings=SETTINGS, http=nothing, clock=nothing, hosts=nothing, cache=nothing
    )
    return get_broker_provider("paper", registry=registry, settings=SETTINGS, context=context)


async def _visit(place: str, managed: ManagedProvider) -> Any:
    if place == "authenticate":
        return await managed.authenticate(CREDENTIALS)
    await managed.authenticate(CREDENTIALS)
    if place.endswith("pages"):
        return [page async for page in managed.get_trades(AUTH, REQUEST)]
    return await (managed.aclose() if place == "aclose" else getattr(managed, place)(AUTH))


async def _raised(place: str, error: BaseException) -> BaseException:
    with pytest.raises(BaseException) as caught:  # what it is, is what the tests ask
        await _visit(place, _managed(Provider(place, error)))
    return caught.value


def _all_of(error: BaseException) -> str:
    """All that it shows of itself, and a traceback of what led to it, told or not."""
    told = [str(error), repr(error), repr(error.args), repr(vars(error)), *traceback.format_exception(error)]
    if isinstance(error, BrokerError):
        told.append(json.dumps(error.describe()))
    met, linked = set[int](), [error.__cause__, error.__context__]
    while linked:
        one = linked.pop()
        if one is not None and id(one) not in met:
            met.add(id(one))
            linked += [one.__cause__, one.__context__]
            told += [str(one), repr(one), *traceback.format_exception(one)]
    return "\n".join(told)


def _led_to(inner: BaseException, outer: BaseException, *, said: bool) -> BaseException:
    if said:
        outer.__cause__ = inner
    else:
        outer.__context__ = inner
    return outer


def _noted(text: str) -> BaseException:
    error = RuntimeError("plain")
    error.add_note(text)
    return error


class _Strange(Exception):  # noqa: N818  # named as a plugin may name it
    """Shows what is none of its arguments."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def __str__(self) -> str:
        return self._text


ERRORS: dict[str, Raise] = {
    "message": lambda text: BrokerUnavailableError(f"server echoed {text}"),
    "remedy": lambda text: BrokerAPIError("no", remedy=f"use {text}"),
    "code": lambda text: BrokerTokenExpiredError("no", code=text),
    "operation": lambda text: BrokerAuthError("no", operation=text, report_to=text, provider=text),
    "an exception as message": lambda text: BrokerAPIError(ValueError(text)),  # type: ignore[arg-type]  # as plugins do
    "fields": lambda text: BrokerInputNeededError("no", fields={"zone": text}),
    "challenge": lambda text: BrokerInteractionRequiredError(
        "no",
        challenge=Challenge(kind=text, message=text, url=f"https://broker.example/{quote(text)}", fields={"a": text}),
    ),
    "challenge of its own": lambda text: BrokerInteractionRequiredError("no", challenge={"sent": [text]}),
    "cause": lambda text: _led_to(ValueError(text), BrokerAPIError("no"), said=True),
    "context": lambda text: _led_to(KeyError(text), BrokerAPIError("no"), said=False),
    "cause of a cause": lambda text: _led_to(
        _led_to(BrokerAPIError(text), ValueError("plain"), said=False), BrokerAPIError("no"), said=True
    ),
    "foreign": lambda text: ValueError(f"bad password {text}"),
    "foreign key": KeyError,
    "foreign exit": SystemExit,
    "foreign text of its own": _Strange,
    "foreign note": _noted,
    "foreign group": lambda text: ExceptionGroup("plain", [ExceptionGroup("plain", [ValueError(text)])]),
    "foreign cause in a group": lambda text: ExceptionGroup(
        "plain",
        [_led_to(ValueError(text), KeyError("plain"), said=True)],  # type: ignore[list-item]  # an Exception it is
    ),
    "foreign cause": lambda text: _led_to(ValueError(text), KeyError("plain"), said=True),
    "foreign cancellation": asyncio.CancelledError,
}
PLACES = ("authenticate", "refresh_token", "get_accounts", "before pages", "between pages", "diagnose", "aclose")


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("place", PLACES)
async def test_no_secret_is_in_what_a_plugin_raises(place: str, kind: str) -> None:
    for name, value in SECRETS.items():
        if place == "authenticate" and name in ("access_token", "refresh_token", "other"):
            continue  # there is none yet
        forms = [value, quote(value), json.dumps(value)[1:-1], base64.b64encode(value.encode()).decode()]
        shown = _all_of(await _raised(place, ERRORS[kind](" and ".join(forms))))
        assert not [form for form in forms if form in shown], name
        assert "*** and ***" in shown


@pytest.mark.parametrize("kind", [kind for kind in ERRORS if not kind.startswith("foreign")])
async def test_an_error_stays_the_same_one(kind: str) -> None:
    error = ERRORS[kind](SECRETS["password"])
    assert await _raised("authenticate", error) is error


async def test_what_holds_no_secret_is_left_as_it_was() -> None:
    challenge = Challenge(kind="code", message="Look at your phone.", fields={"code": "The code"})
    error = BrokerInteractionRequiredError("Locked.", challenge=challenge, code="E7", status=403)
    cause = ValueError("plain")
    error.__cause__ = cause
    assert await _raised("authenticate", error) is error
    assert (error.args, error.message, error.code, error.status) == (("Locked.",), "Locked.", "E7", 403)
    assert error.challenge is challenge
    assert error.__cause__ is cause


async def test_a_clean_foreign_exception_is_chained_as_it_is() -> None:
    foreign = _led_to(KeyError("plain"), ValueError("plain"), said=True)
    error = await _raised("get_accounts", foreign)
    assert isinstance(error, BrokerPluginError)
    assert error.__cause__ is foreign


async def test_what_stands_in_for_a_foreign_exception_says_what_and_where_it_was() -> None:
    error = await _raised("get_accounts", ValueError(f"bad {SECRETS['password']} in line 7"))
    assert isinstance(error.__cause__, ConcealedError)
    shown = "".join(traceback.format_exception(error))
    assert "ValueError: bad *** in line 7" in shown
    assert "_come_to" in shown


async def test_a_chain_that_leads_back_to_itself_comes_to_an_end() -> None:
    first, second = ValueError(SECRETS["password"]), KeyError("plain")
    first.__context__, second.__context__ = second, first
    assert SECRETS["password"] not in _all_of(await _raised("authenticate", first))


async def test_a_very_long_chain_is_walked_to_its_end() -> None:
    error: BaseException = ValueError(SECRETS["password"])
    for _ in range(3000):
        error = _led_to(error, KeyError("plain"), said=False)
    last = await _raised("authenticate", error)
    while last.__context__ is not None:
        last = last.__context__
    assert isinstance(last, ConcealedError)


async def test_a_secret_of_a_few_characters_masks_no_word() -> None:
    managed = _managed(Provider("authenticate", BrokerAuthError("That was a bad PIN.")))
    with pytest.raises(BrokerAuthError, match=r"^That was a bad PIN\."):
        await managed.authenticate(Credentials(user="me", password=Secret("a"), pin=Secret("bad")))


async def test_an_answer_that_breaks_the_contract_is_told_without_a_secret() -> None:
    provider = Provider("", ValueError())
    page = TradePage(accounts=(BrokerAccount(account_id="A1", environment=SECRETS["access_token"]),))
    provider.page = page
    with pytest.raises(BrokerPluginError, match=r"no environment '\*\*\*'"):
        await _visit("between pages", _managed(provider))


async def test_what_is_said_of_rows_is_masked_and_the_rows_are_not() -> None:
    token = SECRETS["access_token"]
    row = QuarantinedRow(reason=f"odd {token}", raw={"text": token})
    provider = Provider("", ValueError())
    provider.page = TradePage(quarantined=(row,), skipped={f"no {token}": 1, "no ***": 2}, unmapped={token: 1})
    page, _ = await _visit("between pages", _managed(provider))
    assert (page.quarantined[0].reason, page.quarantined[0].raw) == ("odd ***", {"text": token})
    assert (page.skipped, page.unmapped) == ({"no ***": 3}, {"***": 1})


ACCOUNT = BrokerAccount(account_id="A1", environment="live")
KEPT: dict[str, tuple[str, Callable[[str], dict[str, Any]]]] = {
    "its cursor": ("between pages", lambda text: {"page": TradePage(cursor=text)}),
    "its bookmark": ("between pages", lambda text: {"page": TradePage(bookmark=text)}),
    "an account of a page": (
        "between pages",
        lambda text: {"page": TradePage(accounts=(ACCOUNT, attrs.evolve(ACCOUNT, account_id=text)))},
    ),
    "an account": ("get_accounts", lambda text: {"accounts": (attrs.evolve(ACCOUNT, state={"next": text}),)}),
    "its identity": ("authenticate", lambda text: {"auth": attrs.evolve(AUTH, identity=text)}),
}


async def _handed_over(kept: str, text: str) -> Any:
    place, of = KEPT[kept]
    return await _visit(place, _managed(attrs.evolve(Provider("", ValueError()), **of(text))))


@pytest.mark.parametrize("form", [str, quote, lambda text: base64.b64encode(f"me:{text}".encode()).decode()])
@pytest.mark.parametrize("secret", ["access_token", "refresh_token", "other"])
@pytest.mark.parametrize("kept", KEPT)
async def test_what_is_stored_in_clear_holds_no_secret_of_the_login(
    kept: str, secret: str, form: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    value = "canary-of/16-chr"
    given: dict[str, Any] = {"secrets": {"other": Secret(value)}} if secret == "other" else {secret: Secret(value)}
    monkeypatch.setattr(f"{__name__}.AUTH", attrs.evolve(AUTH, **given))
    with pytest.raises(BrokerPluginError, match=f"broke the contract in [a-z_]+: {kept.split(' of ')[0]} ") as caught:
        await _handed_over(kept, f"https://broker.example/?page=2&by={form(value)}&limit=9")
    assert "keep the secret out" in caught.value.message
    assert "`auth`" in caught.value.message
    assert form(value) not in _all_of(caught.value)


@pytest.mark.parametrize("kept", KEPT)
async def test_what_is_stored_in_clear_may_hold_a_short_secret_by_chance(
    kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = {"year": Secret("2024"), "account": Secret("DU1234567890123")}
    monkeypatch.setattr(f"{__name__}.AUTH", attrs.evolve(AUTH, secrets=secrets))
    await _handed_over(kept, "2024-01-01 DU1234567890123")


async def test_advice_is_masked() -> None:
    assert await _visit("diagnose", _managed(Provider("", ValueError()))) == ("Your token is ***.",)


def test_of_very_many_secrets_the_latest_are_known() -> None:
    known = KnownSecrets()
    known.learn(f"secret number {number:04}" for number in range(5000))
    known.conceal(error := BrokerAPIError("secret number 0000, secret number 4999"), ["secret number 0000"])
    assert error.message == "***, ***"
    assert known.shown("secret number 0007") == "secret number 0007"
