"""A broker in this process: a provider without HTTP whose answers the test decides, and a clock in the test's hands."""

from __future__ import annotations

import asyncio
import types
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest

from brokersync import BrokerSync, ProviderRegistry, Settings
from brokersync.events import Event
from brokersync.manifest import parse_manifests
from brokersync.masterkeys import MasterKeys
from brokersync.plugin import (
    AssetClass,
    AuthResult,
    BookingEffect,
    BrokerAccount,
    BrokerCredentials,
    BrokerTrade,
    CoveredSpan,
    Instrument,
    ProviderContext,
    ProviderSpec,
    Secret,
    Side,
    TradeBooking,
    TradePage,
    TradeRequest,
    hookimpl,
)
from brokersync.records import Lease
from brokersync.runner import Run

NOW = datetime(2030, 3, 1, 9, tzinfo=UTC)
KEY = "toy"
KEYS = MasterKeys(bytes(32))
MANIFEST = """
key = "toy"
display_name = "Toy"
contract = 1
environments = ["live"]
auth = ["password"]
licence = "Apache-2.0"
docs = "https://toy.example/docs"
support = "https://toy.example/help"
transport = "none"

[[user_fields]]
name = "user"
label = "User name"
help = "Any."

[[sources]]
name = "fills"
scope = "login"
look_back = "10d"
precedence = 1
"""


class VirtualClock:
    """Time that passes only when somebody sleeps or the test says so."""

    def __init__(self, now: datetime = NOW) -> None:
        self._now, self._began = now, now

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return (self._now - self._began).total_seconds()

    async def sleep(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)
        await asyncio.sleep(0)

    def advance(self, **by: float) -> None:
        self._now += timedelta(**by)


@attrs.frozen(kw_only=True)
class Credentials(BrokerCredentials):
    user: str


def _new_login(user: str) -> AuthResult:
    return AuthResult(identity=user, access_token=Secret(f"token of {user}"))


@attrs.define
class Broker:
    """What the broker does: `failing` is raised by every request for trades, `asked` names whom it was asked for.

    `login` answers a login and `renewal`, where there is one, a refresh; `renewals` counts those. A page takes so many
    `calls`. `cancels` are the trades that it takes back, and `booking` is what its plugin makes of a row. `accounts`
    are those that it lists for a login, each of which `refused` may refuse.
    """

    login: Callable[[str], AuthResult] = _new_login
    renewal: Callable[[AuthResult], AuthResult | Awaitable[AuthResult]] | None = None
    renewals: int = 0
    failing: Callable[[str], Any] = lambda user: None
    asked: list[str] = attrs.field(factory=list)
    logins: list[str] = attrs.field(factory=list)
    trades: int = 2
    pages: int = 1
    calls: int = 1
    on_page: Callable[[int], Any] = lambda number: None
    cancels: tuple[str, ...] = ()
    booking: Callable[[TradeBooking], TradeBooking] = lambda row: row
    accounts: Callable[[str], Sequence[str]] = lambda user: (f"a-{user}",)
    refused: Callable[[str], Any] = lambda account: None

    async def answer(self, user: str) -> None:
        self.asked.append(user)
        await asyncio.sleep(0)
        error = self.failing(user)
        if asyncio.iscoroutine(error):
            error = await error
        if error is not None:
            raise error


