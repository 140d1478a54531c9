"""`BrokerSync`: the one object a backend holds; it composes the rest and decides nothing itself."""

from __future__ import annotations

import asyncio
import secrets
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from brokersync.auth import GrantVault, TokenKeeper
from brokersync.clock import SystemClock
from brokersync.config import Settings, load_settings
from brokersync.converter import to_json
from brokersync.errors import (
    BrokerAPIError,
    BrokerAuthError,
    BrokerConfigError,
    BrokerError,
    BrokerRetryableError,
    BrokerTokenExpiredError,
    StoreError,
)
from brokersync.events import (
    ConnectionNeedsUser,
    ConnectionRecovered,
    Event,
    EventSink,
    SyncDeferred,
    SyncFailed,
    SyncFinished,
    SyncStarted,
    no_events,
)
from brokersync.factory import ManagedProvider, open_provider
from brokersync.journal import Journal
from brokersync.login import OpenLogin, as_auth_error
from brokersync.manifest import Manifest, SourceScope
from brokersync.provider import Clock
from brokersync.ratelimit import LocalLimiter
from brokersync.records import Connection, ConnectionState, Deferred, Done, SyncReport
from brokersync.registry import LoadedProvider, ProviderRegistry
from brokersync.sealing import KeyProvider, LazyMasterKey, Sealer
from brokersync.secret import Secret
from brokersync.store import SqliteStore, Store, StoreCache
from brokersync.sync.engine import SyncEngine, SyncOptions
from brokersync.sync.report import ReportBuilder
from brokersync.sync.statement import OnRow, import_statement
from brokersync.types import AuthResult, StatementHints


