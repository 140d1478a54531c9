"""All that a store can do, once for every SQL database; a driver runs the scripts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, TypeVar

from brokersync.config import KeepSettings
from brokersync.errors import StoreError
from brokersync.incidents import BrokerHealth, Incident, Standing
from brokersync.matching import NamedTrade
from brokersync.records import (
    AccountKey,
    Change,
    Connection,
    Disconnected,
    Era,
    FailedWindow,
    Forgotten,
    Grant,
    Lease,
    OpenRequest,
    PageCommit,
    PageOutcome,
    Pruned,
    Span,
)
from brokersync.store import accounts as account_scripts
from brokersync.store import (
    connections,
    eras,
    erasing,
    explaining,
    exporting,
    failing,
    feed,
    grants,
    health,
    keys,
    leases,
    migrations,
    progress,
    pruning,
    reading,
    renormalising,
)
from brokersync.store.coverage import Reopen, drop_request
from brokersync.store.explaining import BookingSearch, StoredBooking
from brokersync.store.jobs import JobTable, SqlJobs
from brokersync.store.known import Known, known
from brokersync.store.page import commit_page
from brokersync.store.protocol import PageRules, Store, TradeFilter
from brokersync.store.quarantine import quarantined
from brokersync.store.renormalising import KeptRow, QuarantinedRaw, Renewed, RenewedPage
from brokersync.store.sealed import SealedGrant
from brokersync.store.sql import Script
from brokersync.types import BrokerAccount, BrokerTrade, TimeWindow

R = TypeVar("R")

_PRUNED_AT_ONCE = 1000


def no_store(where: str) -> StoreError:
    """What a place is that holds no store and is not to get one, since its name may be mistyped."""
    return StoreError(
        f"There is no store {where}.",
        remedy="Name another with --store or BROKERSYNC_STORE. `brokersync connect BROKER`, `brokersync import` and "
        "`brokersync migrate` make one.",
    )


class SqlStore(ABC):
    """A `Store` over scripts; what is left to a driver is to open, to close, and to run one."""

    @abstractmethod
    async def open(self) -> None: ...

    @abstractmethod
    async def close(self) -> None: ...

    @abstractmethod
    def rehearsal(self, owner: str) -> AbstractAsyncContextManager[Store]: ...

    @abstractmethod
    async def _read(self, script: Callable[[], Script[R]]) -> R:
        """Run a script that changes nothing."""

    @abstractmethod
    async def _write(self, script: Callable[[], Script[R]]) -> R:
        """Run a script as one transaction; from its start again where the database asks for that."""

    @property
    def jobs(self) -> JobTable:
        return SqlJobs(self._read, self._write)

    async def layout(self) -> int:
        return await self._read(migrations.layout)

    @abstractmethod
    async def _scrub(self) -> tuple[str, ...]:
        """Leave no byte of what was deleted; where some may remain, in sentences."""

    async def data_key(self, owner: str, new: Callable[[], bytes]) -> bytes:
        return await self._write(lambda: keys.data_key(owner, new))

    async def wrapped_key(self, owner: str) -> bytes | None:
        return await self._read(lambda: keys.wrapped_key(owner))

    async def wrapped_keys(self, after: str = "", limit: int = 500) -> tuple[tuple[str, bytes], ...]:
        return await self._read(lambda: keys.wrapped_keys(after, limit))

    async def replace_key(self, owner: str, old: bytes, new: bytes) -> bool:
        return await self._write(lambda: keys.replace_key(owner, old, new))

    async def reseal(self, owner: str, old: bytes, new: bytes, change: Callable[[SealedGrant], SealedGrant]) -> bool:
        return await self._write(lambda: keys.reseal(owner, old, new, change))

    async def add_connection(
        self, connection: Connection, grant: SealedGrant, *, instead_of: str | None = None
    ) -> Connection:
        return await self._write(lambda: connections.add_connection(connection, grant, instead_of))

    async def join_connection(self, connection: Connection) -> Connection | None:
        return await self._write(lambda: connections.join_connection(connection))

    async def keep_grant(self, grant: SealedGrant) -> None:
        await self._write(lambda: grants.keep_grant(grant))

    async def drop_grant(self, grant: Grant | SealedGrant) -> bool:
        return await self._write(lambda: grants.drop_grant(grant))

    async def connections(self, owner: str | None = None) -> tuple[Connection, ...]:
        return await self._read(lambda: connections.connections(owner))

    async def connection(self, connection_id: str) -> Connection | None:
        return await self._read(lambda: connections.connection(connection_id))

    async def change_connection(self, connection_id: str, **facts: Any) -> Connection | None:
        return await self._write(lambda: connections.change_connection(connection_id, facts))

    async def move_connection(
        self, connection_id: str, rule: Callable[[Connection], Connection]
    ) -> tuple[Connection, Connection] | None:
        return await self._write(lambda: connections.move_connection(connection_id, rule))

    async def move_login(self, of: Connection, rule: Callable[[Connection], Connection]) -> None:
        await self._write(lambda: connections.move_login(of, rule))

    async def due_connections(
        self, owner: str | None, now: datetime, but_not: Sequence[tuple[str, str]] = ()
    ) -> tuple[Connection, ...]:
        return await self._read(lambda: connections.due_connections(owner, now, but_not))

    async def overdue_connections(self, owner: str | None, now: datetime) -> tuple[Connection, ...]:
        return await self._read(lambda: connections.overdue_connections(owner, now))

    async def broker_healths(self) -> tuple[BrokerHealth, ...]:
        return await self._read(health.broker_healths)

    async def broker_health(self, provider: str, environment: str) -> BrokerHealth:
        return await self._read(lambda: health.broker_health(provider, environment))

    async def change_health(
        self,
        provider: str,
        environment: str,
        now: datetime,
        rule: Callable[[BrokerHealth, Standing], BrokerHealth | None],
    ) -> tuple[BrokerHealth, BrokerHealth | None]:
        return await self._write(lambda: health.change_health(provider, environment, now, rule))

    async def incidents(self, limit: int = 100) -> tuple[Incident, ...]:
        return await self._read(lambda: health.incidents(limit))

    async def grant(self, owner: str, provider: str, environment: str, identity: str) -> SealedGrant | None:
        return await self._read(lambda: grants.grant(owner, provider, environment, identity))

    async def replace_grant(self, grant: SealedGrant) -> bool:
        return await self._write(lambda: grants.replace_grant(grant))

    async def log_in_again(self, connection: Connection, grant: SealedGrant) -> tuple[Connection, ...] | None:
        return await self._write(lambda: connections.log_in_again(connection, grant))

    async def mark_renewing(self, grant: Grant, since: datetime | None, refused_since: datetime | None = None) -> bool:
        return await self._write(lambda: grants.mark_renewing(grant, since, refused_since))

    async def ending_grants(self, owner: str | None, after: datetime, before: datetime) -> tuple[SealedGrant, ...]:
        return await self._read(lambda: grants.ending_grants(owner, after, before))

    async def claim_upkeep(self, grant: SealedGrant, at: datetime) -> bool:
        return await self._write(lambda: grants.claim_upkeep(grant, at))

    async def note_fixed_end(self, grant: SealedGrant, end: datetime) -> None:
        await self._write(lambda: grants.note_fixed_end(grant, end))

    async def claim_warning(self, grant: Grant | SealedGrant, end: datetime) -> bool:
        return await self._write(lambda: grants.claim_warning(grant, end))

    async def take_lease(self, name: str, *, owner: str, holder: str, now: datetime, until: datetime) -> Lease:
        return await self._write(lambda: leases.take_lease(name, owner, holder, now, until))

    async def extend_lease(self, lease: Lease, until: datetime) -> Lease | None:
        return await self._write(lambda: leases.extend_lease(lease, until))

    async def release_lease(self, lease: Lease) -> None:
        await self._write(lambda: leases.release_lease(lease))

    async def leases_under(self, prefix: str, now: datetime) -> tuple[Lease, ...]:
        return await self._read(lambda: leases.leases_under(prefix, now))

    async def begin_in_era(self, owner: str, provider: str, mark: str, now: datetime, *, known: bool = False) -> Era:
        return await self._write(lambda: eras.begin_in_era(owner, provider, mark, now, known=known))

    async def disconnect(self, connection: Connection, *, erase: bool, at: datetime) -> Disconnected | None:
        return await self._write(lambda: erasing.disconnect(connection, erase=erase, at=at))

    async def shares_grant(self, connection: Connection) -> bool:
        return await self._read(lambda: erasing.shares_grant(connection))

    async def forget(self, owner: str) -> Forgotten:
        logins = await self._write(lambda: erasing.shut_out(owner))
        everything = await self._write(lambda: erasing.erase(owner))
        rows = {table: gone + logins.get(table, 0) for table, gone in everything.items()}
        return Forgotten(rows=rows, remains=await self._scrub())

    async def export_page(
        self, owner: str, table: str, after: tuple[Any, ...] | None, limit: int = 500
    ) -> tuple[list[dict[str, Any]], tuple[Any, ...]]:
        return await self._read(lambda: exporting.export_page(owner, table, after, limit))

    async def prune(self, now: datetime, keep: KeepSettings) -> Pruned:
        raw = await self._prune(pruning.prune_raw, now - keep.raw)
        logs = await self._prune(pruning.prune_log, now - keep.logs)
        changes = await self._prune(pruning.prune_feed, now - keep.feed)
        await self._write(lambda: pruning.prune_rest(now))
        return Pruned(raw=raw, logs=logs, feed=changes)

    async def _prune(self, prune: pruning.Prune, before: datetime) -> int:
        total = 0
        while gone := await self._write(lambda: prune(before, _PRUNED_AT_ONCE)):
            total += gone
        return total

    async def put_accounts(self, connection: Connection, accounts: Sequence[BrokerAccount], at: datetime) -> None:
        await self._write(
            lambda: account_scripts.put_accounts(
                connection.owner, connection.provider, connection.connection_id, accounts, at
            )
        )

    async def accounts(self, connection_id: str) -> tuple[BrokerAccount, ...]:
        return await self._read(lambda: account_scripts.accounts(connection_id))

    async def spans(self, owner: str, provider: str, source: str) -> Mapping[tuple[str, str], tuple[Span, ...]]:
        return await self._read(lambda: progress.spans(owner, provider, source))

    async def known(self, connection: Connection, source: str) -> Known:
        return await self._read(lambda: known(connection, source))

    async def open_requests(self, connection_id: str) -> tuple[OpenRequest, ...]:
        return await self._read(lambda: progress.open_requests(connection_id))

    async def drop_request(self, connection_id: str, source: str, account: str, reopen: Reopen) -> None:
        await self._write(lambda: drop_request(connection_id, source, account, reopen))

    async def finished(
        self,
        connection_id: str,
        since: datetime,
        each_since: datetime | None = None,
        again_from: datetime | None = None,
    ) -> Mapping[tuple[str, str], tuple[TimeWindow, ...]]:
        return await self._read(lambda: progress.finished(connection_id, since, each_since, again_from))

    async def take_back(
        self,
        connection: Connection,
        source: str,
        *,
        after: datetime,
        to: datetime,
        gives_from: datetime | None,
        lease: Lease | None,
    ) -> None:
        facts: dict[str, Any] = {"after": after, "to": to, "gives_from": gives_from, "lease": lease}
        await self._write(lambda: progress.take_back(connection, source, **facts))

    async def end_round(self, connection_id: str, before: datetime | None = None) -> None:
        await self._write(lambda: progress.end_round(connection_id, before))

    async def failing(self, connection_id: str, source: str) -> Mapping[str, tuple[FailedWindow, ...]]:
        return await self._read(lambda: failing.failing(connection_id, source))

    async def put_failing(
        self, connection_id: str, source: str, account: str, windows: Sequence[FailedWindow], *, lease: Lease | None
    ) -> None:
        await self._write(lambda: failing.put_failing(connection_id, source, account, windows, lease))

    async def bookmark(self, connection_id: str, source: str, account: str) -> str | None:
        return await self._read(lambda: progress.bookmark(connection_id, source, account))

    async def commit_page(self, page: PageCommit, rules: PageRules) -> PageOutcome:
        return await self._write(lambda: commit_page(page, rules))

    async def trades(
        self, owner: str, only: TradeFilter, *, after: tuple[str, str] | None = None, limit: int = 500
    ) -> tuple[tuple[BrokerTrade, ...], tuple[str, str] | None]:
        return await self._read(lambda: reading.trades(owner, only, after, limit))

    async def named_trades(
        self, owner: str, only: TradeFilter, *, after: tuple[str, str] | None = None, limit: int = 500
    ) -> tuple[tuple[NamedTrade, ...], tuple[str, str] | None]:
        return await self._read(lambda: reading.named_trades(owner, only, after, limit))

    async def account_names(self, owner: str) -> Mapping[AccountKey, str | None]:
        return await self._read(lambda: account_scripts.account_names(owner))

    async def known_accounts(
        self, owner: str, provider: str, *, not_read_but_by: str | None = None
    ) -> tuple[BrokerAccount, ...]:
        return await self._read(lambda: account_scripts.known_accounts(owner, provider, not_read_but_by))

    async def trade(self, key: AccountKey, trade_id: str) -> BrokerTrade | None:
        return await self._read(lambda: reading.trade(key, trade_id))

    async def changes(self, owner: str, since: int, limit: int = 500) -> tuple[Change, ...]:
        return await self._read(lambda: feed.changes(owner, since, limit))

    async def feed_position(self) -> int:
        return await self._read(feed.feed_position)

    async def log_sync(
        self,
        connection_id: str,
        report: Mapping[str, Any],
        at: datetime,
        *,
        synced: bool = True,
        era: Era | None = None,
    ) -> None:
        await self._write(lambda: reading.log_sync(connection_id, report, at, synced=synced, era=era))

    async def past_reports(
        self, names: Sequence[str], *, before: int | None = None, limit: int = 100
    ) -> tuple[tuple[int, str, Mapping[str, Any]], ...]:
        return await self._read(lambda: explaining.past_reports(names, before, limit))

    async def kept_rows(self, key: AccountKey, source: str) -> tuple[tuple[KeptRow, ...], tuple[str, ...]]:
        return await self._read(lambda: renormalising.kept_rows(key, source))

    async def has_booking(self, key: AccountKey, source: str, name: str) -> bool:
        return await self._read(lambda: renormalising.has_booking(key, source, name))

    async def quarantined_raw(self, owner: str, provider: str, source: str) -> tuple[QuarantinedRaw, ...]:
        return await self._read(lambda: renormalising.quarantined_raw(owner, provider, source))

    async def renew(
        self, page: PageCommit, rules: PageRules, renewed: Sequence[Renewed], understood: Sequence[bytes]
    ) -> RenewedPage:
        return await self._write(lambda: renormalising.renew(page, rules, renewed, understood))

    async def stored_bookings(self, search: BookingSearch) -> tuple[StoredBooking, ...]:
        return await self._read(lambda: explaining.stored_bookings(search))

    async def last_report(self, connection_id: str) -> Mapping[str, Any] | None:
        return await self._read(lambda: reading.last_report(connection_id))

    async def counts(self, owner: str) -> Mapping[AccountKey, Mapping[str, int]]:
        return await self._read(lambda: reading.counts(owner))

    async def quarantined(self, owner: str) -> tuple[Mapping[str, Any], ...]:
        return await self._read(lambda: quarantined(owner))

    async def cache_get(self, provider: str, environment: str, keys: Sequence[str]) -> dict[str, Any]:
        return await self._read(lambda: reading.cache_get(provider, environment, keys))

    async def cache_put(self, provider: str, environment: str, values: Mapping[str, Any]) -> None:
        await self._write(lambda: reading.cache_put(provider, environment, values))
