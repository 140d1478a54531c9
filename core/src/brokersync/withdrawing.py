"""Taking back what a provisional source told and no better one has confirmed."""

from __future__ import annotations

import itertools

import attrs

from brokersync.manifest import Manifest
from brokersync.records import ChangeCause, Connection, Deferred, Done, Era, Lease, PageCommit, SyncReport
from brokersync.shared import Shared
from brokersync.store import Store
from brokersync.sync.commit import page_rules
from brokersync.sync.report import ReportBuilder
from brokersync.sync.withdrawals import withdrawal_of
from brokersync.types import BrokerTrade
from brokersync.unconfirmed import unconfirmed


async def withdrawn(
    shared: Shared, connection: Connection, lease: Lease, report: ReportBuilder, outcome: Done | Deferred
) -> Done | Deferred:
    """The outcome of a sync, after what is not confirmed by it was taken back, if it came to its end."""
    if isinstance(outcome, Deferred):
        return outcome
    manifest, name = shared.registry.manifest(connection.provider), connection.connection_id
    gone = await _withdraw_unconfirmed(
        shared, shared.store, connection.owner, manifest, connection_id=name, lease=lease
    )
    report.withdrew(gone)
    return attrs.evolve(outcome, report=report.build(shared.clock.now()))


async def withdrawn_by_file(
    shared: Shared, store: Store, manifest: Manifest, report: SyncReport, era: Era | None
) -> SyncReport:
    """The report of an import, after what is not confirmed by it was taken back. Raises `ErasedError`."""
    gone = await _withdraw_unconfirmed(shared, store, report.owner, manifest, era=era)
    return attrs.evolve(report, modified=report.modified + gone)


async def _withdraw_unconfirmed(
    shared: Shared,
    store: Store,
    owner: str,
    manifest: Manifest,
    *,
    connection_id: str | None = None,
    lease: Lease | None = None,
    era: Era | None = None,
) -> int:
    """Take back the owner's trades of this broker that are told by none but sources which the manifest lets be so.

    Nothing is deleted: what is confirmed later is a trade again. Answers with how many trades are cancelled by it.
    Raises `LeaseLostError` and `ErasedError`.
    """
    willing = {source.name for source in manifest.sources if source.withdraws}
    # most owners have none of these, and need not be looked through
    if not [name for name in sorted(willing) if await store.spans(owner, manifest.key, name)]:
        return 0
    found = [one for one in await unconfirmed(shared, store, owner, manifest.key) if willing.issuperset(one.sources)]
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


def _source(trade: BrokerTrade) -> str:
    return trade.sources[-1]
