"""What a check plays on: the plugin, its sandbox behind a fault server, and a clock that nobody waits for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import aiohttp
import attrs

from brokersync.concealing import secrets_in, secrets_of
from brokersync.config import BrokerSettings, HttpSettings, RetrySettings, Settings
from brokersync.errors import BrokerError, BrokerNotReadyError
from brokersync.events import Event, RequestSent
from brokersync.factory import make_credentials, open_provider
from brokersync.managed import ManagedProvider
from brokersync.manifest import Manifest
from brokersync.provider import BrokerProvider, Cache, ProviderContext
from brokersync.records import Connection, ConnectionState, Done, SyncReport
from brokersync.registry import LoadedProvider, ProviderRegistry
from brokersync.sandboxes import CONTROL_PATH, SandboxLogin
from brokersync.secret import Secret
from brokersync.service import BrokerSync
from brokersync.store import TradeFilter
from brokersync.testing.contract.consenting import consented, consented_connection
from brokersync.testing.contract.expecting import BrokenContract, told
from brokersync.testing.contract.reading import Reading, read, requests
from brokersync.testing.contract.watching import Watched, watching
from brokersync.testing.fault_server import FaultServer
from brokersync.testing.recording.replay import ReplayedBroker
from brokersync.testing.sandbox_server import RunningSandbox
from brokersync.types import AuthResult, BrokerAccount, BrokerTrade, TradeRequest

NOW: Final = datetime(2026, 3, 4, 15, 0, tzinfo=UTC)  # a Wednesday, in the middle of every exchange's session
ROOMY: Final = HttpSettings(total=timedelta(seconds=60), max_spooled_bytes=32 * 1024 * 1024)
HASTY: Final = attrs.evolve(ROOMY, read=timedelta(seconds=0.3), total=timedelta(seconds=0.6))
ONCE: Final = RetrySettings(attempts=1)
_OWNER = "somebody"
_LONGEST_SYNC = 200


class VirtualClock:
    """Sleeping moves the time on and takes none."""

    def __init__(self, now: datetime = NOW) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._now.timestamp()

    async def sleep(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)
        await asyncio.sleep(0)

    def begin(self, moment: datetime) -> None:
        """Another moment, before anything has happened."""
        self._now = moment

    def set(self, moment: datetime) -> None:
        """Later only; an earlier moment changes nothing."""
        self._now = max(self._now, moment)

    def advance(self, by: timedelta) -> None:
        self._now += by


class MemoryCache:
    """Reference data as a store keeps it, without a store."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}

    async def get_many(self, keys: Sequence[str]) -> dict[str, Any]:
        return {key: self._values[key] for key in keys if key in self._values}

    async def put_many(self, values: Mapping[str, Any]) -> None:
        self._values.update(values)


