"""The provider through core's own HTTP against the simulated Tradovate on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from brokersync.config import Settings
from brokersync.events import Event
from brokersync.factory import ManagedProvider, make_credentials, open_provider
from brokersync.plugin import (
    AuthResult,
    BrokerAccount,
    BrokerAuthError,
    BrokerError,
    BrokerRateLimitError,
    BrokerResponseError,
    BrokerTokenExpiredError,
    SandboxSettings,
    TimeWindow,
    TradeBooking,
    TradePage,
    TradeRequest,
)
from brokersync.registry import ProviderRegistry
from brokersync.testing import RunningSandbox, run_sandbox

WEDNESDAY = datetime(2026, 6, 10, 15, 0, tzinfo=UTC)
SESSION = TimeWindow(datetime(2026, 6, 9, 22, tzinfo=UTC), datetime(2026, 6, 10, 22, tzinfo=UTC))
LOGIN, RENEWAL, REPORT = "auth/accesstokenrequest", "auth/renewaccesstoken", "reports/requestreport"


class Clock:
    """Stands still but for what is slept."""

    def __init__(self) -> None:
        self.slept = 0.0

    def now(self) -> datetime:
        return WEDNESDAY + timedelta(seconds=self.slept)

    def monotonic(self) -> float:
        return self.slept

    async def sleep(self, seconds: float) -> None:
        self.slept += seconds
        await asyncio.sleep(0)


class MemoryCache:
    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    async def get_many(self, keys: Any) -> dict[str, Any]:
        return {key: self.values[key] for key in keys if key in self.values}

    async def put_many(self, values: Any) -> None:
        self.values.update(values)


class Desk:
    """A provider of one of the sandbox's logins."""

    def __init__(
        self, sandbox: RunningSandbox, provider: ManagedProvider, http: aiohttp.ClientSession, login: int
    ) -> None:
        self.sandbox, self.provider, self._http = sandbox, provider, http
        self.fields = dict(sandbox.logins[login].fields)
        self.environment = sandbox.logins[login].environment
        self.events: list[Event] = []

    async def authenticate(self, **changes: str) -> AuthResult:
        loaded = ProviderRegistry.installed().load("tradovate")
        return await self.provider.authenticate(make_credentials(loaded, self.fields | changes))

    async def fault(self, name: str, operation: str, times: int = 1) -> None:
        order = {"fault": name, "operation": operation, "times": times}
        async with self._http.post(f"{self.sandbox.base_url}/_sandbox/faults", json=order) as response:
            assert response.status == 200, await response.text()

    async def control(self, what: str) -> Any:
        async with self._http.get(f"{self.sandbox.base_url}/_sandbox/{what}") as response:
            return await response.json()

    async def read(self, auth: AuthResult, request: TradeRequest) -> list[TradePage]:
        return [page async for page in self.provider.get_trades(auth, request)]

    async def session(self, auth: AuthResult) -> list[TradePage]:
        accounts = tuple(await self.provider.get_accounts(auth))
        return await self.read(auth, TradeRequest(source="session", window=SESSION, accounts=accounts))

    async def reports(self, auth: AuthResult, account: BrokerAccount) -> list[TradePage]:
        assert account.opened_at is not None
        end = datetime(2026, 6, 11, tzinfo=UTC)
        pages = []
        while end > account.opened_at:
            window = TimeWindow(end - timedelta(days=30), end)
            pages += await self.read(auth, TradeRequest(source="reports", window=window, accounts=(account,)))
            end = window.start
        return pages


@asynccontextmanager
async def open_desk(login: int = 0) -> AsyncIterator[Desk]:
    clock = Clock()
    settings = SandboxSettings(now=clock.now, days=70, trades_per_day=3)
    async with run_sandbox("tradovate", settings=settings) as sandbox, aiohttp.ClientSession() as http:
        events: list[Event] = []
        provider = open_provider(
            ProviderRegistry.installed().load("tradovate"),
            environment=sandbox.logins[login].environment,
            settings=sandbox.settings(Settings()),
            cache=MemoryCache(),
            clock=clock,
            events=events.append,
        )
        async with provider:
            desk = Desk(sandbox, provider, http, login)
            desk.events = events
            yield desk


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    async with open_desk() as one:
        yield one


