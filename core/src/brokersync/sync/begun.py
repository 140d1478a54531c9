"""Requests that an earlier sync has begun, and which of them lead on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from brokersync.manifest import Retention, SourceScope, SourceSpec
from brokersync.provider import Clock
from brokersync.records import Connection, OpenRequest
from brokersync.store import Known, Store
from brokersync.sync.failures import FailureBook
from brokersync.sync.ledger import reopen
from brokersync.sync.plan import Ask, request_name
from brokersync.sync.retention import lost_its_front
from brokersync.types import BrokerAccount

# a ticket that led nowhere for so long never will
_TICKET_LASTS = timedelta(days=1)
_STUCK_SYNCS = 10


class BegunRequests:
    """Finds the requests to go on with, and drops those that lead nowhere, so that they are planned anew."""

    def __init__(self, *, connection: Connection, store: Store, clock: Clock, failures: FailureBook) -> None:
        self._connection, self._store, self._clock, self._failures = connection, store, clock, failures

    async def of(self, source: SourceSpec, known: Known) -> tuple[list[tuple[Ask, OpenRequest | None]], Known]:
        """The requests of a source that lead on, with what they ask for; and what is known without the others."""
        found: list[tuple[Ask, OpenRequest | None]] = []
        dropped = False
        for request in known.requests:
            if request.source != source.name or (ask := _continued(request, source, known.accounts)) is None:
                continue
            now = self._clock.now()
            if _leads_on(source, request, now):
                found.append((ask, request))
                continue
            dropped = True
            await self._store.drop_request(request.connection_id, request.source, request.account, reopen)
            if _never_ready(request, now):
                await self._failures.never_ready(ask)
            elif _has_moved(source, request, now):
                await self._failures.not_read_in_time(ask)
        return found, await self._store.known(self._connection, source.name) if dropped else known


def _leads_on(source: SourceSpec, opened: OpenRequest, now: datetime) -> bool:
    if _has_moved(source, opened, now):
        return False
    return opened.cursor is not None and opened.attempts < _STUCK_SYNCS and not _never_ready(opened, now)


def _has_moved(source: SourceSpec, opened: OpenRequest, now: datetime) -> bool:
    """Whether its place may lead past rows, or into the list of the next session; a report on order has none yet."""
    on_order = source.retention is not Retention.SESSION and not opened.gave_rows
    return not on_order and lost_its_front(source, opened.window, opened.begun_at or opened.window.start, now)


def _never_ready(opened: OpenRequest, now: datetime) -> bool:
    return bool(opened.resume_at and opened.begun_at and opened.begun_at < now - _TICKET_LASTS)


def _continued(request: OpenRequest, source: SourceSpec, accounts: Sequence[BrokerAccount]) -> Ask | None:
    if source.scope is SourceScope.LOGIN:
        return Ask(source=source, accounts=tuple(accounts), window=request.window)
    mine = tuple(one for one in accounts if request_name(source, (one,)) == request.account)
    return Ask(source=source, accounts=mine, window=request.window) if mine else None
