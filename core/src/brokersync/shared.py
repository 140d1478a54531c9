"""What all parts of one `BrokerSync` share."""

from __future__ import annotations

import asyncio
import secrets
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from types import MappingProxyType
from typing import Any, Protocol

import attrs

from brokersync.auth import Login, TokenKeeper
from brokersync.config import Settings
from brokersync.errors import BrokerError
from brokersync.events import Event, EventSink, PageCommitted
from brokersync.factory import open_provider
from brokersync.http_sessions import Sessions
from brokersync.incidents import Probes
from brokersync.login import OpenLogin
from brokersync.login_sessions import LoginSessions
from brokersync.manifest import Manifest
from brokersync.provider import Clock
from brokersync.ratelimit import Limiter
from brokersync.records import Connection, Grant
from brokersync.registry import LoadedProvider, ProviderRegistry
from brokersync.sealing import KeyProvider
from brokersync.store import Store, StoreCache
from brokersync.sync.deadline import next_probe
from brokersync.underway import Underway
from brokersync.vault import GrantVault

_NO_FIELDS: Mapping[str, str] = MappingProxyType({})


class News:
    """Wakes those who follow the feed when this process has committed a change; also an `EventSink`."""

    def __init__(self) -> None:
        self.over = False
        self._next = asyncio.Event()
        self._listening: set[asyncio.Future[None]] = set()

    def __call__(self, event: Event) -> None:
        if isinstance(event, PageCommitted) and (event.added or event.modified or event.removed):
            self._ring()

    def next(self) -> asyncio.Event:
        """Set by what comes after this call, so that nothing between a look at the store and a wait is missed."""
        return self._next

    async def wait(self, event: asyncio.Event, at_most: Coroutine[Any, Any, None]) -> None:
        """Until the event or the end of `at_most`, whichever comes first."""
        waits = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(at_most)]
        over = asyncio.get_running_loop().create_future()
        self._listening.add(over)
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
            self._listening.discard(over)
            over.set_result(None)

    def begin(self) -> None:
        """There may be news, again."""
        self.over = False

    async def end(self) -> None:
        """No more news: whoever waits goes on, and nobody is left waiting when this returns."""
        self.over = True
        self._ring()
        await asyncio.gather(*self._listening)

    def _ring(self) -> None:
        self._next.set()
        self._next = asyncio.Event()


class Stoppable(Protocol):
    """A run that can be asked to end."""

    @property
    def owner(self) -> str: ...

    def stop(self, *, go_on: bool = False) -> None: ...


@attrs.frozen(kw_only=True)
class Shared:
    """The store and everything that is made once over it; `worker` names this one among all on the store.

    `runs` are the syncs under way here, by connection, and `underway` all that closing ends or waits for.
    """

    store: Store
    registry: ProviderRegistry
    settings: Settings
    clock: Clock
    limiter: Limiter
    keys: KeyProvider
    vault: GrantVault
    events: EventSink
    sessions: Sessions = attrs.field(factory=Sessions)
    runs: dict[str, Stoppable] = attrs.field(factory=dict)
    underway: Underway = attrs.field(factory=Underway)
    news: News = attrs.field(factory=lambda: News())
    worker: str = attrs.field(factory=lambda: secrets.token_hex(6))
    locks: defaultdict[str, asyncio.Lock] = attrs.field(factory=lambda: defaultdict(asyncio.Lock))

    async def readable(self, connection: Connection) -> Sequence[str] | None:
        """The sources that the connection's login may read; `None` where that is not known."""
        try:
            grant, _ = await self.vault.load(connection)
        except BrokerError:
            return None
        return grant.auth.sources

    def login_probe_at(self, connection: Connection) -> datetime:
        """When to try the login of a connection again whose user is asked for it from now on."""
        return next_probe(now=self.clock.now(), deadline=connection.deadline, margin=self.settings.perishable_margin)

    def sparing(self) -> Shared:
        """For a run that only asks whether the broker is back: each request is tried once."""
        once = attrs.evolve(self.settings.retry, attempts=1)
        return attrs.evolve(self, settings=attrs.evolve(self.settings, retry=once))

    @property
    def probes(self) -> Probes:
        """How a broker that is away is probed."""
        return Probes(self.settings.first_probe, self.settings.longest_probe)

    def login(
        self,
        loaded: LoadedProvider,
        environment: str,
        *,
        owner: str,
        events: EventSink | None = None,
        connection_id: str = "",
        fields: Mapping[str, str] = _NO_FIELDS,
        pressing: bool = True,
    ) -> OpenLogin:
        """A provider to log in with, outside of any keeper of tokens; see `open_provider`."""
        provider = open_provider(
            loaded,
            environment=environment,
            settings=self.settings,
            clock=self.clock,
            limiter=self.limiter,
            cache=StoreCache(self.store, loaded.manifest.key, environment),
            events=events or self.events,
            sessions=self.sessions,
            connection_id=connection_id,
            fields=fields,
            pressing=pressing,
        )
        return OpenLogin(loaded, provider, self.clock, self.sessions_of(loaded.manifest, owner))

    def keeper(
        self,
        connection: Connection,
        logins: Callable[[], AbstractAsyncContextManager[Login]],
        *,
        events: EventSink | None = None,
        logs_in: bool = True,
        counts: bool = True,
        held: Grant | None = None,
        told: Callable[[BrokerError], None] | None = None,
    ) -> TokenKeeper:
        """What keeps the connection's login current, and renews it once for all who use that grant here.

        `held` is the grant where it has just been read, and `told` hears of errors that end nothing. One that `counts`
        keeps the places that the broker has for the sessions of its login.
        """
        manifest = self.registry.manifest(connection.provider)
        return TokenKeeper(
            connection=connection,
            vault=self.vault,
            logins=logins,
            clock=self.clock,
            events=events or self.events,
            underway=self.underway,
            settings=self.settings,
            worker=self.worker,
            renew_before=manifest.renew_before,
            sessions=self.sessions_of(manifest, connection.owner) if counts and manifest.sessions is not None else None,
            logs_in=logs_in,
            held=held,
            told=told,
        )

    def sessions_of(self, manifest: Manifest, owner: str) -> LoginSessions:
        """The places that the broker has for an owner's login, and for all others of it."""
        return LoginSessions(manifest, self.store, self.clock, owner)