class Provider:
    def __init__(self, broker: Broker, context: ProviderContext) -> None:
        self._broker, self._context = broker, context

    async def authenticate(self, credentials: Credentials) -> AuthResult:
        self._broker.logins.append(credentials.user)
        return self._broker.login(credentials.user)

    async def refresh_token(self, auth: AuthResult) -> AuthResult:
        self._broker.renewals += 1
        if self._broker.renewal is not None:
            renewed = self._broker.renewal(auth)
            return renewed if isinstance(renewed, AuthResult) else await renewed
        return attrs.evolve(auth, access_token=Secret(f"another of {auth.identity} {len(self._broker.asked)}"))

    async def get_accounts(self, auth: AuthResult) -> Sequence[BrokerAccount]:
        listed = self._broker.accounts(auth.identity)
        return [BrokerAccount(account_id=one, environment="live", currency="USD") for one in listed]

    async def get_trades(self, auth: AuthResult, request: TradeRequest) -> AsyncGenerator[TradePage, None]:
        account = request.accounts[0].account_id if request.accounts else f"a-{auth.identity}"
        if (refusal := self._broker.refused(account)) is not None:
            raise refusal
        for number in range(self._broker.pages):
            for _ in range(self._broker.calls):
                await self._context.guard("list", lambda _: self._broker.answer(auth.identity), auth=auth)
            last = number == self._broker.pages - 1
            bookings = tuple(self._broker.booking(_booking(account, number, row)) for row in range(self._broker.trades))
            bookings += tuple(_cancel(account, trade_id) for trade_id in self._broker.cancels)
            covered = (CoveredSpan(account_id=account, environment="live", window=request.window),) if last else ()
            result = self._broker.on_page(number)
            if asyncio.iscoroutine(result):
                await result
            yield TradePage(bookings=bookings, covered=covered, cursor=None if last else f"page {number}")

    async def aclose(self) -> None: ...


def _booking(account: str, page: int, row: int) -> TradeBooking:
    trade = BrokerTrade(
        provider=KEY,
        environment="live",
        account_id=account,
        trade_id=f"{page}-{row}",
        instrument=Instrument(symbol="ACME", asset_class=AssetClass.STOCK, currency="USD"),
        side=Side.BUY,
        quantity=Decimal(1),
        price=Decimal(10),
        executed_at=NOW - timedelta(days=1, minutes=row, hours=page),
    )
    return TradeBooking.of(trade)


def _cancel(account: str, trade_id: str) -> TradeBooking:
    return TradeBooking(
        booking_id=f"cancel of {trade_id}",
        environment="live",
        account_id=account,
        effect=BookingEffect.CANCEL,
        refs=(trade_id,),
    )


def registry_of(
    broker: Broker,
    retention: str = "unlimited",
    manifest: str = MANIFEST,
    credentials: type[Credentials] = Credentials,
) -> ProviderRegistry:
    module = types.ModuleType("brokersync_toy")

    @hookimpl
    def brokersync_provider(broker: str) -> ProviderSpec | None:
        return ProviderSpec(credentials=credentials, create=lambda context: Provider(toy, context))

    toy = broker
    module.brokersync_provider = brokersync_provider  # type: ignore[attr-defined]  # a module made by hand
    registry = ProviderRegistry()
    registry.register(module, *parse_manifests(f'{manifest}retention = "{retention}"', "the toy"))
    return registry


@contextmanager
def a_bug(of: str = "") -> Iterator[None]:
    """Inside it reading ends with an error of no kind that is known, for one connection or for all."""
    read = Run._read

    async def broken(run: Run, lease: Lease) -> Any:
        if of in ("", run._connection.connection_id):
            raise RuntimeError("a bug")
        return await read(run, lease)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "_read", broken)
        yield


@attrs.frozen
class Desk:
    """An embedding backend over the toy broker; `events` are all it heard."""

    bs: BrokerSync
    broker: Broker
    clock: VirtualClock
    events: list[Event]

    async def connect(self, *users: str, owner: str = "alice", environment: str | None = None) -> list[str]:
        made = [
            await self.bs.connect(KEY, owner=owner, fields={"user": user}, environment=environment) for user in users
        ]
        return [one.connection_id for one in made]

    def heard(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if type(event) is kind]


def open_desk(
    place: Path | str,
    broker: Broker | None = None,
    clock: VirtualClock | None = None,
    retention: str = "unlimited",
    *,
    manifest: str = MANIFEST,
    credentials: type[Credentials] = Credentials,
    **settings: Any,
) -> Desk:
    """A desk over the store at a place, or over a file in a folder; enter its `bs`."""
    broker, clock, events = broker or Broker(), clock or VirtualClock(), list[Event]()
    bs = BrokerSync.open(
        place / "store.db" if isinstance(place, Path) else place,
        keys=KEYS,
        settings=Settings(**settings),
        registry=registry_of(broker, retention, manifest, credentials),
        clock=clock,
        events=events.append,
    )
    return Desk(bs, broker, clock, events)
