"""Writes down what a source has forgotten before it was read, and tells of it once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from brokersync.events import EventSink, HistoryLost
from brokersync.manifest import Manifest, Retention, SourceSpec
from brokersync.records import AccountKey, Connection, LostSpan, Span, SpanState
from brokersync.store import Store
from brokersync.sync.commit import PageWriter
from brokersync.sync.deadline import last_safe_moment
from brokersync.sync.plan import request_name
from brokersync.sync.report import ReportBuilder
from brokersync.sync.retention import gone, repair
from brokersync.types import TimeWindow


async def deadline_of(
    store: Store, connection: Connection, manifest: Manifest, *, now: datetime, readable: Sequence[str] | None
) -> datetime | None:
    """Until when a connection must be read so that nothing is lost; `None` where nothing perishes."""
    limited = [source.name for source in manifest.sources if source.retention is Retention.LIMITED]
    return last_safe_moment(
        manifest,
        await store.accounts(connection.connection_id),
        {name: await store.spans(connection.owner, connection.provider, name) for name in limited},
        now=now,
        since=connection.since,
        readable=readable,
    )


class LossWriter:
    """Notes at the start of a source what of it can not be had any more; `readable` are the sources of the login."""

    def __init__(
        self,
        *,
        connection: Connection,
        manifest: Manifest,
        store: Store,
        writer: PageWriter,
        events: EventSink,
        report: ReportBuilder,
        readable: Sequence[str] | None,
    ) -> None:
        self._connection, self._manifest, self._store = connection, manifest, store
        self._writer, self._events, self._report, self._readable = writer, events, report, readable

    async def note(self, source: SourceSpec, now: datetime) -> None:
        """Write the spans that are gone by now; each new one that is lost gives an event and a line of the report."""
        found = await self._gone(source, now)
        if not found:
            return
        await self._writer.write_down(source, found)
        for key, span in found:
            if span.state is SpanState.LOST:
                self._tell(source, key, span.window, now)

    async def _gone(self, source: SourceSpec, now: datetime) -> list[tuple[AccountKey, Span]]:
        one = self._connection
        spans = await self._store.spans(one.owner, one.provider, source.name)
        requests = await self._store.open_requests(one.connection_id)
        found: list[tuple[AccountKey, Span]] = []
        for account in await self._store.accounts(one.connection_id):
            name = request_name(source, (account,))
            lost = gone(
                source,
                account,
                spans.get((account.environment, account.account_id), ()),
                now=now,
                connected_at=one.created_at,
                since=one.since,
                begun=[each.window for each in requests if (each.source, each.account) == (source.name, name)],
            )
            key = AccountKey(
                owner=one.owner,
                provider=one.provider,
                environment=account.environment,
                account_id=account.account_id,
            )
            found += ((key, span) for span in lost)
        return found

    def _tell(self, source: SourceSpec, key: AccountKey, window: TimeWindow, now: datetime) -> None:
        facts = LostSpan(
            source=source.name,
            environment=key.environment,
            account_id=key.account_id,
            window=window,
            repair=repair(self._manifest, source, window, now, self._readable),
        )
        self._report.lost(facts)
        self._events(
            HistoryLost(
                provider=self._connection.provider,
                connection_id=self._connection.connection_id,
                source=facts.source,
                environment=facts.environment,
                account_id=facts.account_id,
                window=facts.window,
                repair=facts.repair,
            )
        )
