"""An invented Tradovate that answers what a test scripted, behind the smallest context that a provider can be given."""

from __future__ import annotations

import copy
import csv
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

import brokersync_tradovate
from brokersync.manifest import Manifest, parse_manifests
from brokersync.plugin import (
    AuthResult,
    BrokerAccount,
    BrokerAPIError,
    BrokerAuthError,
    BrokerError,
    BrokerRateLimitError,
    BrokerResponseError,
    BrokerUnavailableError,
    HttpResponse,
    ProviderContext,
    RequestDraft,
    Secret,
)
from brokersync_tradovate.provider import TradovateProvider

NOW = datetime(2026, 4, 15, 15, 0, tzinfo=UTC)  # a Wednesday, 10:00 in Chicago
HOST_ROLES = {
    "live.tradovateapi.com": "live",
    "demo.tradovateapi.com": "demo",
    "rpt-live.tradovateapi.com": "reporting-live",
    "rpt-demo.tradovateapi.com": "reporting-demo",
    "live.tradovateapi.com/auth": "oauth",
}
Answer = Callable[[RequestDraft], tuple[int, str]]


def read_manifest() -> Manifest:
    text = (Path(brokersync_tradovate.__file__).parent / "provider.toml").read_text(encoding="utf-8")
    return parse_manifests(text, "provider.toml")[0]


_COLUMNS = (
    "_id,_orderId,_contractId,_timestamp,_tradeDate,_action,_qty,_price,_active,_accountId,Fill ID,Order ID,"
    "Timestamp,Date,Account,B/S,Quantity,Price,_priceFormat,_priceFormatType,_tickSize,Contract,Product,"
    "Product Description,commission"
)
_FILLS = next(csv.reader([_COLUMNS]))
_CASH = [
    "Account",
    "Transaction ID",
    "Timestamp",
    "Date",
    "Delta",
    "Amount",
    "Cash Change Type",
    "Currency",
    "Contract",
]


class Exports:
    """Invented rows of Tradovate's reports, and the text they make."""

    columns = tuple(_FILLS)

    def fill(self, number: int = 21, **changes: str) -> dict[str, str]:
        """A sale of two Treasury notes."""
        return {
            "_id": str(number),
            "_orderId": "200",
            "_contractId": "301",
            "_timestamp": "2026-03-09 14:31:02.125Z",
            "_tradeDate": "2026-03-09",
            "_action": "1",
            "_qty": "2",
            "_price": "110.515625",
            "_active": "true",
            "_accountId": "11",
            "Fill ID": str(number),
            "Order ID": "200",
            "Timestamp": "03/09/2026 14:31:02",
            "Date": "3/9/26",
            "Account": "77001",
            "B/S": " Sell",
            "Quantity": "2",
            "Price": "110'165",
            "_priceFormat": "-6",
            "_priceFormatType": "1",
            "_tickSize": "0.015625",
            "Contract": "ZNM6",
            "Product": "ZN",
            "Product Description": "Note, 10 years",
            "commission": "1.58",
        } | changes

    def cash(self, kind: str, delta: str, **changes: str) -> dict[str, str]:
        """A movement in the second of that sale."""
        return {
            "Account": "77001",
            "Transaction ID": "900",
            "Timestamp": "03/09/2026 14:31:02",
            "Date": "2026-03-09",
            "Delta": delta,
            "Amount": "25,000.00",
            "Cash Change Type": f" {kind}",
            "Currency": "USD",
            "Contract": "ZNM6",
        } | changes

    def text(self, *rows: Mapping[str, str], header: Sequence[str] = _FILLS, start: str = "", end: str = "\r\n") -> str:
        out = io.StringIO(newline="")
        writer = csv.DictWriter(out, header, extrasaction="ignore", lineterminator=end)
        writer.writeheader()
        writer.writerows(rows)
        return start + out.getvalue()

    def cash_history(self, *rows: Mapping[str, str]) -> str:
        return self.text(*rows, header=_CASH)


class FakeClock:
    def __init__(self, now: datetime = NOW) -> None:
        self.moment = now

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.moment.timestamp()

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("a provider never sleeps")


class FakeHosts:
    """The manifest's hosts, and those a test sets as an operator would."""

    def __init__(self, manifest: Manifest, **own: str) -> None:
        self._urls = {**manifest.hosts, **own}

    def __getitem__(self, role: str) -> str:
        return self._urls[role]

    def accept(self, role: str, url: str) -> str:
        if not re.fullmatch(r"https://[a-z0-9-]+\.tradovateapi\.com/v1", url):
            raise BrokerResponseError(f"The host for {role} is none of the broker's.")
        return url


