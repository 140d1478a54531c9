"""Taking back what a provisional source told and no better one has confirmed."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import timedelta
from typing import Any

import attrs

from brokersync.manifest import Manifest
from brokersync.misread import holds, of_account
from brokersync.records import (
    AccountKey,
    ChangeCause,
    Connection,
    Deferred,
    Done,
    Era,
    Lease,
    PageCommit,
    SyncReport,
)
from brokersync.shared import Shared
from brokersync.store import BookingSearch, Store
from brokersync.sync.commit import page_rules
from brokersync.sync.report import ReportBuilder
from brokersync.sync.withdrawals import withdrawal_of
from brokersync.types import BrokerTrade, TimeWindow
from brokersync.unconfirmed import last_days, unconfirmed

# a long weekend and the days behind it
_BOOKED_WITHIN = timedelta(days=7)


async def withdrawn(
    shared: Shared, connection: Connection, lease: Lease, report: ReportBuilder, outcome: Done | Deferred
) -> Done | Deferred:
    """The outcome of a sync, after what is not confirmed by it was taken back.

    The last days are looked through at the sync's end, and what was read of the days before them at once.
    """
    manifest, name = shared.registry.manifest(connection.provider), connection.connection_id
    windows = _older(shared, report.build(shared.clock.now()))
    if isinstance(outcome, Done):
        windows = (*windows, last_days(shared))
    if not windows:
        return outcome
    gone = await _withdraw_unconfirmed(
        shared, shared.store, connection.owner, manifest, windows, connection_id=name, lease=lease
    )
    report.withdrew(gone)
    return attrs.evolve(outcome, report=report.build(shared.clock.now()))


async def withdrawn_by_file(
    shared: Shared, store: Store, manifest: Manifest, report: SyncReport, era: Era | None
) -> SyncReport:
    """The report of an import, after what is not confirmed by it was taken back. Raises `ErasedError`."""
    windows = (*_older(shared, report), last_days(shared))
    gone = await _withdraw_unconfirmed(shared, store, report.owner, manifest, windows, era=era)
    return attrs.evolve(report, modified=report.modified + gone)


async def _withdraw_unconfirmed(
    shared: Shared,
    store: Store,
    owner: str,
    manifest: Manifest,
    windows: Iterable[TimeWindow],
    *,
    connection_id: str | None = None,
    lease: Lease | None = None,
    era: Era | None = None,
) -> int:
    """Take back the owner's trades in these windows that are told by none but sources which the manifest lets be so.

    Nothing is deleted: what is confirmed later is a trade again. Answers with how many trades are cancelled by it.
    Raises `LeaseLostError` and `ErasedError`.
    """
    willing = {source.name for source in manifest.sources if source.withdraws}
    # most owners have none of these, and need not be looked through
    if not [name for name in sorted(willing) if await store.spans(owner, manifest.key, name)]:
        return 0
    told = [one for window in windows for one in await unconfirmed(shared, store, owner, manifest.key, window)]
    found = await _not_misread(store, owner, [one for one in told if willing.issuperset(one.sources)], willing)
    modified = 0
    for source, trades in itertools.groupby(sorted(found, key=_source), key=_source):
        page = PageCommit(
            owner=owner,
            provider=manifest.key,
            source=source,
            at=shared.clock.now(),
            cause=ChangeCause.CORRECTION,
            origin={"connection": connection_id} if connection_id else {},
            connection_id=connection_id,
            lease=lease,
            era=era,
            bookings=tuple(map(withdrawal_of, trades)),
        )
        modified += (await store.commit_page(page, page_rules(manifest))).modified
    return modified


def _older(shared: Shared, report: SyncReport) -> tuple[TimeWindow, ...]:
    """When what was read may have been executed, without the days that are looked through each time."""
    edge = last_days(shared).start
    read = [part for span in report.spans for part in span.covered if part.start < edge]
    if not read:
        return ()
    first = min(part.start for part in read) - _BOOKED_WITHIN
    return (TimeWindow(first, min(edge, max(part.end for part in read))),)


async def _not_misread(
    store: Store, owner: str, trades: Sequence[BrokerTrade], willing: Set[str]
) -> Sequence[BrokerTrade]:
    """Those of which no better source has a row in quarantine: such a trade was told, and is not understood yet."""
    rows = [row for row in await store.quarantined(owner) if row["source"] not in willing] if trades else []
    return [one for one in trades if not await _is_misread(store, owner, one, rows)] if rows else trades


async def _is_misread(store: Store, owner: str, trade: BrokerTrade, rows: Sequence[Mapping[str, Any]]) -> bool:
    key = AccountKey(owner=owner, provider=trade.provider, environment=trade.environment, account_id=trade.account_id)
    near = [row for row in rows if of_account(row, key)]
    if not near:
        return False
    kept = await store.stored_bookings(BookingSearch(key=key, names=(trade.trade_id,)))
    names = {trade.trade_id, *(name for one in kept for name in (*one.booking.names, *one.booking.loose_refs))}
    return any(holds(row, name) for row in near for name in names)


def _source(trade: BrokerTrade) -> str:
    return trade.sources[-1]
