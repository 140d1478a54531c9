"""Invented Flex documents, and a context with a scripted service in place of IBKR's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit
from xml.sax.saxutils import quoteattr

import pytest

from brokersync.manifest import parse_manifests
from brokersync.plugin import (
    AuthResult,
    BrokerError,
    BrokerResponseError,
    HttpResponse,
    Manifest,
    ProviderContext,
    RequestDraft,
    Secret,
    TradeBooking,
    TradePage,
)
from brokersync_ibkr.pages import Reading, read_pages

TOKEN = "918273645546372819"
TRADE = {
    "accountId": "U4711001",
    "currency": "USD",
    "assetCategory": "STK",
    "symbol": "QRX",
    "description": "QUARTZ RIVER EXPLORATION",
    "conid": "70010001",
    "listingExchange": "NYSE",
    "multiplier": "1",
    "strike": "",
    "expiry": "",
    "putCall": "",
    "tradeID": "500100",
    "origTradeID": "",
    "origTransactionID": "",
    "transactionID": "900100",
    "ibExecID": "0000aa01.65000001.01.01",
    "ibOrderID": "300100",
    "reportDate": "20240312",
    "tradeDate": "20240312",
    "dateTime": "20240312;101500",
    "transactionType": "ExchTrade",
    "exchange": "ARCA",
    "buySell": "BUY",
    "quantity": "100",
    "tradePrice": "12.5",
    "taxes": "0",
    "ibCommission": "-1",
    "ibCommissionCurrency": "USD",
    "netCash": "-1251",
    "openCloseIndicator": "O",
    "notes": "",
    "levelOfDetail": "EXECUTION",
}
CONFIRM_NAMES = {
    "ibExecID": "execID",
    "ibOrderID": "orderID",
    "tradePrice": "price",
    "ibCommission": "commission",
    "ibCommissionCurrency": "commissionCurrency",
    "taxes": "tax",
    "notes": "code",
}


class Flex:
    """Writes Flex XML; every name and number is made up."""

    trade_defaults = TRADE

    def element(self, name: str, attributes: Mapping[str, str]) -> str:
        return f"<{name} " + " ".join(f"{key}={quoteattr(value)}" for key, value in attributes.items()) + " />"

    def values(self, number: int = 0, **changes: str | None) -> dict[str, str]:
        """The attributes of a plain purchase; `number` makes its ids differ, a change to None leaves one out."""
        told: dict[str, str | None] = dict(TRADE)
        if number:
            told |= {
                "tradeID": str(500100 + number),
                "transactionID": str(900100 + number),
                "ibExecID": f"0000aa01.{0x65000001 + number:08x}.01.01",
                "ibOrderID": str(300100 + number),
            }
        return {name: value for name, value in (told | changes).items() if value is not None}

    def trade(self, number: int = 0, *, element: str = "Trade", **changes: str | None) -> str:
        return self.element(element, self.values(number, **changes))

    def confirm(self, number: int = 0, **changes: str | None) -> str:
        own = {"transactionID": None, "openCloseIndicator": None, "notes": "O"} | changes
        values = self.values(number, **own)
        return self.element("TradeConfirm", {CONFIRM_NAMES.get(name, name): value for name, value in values.items()})

    def statement(
        self,
        rows: Iterable[str] = (),
        *,
        account: str = "U4711001",
        first: str = "20240311",
        last: str = "20240315",
        made: str = "20240318;061500",
        section: str | None = "Trades",
        extra: str = "",
    ) -> str:
        inside = f"<{section}>{''.join(rows)}</{section}>" if section else ""
        head = self.element(
            "FlexStatement",
            {"accountId": account, "fromDate": first, "toDate": last, "period": "", "whenGenerated": made},
        )
        return f"{head[:-3]}>{extra}{inside}</FlexStatement>"

    def account(self, **facts: str) -> str:
        return self.element("AccountInformation", facts)

    def document(self, *statements: str, kind: str | None = "AF", prolog: str = "") -> bytes:
        told = "" if kind is None else f' type="{kind}"'
        inside = "".join(statements)
        return (
            f'{prolog}<FlexQueryResponse queryName="made up"{told}>'
            f'<FlexStatements count="{len(statements)}">{inside}</FlexStatements></FlexQueryResponse>'
        ).encode()

    def read(self, body: bytes, **reading: Any) -> Iterator[TradePage]:
        return read_pages(BytesIO(body), Reading(**reading))

    def pages(self, body: bytes, **reading: Any) -> list[TradePage]:
        return list(self.read(body, **reading))

    def bookings(self, *rows: str, section: str = "Trades", kind: str = "AF") -> list[TradeBooking]:
        pages = self.pages(self.document(self.statement(rows, section=section), kind=kind))
        return [booking for page in pages for booking in page.bookings]

    def booking(self, **changes: str | None) -> TradeBooking:
        """The one booking of an Activity row; a quarantined one fails the test."""
        pages = self.pages(self.document(self.statement([self.trade(**changes)])))
        reasons = [row.reason for page in pages for row in page.quarantined]
        assert not reasons
        [booking] = [booking for page in pages for booking in page.bookings]
        return booking

    def reason(self, **changes: str | None) -> str:
        """Why an Activity row is quarantined."""
        pages = self.pages(self.document(self.statement([self.trade(**changes)])))
        [row] = [row for page in pages for row in page.quarantined]
        assert not any(page.bookings for page in pages)
        return row.reason

    # the service's own answers

    def accepted(self, reference: str = "7701", url: str = "https://gdcdyn.interactivebrokers.com") -> bytes:
        path = "/AccountManagement/FlexWebService/GetStatement"
        return self._answer(f"<Status>Success</Status><ReferenceCode>{reference}</ReferenceCode><url>{url}{path}</url>")

    def refused(self, code: str | int, message: str = "made-up text", status: str = "Fail") -> bytes:
        return self._answer(
            f"<Status>{status}</Status><ErrorCode>{code}</ErrorCode><ErrorMessage>{message}</ErrorMessage>"
        )

    def _answer(self, children: str) -> bytes:
        stamp = "18 March, 2024 06:15 AM EDT"
        return f"<FlexStatementResponse timestamp='{stamp}'>{children}</FlexStatementResponse>".encode()


class Clock:
    def __init__(self, now: datetime) -> None:
        self.time = now

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("a provider never sleeps")

    def advance(self, **parts: float) -> None:
        self.time += timedelta(**parts)


class Hosts:
    def __getitem__(self, role: str) -> str:
        assert role == "flex"
        return "https://ndcdyn.interactivebrokers.com/AccountManagement/FlexWebService"

    def accept(self, role: str, url: str) -> str:
        assert role == "flex"
        if urlsplit(url)[:2] in [("https", f"{name}.interactivebrokers.com") for name in ("ndcdyn", "gdcdyn")]:
            return url
        raise BrokerResponseError(f"The broker named the host {urlsplit(url).hostname!r}, which is not allowed.")


class Service:
    """Answers requests in the order of its script, through `prepare` and `check` as core does."""

    def __init__(self) -> None:
        self.script: list[bytes | HttpResponse | BrokerError] = []
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.metered: list[str | None] = []
        self.files: list[BytesIO] = []

    async def request(
        self, operation: str, method: str, url: str, *, params: Any = None, auth: Any = None, prepare: Any = None,
        check: Any = None, spool: bool = False, bearer: bool = True, credential: str | None = None, **_: Any,
    ) -> HttpResponse:  # fmt: skip  # the long signature is the contract's
        assert method == "GET"
        assert not bearer
        draft = RequestDraft(method=method, url=url, params=dict(params), headers={}, auth=auth)
        prepare(draft, None)
        self.requests.append((operation, url, draft.params))
        self.metered.append(credential)
        assert self.script, f"an unexpected request: {operation}"
        body = self.script.pop(0)
        if isinstance(body, BrokerError):
            raise body  # as core does, when it has tried often enough
        response = body
        if isinstance(body, bytes):
            file = BytesIO(body)
            self.files.append(file)
            response = HttpResponse(status=200, headers={}, body=body[:65536], url=url, file=file if spool else None)
        check(response)
        assert response.status == 200, "core judges this by its status"
        return response


@pytest.fixture(scope="session")
def flex() -> Flex:
    return Flex()


@pytest.fixture(scope="session")
def manifest() -> Manifest:
    from importlib.resources import files

    [manifest] = parse_manifests(files("brokersync_ibkr").joinpath("provider.toml").read_text(), "provider.toml")
    return manifest


@pytest.fixture
def clock() -> Clock:
    return Clock(datetime(2024, 3, 18, 10, 30, tzinfo=UTC))  # a Monday, 06:30 in New York


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def make_context(manifest: Manifest, clock: Clock, service: Service) -> Callable[..., ProviderContext]:
    def make(environment: str = "live") -> ProviderContext:
        return ProviderContext(
            provider="ibkr",
            environment=environment,
            manifest=manifest,
            http=service,
            guard=None,
            clock=clock,
            hosts=Hosts(),
            cache=None,
            settings={},
        )

    return make


@pytest.fixture
def auth() -> AuthResult:
    return AuthResult(
        identity="query:11",
        access_token=Secret(TOKEN),
        state={"activity_query_id": "11", "confirmations_query_id": "12", "reference": "7001"},
        sources=("activity", "confirmations"),
    )
