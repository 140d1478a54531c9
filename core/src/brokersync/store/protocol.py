"""What core asks of a store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from brokersync.arguments import check_flag, check_moment, check_text
from brokersync.config import KeepSettings
from brokersync.dispositions import Folded
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
    KeptBooking,
    Lease,
    OpenRequest,
    PageCommit,
    PageOutcome,
    Pruned,
    Span,
)
from brokersync.store.coverage import Reopen
from brokersync.store.explaining import BookingSearch, StoredBooking
from brokersync.store.jobs import JobTable
from brokersync.store.known import Known
from brokersync.store.sealed import SealedGrant
from brokersync.types import BrokerAccount, BrokerTrade, TimeWindow

if TYPE_CHECKING:
    from brokersync.store.renormalising import KeptRow, QuarantinedRaw, Renewed, RenewedPage


@attrs.frozen(kw_only=True)
class PageRules:
    """The pure rules that a store applies inside a page's transaction."""

    fold: Callable[[Sequence[KeptBooking]], Folded]
    cover: Callable[[Sequence[Span], Span], tuple[Span, ...]]
    precedence: Callable[[str], int]
    reopen: Reopen


@attrs.frozen(kw_only=True)
class TradeFilter:
    """Which trades to read; an unset field does not narrow. `since` and `until` bound `executed_at`, half-open.

    Those that the broker has cancelled are left out unless `cancelled` asks for them.
    """

    provider: str | None = None
    account_id: str | None = None
    symbol: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    cancelled: bool = False

    def __attrs_post_init__(self) -> None:
        for name in ("provider", "account_id", "symbol"):
            if (text := getattr(self, name)) is not None:
                check_text(name, text, empty=True)
        for name in ("since", "until"):
            if (moment := getattr(self, name)) is not None:
                check_moment(name, moment)
        check_flag("cancelled", self.cancelled)