@attrs.define
class Stage:
    """One plugin over one sandbox. `provider` is the plugin's own, without core's border around it."""

    key: str
    loaded: LoadedProvider
    registry: ProviderRegistry
    sandbox: RunningSandbox
    server: FaultServer
    clock: VirtualClock
    folder: Path
    settings: Settings
    events: list[Event] = attrs.field(factory=list)
    secrets: list[str] = attrs.field(factory=list, repr=False)
    _opened: list[ManagedProvider] = attrs.field(factory=list)

    @property
    def manifest(self) -> Manifest:
        return self.loaded.manifest

    @property
    def login(self) -> SandboxLogin:
        """The first login that works."""
        return self.sandbox.logins[0]

    @property
    def provider(self) -> BrokerProvider[Any]:
        """The plugin's provider for the first login."""
        if not self._opened:
            self.open()
        return self._opened[0]._provider  # noqa: SLF001  what the plugin raises and gives is to be seen as it is

    @property
    def context(self) -> ProviderContext:
        """What the plugin's provider was given."""
        return (self._opened or [self._managed()])[0].context

    def open(
        self, *, http: HttpSettings = ROOMY, retry: RetrySettings | None = None, cache: Cache | None = None
    ) -> BrokerProvider[Any]:
        """Another provider of the plugin's, which knows nothing yet, takes the place of the one before."""
        return self._managed(http=http, retry=retry, cache=cache)._provider  # noqa: SLF001  see `provider`

    def _managed(
        self, *, http: HttpSettings = ROOMY, retry: RetrySettings | None = None, cache: Cache | None = None
    ) -> ManagedProvider:
        settings = attrs.evolve(self.settings, http=http, retry=retry or self.settings.retry)
        managed = open_provider(
            self.loaded,
            environment=self.login.environment,
            settings=settings,
            cache=cache or MemoryCache(),
            clock=self.clock,
            events=self.events.append,
        )
        self._opened.insert(0, managed)
        return managed

    def fields(
        self, login: SandboxLogin | None = None, changed: Mapping[str, str] = MappingProxyType({})
    ) -> dict[str, str]:
        """What the user of a login gives, with some of it changed."""
        fields = {**(login or self.login).fields, **changed}
        self.learn(secrets_in(self.manifest.user_fields, fields))
        return fields

    def learn(self, secrets: Sequence[Secret | str | None]) -> None:
        """These must not be shown anywhere."""
        for one in secrets:
            value = one.reveal() if isinstance(one, Secret) else one
            if value and len(value) >= 6 and value not in self.secrets:
                self.secrets.append(value)

    async def log_in(
        self, login: SandboxLogin | None = None, changed: Mapping[str, str] = MappingProxyType({})
    ) -> AuthResult:
        """A login that `authenticate` gives, or the user's consent where that is the only way in."""
        if self.only_by_consent:
            auth = await consented(self, login or self.login)
        else:
            auth = await self.provider.authenticate(make_credentials(self.loaded, self.fields(login, changed)))
        self.learn(secrets_of(auth))
        return auth

    @property
    def only_by_consent(self) -> bool:
        """Whether users log in at the broker's own page, and nowhere else; in a recording, whether they did."""
        broker = self.sandbox.broker
        recorded = isinstance(broker, ReplayedBroker) and broker.recording.consent
        return recorded or self.manifest.only_consents

    async def accounts(self, auth: AuthResult) -> tuple[BrokerAccount, ...]:
        """The accounts of a login, waited for as long as the broker needs."""
        for _ in range(_LONGEST_SYNC):
            try:
                return tuple(await self.provider.get_accounts(auth))
            except BrokerNotReadyError as error:
                self.clock.advance(error.retry_after or timedelta(seconds=5))
        raise BrokenContract("get_accounts is never ready")

    async def read(self, auth: AuthResult, request: TradeRequest, **more: Any) -> Reading:
        """One request, read to its end."""
        return await read(lambda asked: self.provider.get_trades(auth, asked), request, wait=self.clock.set, **more)

    def requests(self, accounts: tuple[BrokerAccount, ...], **more: Any) -> list[TradeRequest]:
        """What is asked of each source of each account; of a recording what was asked of it."""
        broker = self.sandbox.broker
        if isinstance(broker, ReplayedBroker):
            return broker.requests(accounts)
        return list(requests(self.manifest.sources, accounts, self.clock.now(), **more))

    async def readings(self, auth: AuthResult, **more: Any) -> list[Reading]:
        """A span of each source of each account; raises when one can not be read, or when there is no row at all."""
        found = [await self.read(auth, request) for request in self.requests(await self.accounts(auth), **more)]
        for reading in found:
            if reading.error is not None:
                raise BrokenContract(f"{reading} failed with {told(reading.error)}") from reading.error
        if not any(reading.disposed for reading in found):
            raise BrokenContract("no source of the sandbox gives any row, so nothing can be tried")
        return found

    def sent_since(self, number: int) -> list[RequestSent]:
        """What core has sent after so many events."""
        return [event for event in self.events[number:] if isinstance(event, RequestSent)]

    @asynccontextmanager
    async def service(self, name: str = "store") -> AsyncGenerator[Service, None]:
        """A backend over a store of its own."""
        place = self.folder / f"{name}.db"
        async with BrokerSync.open(
            place, settings=self.settings, registry=self.registry, clock=self.clock, events=self.events.append
        ) as bs:
            yield Service(self, bs)

    async def books(self) -> dict[str, list[dict[str, Any]]]:
        """What the sandbox's own books say of the accounts of the first login."""
        async with aiohttp.ClientSession() as session:
            answer = await session.get(f"{self.sandbox.base_url}{CONTROL_PATH}/ledger")
            told: dict[str, list[dict[str, Any]]] = (await answer.json())["accounts"]
        return {account: told.get(account, []) for account in self.login.trades}

    @contextmanager
    def watched(self) -> Iterator[Watched]:
        """Sees whether the plugin sleeps, and whom anybody talks to beside this machine."""
        with watching(self.package, self.clock) as seen:
            yield seen

    @property
    def package(self) -> str:
        """The plugin's own package, by where its provider is made."""
        return (self.loaded.spec.create or type(self)).__module__.partition(".")[0]

    async def aclose(self) -> None:
        for managed in self._opened:
            await managed.aclose()


@attrs.frozen
class Service:
    """`BrokerSync` over the stage's sandbox."""

    stage: Stage
    bs: BrokerSync
    owner: str = _OWNER

    async def connect(self) -> Connection:
        """The first login."""
        login = self.stage.login
        if self.stage.only_by_consent:
            return await consented_connection(self, login)
        return await self.bs.connect(
            self.stage.key, owner=self.owner, fields=self.stage.fields(), environment=login.environment
        )

    async def sync(self, connection: Connection) -> SyncReport:
        """A sync that ends; where it is put off, the clock goes on until it may."""
        said = ""
        for _ in range(_LONGEST_SYNC):
            try:
                outcome = await self.bs.run(connection.connection_id)
            except BrokerError as error:
                raise BrokenContract(f"a sync ends with {told(error)}") from error
            if isinstance(outcome, Done):
                return outcome.report
            said = outcome.reason
            self.stage.clock.set(outcome.until)
        raise BrokenContract(f"a sync is put off again and again: {said}")

    async def trades(self, *, cancelled: bool = False) -> list[BrokerTrade]:
        """All that is stored."""
        return [trade async for trade in self.bs.trades(self.owner, TradeFilter(cancelled=cancelled))]

    async def kept(self, connection: Connection) -> AuthResult:
        """What the store has of its login."""
        grant, _ = await self.bs._shared.vault.load(connection)  # noqa: SLF001  no backend is shown tokens
        return grant.auth

    async def state(self, connection: Connection) -> ConnectionState:
        return (await self.bs.connection(connection.connection_id)).state


def sandbox_settings(running: RunningSandbox, server: FaultServer, *, metered: bool) -> Settings:
    """Settings that send this broker's requests through the fault server, and keep its limits where it is metered."""
    hosts = running.broker.hosts(server.base_url)
    mine = BrokerSettings(hosts=hosts, limits=None if metered else (), settings=running.operator_fields)
    return Settings(brokers={running.key: mine})
