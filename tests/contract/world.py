"""A broker, a stub that reads it and the real engine over a real store, with time in the test's hands."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing, asynccontextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

import attrs

from brokersync.events import no_events
from brokersync.managed import ManagedProvider
from brokersync.manifest import Manifest
from brokersync.plugin import (
    AuthResult,
    BrokerTrade,
    ProviderContext,
    Secret,
    TradePage,
    TradeRequest,
)
from brokersync.records import Connection, Deferred, Done, OpenRequest, PageCommit, SpanState
from brokersync.registry import ProviderRegistry
from brokersync.store import SealedGrant, Store, StoreCache, TradeFilter
from brokersync.sync.commit import page_rules
from brokersync.sync.engine import SyncEngine, SyncOptions
from brokersync.sync.ledger import subtract, union
from brokersync.sync.plan import Ask
from brokersync.sync.report import ReportBuilder
from brokersync.types import CoveredSpan, TimeWindow

from .ledger import ACCOUNTS, DAY, START, Facts, Row, make_ledger
from .probes import VirtualClock
from .server import Line, Server, floor
from .stubs import Kind
from .wire import listen, unlisten

R = TypeVar("R")
NOW = START + timedelta(days=8, hours=12)
_BEFORE_MIDNIGHT = timedelta(microseconds=500_000)


@attrs.define
class Reading:
    """What went over the contract: each request, what its pages covered, and whether its generator was closed."""

    request: TradeRequest
    covered: list[CoveredSpan] = attrs.field(factory=list)
    closed: bool = False


class World:
    """One connection of one owner to one broker."""

    def __init__(self, kind: Kind, manifest: Manifest, server: Server, clock: VirtualClock, store: Store) -> None:
        self.kind, self.manifest, self.server, self.clock, self.store = kind, manifest, server, clock, store
        self.readings: list[Reading] = []
        self.guarded: list[tuple[str, str | None]] = []
        self.auth = AuthResult(identity="somebody", access_token=Secret("t-0"))
        self.connection = Connection(
            connection_id="c-1",
            owner="owner",
            provider=manifest.key,
            environment="live",
            label="",
            identity="somebody",
            created_at=START,
            since=START,
        )
        registry = ProviderRegistry()
        registry.register(kind.module, manifest)
        self.provider = ManagedProvider(registry.load(manifest.key), self._context())
        self._watch_generators()

    def _context(self) -> ProviderContext:
        key = self.manifest.key
        return ProviderContext(
            provider=key,
            environment="live",
            manifest=self.manifest,
            http=Line(self.server),
            guard=self._guard,
            clock=self.clock,
            hosts=_Hosts(self.manifest.hosts),
            cache=StoreCache(self.store, key, "live"),
            settings={},
        )

    async def _guard(
        self,
        operation: str,
        call: Callable[[AuthResult | None], Awaitable[R]],
        *,
        auth: AuthResult | None = None,
        account: str | None = None,
        weight: int = 1,
    ) -> R:
        self.guarded.append((operation, account))
        return await call(auth)

    def since(self, moment: datetime) -> None:
        """From when on the owner wants the history."""
        self.connection = attrs.evolve(self.connection, since=moment)

    def _watch_generators(self) -> None:
        """Put a watcher around the plugin's own generators, below `ManagedProvider`."""
        plugin = self.provider._provider
        original = plugin.get_trades

        async def watched(auth: AuthResult, request: TradeRequest) -> AsyncGenerator[TradePage, None]:
            reading = Reading(request)
            self.readings.append(reading)
            try:
                async with aclosing(original(auth, request)) as pages:
                    async for page in pages:
                        reading.covered += page.covered
                        yield page
            finally:
                reading.closed = True

        plugin.get_trades = watched  # type: ignore[method-assign]  # the test stands between plugin and core

    async def connect(self) -> None:
        grant = SealedGrant(
            owner="owner", provider=self.manifest.key, environment="live", identity="somebody",
            generation=1, auth=b"", credentials=b"",
        )  # fmt: skip
        await self.store.add_connection(self.connection, grant)
        await self.store.put_accounts(self.connection, await self.provider.get_accounts(self.auth), self.clock.now())

    async def sync(
        self, *, store: Store | None = None, again_from: datetime | None = None, long_wait: float = 5
    ) -> Done | Deferred:
        """One run of a fresh engine."""
        report = ReportBuilder(
            owner="owner", provider=self.manifest.key, connection_id="c-1", started_at=self.clock.now()
        )
        engine = SyncEngine(
            connection=self.connection,
            manifest=self.manifest,
            read=lambda request: self.provider.get_trades(self.auth, request),
            store=store or self.store,
            clock=self.clock,
            events=no_events,
            report=report,
            options=SyncOptions(long_wait=timedelta(seconds=long_wait), again_from=again_from),
        )
        return await engine.run()

    async def settle(self, *, store: Store | None = None, again_from: datetime | None = None) -> Done:
        """Sync until there is nothing to wait for, as a backend would."""
        for _ in range(60):
            outcome = await self.sync(store=store, again_from=again_from)
            if isinstance(outcome, Done):
                return outcome
            self.clock.set(outcome.until)
        raise AssertionError("the sync is put off again and again")

    def moments(self) -> list[datetime]:
        """When to sync so that nothing is missed: once at the end, or before the end of each session."""
        if self.kind.history:
            return [NOW]
        last = max(row.booked_at for row in self.server.ledger)
        days = (floor(last) - START) // DAY + 1
        return [START + (day + 1) * DAY - _BEFORE_MIDNIGHT for day in range(days)]

    async def live(self) -> None:
        """Sync once a day, shortly before midnight, from the first day on."""
        while self.clock.now() < NOW:
            self.clock.set(floor(self.clock.now()) + DAY - _BEFORE_MIDNIGHT)
            await self.settle()
            self.clock.set(floor(self.clock.now()) + DAY)

    async def catch_up(self, *, store: Store | None = None) -> Done:
        """Bring in all that the broker has."""
        done: Done | None = None
        for moment in self.moments():
            self.clock.set(moment)
            done = await self.settle(store=store)
        assert done is not None
        return done

    async def trades(self, *, cancelled: bool = True) -> list[BrokerTrade]:
        found, after = await self.store.trades("owner", TradeFilter(cancelled=cancelled), limit=5000)
        assert after is None
        return list(found)

    async def facts(self) -> Counter[Facts]:
        """What stands in the store, in the words of the ledger."""
        return Counter(facts_of(trade) for trade in await self.trades(cancelled=False))

    async def spans(self, *states: SpanState) -> dict[str, list[TimeWindow]]:
        """What of each account is covered, in one of these states."""
        source = self.manifest.sources[0].name
        found = await self.store.spans("owner", self.manifest.key, source)
        return {
            account: union(span.window for span in spans if span.state in states)
            for (_, account), spans in found.items()
        }

    async def feed(self) -> list[tuple[str, str, str, int]]:
        changes = await self.store.changes("owner", 0, limit=5000)
        return sorted((one.key.account_id, one.trade_id, one.kind.value, one.revision) for one in changes)

    async def state(self) -> tuple[object, ...]:
        """All that another course of events has to end in as well."""
        return await self.trades(), await self.spans(SpanState.FINAL), await self.feed()

    async def unproved(self) -> list[TimeWindow]:
        """What is called covered though no page has said so: nothing, if all is well."""
        covered = await self.spans(SpanState.FINAL, SpanState.PROVISIONAL)
        return [part for account, windows in covered.items() for part in subtract(windows, self.proved(account))]

    async def plant(self, cursor: str, window: TimeWindow) -> None:
        """Leave a begun request in the store, as if an earlier sync had been broken off."""
        (source,) = self.manifest.sources
        accounts = await self.store.accounts("c-1")
        account = Ask(source=source, accounts=accounts, window=window).account
        request = OpenRequest(connection_id="c-1", source=source.name, account=account, window=window, cursor=cursor)
        await self.store.commit_page(
            PageCommit(
                owner="owner", provider=self.manifest.key, source=source.name, at=self.clock.now(),
                connection_id="c-1", request_account=account, next_request=request,
            ),
            page_rules(self.manifest),
        )  # fmt: skip

    def proved(self, account: str) -> list[TimeWindow]:
        """What pages have said to cover, inside what they were asked."""
        parts = (
            covered.window.overlap(reading.request.window)
            for reading in self.readings
            for covered in reading.covered
            if covered.account_id == account
        )
        return union(part for part in parts if part is not None)


