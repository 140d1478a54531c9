"""What all parts of one `BrokerSync` share."""

from __future__ import annotations

import asyncio
import secrets
from collections import defaultdict
from collections.abc import Sequence

import attrs

from brokersync.config import Settings
from brokersync.errors import BrokerError
from brokersync.events import Event, EventSink
from brokersync.factory import open_provider
from brokersync.login import OpenLogin
from brokersync.provider import Clock
from brokersync.ratelimit import LocalLimiter
from brokersync.records import Connection
from brokersync.registry import LoadedProvider, ProviderRegistry
from brokersync.sealing import KeyProvider
from brokersync.store import Store, StoreCache
from brokersync.vault import GrantVault


@attrs.frozen(kw_only=True)
class Shared:
    """The store and everything that is made once over it; `worker` names this one among all on the store."""

    store: Store
    registry: ProviderRegistry
    settings: Settings
    clock: Clock
    limiter: LocalLimiter
    keys: KeyProvider
    vault: GrantVault
    events: EventSink
    worker: str = attrs.field(factory=lambda: secrets.token_hex(6))
    locks: defaultdict[str, asyncio.Lock] = attrs.field(factory=lambda: defaultdict(asyncio.Lock))

    async def readable(self, connection: Connection) -> Sequence[str] | None:
        """The sources that the connection's login may read; `None` where that is not known."""
        try:
            grant, _ = await self.vault.load(connection)
        except BrokerError:
            return None
        return grant.auth.sources

    def login(
        self, loaded: LoadedProvider, environment: str, *, events: EventSink | None = None, connection_id: str = ""
    ) -> OpenLogin:
        """A provider to log in with, outside of any keeper of tokens."""
        provider = open_provider(
            loaded,
            environment=environment,
            settings=self.settings,
            clock=self.clock,
            limiter=self.limiter,
            cache=StoreCache(self.store, loaded.manifest.key, environment),
            events=events or self.events,
            connection_id=connection_id,
        )
        return OpenLogin(loaded, provider, self.clock)


def all_of(*sinks: EventSink) -> EventSink:
    """A sink that passes each event on to all of these, in their order."""

    def send(event: Event) -> None:
        for sink in sinks:
            sink(event)

    return send