def facts(booking: TradeBooking) -> dict[str, Any]:
    trade = booking.trade
    assert trade is not None
    return {
        "account_id": trade.account_id,
        "trade_id": trade.trade_id,
        "order_id": trade.order_id,
        "symbol": trade.instrument.symbol,
        "side": trade.side.value,
        "quantity": format(trade.quantity, "f"),
        "price": trade.price,
        "executed_at": trade.executed_at,
        "trade_date": str(trade.trade_date),
        "multiplier": trade.instrument.multiplier,
        "currency": trade.instrument.currency,
    }


def told(account_id: str, trade: dict[str, Any]) -> dict[str, Any]:
    """A trade of the broker's own books, as `facts` gives one."""
    return {name: value for name, value in trade.items() if name != "fees"} | {
        "account_id": account_id,
        "price": Decimal(trade["price"]),
        "multiplier": Decimal(trade["multiplier"]),
        "executed_at": datetime.fromisoformat(trade["executed_at"]),
    }


@pytest.mark.parametrize("login", [0, 1])
async def test_reports_and_session_together_tell_all_that_the_broker_has_booked(login: int) -> None:
    async with open_desk(login) as desk:
        auth = await desk.authenticate()
        accounts = await desk.provider.get_accounts(auth)
        books = (await desk.control("ledger"))["accounts"]
        assert {account.account_id for account in accounts} == set(desk.sandbox.logins[login].trades)

        booked = {
            (account_id, trade["trade_id"]): told(account_id, trade)
            for account_id, trades in books.items()
            for trade in trades
        }

        session = await desk.session(auth)
        running = [facts(booking) for page in session for booking in page.bookings]
        history = [page for account in accounts for page in await desk.reports(auth, account)]
        read = [facts(booking) for page in history for booking in page.bookings]

        own = {account.account_id for account in accounts}
        assert {(one["account_id"], one["trade_id"]): one for one in read} == {
            key: trade for key, trade in booked.items() if key[0] in own
        }
        assert running, "the sandbox has a session to read"
        assert running == [booked[one["account_id"], one["trade_id"]] for one in running]
        assert not [page for page in (*session, *history) if page.quarantined or page.unmapped]


async def test_the_fees_of_the_session_are_those_of_the_brokers_books(desk: Desk) -> None:
    auth = await desk.authenticate()
    books = (await desk.control("ledger"))["accounts"]
    fees = {(one, trade["trade_id"]): trade["fees"] for one, trades in books.items() for trade in trades}

    trades = [booking.trade for page in await desk.session(auth) for booking in page.bookings]

    settled = [trade for trade in trades if trade is not None and trade.fees]
    assert settled
    for trade in settled:
        assert sorted(format(fee.amount, "f") for fee in trade.fees) == sorted(
            fees[trade.account_id, trade.trade_id].values()
        )


async def test_a_renewed_token_goes_on_where_the_first_one_did(desk: Desk) -> None:
    first = await desk.authenticate()

    second = await desk.provider.refresh_token(first)

    assert second.access_token != first.access_token
    assert second.identity == first.identity
    assert await desk.provider.get_accounts(second) == await desk.provider.get_accounts(first)


@pytest.mark.parametrize("changes", [{"password": "wrong"}, {"cid": "1"}, {"sec": "wrong"}])
async def test_wrong_credentials_are_tried_once(desk: Desk, changes: dict[str, str]) -> None:
    with pytest.raises(BrokerAuthError):
        await desk.authenticate(**changes)

    assert (await desk.control("requests"))["operations"] == {LOGIN: 1}


@pytest.mark.parametrize("operation", [LOGIN, "account/list", "fill/list", "contract/items", REPORT])
async def test_a_penalty_is_served_and_the_read_is_whole(desk: Desk, operation: str) -> None:
    await desk.fault("penalty_ticket", operation)

    auth = await desk.authenticate()
    pages = await desk.session(auth)
    account = (await desk.provider.get_accounts(auth))[0]
    report = await desk.reports(auth, account)

    assert any(page.bookings for page in pages)
    assert any(page.bookings for page in report)