def facts_of(trade: BrokerTrade) -> Facts:
    """A trade in the words of the ledger."""
    fees = sum((fee.amount for fee in trade.fees), Decimal(0))
    return (
        trade.account_id,
        trade.instrument.symbol,
        {"buy": "B", "sell": "S"}[trade.side.value],
        trade.quantity,
        trade.price,
        trade.executed_at,
        fees,
    )


class _Hosts:
    def __init__(self, hosts: Mapping[str, str]) -> None:
        self._hosts = hosts

    def __getitem__(self, role: str) -> str:
        return self._hosts[role]

    def accept(self, role: str, url: str) -> str:
        return url


@asynccontextmanager
async def open_world(
    kind: Kind,
    stores: Any,
    *,
    ledger: Iterable[Row] | None = None,
    accounts: tuple[str, ...] = ACCOUNTS,
    now: datetime | None = None,
    **source: Any,
) -> AsyncIterator[World]:
    """A world at its first moment, in a new store; `source` changes what the manifest says of the source."""
    manifest = kind.manifest
    manifest = attrs.evolve(manifest, sources=(attrs.evolve(manifest.sources[0], **source),))
    rows = make_ledger(corrections=kind.named) if ledger is None else list(ledger)
    clock = VirtualClock(START)
    server = Server(rows, clock, accounts)
    store = await stores.new().open()
    listen(manifest.hosts["api"], server)
    try:
        world = World(kind, manifest, server, clock, store)
        await world.connect()
        clock.set(now or (NOW if kind.history else START))
        yield world
        assert all(reading.closed for reading in world.readings), "a provider's generator was left open"
    finally:
        unlisten(manifest.hosts["api"])
        await store.close()