class MemoryCache:
    """JSON in, JSON out, as in a store."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    async def get_many(self, keys: Sequence[str]) -> dict[str, Any]:
        return {key: json.loads(self.values[key]) for key in keys if key in self.values}

    async def put_many(self, values: Mapping[str, Any]) -> None:
        self.values.update({key: json.dumps(value) for key, value in values.items()})


@attrs.frozen
class Sent:
    """One attempt: the role of its host (or the host, when it is none of ours), and what was sent."""

    role: str
    path: str
    draft: RequestDraft
    options: Mapping[str, Any]


class FakeTradovate:
    """Answers by role and path; the last answer that was scripted for a path is given again and again.

    As `Http` it runs `prepare` and `check` for each attempt, repeats a penalised request up to three times without
    waiting, and classes what a status alone tells as core does.
    """

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.waits: list[timedelta | None] = []
        self._answers: dict[tuple[str, str], list[Answer]] = {}

    def on(self, role: str, path: str, *bodies: Any, status: int = 200) -> None:
        """Script answers; a body is JSON, a text as it is, or a function of the request that gives either."""
        self._answers[role, path] = [_answer(body, status) for body in bodies]

    def paths(self) -> list[str]:
        return [one.path for one in self.sent]

    async def request(self, operation: str, method: str, url: str, **options: Any) -> HttpResponse:
        error: BrokerRateLimitError | None = None
        for _ in range(4):
            draft = _draft(method, url, options)
            if options.get("prepare"):
                options["prepare"](draft, error)
            response = self._respond(draft, options)
            try:
                if options.get("check"):
                    options["check"](response)
            except BrokerRateLimitError as refused:
                self.waits.append(refused.retry_after)
                error = refused
                continue
            _refuse_by_status(response.status)
            return response
        raise error or AssertionError("no attempt was made")

    def _respond(self, draft: RequestDraft, options: Mapping[str, Any]) -> HttpResponse:
        host, path = re.split("/v1/|/(?=oauthtoken)", draft.url.removeprefix("https://"))
        role = HOST_ROLES.get(host, host)
        self.sent.append(Sent(role, path, draft, options))
        answers = self._answers.get((role, path), [])
        if not answers:
            raise AssertionError(f"{role} {path} was not expected")
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        status, text = answer(draft)
        return HttpResponse(status=status, headers={}, body=text.encode(), url=draft.url)


def _draft(method: str, url: str, options: Mapping[str, Any]) -> RequestDraft:
    headers = dict(options.get("headers") or {})
    auth = options.get("auth")
    if auth is not None and auth.access_token is not None:
        headers["Authorization"] = f"Bearer {auth.access_token.reveal()}"
    return RequestDraft(
        method=method,
        url=url,
        params=dict(options.get("params") or {}),
        headers=headers,
        json=copy.deepcopy(options.get("json")),
        form=copy.deepcopy(options.get("form")),
        auth=auth,
    )


def _answer(body: Any, status: int) -> Answer:
    if not callable(body):
        return lambda _: (status, _text(body))

    def answered(draft: RequestDraft) -> tuple[int, str]:
        given = body(draft)
        return given if isinstance(given, tuple) else (status, _text(given))

    return answered


def _text(body: Any) -> str:
    return body if isinstance(body, str) else json.dumps(body)


def _refuse_by_status(status: int) -> None:
    if status >= 500:
        raise BrokerUnavailableError(f"The broker answered HTTP {status}.", status=status)
    if status in (401, 403):
        raise BrokerAuthError(f"The broker answered HTTP {status}.", status=status)
    if status >= 400:
        raise BrokerAPIError(f"The broker answered HTTP {status}.", status=status)


class World:
    """A provider, what it is given, and the broker it talks to."""

    def __init__(self, environment: str = "live", settings: Mapping[str, str] | None = None, **hosts: str) -> None:
        self.broker, self.clock, self.cache = FakeTradovate(), FakeClock(), MemoryCache()
        self.manifest = read_manifest()
        self.context = ProviderContext(
            provider="tradovate",
            environment=environment,
            manifest=self.manifest,
            http=self.broker,
            guard=_no_guard,
            clock=self.clock,
            hosts=FakeHosts(self.manifest, **hosts),
            cache=self.cache,
            settings=settings or {},
        )
        self.provider = TradovateProvider(self.context)
        self.auth = AuthResult(
            identity="user:31",
            access_token=Secret("token-for-tests"),
            expires_at=NOW + timedelta(minutes=60),
            state={"environment": environment},
        )

    def account(self, account_id: int = 11, environment: str = "live", name: str = "77001") -> BrokerAccount:
        return BrokerAccount(account_id=str(account_id), environment=environment, name=name)


async def _no_guard(*_: Any, **__: Any) -> Any:
    raise AssertionError("Tradovate speaks HTTP")


@pytest.fixture
def new_world() -> type[World]:
    return World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def manifest() -> Manifest:
    return read_manifest()


@pytest.fixture
def caught() -> Callable[[BrokerError], str]:
    """Everything an error shows anywhere."""
    return lambda error: f"{error!r} {error} {error.describe()} {error.__dict__}"


@pytest.fixture
def exports() -> Exports:
    return Exports()
