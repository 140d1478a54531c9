"""One run of one connection: its lease, its login, the engine, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta

import attrs

from brokersync.auth import TokenKeeper
from brokersync.converter import to_json
from brokersync.errors import (
    BrokerAPIError,
    BrokerAuthError,
    BrokerConfigError,
    BrokerError,
    BrokerRetryableError,
    BrokerTokenExpiredError,
    LeaseLostError,
    StoreError,
)
from brokersync.events import (
    ConnectionNeedsUser,
    ConnectionRecovered,
    EventSink,
    SyncDeferred,
    SyncFailed,
    SyncFinished,
    SyncStarted,
)
from brokersync.factory import ManagedProvider, open_provider
from brokersync.login import as_auth_error
from brokersync.manifest import Manifest, SourceScope
from brokersync.records import Connection, ConnectionState, Deferred, Done, Lease, SyncReport
from brokersync.shared import Shared, all_of
from brokersync.store import StoreCache
from brokersync.sync.engine import SyncEngine, SyncOptions
from brokersync.sync.report import ReportBuilder
from brokersync.types import AuthResult

_BEATS_PER_LEASE = 3
_AFTER_A_TAKEOVER = timedelta(seconds=30)


@attrs.frozen(kw_only=True)
class RunOptions:
    """What a caller may say of one run: which sources, and from when on to read again."""

    sources: Sequence[str] | None = None
    again_from: datetime | None = None


class Run:
    """One run of a connection. Make it, call it once."""

    def __init__(self, shared: Shared, connection: Connection, options: RunOptions, events: EventSink) -> None:
        self._shared, self._connection, self._options = shared, connection, options
        self._names = {"provider": connection.provider, "connection_id": connection.connection_id}
        self._report = ReportBuilder(
            owner=connection.owner,
            provider=connection.provider,
            connection_id=connection.connection_id,
            started_at=shared.clock.now(),
        )
        self._sink = all_of(self._report, events, shared.events)

    async def __call__(self) -> Done | Deferred:
        """Read what is due. Raises a `BrokerError`, which the connection's log then holds too."""
        async with self._leased() as lease:
            if lease is None:
                return await self._taken()
            self._sink(SyncStarted(**self._names, owner=self._connection.owner))
            try:
                outcome = await self._read(lease)
            except LeaseLostError as lost:
                until = self._shared.clock.now() + _AFTER_A_TAKEOVER
                return self._deferred(until, lost.message)
            except BrokerError as raised:
                error = as_auth_error(raised) if isinstance(raised, BrokerTokenExpiredError) else raised
                self._report.problem(error)
                await self._fail(error)
                raise error from (None if error is raised else raised)
            await self._settle(outcome)
            return outcome

    @asynccontextmanager
    async def _leased(self) -> AsyncIterator[Lease | None]:
        """Hold the connection against all other workers; `None` when another one has it."""
        shared, lasts = self._shared, self._shared.settings.lease
        holder = f"{shared.worker}-{id(self):x}"
        now = shared.clock.now()
        lease = await shared.store.take_lease(
            self._lease_name, owner=self._connection.owner, holder=holder, now=now, until=now + lasts
        )
        if lease.holder != holder:
            yield None
            return
        beating = asyncio.create_task(self._keep(lease, lasts), name=f"lease of {self._connection.connection_id}")
        try:
            yield lease
        finally:
            beating.cancel()
            with suppress(asyncio.CancelledError, StoreError):
                await beating
            with suppress(StoreError):
                await shared.store.release_lease(lease)

    @property
    def _lease_name(self) -> str:
        return f"sync|{self._connection.connection_id}"

    async def _keep(self, lease: Lease, lasts: timedelta) -> None:
        """Say that this worker is alive, until another has taken over."""
        while True:
            # the loop's time, not the clock's: it goes on while a request waits, and no test has to wait for it
            await asyncio.sleep(lasts.total_seconds() / _BEATS_PER_LEASE)
            if await self._shared.store.extend_lease(lease, self._shared.clock.now() + lasts) is None:
                return

    async def _taken(self) -> Deferred:
        until = self._shared.clock.now() + self._shared.settings.lease
        return self._deferred(until, "Another worker is syncing this connection.")

    def _deferred(self, until: datetime, reason: str) -> Deferred:
        self._sink(SyncDeferred(**self._names, until=until, reason=reason))
        return Deferred(until=until, reason=reason, report=self._report.build(self._shared.clock.now()))

    async def _read(self, lease: Lease) -> Done | Deferred:
        shared, connection = self._shared, self._connection
        loaded = shared.registry.load(connection.provider)
        _check_sources(self._options.sources, loaded.manifest)
        grant, _ = await shared.vault.load(connection)
        async with shared.login(
            loaded, connection.environment, events=self._sink, connection_id=connection.connection_id
        ) as login:
            keeper = TokenKeeper(
                connection=connection,
                vault=shared.vault,
                login=login,
                clock=shared.clock,
                events=self._sink,
                lock=shared.locks[f"grant|{connection.owner}|{connection.provider}|{connection.identity}"],
            )
            async with open_provider(
                loaded,
                environment=connection.environment,
                settings=shared.settings,
                clock=shared.clock,
                limiter=shared.limiter,
                cache=StoreCache(shared.store, connection.provider, connection.environment),
                events=self._sink,
                tokens=keeper,
                connection_id=connection.connection_id,
            ) as provider:
                auth = await keeper.current(grant.auth)
                await self._look_for_accounts(provider, auth)
                engine = SyncEngine(
                    connection=connection,
                    manifest=loaded.manifest,
                    read=lambda request: provider.get_trades(auth, request),
                    store=shared.store,
                    clock=shared.clock,
                    events=self._sink,
                    report=self._report,
                    options=SyncOptions(
                        long_wait=shared.settings.long_wait,
                        sources=_narrowed(self._options.sources, auth.sources),
                        again_from=self._options.again_from,
                        readable=auth.sources,
                        lease=lease,
                    ),
                )
                return await engine.run()

    async def _look_for_accounts(self, provider: ManagedProvider, auth: AuthResult) -> None:
        """Accounts may be opened, renamed or closed at any time; a source per account has to know them beforehand."""
        if all(source.scope is SourceScope.LOGIN for source in provider.manifest.sources if not source.files):
            return
        try:
            await self._shared.store.put_accounts(self._connection, await provider.get_accounts(auth))
        except (BrokerRetryableError, BrokerAPIError) as error:
            self._report.problem(error)

    async def _fail(self, error: BrokerError) -> None:
        self._sink(SyncFailed(**self._names, error=type(error).__name__, message=error.message))
        if isinstance(error, StoreError):
            return
        if isinstance(error, BrokerAuthError):
            await self._set_state(ConnectionState.NEEDS_USER, error.message)
            self._sink(ConnectionNeedsUser(**self._names, reason=error.message))
        await self._log(self._report.build(self._shared.clock.now()), synced=False)

    async def _settle(self, outcome: Done | Deferred) -> None:
        if self._connection.state is ConnectionState.NEEDS_USER:
            await self._set_state(ConnectionState.ACTIVE, None)
            self._sink(ConnectionRecovered(**self._names))
        await self._log(outcome.report)
        if isinstance(outcome, Deferred):
            self._sink(SyncDeferred(**self._names, until=outcome.until, reason=outcome.reason))
            return
        report = outcome.report
        self._sink(
            SyncFinished(
                **self._names,
                owner=self._connection.owner,
                added=report.added,
                modified=report.modified,
                removed=report.removed,
                duration=report.duration,
            )
        )

    async def _set_state(self, state: ConnectionState, reason: str | None) -> None:
        await self._shared.store.set_state(self._connection.connection_id, state, reason)

    async def _log(self, report: SyncReport, *, synced: bool = True) -> None:
        now = self._shared.clock.now()
        await self._shared.store.log_sync(self._connection.connection_id, to_json(report), now, synced=synced)


def _narrowed(wanted: Sequence[str] | None, possible: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if wanted is None or possible is None:
        return tuple(wanted) if wanted is not None else possible
    return tuple(name for name in wanted if name in possible)


def _check_sources(wanted: Sequence[str] | None, manifest: Manifest) -> None:
    names = [source.name for source in manifest.sources if not source.files]
    if wanted is not None and not set(wanted).intersection(names):
        raise BrokerConfigError(
            f"{manifest.display_name} has no source {', '.join(map(repr, wanted))} to read from.",
            remedy=f"Its sources are: {', '.join(names) or 'files only'}.",
            provider=manifest.key,
        )
