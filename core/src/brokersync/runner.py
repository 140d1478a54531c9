"""One run of one connection: its lease, its login, the engine, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence, Set
from contextlib import aclosing
from datetime import datetime, timedelta
from functools import partial

import attrs

from brokersync.clock import CLOCKS_DIFFER
from brokersync.errors import (
    BrokerAPIError,
    BrokerConfigError,
    BrokerError,
    BrokerNotReadyError,
    BrokerPluginError,
    BrokerRetryableError,
    BrokerTokenExpiredError,
    ClosedError,
    LeaseLostError,
)
from brokersync.events import EventSink, SyncDeferred, SyncFailed, SyncFinished, SyncRecorded, SyncStarted
from brokersync.factory import ManagedProvider, open_provider
from brokersync.holding import Held, held
from brokersync.incidents import Incident, share, with_probe
from brokersync.listening import all_of, harmless
from brokersync.login import OpenLogin, as_auth_error
from brokersync.manifest import SourceScope
from brokersync.overdue import note_overdue, noted_overdue
from brokersync.records import Connection, Deferred, Done, Lease, SyncReport
from brokersync.registry import LoadedProvider
from brokersync.settling import Settler
from brokersync.shared import Shared
from brokersync.silence import rest
from brokersync.store import StoreCache
from brokersync.sync.engine import SyncEngine, SyncOptions
from brokersync.sync.report import ReportBuilder
from brokersync.types import AuthResult, TradePage, TradeRequest
from brokersync.withdrawing import withdrawn

_AFTER_A_TAKEOVER = timedelta(seconds=30)


@attrs.frozen(kw_only=True)
class RunOptions:
    """What a caller may say of one run: which sources, and from when on to read again.

    With `only_due` a connection that another worker has just synced is left alone, and nobody is taken to wait for it.
    """

    sources: Sequence[str] | None = None
    again_from: datetime | None = None
    only_due: bool = False


def _made_by(connection: Connection, now: datetime) -> Connection:
    """One that was made by a clock that was ahead was made now at the latest: its history is looked for from there."""
    return attrs.evolve(connection, created_at=min(connection.created_at, now))


class Run:
    """One run of a connection. Make it, call it once."""

    def __init__(self, shared: Shared, connection: Connection, options: RunOptions, events: EventSink) -> None:
        now = shared.clock.now()
        self._made_ahead = connection.created_at > now + CLOCKS_DIFFER
        connection = _made_by(connection, now)
        self._shared, self._connection, self._options = shared, connection, options
        self._names = {"provider": connection.provider, "connection_id": connection.connection_id}
        self._report = ReportBuilder(owner=connection.owner, started_at=now, **self._names)
        self._sink = all_of(self._report, harmless(events), shared.events)
        self._settler = Settler(shared, connection, self._report, self._sink, narrowed=options.sources is not None)
        self._stopping = self._goes_on = self._probes = False

    async def __call__(self) -> Done | Deferred:
        """Read what is due. Raises a `BrokerError`, which the connection's log then holds too."""
        try:
            outcome = await self._run()
        except BaseException as error:
            if isinstance(error, Exception) and not isinstance(error, BrokerError):
                await self._settler.broke(error)
            reason = error.message if isinstance(error, BrokerError) else type(error).__name__
            self._record("cancelled" if isinstance(error, asyncio.CancelledError) else "failed", reason)
            raise
        if isinstance(outcome, Deferred):
            outcome = attrs.evolve(outcome, for_all=self._report.limited_for_all)
            self._sink(SyncDeferred(**self._names, until=outcome.until, reason=outcome.reason))
            self._record("deferred", outcome.reason)
        else:
            self._tell_finished(outcome.report)
            self._record("done", "")
        return outcome

    @property
    def owner(self) -> str:
        """Whose connection is run."""
        return self._connection.owner

    def stop(self, *, go_on: bool = False) -> None:
        """Have the run end at the next page; what was read is kept. With `go_on` it is due again at once."""
        self._stopping, self._goes_on = True, go_on

    async def _run(self) -> Done | Deferred:
        store, now = self._shared.store, self._shared.clock.now()
        if (resting := rest(self._connection, now, self._shared.settings)) is not None:
            await self._note_overdue()
            return self.put_off(*resting)
        incident = (await store.broker_health(self._connection.provider, self._connection.environment)).open
        if incident is not None and now < incident.probe_at:
            await self._note_overdue()
            return self._kept_waiting(incident)
        async with held(self._shared, f"sync|{self._connection.connection_id}", self._connection.owner) as own:
            # looked up under the lease: a connection that ends later ends the lease with it
            present = await store.connection(self._connection.connection_id)
            if present is None:
                raise self._ended()
            if self._made_ahead:
                await store.move_connection(self._connection.connection_id, lambda known: _made_by(known, now))
            if own is None:
                return self.put_off(now + self._shared.settings.lease, "Another worker is syncing this connection.")
            if self._options.only_due and (since := self._synced_meanwhile(present)):
                return self.put_off(since, "Another worker has just synced this connection.")
            if incident is not None and (waiting := await self._take_probe()):
                return waiting
            self._sink(SyncStarted(**self._names, owner=self._connection.owner))
            return await self._settled(own)

    async def _settled(self, own: Held) -> Done | Deferred:
        try:
            async with (
                own.working(),
                noted_overdue(self._shared, self._connection, self._sink, own.lease, self._report),
            ):
                outcome = await self._read(own.lease)
                outcome = await withdrawn(self._shared, self._connection, own.lease, self._report, outcome)
        except (LeaseLostError, ClosedError) as lost:
            if isinstance(lost, LeaseLostError) and await self._has_ended():
                ended = self._ended()
                self._sink(SyncFailed(**self._names, error=type(ended).__name__, message=ended.message))
                raise ended from None
            return self.put_off(self._shared.clock.now() + _AFTER_A_TAKEOVER, lost.message)
        except BrokerError as raised:
            error = as_auth_error(raised) if isinstance(raised, BrokerTokenExpiredError) else raised
            later = await self._settler.raised(error)
            if later is not None:
                return later
            self._sink(SyncFailed(**self._names, error=type(error).__name__, message=error.message))
            raise error from (None if error is raised else raised)
        if self._stopping and isinstance(outcome, Deferred):
            return await self._settler.stopped(go_on=self._goes_on)
        return await self._settler.finished(outcome)

    async def _note_overdue(self) -> None:
        """What is past its deadline is lost, and told, though this run does not come to read."""
        await note_overdue(self._shared, self._connection, self._sink, report=self._report)

    async def _has_ended(self) -> bool:
        return await self._shared.store.connection(self._connection.connection_id) is None

    def _ended(self) -> BrokerConfigError:
        name = self._connection.connection_id
        return BrokerConfigError(f"The connection {name} has just ended.", remedy="Connect again to go on.")

    def _synced_meanwhile(self, present: Connection) -> datetime | None:
        """When it is due next, where that is not now: between being found due and being leased, others may have it."""
        if present.next_at == self._connection.next_at or present.next_at is None:
            return None
        return present.next_at if present.next_at > self._shared.clock.now() else None

    async def _take_probe(self) -> Deferred | None:
        """Become the one connection that asks a broker that is away; else wait with the others."""
        one, now, probes = self._connection, self._shared.clock.now(), self._shared.probes
        before, after = await self._shared.store.change_health(
            one.provider, one.environment, now, lambda known, *_: with_probe(known, now=now, probes=probes)
        )
        self._probes = after is not None
        return self._kept_waiting(before.open) if before.open is not None and after is None else None

    def _kept_waiting(self, incident: Incident) -> Deferred:
        spread = share(self._connection.connection_id)
        return self.put_off(incident.probe_at + spread, f"The broker {incident.what}: {incident.reason}")

    def put_off(self, until: datetime, reason: str) -> Deferred:
        """The answer of a run that has come no further than this."""
        return Deferred(until=until, reason=reason, report=self._report.build(self._shared.clock.now()))

    async def _read(self, lease: Lease) -> Done | Deferred:
        shared, connection = self._shared.sparing() if self._probes else self._shared, self._connection
        loaded = shared.registry.load(connection.provider)
        self._settler.manifest = loaded.manifest
        grant, fields = await shared.vault.load(connection)
        logins, told = partial(self._login, shared, loaded, fields), self._report.problem
        keeper = shared.keeper(connection, logins, events=self._sink, held=grant, told=told)
        async with open_provider(
            loaded,
            environment=connection.environment,
            settings=shared.settings,
            clock=shared.clock,
            limiter=shared.limiter,
            cache=StoreCache(shared.store, connection.provider, connection.environment),
            events=self._sink,
            tokens=keeper,
            sessions=shared.sessions,
            connection_id=connection.connection_id,
            fields=fields,
            held=grant.auth,
            pressing=not self._options.only_due,
        ) as provider:
            auth = await keeper.current(grant.auth)
            self._settler.readable = auth.sources
            listed = await self._look_for_accounts(provider, auth)
            engine = SyncEngine(
                connection=connection,
                manifest=loaded.manifest,
                read=lambda request: self._pages(provider, auth, request),
                store=shared.store,
                clock=shared.clock,
                events=self._sink,
                report=self._report,
                options=SyncOptions(
                    long_wait=shared.settings.long_wait,
                    sources=_narrowed(self._options.sources, auth.sources),
                    again_from=self._options.again_from,
                    readable=auth.sources,
                    probes=self._probes,
                    lease=lease,
                    listed=listed,
                    login_refused=lambda: (login := self._settler.login) is not None and login.turned_away,
                ),
            )
            return await engine.run()

    def _login(self, shared: Shared, loaded: LoadedProvider, fields: Mapping[str, str]) -> OpenLogin:
        one = self._connection
        name, side, asked = one.connection_id, one.environment, not self._options.only_due
        login = shared.login(
            loaded, side, owner=one.owner, events=self._sink, connection_id=name, fields=fields, pressing=asked
        )
        self._settler.login = login
        return login

    async def _pages(
        self, provider: ManagedProvider, auth: AuthResult, request: TradeRequest
    ) -> AsyncGenerator[TradePage, None]:
        """The broker's pages, until the run is stopped."""
        self._check_stop()
        async with aclosing(provider.get_trades(auth, request)) as pages:
            async for page in pages:
                await self._settler.answered()
                yield page
                self._check_stop()

    def _check_stop(self) -> None:
        if self._stopping:
            # the engine keeps what came before, asks for nothing else, and holds it against nobody
            raise BrokerNotReadyError("The sync was cancelled.")

    async def _look_for_accounts(self, provider: ManagedProvider, auth: AuthResult) -> Set[tuple[str, str]] | None:
        """Accounts may be opened, renamed or closed; sources per account have to know them, and files whose they are.

        `None` where none has to know, or no list was got: those that are known can be read all the same.
        """
        scopes = [source.scope for source in provider.manifest.sources if not source.files]
        if scopes and all(scope is SourceScope.LOGIN for scope in scopes):
            return None
        try:
            accounts = await provider.get_accounts(auth)
        except (BrokerRetryableError, BrokerAPIError, BrokerPluginError) as error:
            known = await self._shared.store.accounts(self._connection.connection_id)
            if not known and isinstance(error, BrokerRetryableError):
                raise  # there is nothing that could be read all the same
            self._report.problem(error)
            return None
        await self._shared.store.put_accounts(self._connection, accounts, self._shared.clock.now())
        await self._settler.answered()
        return {(account.environment, account.account_id) for account in accounts}

    def _tell_finished(self, report: SyncReport) -> None:
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

    def _record(self, outcome: str, reason: str) -> None:
        report = self._report.build(self._shared.clock.now())
        self._sink(SyncRecorded(**self._names, outcome=outcome, report=report, reason=reason))


def _narrowed(wanted: Sequence[str] | None, possible: tuple[str, ...] | None) -> tuple[str, ...] | None:
    return possible if wanted is None else tuple(name for name in wanted if possible is None or name in possible)