@pytest.mark.parametrize("operation", ["fill/list", "order/list", "contract/items", REPORT])
@pytest.mark.parametrize("fault", ["server_error", "timeout", "maintenance", "cut"])
async def test_a_read_that_failed_for_a_moment_is_repeated(desk: Desk, operation: str, fault: str) -> None:
    auth = await desk.authenticate()
    await desk.fault(fault, operation)

    pages = await desk.session(auth)
    account = (await desk.provider.get_accounts(auth))[0]

    assert any(page.bookings for page in pages)
    assert any(page.bookings for page in await desk.reports(auth, account))


@pytest.mark.parametrize(
    ("fault", "operation", "kind", "word"),
    [
        ("penalty_captcha", LOGIN, BrokerAuthError, "captcha"),
        ("penalty_captcha", "fill/list", BrokerAuthError, "captcha"),
        ("user_closed", LOGIN, BrokerAuthError, "Closed"),
        ("api_hosts_hostile", LOGIN, BrokerResponseError, "host"),
        ("permission_denied", LOGIN, BrokerAuthError, "login"),
        ("permission_denied", "fill/list", BrokerTokenExpiredError, "right to fill/list"),
        ("expired_token", "fill/list", BrokerTokenExpiredError, "expired"),
        ("session_closed", "fill/list", BrokerTokenExpiredError, "newer login"),
        ("redirect", "fill/list", BrokerResponseError, "moved.example.invalid"),
        ("html", "fill/list", BrokerResponseError, "JSON"),
        ("truncated", "fill/list", BrokerResponseError, "JSON"),
        ("wrong_shape", "fill/list", BrokerResponseError, "fill/list"),
        ("wrong_shape", LOGIN, BrokerResponseError, "no object"),
        ("rate_limit", "fill/list", BrokerRateLimitError, "hour"),
        ("rate_limit", LOGIN, BrokerRateLimitError, "hour"),
        ("locked", "fill/list", BrokerRateLimitError, "hour"),
    ],
)
async def test_a_fault_becomes_the_error_whose_next_step_helps(
    desk: Desk, fault: str, operation: str, kind: type[BrokerError], word: str
) -> None:
    await desk.fault(fault, operation)

    with pytest.raises(kind, match=word) as caught:
        await desk.session(await desk.authenticate())

    assert type(caught.value) is kind
    assert caught.value.provider == "tradovate"
    assert caught.value.remedy or kind is BrokerTokenExpiredError


@pytest.mark.parametrize("fault", ["rate_limit", "locked"])
async def test_after_a_lock_out_nothing_more_is_sent(desk: Desk, fault: str) -> None:
    auth = await desk.authenticate()
    await desk.fault(fault, "account/list")
    with pytest.raises(BrokerRateLimitError) as first:
        await desk.provider.get_accounts(auth)
    before = await desk.control("requests")

    with pytest.raises(BrokerRateLimitError):
        await desk.provider.get_accounts(auth)

    assert first.value.retry_after == timedelta(hours=1)
    assert await desk.control("requests") == before


async def test_named_hosts_are_learned_and_the_operators_are_used(desk: Desk) -> None:
    await desk.fault("api_hosts", LOGIN)

    auth = await desk.authenticate()

    assert auth.hosts["demo"] == "https://demo-firm.tradovateapi.com/v1"
    assert await desk.provider.get_accounts(auth), "the sandbox's own address is the one that is asked"


async def test_no_event_shows_a_secret(desk: Desk) -> None:
    await desk.fault("penalty_ticket", LOGIN)
    auth = await desk.provider.refresh_token(await desk.authenticate())
    await desk.session(auth)
    assert auth.access_token is not None

    shown = repr(desk.events)

    assert LOGIN in shown
    for secret in (desk.fields["password"], desk.fields["sec"], auth.access_token.reveal(), "p-ticket"):
        assert secret not in shown