class BrokerSync(Journal):
    """Everything of brokersync over one store. Use it as `async with BrokerSync.open(path) as bs`.

    `events` hears every event of every sync. What is not given is made: SQLite at `path`, the installed plugins, the
    settings from `BROKERSYNC_CONFIG`, a key from `BROKERSYNC_KEY` or a key file beside the store.
    """

    def __init__(
        self,
        *,
        store: Store,
        registry: ProviderRegistry,
        keys: KeyProvider,
        settings: Settings | None = None,
        clock: Clock | None = None,
        events: EventSink = no_events,
    ) -> None:
        self.registry = registry
        self.settings = settings or Settings()
        super().__init__(store)
        self._events = events
        self._clock: Clock = clock or SystemClock()
        self._limiter = LocalLimiter(self._clock)
        self._vault = GrantVault(store, Sealer(keys))
        self._running: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._renewing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        settings: Settings | None = None,
        registry: ProviderRegistry | None = None,
        clock: Clock | None = None,
        events: EventSink = no_events,
        on_key_made: Callable[[Path], None] = lambda _: None,
    ) -> Self:
        """A `BrokerSync` over the SQLite file at `path`, which is made when it is missing.

        `on_key_made` is told the path of the key file when the first login makes it.
        """
        settings = settings or load_settings()
        path = Path(path)
        return cls(
            store=SqliteStore(path),
            registry=registry or ProviderRegistry.installed(settings, events),
            keys=LazyMasterKey(path.with_name(path.name + ".key"), on_key_made),
            settings=settings,
            clock=clock,
            events=events,
        )

    async def __aenter__(self) -> Self:
        await self._store.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._store.close()

    async def connect(
        self,
        provider: str,
        *,
        owner: str,
        fields: Mapping[str, str | Secret],
        environment: str | None = None,
        label: str | None = None,
        since: datetime | None = None,
    ) -> Connection:
        """Test a login at the broker and keep it, sealed; the same login again keeps its connection and history.

        `fields` are the user's fields of the manifest. History is read from `since` on, else from the beginning.
        Raises `BrokerConfigError` for fields that do not fit and `BrokerAuthError` when the broker refuses them; then
        nothing is kept.
        """
        loaded = self.registry.load(provider)
        environment = environment or loaded.manifest.environments[0]
        plain = {name: value.reveal() if isinstance(value, Secret) else value for name, value in fields.items()}
        async with self._login(loaded, environment) as login:
            auth, accounts = await login.test(plain)
        connection = Connection(
            connection_id=f"{provider}-{secrets.token_hex(5)}",
            owner=owner,
            provider=provider,
            environment=environment,
            label=label or f"{loaded.manifest.display_name} ({environment})",
            identity=auth.identity,
            created_at=self._clock.now(),
            since=since,
        )
        grant = await self._vault.seal(
            owner=owner, provider=provider, environment=environment, auth=auth, fields=plain, generation=1
        )
        connection = await self._store.add_connection(connection, grant)
        await self._store.put_accounts(connection, accounts)
        return connection

    async def run(
        self,
        connection_id: str,
        *,
        sources: Sequence[str] | None = None,
        again_from: datetime | None = None,
        events: EventSink = no_events,
    ) -> Done | Deferred:
        """Bring a connection's trades up to date, as far as it goes without a long wait.

        Repeating it is safe at any time. Raises `BrokerAuthError` when the user must log in again, which the connection
        then says too.
        """
        async with self._running[connection_id]:
            connection = await self.connection(connection_id)
            report = ReportBuilder(
                owner=connection.owner,
                provider=connection.provider,
                connection_id=connection_id,
                started_at=self._clock.now(),
            )
            sink = _all_of(report, events, self._events)
            sink(SyncStarted(provider=connection.provider, connection_id=connection_id, owner=connection.owner))
            try:
                outcome = await self._run(connection, report, sink, sources, again_from)
            except BrokerError as raised:
                error = as_auth_error(raised) if isinstance(raised, BrokerTokenExpiredError) else raised
                report.problem(error)
                await self._fail(connection, error, report, sink)
                raise error from (None if error is raised else raised)
            await self._settle(connection, outcome, sink)
            return outcome

    async def _run(
        self,
        connection: Connection,
        report: ReportBuilder,
        sink: EventSink,
        sources: Sequence[str] | None,
        again_from: datetime | None,
    ) -> Done | Deferred:
        loaded = self.registry.load(connection.provider)
        _check_sources(sources, loaded.manifest)
        grant, _ = await self._vault.load(connection)
        async with self._login(loaded, connection.environment, sink, connection.connection_id) as login:
            keeper = TokenKeeper(
                connection=connection,
                vault=self._vault,
                login=login,
                clock=self._clock,
                events=sink,
                lock=self._renewing[f"{connection.owner}|{connection.provider}|{connection.identity}"],
            )
            async with open_provider(
                loaded,
                environment=connection.environment,
                settings=self.settings,
                clock=self._clock,
                limiter=self._limiter,
                cache=StoreCache(self._store, connection.provider, connection.environment),
                events=sink,
                tokens=keeper,
                connection_id=connection.connection_id,
            ) as provider:
                auth = await keeper.current(grant.auth)
                await self._look_for_accounts(connection, provider, auth, report)
                engine = SyncEngine(
                    connection=connection,
                    manifest=loaded.manifest,
                    read=lambda request: provider.get_trades(auth, request),
                    store=self._store,
                    clock=self._clock,
                    events=sink,
                    report=report,
                    options=SyncOptions(
                        long_wait=self.settings.long_wait,
                        sources=_narrowed(sources, auth.sources),
                        again_from=again_from,
                    ),
                )
                return await engine.run()

    async def _look_for_accounts(
        self, connection: Connection, provider: ManagedProvider, auth: AuthResult, report: ReportBuilder
    ) -> None:
        """Accounts may be opened, renamed or closed at any time; a source per account has to know them beforehand."""
        if all(source.scope is SourceScope.LOGIN for source in provider.manifest.sources if not source.files):
            return
        try:
            await self._store.put_accounts(connection, await provider.get_accounts(auth))
        except (BrokerRetryableError, BrokerAPIError) as error:
            report.problem(error)

    async def import_statement(
        self,
        provider: str,
        file: BinaryIO,
        *,
        owner: str,
        hints: StatementHints | None = None,
        dry_run: bool = False,
        on_row: OnRow | None = None,
        events: EventSink = no_events,
    ) -> SyncReport:
        """Import a statement the user has downloaded, with or without a connection; again it changes nothing.

        With `dry_run` nothing is kept. `on_row` is told what became, or would become, of each row.
        """
        loaded = self.registry.load(provider)
        if loaded.spec.statements is None:
            raise BrokerConfigError(
                f"The plugin for {loaded.manifest.display_name} reads no files.",
                remedy="Connect the broker instead.",
                provider=provider,
            )
        reader = loaded.spec.statements(provider)

        async def into(store: Store) -> SyncReport:
            return await import_statement(
                file,
                owner=owner,
                manifest=loaded.manifest,
                reader=reader,
                hints=hints or StatementHints(),
                store=store,
                clock=self._clock,
                events=_all_of(events, no_events if dry_run else self._events),
                on_row=on_row,
            )

        if not dry_run:
            return await into(self._store)
        async with self._store.rehearsal() as rehearsal:
            return await into(rehearsal)

    async def diagnose(self, connection_id: str) -> Sequence[str]:
        """What the user should change at the broker, in sentences; none where all is well or nobody can tell."""
        connection = await self.connection(connection_id)
        loaded = self.registry.load(connection.provider)
        grant, _ = await self._vault.load(connection)
        async with self._login(loaded, connection.environment) as login:
            return await login.diagnose(grant.auth)

    def _login(
        self, loaded: LoadedProvider, environment: str, events: EventSink | None = None, connection_id: str = ""
    ) -> OpenLogin:
        provider = open_provider(
            loaded,
            environment=environment,
            settings=self.settings,
            clock=self._clock,
            limiter=self._limiter,
            cache=StoreCache(self._store, loaded.manifest.key, environment),
            events=events or self._events,
            connection_id=connection_id,
        )
        return OpenLogin(loaded, provider, self._clock)

    async def _fail(self, connection: Connection, error: BrokerError, report: ReportBuilder, sink: EventSink) -> None:
        names = {"provider": connection.provider, "connection_id": connection.connection_id}
        sink(SyncFailed(**names, error=type(error).__name__, message=error.message))
        if isinstance(error, StoreError):
            return
        if isinstance(error, BrokerAuthError):
            await self._store.set_state(connection.connection_id, ConnectionState.NEEDS_USER, error.message)
            sink(ConnectionNeedsUser(**names, reason=error.message))
        await self._log(connection, report.build(self._clock.now()), synced=False)

    async def _settle(self, connection: Connection, outcome: Done | Deferred, sink: EventSink) -> None:
        names = {"provider": connection.provider, "connection_id": connection.connection_id}
        if connection.state is ConnectionState.NEEDS_USER:
            await self._store.set_state(connection.connection_id, ConnectionState.ACTIVE, None)
            sink(ConnectionRecovered(**names))
        await self._log(connection, outcome.report)
        if isinstance(outcome, Deferred):
            sink(SyncDeferred(**names, until=outcome.until, reason=outcome.reason))
            return
        report = outcome.report
        sink(
            SyncFinished(
                **names,
                owner=connection.owner,
                added=report.added,
                modified=report.modified,
                removed=report.removed,
                duration=report.duration,
            )
        )

    async def _log(self, connection: Connection, report: SyncReport, *, synced: bool = True) -> None:
        await self._store.log_sync(connection.connection_id, to_json(report), self._clock.now(), synced=synced)


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


def _all_of(*sinks: EventSink) -> EventSink:
    def send(event: Event) -> None:
        for sink in sinks:
            sink(event)

    return send
