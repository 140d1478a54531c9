"""`BrokerSync`: the one object a backend holds; it composes the rest and decides nothing itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Self

from brokersync.arguments import checked
from brokersync.clock import SystemClock
from brokersync.config import Settings, load_settings
from brokersync.consents import Consents
from brokersync.converter import to_json
from brokersync.custody import Custody
from brokersync.errors import BrokerConfigError
from brokersync.events import EventSink, no_events
from brokersync.explaining import Explainer, Explanation, Outlook, Question, file_log, outlook
from brokersync.following import Following
from brokersync.holding import begin_in_era
from brokersync.http_sessions import Sessions
from brokersync.listening import all_of, harmless
from brokersync.masterkeys import KeyFile
from brokersync.overruling import check_brokers
from brokersync.provider import Clock
from brokersync.queue.working import Working
from brokersync.ratelimit import open_limiter
from brokersync.records import Era, SyncReport
from brokersync.registry import ProviderRegistry
from brokersync.renewal import STORING_TAKES_AT_MOST, store_what_is_held
from brokersync.renormalising import OnDifference, Renormaliser, RenormaliseReport, chosen_accounts
from brokersync.sealing import KeyProvider, Sealer
from brokersync.shared import News, Shared
from brokersync.store import Store
from brokersync.store.place import is_shared, notices_file, store_at
from brokersync.sync.statement import OnRow, import_statement
from brokersync.types import BrokerTrade, StatementHints
from brokersync.unconfirmed import unconfirmed
from brokersync.underway import until_closed
from brokersync.vault import GrantVault
from brokersync.watching import Watch
from brokersync.withdrawing import withdrawn_by_file

if TYPE_CHECKING:
    import logging

    import aiohttp
    import loguru


class BrokerSync(Working, Following, Custody, Consents):
    """Everything of brokersync over one store. Use it as `async with BrokerSync.open(path) as bs`.

    `events` hears every event of every sync, and `logger`, of loguru or of the standard library, gets a record of each.
    A `session` that is given is used for all brokers and stays open; `brokersync.http.open_session` makes one that may
    be used. What is not given is made: a store at `place`, the installed plugins, the settings from
    `BROKERSYNC_CONFIG`, a key from `BROKERSYNC_KEY` or a key file beside the store.
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
        session: aiohttp.ClientSession | None = None,
        logger: logging.Logger | loguru.Logger | None = None,
    ) -> None:
        clock, news = clock or SystemClock(), News()
        settings, events = settings or Settings(), all_of(news, harmless(events), _log_of(logger))
        self._watch = Watch(registry, settings, clock, events, notices_file(store))
        events = all_of(events, self._watch)
        super().__init__(
            Shared(
                store=store,
                registry=registry,
                settings=settings,
                clock=clock,
                limiter=open_limiter(settings.fleet, clock, events),
                keys=keys,
                vault=GrantVault(store, Sealer(keys)),
                events=events,
                sessions=Sessions(session),
                news=news,
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
        session: aiohttp.ClientSession | None = None,
        logger: logging.Logger | loguru.Logger | None = None,
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
            registry=registry or ProviderRegistry.installed(settings, harmless(events)),
            keys=keys or KeyFile(key_file, on_key_made, shared=is_shared(key_file)),
            settings=settings,
            clock=clock,
            events=events,
            session=session,
            logger=logger,
        )

    async def __aenter__(self) -> Self:
        # brokers of this process may be registered until now
        check_brokers(self._shared.settings, self._shared.registry)
        self._watch.check()
        await self._shared.underway.open()
        await self._store.open()
        try:
            await self._watch.look()
        except BaseException:
            await self._store.close()
            raise
        self._shared.news.begin()
        self._watch.begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # a coroutine that is thrown away with its loop can await nothing any more
        if kind is not GeneratorExit:
            await self.close()

    async def close(self) -> None:
        """End what runs here and close the store; nothing of this is left: no task, thread, connection or session.

        A sync that is ended has kept all it committed, and its caller is told that it is `Deferred`; who waits for
        anything else that takes long gets `ClosedError`. A renewal of a
        login that was sent is waited for, as long as `grants.longest_renewal` and a moment to store its answer. Closing
        itself goes on when its caller is cancelled. Raises `StoreError` when all is closed and the store has not
        taken what a renewal brought.
        """
        await self._shared.underway.close(self._close)

    async def _close(self) -> None:
        # first, so that who waits for one that is ended begins nothing more
        await self._shared.news.end()
        await self._shared.underway.end(self.settings.grants.longest_renewal + STORING_TAKES_AT_MOST)
        # the last comes first, and the rest is closed whatever it raises
        async with AsyncExitStack() as all_of_it:
            all_of_it.push_async_callback(self._store.close)
            all_of_it.push_async_callback(self._shared.sessions.aclose)
            all_of_it.callback(self._shared.vault.close)
            all_of_it.push_async_callback(self._shared.limiter.aclose)
            all_of_it.push_async_callback(self._watch.aclose)
            all_of_it.push_async_callback(self._engine.aclose)
            await store_what_is_held(self._shared.vault, self._shared.clock)

    @property
    def registry(self) -> ProviderRegistry:
        """The brokers that can be used."""
        return self._shared.registry

    @property
    def settings(self) -> Settings:
        """The configuration in force."""
        return self._shared.settings

    @until_closed
    @checked
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

        With `dry_run` nothing is kept. `on_row` is told what became, or would become, of each row. Raises `ErasedError`
        where the owner is forgotten meanwhile, or a connection to the broker ends with `erase`, of whichever account.
        """
        loaded = self.registry.load(provider)
        provider = loaded.manifest.key
        if loaded.spec.statements is None:
            raise BrokerConfigError(
                f"The plugin for {loaded.manifest.display_name} reads no files.",
                remedy="Connect the broker instead.",
                provider=provider,
            )
        reader = loaded.spec.statements(provider)

        async def into(store: Store, era: Era | None) -> SyncReport:
            report = await import_statement(
                file,
                owner=owner,
                manifest=loaded.manifest,
                reader=reader,
                hints=hints or StatementHints(),
                store=store,
                clock=self._shared.clock,
                events=all_of(harmless(events), no_events if dry_run else self._shared.events),
                on_row=on_row,
                era=era,
            )
            report = await withdrawn_by_file(self._shared, store, loaded.manifest, report, era)
            log = file_log(owner, provider)
            await store.log_sync(log, to_json(report), self._shared.clock.now(), synced=False, era=era)
            return report

        if not dry_run:
            era = await begin_in_era(self._shared, owner, provider)
            return await into(self._store, era)
        async with self._store.rehearsal(owner) as rehearsal:
            return await into(rehearsal, None)

    @until_closed
    @checked
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

    @checked
    async def outlook(self, owner: str) -> tuple[Outlook, ...]:
        """Of each of the owner's connections: how far it is read, what comes next, and what stands in the way."""
        return tuple([await outlook(self._shared, one) for one in await self._store.connections(owner)])

    @checked
    async def unconfirmed(self, owner: str) -> tuple[BrokerTrade, ...]:
        """The owner's trades of the last sixty days that a provisional source alone tells of, and that one which counts
        more should have told by now: the broker may have taken them back without a word."""
        return await unconfirmed(self._shared, self._store, owner)

    @until_closed
    @checked
    async def renormalise(
        self,
        owner: str,
        *,
        connections: Sequence[str] | None = None,
        account: str | None = None,
        dry_run: bool = False,
        on_difference: OnDifference = lambda _: None,
    ) -> RenormaliseReport:
        """Read the kept raw rows again with the plugins that are installed now, without asking a broker.

        All accounts of the owner, or those of `connections`, or `account`. With `dry_run` nothing is kept.
        `on_difference` is told each trade that changed. Repeating it is safe; the feed names the plugin as the cause.
        """
        accounts = await chosen_accounts(self._store, owner, connections, account)

        async def into(store: Store) -> RenormaliseReport:
            return await Renormaliser(self._shared, store, owner, on_difference).run(accounts, dry_run=dry_run)

        if not dry_run:
            return await into(self._store)
        async with self._store.rehearsal(owner) as rehearsal:
            return await into(rehearsal)


def _log_of(logger: logging.Logger | loguru.Logger | None) -> EventSink:
    if logger is None:
        return no_events
    from brokersync.logs import log_events  # loguru costs 30 ms that only those pay who want it

    return log_events(logger, enable=True)
