"""The engine over a real store, with a plugin that answers each request as a test says."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import attrs

from brokersync.errors import (
    BrokerError,
)
from brokersync.events import Event
from brokersync.manifest import AuthKind, Manifest, SourceSpec
from brokersync.records import Connection, Deferred, Done, SpanState, SyncReport
from brokersync.store import SealedGrant, Store, TradeFilter
from brokersync.sync.engine import SyncEngine, SyncOptions
from brokersync.sync.report import ReportBuilder
from brokersync.types import (
    AssetClass,
    BrokerAccount,
    BrokerTrade,
    CoveredSpan,
    Finality,
    IdQuality,
    Instrument,
    Side,
    TimeWindow,
    TradeBooking,
    TradePage,
    TradeRequest,
)

DAY = timedelta(days=1)
START = datetime(2026, 3, 2, tzinfo=UTC)
NOW = START + 5 * DAY + timedelta(hours=12)
TODAY = START + 5 * DAY
A, B = (BrokerAccount(account_id=name, environment="live", opened_at=START) for name in ("A", "B"))

Step = TradePage | BrokerError | Callable[[], None]
Answer = Callable[[TradeRequest], Iterable[Step]]


class Clock:
    def __init__(self) -> None:
        self.moment = NOW
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return (self.moment - NOW).total_seconds()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.moment += timedelta(seconds=seconds)


class Bench:
    """The engine over a real store, with a plugin that answers each request as `answer` says."""

    def __init__(self, store: Store) -> None:
        self.store, self.clock = store, Clock()
        self.source = SourceSpec(name="fills", precedence=1)
        self.more_sources: tuple[SourceSpec, ...] = ()
        self.accounts: tuple[BrokerAccount, ...] = (A,)
        self.since: datetime | None = START
        self.connected_at = START
        self.failing_since: datetime | None = None
        self.readable: tuple[str, ...] | None = None
        self.probes = False
        self.listed: set[tuple[str, str]] | None = None
        self.login_refused = False
        self.answer: Answer = lambda request: [page(request)]
        self.requests: list[TradeRequest] = []
        self.open_generators = 0
        self.events: list[Event] = []

    @property
    def connection(self) -> Connection:
        return Connection(
            connection_id="c", owner="o", provider="paper", environment="live", label="", identity="i",
            created_at=self.connected_at, since=self.since, failing_since=self.failing_since,
        )  # fmt: skip

    @property
    def manifest(self) -> Manifest:
        return Manifest(
            key="paper", display_name="Paper", contract=1, environments=("live",), auth=(AuthKind.NONE,),
            sources=(self.source, *self.more_sources), licence="", docs="", support="",
        )  # fmt: skip

    def source_is(self, **facts: object) -> None:
        self.source = attrs.evolve(self.source, **facts)

    async def run(
        self, *, again_from: datetime | None = None, sources: tuple[str, ...] | None = None, long_wait: float = 5
    ) -> Done | Deferred:
        grant = SealedGrant(
            owner="o", provider="paper", environment="live", identity="i", generation=1, auth=b"", credentials=b""
        )
        await self.store.add_connection(self.connection, grant)
        await self.store.put_accounts(self.connection, self.accounts, self.clock.now())
        report = ReportBuilder(owner="o", provider="paper", connection_id="c", started_at=self.clock.now())
        engine = SyncEngine(
            connection=self.connection, manifest=self.manifest, read=self._read, store=self.store, clock=self.clock,
            events=self.events.append, report=report,
            options=SyncOptions(
                long_wait=timedelta(seconds=long_wait), again_from=again_from, sources=sources, readable=self.readable,
                probes=self.probes, listed=self.listed, login_refused=lambda: self.login_refused,
            ),
        )  # fmt: skip
        self.requests.clear()
        return await engine.run()

    async def _read(self, request: TradeRequest) -> AsyncGenerator[TradePage, None]:
        self.requests.append(request)
        self.open_generators += 1
        try:
            for step in self.answer(request):
                if isinstance(step, BrokerError):
                    raise step
                if isinstance(step, TradePage):
                    yield step
                else:
                    step()
        finally:
            self.open_generators -= 1

    async def ids(self) -> list[str]:
        found, _ = await self.store.trades("o", TradeFilter(), limit=5000)
        return sorted(trade.trade_id for trade in found)

    async def spans(self, account: str = "A", source: str = "fills") -> list[tuple[datetime, datetime, SpanState]]:
        found = await self.store.spans("o", "paper", source)
        return [(span.window.start, span.window.end, span.state) for span in found.get(("live", account), ())]

    async def cursors(self) -> list[str | None]:
        return [request.cursor for request in await self.store.open_requests("c")]


def fill(
    name: str, account: str = "A", *, at: datetime = START, named: bool = True, price: str = "1.5"
) -> TradeBooking:
    return TradeBooking.of(
        BrokerTrade(
            provider="paper",
            environment="live",
            account_id=account,
            trade_id=name,
            instrument=Instrument(symbol="ACME", asset_class=AssetClass.STOCK),
            side=Side.BUY,
            quantity=Decimal("0.1"),
            price=Decimal(price),
            executed_at=at,
            id_quality=IdQuality.BROKER if named else IdQuality.SYNTHETIC,
        )
    )


def page(
    request: TradeRequest,
    *bookings: TradeBooking,
    window: TimeWindow | None = None,
    finality: Finality = Finality.FINAL,
    **facts: object,
) -> TradePage:
    """A page that covers the whole request, or `window`, for all accounts asked for."""
    covered = tuple(
        CoveredSpan(account_id=one.account_id, environment="live", window=window or request.window, finality=finality)
        for one in request.accounts
    )
    return TradePage(**({"bookings": bookings, "covered": covered} | facts))  # type: ignore[arg-type]  # named by tests


def step(*bookings: TradeBooking, **facts: object) -> TradePage:
    """A page that covers nothing yet."""
    return TradePage(bookings=bookings, **facts)  # type: ignore[arg-type]  # named by tests


def problems(report: SyncReport) -> list[str]:
    return [str(problem["error"]) for problem in report.problems]


class CrashError(Exception):
    """What ends a process, as the engine sees it."""


def crash() -> None:
    raise CrashError
