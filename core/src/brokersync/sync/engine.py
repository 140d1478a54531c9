"""The loop: plan, ask, fold, commit a page at a time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from enum import Enum

import attrs

from brokersync.errors import (
    BrokerAPIError,
    BrokerConfigError,
    BrokerCursorError,
    BrokerDataUnavailableError,
    BrokerNotReadyError,
    BrokerResponseError,
    BrokerRetryableError,
    Fault,
)
from brokersync.events import EventSink, LimitWaited, WindowStarted
from brokersync.manifest import Manifest, SourceScope, SourceSpec
from brokersync.provider import Clock
from brokersync.records import Connection, Deferred, Done, OpenRequest
from brokersync.store import Store
from brokersync.sync.commit import PageWriter, Target
from brokersync.sync.plan import Ask, perishable_first, plan_source
from brokersync.sync.report import ReportBuilder
from brokersync.types import BrokerAccount, TradePage, TradeRequest

Reader = Callable[[TradeRequest], AsyncGenerator[TradePage, None]]

_FIRST_PAUSE = timedelta(seconds=30)
_REFUSALS_BEFORE_REST = 3


@attrs.frozen(kw_only=True)
class SyncOptions:
    """What one sync may do: which sources, from when on it reads again, and the longest wait it sleeps."""

    long_wait: timedelta
    sources: tuple[str, ...] | None = None
    again_from: datetime | None = None


class _Outcome(Enum):
    READ = "read"
    REFUSED = "refused"
    REST = "rest"


class SyncEngine:
    """Brings one connection's trades into the store.

    Reads at least once and takes effect exactly once: a crash anywhere costs repetition, never a loss and never a
    double. What one source refuses does not keep the others from being read.
    """

    def __init__(
        self,
        *,
        connection: Connection,
        manifest: Manifest,
        read: Reader,
        store: Store,
        clock: Clock,
        events: EventSink,
        report: ReportBuilder,
        options: SyncOptions,
    ) -> None:
        self._connection, self._manifest, self._read = connection, manifest, read
        self._store, self._clock, self._events = store, clock, events
        self._report, self._options = report, options
        self._writer = PageWriter(
            target=Target(owner=connection.owner, provider=connection.provider, connection_id=connection.connection_id),
            manifest=manifest,
            store=store,
            clock=clock,
            events=events,
            report=report,
        )
        self._later: tuple[datetime, str] | None = None

    async def run(self) -> Done | Deferred:
        """Read all that is due. Raises `BrokerAuthError` and `StoreError`; what else goes wrong is in the report."""
        for source in perishable_first(self._sources()):
            await self._run_source(source)
        report = self._report.build(self._clock.now())
        if self._later is None:
            return Done(report=report)
        return Deferred(until=self._later[0], reason=self._later[1], report=report)

    def _sources(self) -> list[SourceSpec]:
        wanted = self._options.sources
        return [
            source
            for source in self._manifest.sources
            if not source.files and (wanted is None or source.name in wanted)
        ]

    async def _run_source(self, source: SourceSpec) -> None:
        # what was begun is finished before the rest is planned, so that nothing is asked twice
        for due in (self._begun, self._planned):
            refusals = 0
            asks = await due(source)
            for number, (ask, opened) in enumerate(asks):
                self._announce(ask, number, len(asks))
                outcome = await self._try(ask, opened)
                refusals = refusals + 1 if outcome is _Outcome.REFUSED else 0
                if outcome is _Outcome.REST or refusals == _REFUSALS_BEFORE_REST:
                    return

    async def _try(self, ask: Ask, opened: OpenRequest | None) -> _Outcome:
        """Read one window; what goes wrong is reported, and says whether to go on with this source."""
        try:
            return _Outcome.READ if await self._run_ask(ask, opened) else _Outcome.REST
        except BrokerDataUnavailableError as error:
            await self._writer.unavailable(ask, error)
            return _Outcome.READ
        except BrokerRetryableError as error:
            self._postpone(self._clock.now() + (error.retry_after or _FIRST_PAUSE), error.message)
            self._report.problem(error, source=ask.source.name, window=ask.window)
            return _Outcome.REST
        except BrokerConfigError as error:
            self._report.problem(error, source=ask.source.name, window=ask.window)
            return _Outcome.REST
        except BrokerAPIError as error:
            self._report.problem(error, source=ask.source.name, window=ask.window)
            return _Outcome.REFUSED

    async def _begun(self, source: SourceSpec) -> list[tuple[Ask, OpenRequest | None]]:
        accounts = await self._store.accounts(self._connection.connection_id)
        return [
            (ask, request)
            for request in await self._store.open_requests(self._connection.connection_id)
            if request.source == source.name and (ask := _continued(request, source, accounts)) is not None
        ]

    async def _planned(self, source: SourceSpec) -> list[tuple[Ask, OpenRequest | None]]:
        planned = plan_source(
            source,
            await self._store.accounts(self._connection.connection_id),
            await self._store.spans(self._connection.owner, self._connection.provider, source.name),
            now=self._clock.now(),
            since=self._connection.since,
            again_from=self._options.again_from,
        )
        return [(ask, None) for ask in planned]

    def _announce(self, ask: Ask, done: int, total: int) -> None:
        self._events(
            WindowStarted(
                provider=self._connection.provider,
                connection_id=self._connection.connection_id,
                source=ask.source.name,
                account_id=ask.account or None,
                window=ask.window,
                done=done,
                total=total,
            )
        )
        for account in ask.accounts:
            self._report.asked(ask.source.name, account.environment, account.account_id, ask.window)

    async def _run_ask(self, ask: Ask, opened: OpenRequest | None) -> bool:
        """Read one window to its end; `False` when it has to wait longer than a slot is held."""
        cursor = opened.cursor if opened else None
        resume_at = opened.resume_at if opened else None
        self._writer.begin(ask)
        while True:
            if resume_at is not None and not await self._may_wait(resume_at):
                return False
            try:
                last = await self._read_pages(ask, cursor)
            except BrokerCursorError:
                if cursor is None:
                    raise
                await self._store.drop_request(self._connection.connection_id, ask.source.name, ask.account)
                self._writer.begin(ask)
                cursor = resume_at = None
                continue
            except BrokerNotReadyError as error:
                self._postpone(self._clock.now() + (error.retry_after or _FIRST_PAUSE), error.message)
                return False
            if last is None or last.cursor is None:
                return True
            if last.cursor == cursor and last.resume_at is None:
                raise BrokerResponseError("The broker's paging does not move on.", fault=Fault.PLUGIN)
            cursor, resume_at = last.cursor, last.resume_at

    async def _read_pages(self, ask: Ask, cursor: str | None) -> TradePage | None:
        request = TradeRequest(
            source=ask.source.name,
            window=ask.window,
            accounts=ask.accounts,
            cursor=cursor,
            bookmark=await self._store.bookmark(self._connection.connection_id, ask.source.name, ask.account),
        )
        last: TradePage | None = None
        async with aclosing(self._read(request)) as pages:
            async for page in pages:
                if last is not None:
                    await self._writer.commit(last, going_on=True)
                last = page
        if last is None:
            await self._writer.commit(TradePage(), going_on=False)
        else:
            await self._writer.commit(last, going_on=last.cursor is not None)
        return last

    async def _may_wait(self, until: datetime) -> bool:
        wait = until - self._clock.now()
        if wait > self._options.long_wait:
            self._postpone(until, "The broker is still preparing its answer.")
            return False
        if wait > timedelta(0):
            self._events(
                LimitWaited(
                    provider=self._connection.provider,
                    connection_id=self._connection.connection_id,
                    operation="get_trades",
                    scope="report",
                    wait=wait,
                )
            )
            await self._clock.sleep(wait.total_seconds())
        return True

    def _postpone(self, until: datetime, reason: str) -> None:
        if self._later is None or until < self._later[0]:
            self._later = (until, reason)


def _continued(request: OpenRequest, source: SourceSpec, accounts: Sequence[BrokerAccount]) -> Ask | None:
    if source.scope is SourceScope.LOGIN:
        return Ask(source=source, accounts=tuple(accounts), window=request.window)
    mine = tuple(one for one in accounts if f"{one.environment}/{one.account_id}" == request.account)
    return Ask(source=source, accounts=mine, window=request.window) if mine else None