class Store(Protocol):
    """Every method is atomic and safe to repeat; owners never see each other's rows."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    @property
    def jobs(self) -> JobTable: ...

    async def layout(self) -> int:
        """The version of its tables."""

    async def data_key(self, owner: str, new: Callable[[], bytes]) -> bytes:
        """The owner's wrapped data key; `new` makes it on first use, and the first of two racing callers wins."""

    async def wrapped_key(self, owner: str) -> bytes | None: ...

    async def wrapped_keys(self, after: str = "", limit: int = 500) -> tuple[tuple[str, bytes], ...]:
        """The owners behind `after` in their order, each with the wrapped data key."""

    async def replace_key(self, owner: str, old: bytes, new: bytes) -> bool:
        """The same data key in another wrapping; `False` when `old` is not the present one."""

    async def reseal(self, owner: str, old: bytes, new: bytes, change: Callable[[SealedGrant], SealedGrant]) -> bool:
        """Another data key, with all grants of the owner changed to it; `False` when `old` is not the present one."""

    async def add_connection(
        self, connection: Connection, grant: SealedGrant, *, instead_of: str | None = None
    ) -> Connection:
        """Keep a connection and its grant; the same login again keeps the connection and replaces the grant.

        Label and start are those that are given now. No connection of the login needs its user any more, and one that
        is paused stays so.
        The grant of the identity `instead_of` goes in the same transaction: it was this one, under a made-up name.
        Raises `KeyReplacedError`.
        """

    async def join_connection(self, connection: Connection) -> Connection | None:
        """Keep a connection by the grant that its login has; the one that is there stays.

        `None` without a grant, or without the owner's key.
        """

    async def keep_grant(self, grant: SealedGrant) -> None:
        """Keep a grant that no connection has yet, unless there is one of that login. Raises `KeyReplacedError`."""

    async def drop_grant(self, grant: Grant | SealedGrant) -> bool:
        """Take back what `keep_grant` kept; `False` where it has gone, or was replaced by a newer generation."""

    async def connections(self, owner: str | None = None) -> tuple[Connection, ...]:
        """Oldest first."""

    async def connection(self, connection_id: str) -> Connection | None: ...

    async def change_connection(self, connection_id: str, **facts: Any) -> Connection | None:
        """Replace fields of a connection; `None` when there is none of this id."""

    async def move_connection(
        self, connection_id: str, rule: Callable[[Connection], Connection]
    ) -> tuple[Connection, Connection] | None:
        """The connection before and after a pure rule; `None` when there is none of this id."""

    async def move_login(self, of: Connection, rule: Callable[[Connection], Connection]) -> None:
        """Apply a pure rule to each connection that shares the grant of this one.

        Nothing is changed where there is no such connection, or its user has logged in again since it was read.
        """

    async def due_connections(
        self, owner: str | None, now: datetime, but_not: Sequence[tuple[str, str]] = ()
    ) -> tuple[Connection, ...]:
        """Those whose `next_at` has come, and active ones that have none, oldest first.

        `but_not` names environments of brokers, as (provider, environment), whose connections are left out.
        """

    async def overdue_connections(self, owner: str | None, now: datetime) -> tuple[Connection, ...]:
        """Those whose deadline has passed, whatever their state; the longest overdue first."""

    async def broker_healths(self) -> tuple[BrokerHealth, ...]:
        """Of each environment of a broker that has failed or been away."""

    async def broker_health(self, provider: str, environment: str) -> BrokerHealth: ...

    async def change_health(
        self,
        provider: str,
        environment: str,
        now: datetime,
        rule: Callable[[BrokerHealth, Standing], BrokerHealth | None],
    ) -> tuple[BrokerHealth, BrokerHealth | None]:
        """What is known of an environment before and after a pure rule.

        The rule is told how the connections to it stand; `None` changes nothing. Where an answer proves that logins
        were doubted in vain, those whose user was asked for it are due again.
        """

    async def incidents(self, limit: int = 100) -> tuple[Incident, ...]:
        """Newest first."""

    async def grant(self, owner: str, provider: str, environment: str, identity: str) -> SealedGrant | None: ...

    async def replace_grant(self, grant: SealedGrant) -> bool:
        """Replace the grant whose generation is one below; `False` when another process was first.

        Raises `KeyReplacedError`.
        """

    async def log_in_again(self, connection: Connection, grant: SealedGrant) -> tuple[Connection, ...] | None:
        """Replace the connection's grant, of whatever generation, by one that its user has just made.

        Answers with those connections of the login that needed the user and do so no more; with `None`, and without a
        change, when there is no such connection. Raises `KeyReplacedError`.
        """

    async def mark_renewing(self, grant: Grant, since: datetime | None, refused_since: datetime | None = None) -> bool:
        """Note, durably, a renewal of this generation and refusals in its doubt; `False` when that is replaced."""

    async def ending_grants(self, owner: str | None, after: datetime, before: datetime) -> tuple[SealedGrant, ...]:
        """The grants whose end lies between, soonest first; of an owner, or of all."""

    async def claim_upkeep(self, grant: SealedGrant, at: datetime) -> bool:
        """Note that the grant's end is looked after now; `False` when another worker has since it was read."""

    async def note_fixed_end(self, grant: SealedGrant, end: datetime) -> None:
        """Note that a renewal did not move this end, if it still is the grant's."""

    async def claim_warning(self, grant: Grant | SealedGrant, end: datetime) -> bool:
        """Note that the user is told of this end; `False` when that was done before."""

    async def take_lease(self, name: str, *, owner: str, holder: str, now: datetime, until: datetime) -> Lease:
        """The lease of that name: `holder`'s own when it was free, expired or held by it; else as another holds it."""

    async def extend_lease(self, lease: Lease, until: datetime) -> Lease | None:
        """The lease until a later time; `None` when another has taken it over."""

    async def release_lease(self, lease: Lease) -> None: ...

    async def leases_under(self, prefix: str, now: datetime) -> tuple[Lease, ...]:
        """Those of no owner that somebody holds then and whose names begin so, by name."""

    async def begin_in_era(self, owner: str, provider: str, mark: str, now: datetime, *, known: bool = False) -> Era:
        """The era that the owner's history at a broker is in, which `forget` ends, and `disconnect` that erases.

        `mark` must be new; it names the era where none has begun since. Of a `known` owner something is kept already:
        raises `ErasedError` where it is not.
        """

    async def disconnect(self, connection: Connection, *, erase: bool, at: datetime) -> Disconnected | None:
        """End a connection and all work on it; its accounts and trades stay. `None` when it has gone already.

        With `erase` those go that no other connection sees; each trade that goes is a change of the feed.
        """

    async def shares_grant(self, connection: Connection) -> bool:
        """Whether another connection of the owner uses the same login."""

    async def forget(self, owner: str) -> Forgotten:
        """Everything of an owner: the data key first, so that what is interrupted can be repeated but not read.

        Who connects the owner meanwhile is forgotten, too, or waits until the end.
        """

    async def export_page(
        self, owner: str, table: str, after: tuple[Any, ...] | None, limit: int = 500
    ) -> tuple[list[dict[str, Any]], tuple[Any, ...]]:
        """Some of the owner's rows of a table, as records, and the place to go on from."""

    async def prune(self, now: datetime, keep: KeepSettings) -> Pruned:
        """Delete what is older than it is to be kept, in short transactions."""

    async def put_accounts(self, connection: Connection, accounts: Sequence[BrokerAccount], at: datetime) -> None:
        """Keep what the broker said of its accounts at that moment; of each fact what was said last stands."""

    async def accounts(self, connection_id: str) -> tuple[BrokerAccount, ...]: ...

    async def spans(self, owner: str, provider: str, source: str) -> Mapping[tuple[str, str], tuple[Span, ...]]:
        """Coverage per (environment, account id)."""

    async def known(self, connection: Connection, source: str) -> Known:
        """`accounts`, `open_requests` and `spans`, asked for together."""

    async def open_requests(self, connection_id: str) -> tuple[OpenRequest, ...]: ...

    async def drop_request(self, connection_id: str, source: str, account: str, reopen: Reopen) -> None:
        """Give up a request that was begun; one that had rows without ids opens what was final of its window again."""

    async def finished(
        self,
        connection_id: str,
        since: datetime,
        each_since: datetime | None = None,
        again_from: datetime | None = None,
    ) -> Mapping[tuple[str, str], tuple[TimeWindow, ...]]:
        """The windows that ended in this round of syncing, per (source, request's account).

        A round in which no window has ended since `since` is over. Left out are those that ended before `each_since`,
        and with `again_from` those of a run that was not to read what is covered again from then on.
        """

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
        """Cut what the ledger says of the owner's accounts at a broker `to` a moment, where it ends `after` another.

        What it calls lost or never available is cut to the moment from which the source gives history, if that is
        known. The connection's round ends with it. Raises `LeaseLostError`.
        """

    async def end_round(self, connection_id: str, before: datetime | None = None) -> None:
        """The next sync begins a new round, in which everything that is due is read again.

        With `before` only a round in which no window has ended since then.
        """

    async def failing(self, connection_id: str, source: str) -> Mapping[str, tuple[FailedWindow, ...]]:
        """The windows that keep failing, in order, per request's account."""

    async def put_failing(
        self, connection_id: str, source: str, account: str, windows: Sequence[FailedWindow], *, lease: Lease | None
    ) -> None:
        """Replace the failing windows of one request. Raises `LeaseLostError`."""

    async def bookmark(self, connection_id: str, source: str, account: str) -> str | None: ...

    async def commit_page(self, page: PageCommit, rules: PageRules) -> PageOutcome:
        """Bookings, trades, changes, coverage and cursor of one page, in one transaction.

        Raises `LeaseLostError` and `ErasedError`.
        """

    def rehearsal(self, owner: str) -> AbstractAsyncContextManager[Store]:
        """A view on this store whose commits vanish when it ends; it is for one owner's accounts.

        Meanwhile other writers of these accounts wait, and all writers where the store is a file.
        """

    async def trades(
        self, owner: str, only: TradeFilter, *, after: tuple[str, str] | None = None, limit: int = 500
    ) -> tuple[tuple[BrokerTrade, ...], tuple[str, str] | None]:
        """Trades in the order of execution, and where to go on; `None` when these were the last."""

    async def named_trades(
        self, owner: str, only: TradeFilter, *, after: tuple[str, str] | None = None, limit: int = 500
    ) -> tuple[tuple[NamedTrade, ...], tuple[str, str] | None]:
        """As `trades`, each with all names of its set of bookings."""

    async def account_names(self, owner: str) -> Mapping[AccountKey, str | None]:
        """All accounts of an owner, and how the broker calls them where it has a name beside the id."""

    async def known_accounts(
        self, owner: str, provider: str, *, not_read_but_by: str | None = None
    ) -> tuple[BrokerAccount, ...]:
        """The owner's accounts at a broker, with what it said of them last, whichever connection or file told it.

        With `not_read_but_by`, a connection, none that another connection has.
        """

    async def trade(self, key: AccountKey, trade_id: str) -> BrokerTrade | None: ...

    async def changes(self, owner: str, since: int, limit: int = 500) -> tuple[Change, ...]:
        """The feed behind position `since`, in the order of commit.

        Nothing is ever committed behind a position that was read. Raises `FeedPositionError`.
        """

    async def feed_position(self) -> int:
        """The position of the newest change, of whatever owner."""

    async def log_sync(
        self,
        connection_id: str,
        report: Mapping[str, Any],
        at: datetime,
        *,
        synced: bool = True,
        era: Era | None = None,
    ) -> None:
        """Keep a report; with `synced` the connection was last synced `at` that moment. Raises `ErasedError`."""

    async def past_reports(
        self, names: Sequence[str], *, before: int | None = None, limit: int = 100
    ) -> tuple[tuple[int, str, Mapping[str, Any]], ...]:
        """Reports of these connections, newest first, each with its number and when it was written.

        A file's import is logged under `file|` and its broker's key, behind the owner's name.
        """

    async def kept_rows(self, key: AccountKey, source: str) -> tuple[tuple[KeptRow, ...], tuple[str, ...]]: ...

    async def has_booking(self, key: AccountKey, source: str, name: str) -> bool: ...

    async def quarantined_raw(self, owner: str, provider: str, source: str) -> tuple[QuarantinedRaw, ...]: ...

    async def renew(
        self, page: PageCommit, rules: PageRules, renewed: Sequence[Renewed], understood: Sequence[bytes]
    ) -> RenewedPage:
        """Renewed bookings in place of those that their raw rows gave before, in one transaction with the page.

        Raises `ErasedError`.
        """

    async def stored_bookings(self, search: BookingSearch) -> tuple[StoredBooking, ...]: ...

    async def last_report(self, connection_id: str) -> Mapping[str, Any] | None: ...

    async def counts(self, owner: str) -> Mapping[AccountKey, Mapping[str, int]]:
        """Per account: live and cancelled trades, waiting cancels, quarantined rows."""

    async def quarantined(self, owner: str) -> tuple[Mapping[str, Any], ...]: ...

    async def cache_get(self, provider: str, environment: str, keys: Sequence[str]) -> dict[str, Any]: ...

    async def cache_put(self, provider: str, environment: str, values: Mapping[str, Any]) -> None: ...
