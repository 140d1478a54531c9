"""`BrokerSync`: the one object a backend holds; it composes the rest and decides nothing itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from brokersync.clock import SystemClock
from brokersync.config import Settings, load_settings
from brokersync.converter import to_json
from brokersync.custody import Custody
from brokersync.errors import BrokerConfigError
from brokersync.events import EventSink, no_events
from brokersync.explaining import Explainer, Explanation, Question, file_log
from brokersync.masterkeys import KeyFile
from brokersync.provider import Clock
from brokersync.ratelimit import LocalLimiter
from brokersync.records import Deferred, Done, SyncReport
from brokersync.registry import ProviderRegistry
from brokersync.runner import Run, RunOptions
from brokersync.sealing import KeyProvider, Sealer
from brokersync.shared import Shared, all_of
from brokersync.store import Store
from brokersync.store.place import store_at
from brokersync.sync.statement import OnRow, import_statement
from brokersync.types import StatementHints
from brokersync.vault import GrantVault


class BrokerSync(Custody):
    """Everything of brokersync over one store. Use it as `async with BrokerSync.open(path) as bs`.

    `events` hears every event of every sync. What is not given is made: a store at `path`, the installed plugins, the
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
        clock = clock or SystemClock()
        super().__init__(
            Shared(
                store=store,
                registry=registry,
                settings=settings or Settings(),
                clock=clock,
                limiter=LocalLimiter(clock),
                keys=keys,
                vault=GrantVault(store, Sealer(keys)),
                events=events,
            )
        )

    @classmethod
    def open(
        cls,
        place: str | Path | Store,
        *,
        settings: Settings | None = None,
        registry: ProviderRegistry | None = None,
        keys: KeyProvider | None = None,
        clock: Clock | None = None,
        events: EventSink = no_events,
        on_key_made: Callable[[Path], None] = lambda _: None,
    ) -> Self:
        """A `BrokerSync` over the SQLite file at a path, which is made when it is missing, or over a Postgres.

        A Postgres is a `postgresql://` URL, or a `PostgresStore` over a pool of the backend's own. `on_key_made` is
        told the path of the key file when the first login makes it.
        """
        settings = settings or load_settings()
        store, key_file = store_at(place)
        return cls(
            store=store,
            registry=registry or ProviderRegistry.installed(settings, events),
            keys=keys or KeyFile(key_file, on_key_made),
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
        self._shared.vault.close()
        await self._store.close()

    @property
    def registry(self) -> ProviderRegistry:
        """The brokers that can be used."""
        return self._shared.registry

    @property
    def settings(self) -> Settings:
        """The configuration in force."""
        return self._shared.settings

    async def run(
        self,
        connection_id: str,
        *,
        owner: str | None = None,
        sources: Sequence[str] | None = None,
        again_from: datetime | None = None,
        events: EventSink = no_events,
    ) -> Done | Deferred:
        """Bring a connection's trades up to date, as far as it goes without a long wait.

        Repeating it is safe at any time; while another worker is at it, it is `Deferred`. With `owner` another owner's
        connection is as unknown as none. Raises `BrokerAuthError` when the user must log in again, which the connection
        then says too.
        """
        async with self._shared.locks[f"sync|{connection_id}"]:
            connection = await self.connection(connection_id, owner)
            options = RunOptions(sources=sources, again_from=again_from)
            return await Run(self._shared, connection, options, events)()

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
            report = await import_statement(
                file,
                owner=owner,
                manifest=loaded.manifest,
                reader=reader,
                hints=hints or StatementHints(),
                store=store,
                clock=self._shared.clock,
                events=all_of(events, no_events if dry_run else self._shared.events),
                on_row=on_row,
            )
            log = file_log(owner, provider)
            await store.log_sync(log, to_json(report), self._shared.clock.now(), synced=False)
            return report

        if not dry_run:
            return await into(self._store)
        async with self._store.rehearsal() as rehearsal:
            return await into(rehearsal)

    async def explain(
        self,
        owner: str,
        *,
        account: str,
        symbol: str | None = None,
        day: date | None = None,
        trade_id: str | None = None,
        provider: str | None = None,
        environment: str | None = None,
    ) -> Explanation:
        """Why a trade is there or missing: `trade_id`, or `symbol` on `day`, in the owner's `account`.

        `provider` and `environment` are needed where several accounts have that id or name. Raises `BrokerConfigError`
        for an account that the owner does not have.
        """
        question = Question(
            account=account, symbol=symbol, day=day, trade_id=trade_id, provider=provider, environment=environment
        )
        return await Explainer(self._shared, owner).explain(question)
