"""Writes down what a source has forgotten before it was read, and tells of it once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from brokersync.events import EventSink, HistoryLost
from brokersync.manifest import Manifest, Retention, SourceSpec
from brokersync.provider import Clock
from brokersync.records import Connection, LostSpan, OpenRequest, Span, SpanState
from brokersync.store import Known, Store
from brokersync.sync.commit import PageWriter
from brokersync.sync.deadline import last_safe_moment
from brokersync.sync.halving import is_denied
from brokersync.sync.ledger import subtract, union
from brokersync.sync.plan import may_give, reach, request_name
from brokersync.sync.report import ReportBuilder
from brokersync.sync.retention import given_by_none, gone, repair
from brokersync.types import BrokerAccount, TimeWindow


async def deadline_of(
    store: Store, connection: Connection, manifest: Manifest, *, now: datetime, readable: Sequence[str] | None
) -> datetime | None:
    """Until when a connection must be read so that nothing is lost; `None` where nothing perishes."""
    limited = [source.name for source in manifest.sources if source.retention is Retention.LIMITED]
    known = {name: await store.known(connection, name) for name in limited}
    accounts = [one.accounts for one in known.values()] or [await store.accounts(connection.connection_id)]
    return last_safe_moment(
        manifest,
        accounts[-1],
        {name: one.spans for name, one in known.items()},
        now=now,
        since=connection.since,
        readable=readable,
    )


class LossWriter:
    """Writes down what of a source can not be had any more; `readable` are the sources of the login.

    That is a statement about the source. Its user is told of what no other source of the connection has given or will
    give, by the last one that loses it.
    """

    def __init__(
        self,
        *,
        connection: Connection,
        manifest: Manifest,
        store: Store,
        clock: Clock,
        writer: PageWriter,
        events: EventSink,
        report: ReportBuilder,
        readable: Sequence[str] | None,
    ) -> None:
        self._connection, self._manifest = connection, manifest
        self._store, self._clock, self._writer = store, clock, writer
        self._events, self._report, self._readable = events, report, readable
        self._denied_now: set[tuple[str, str]] = set()
        self.left: list[SourceSpec] = []

    async def note(self, source: SourceSpec, known: Known, *, before_reading: bool = False) -> None:
        """Write the spans of the source that are gone by now; what is lost for good is told.

        `before_reading` what a source that was denied would give is `left` until that was asked again, since it may be
        granted by now.
        """
        gone = found = self._gone(source, known.accounts, known.spans, known.requests)
        if before_reading:
            found = [one for one in gone if not await self._is_hoped_for(source, *one)]
        if len(found) < len(gone):
            self.left.append(source)
        await self._write(source, found)

    async def note_what_was_left(self) -> None:
        """Write what sources were to give that are denied still; of those that are put off the next run will know."""
        left, self.left = self.left, []
        for source in left:
            await self.note(source, await self._store.known(self._connection, source.name), before_reading=True)

    async def _write(self, source: SourceSpec, found: Sequence[tuple[BrokerAccount, Span]]) -> None:
        if not found:
            return
        for account, span in await self._writer.write_down(source, found):
            if span.state is SpanState.LOST:
                # what a source that is denied was to give was told when others lost it
                told = await self._hoped_for(source, account) if await self._is_denied(source, account) else []
                for part in subtract([span.window], told):
                    await self._tell(source, account, part)

    async def refused(self, source: SourceSpec, closed: Sequence[tuple[BrokerAccount, Span]]) -> None:
        """The broker will not give these spans of the source.

        Lost for good is what others have lost to it, and what it has had since it was connected and has no longer.
        Beyond that nobody is told: where a broker's history begins is no loss.
        """
        for account, span in closed:
            hoped_for = [part for one in await self._hoped_for(source, account) if (part := one.overlap(span.window))]
            for part in union([*self._had(source, span), *hoped_for]):
                await self._tell(source, account, part)

    async def denied(self, source: SourceSpec, accounts: Iterable[BrokerAccount], *, again: bool) -> None:
        """The user has no right to the source, which was to give what others have lost: so that is lost for good.

        Should the right be granted, it is read all the same. Where it is denied `again`, that was told before.
        """
        for account in accounts:
            self._denied_now.add((source.name, request_name(source, (account,))))
            for part in () if again else union(await self._hoped_for(source, account)):
                await self._tell(source, account, part)

    def _had(self, source: SourceSpec, span: Span) -> list[TimeWindow]:
        """What of a span that is lost could be read when the connection was made, or has happened since."""
        connected_at = self._connection.created_at
        start = max(reach(source, connected_at) or connected_at, span.window.start)
        return [TimeWindow(start, span.window.end)] if span.state is SpanState.LOST and start < span.window.end else []

    async def _is_hoped_for(self, source: SourceSpec, account: BrokerAccount, span: Span) -> bool:
        """Whether a source that was denied, and not asked again yet, may give some of what this one has lost."""
        one, now = self._connection, self._clock.now()
        for other, spans in await self._others(source, account) if span.state is SpanState.LOST else ():
            asked = (other.name, request_name(other, (account,))) in self._denied_now
            if asked or not self._is_read(other) or not await self._is_denied(other, account):
                continue
            if may_give(other, account, spans, span.window, now=now, since=one.since, connected_at=one.created_at):
                return True
        return False

    async def _hoped_for(self, source: SourceSpec, account: BrokerAccount) -> list[TimeWindow]:
        """What others have lost, of which nobody was told because this source might give it."""
        return [
            span.window
            for _, spans in await self._others(source, account)
            for span in spans
            if span.state is SpanState.LOST
        ]

    def _gone(
        self,
        source: SourceSpec,
        accounts: Iterable[BrokerAccount],
        spans: Mapping[tuple[str, str], Sequence[Span]],
        requests: Sequence[OpenRequest] = (),
    ) -> list[tuple[BrokerAccount, Span]]:
        one = self._connection
        found: list[tuple[BrokerAccount, Span]] = []
        for account in accounts:
            name = request_name(source, (account,))
            lost = gone(
                source,
                account,
                spans.get((account.environment, account.account_id), ()),
                now=self._clock.now(),
                connected_at=one.created_at,
                since=one.since,
                begun=[each.window for each in requests if (each.source, each.account) == (source.name, name)],
            )
            found += ((account, span) for span in lost)
        return found

    async def _tell(self, source: SourceSpec, account: BrokerAccount, window: TimeWindow) -> None:
        now, others = self._clock.now(), await self._others(source, account)
        one = self._connection
        denied = [other for other, _ in others if await self._is_denied(other, account)]
        lost = given_by_none(
            window,
            account,
            others,
            lambda other: self._is_read(other) and other not in denied,
            now=now,
            since=one.since,
            connected_at=one.created_at,
        )
        for part in subtract(lost, await self._still_to_be_lost(account, [other for other, _ in others])):
            facts = LostSpan(
                source=source.name,
                environment=account.environment,
                account_id=account.account_id,
                window=part,
                repair=repair(self._manifest, source, part, now, readable=()),
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

    async def _others(self, source: SourceSpec, account: BrokerAccount) -> list[tuple[SourceSpec, Sequence[Span]]]:
        """The broker's other sources, and what each says of the account."""
        one, key = self._connection, (account.environment, account.account_id)
        return [
            (other, (await self._store.spans(one.owner, one.provider, other.name)).get(key, ()))
            for other in self._manifest.sources
            if other.name != source.name
        ]

    async def _still_to_be_lost(self, account: BrokerAccount, others: Iterable[SourceSpec]) -> list[TimeWindow]:
        """What others have forgotten, too, and will tell of when they write that down or what they have begun fails."""
        one = self._connection
        return [
            span.window
            for other in others
            if self._is_read(other)
            for _, span in self._gone(other, [account], await self._store.spans(one.owner, one.provider, other.name))
            if span.state is SpanState.LOST
        ]

    async def _is_denied(self, source: SourceSpec, account: BrokerAccount) -> bool:
        """Whether the user has no right to the source, or had none when it was last asked for this account."""
        failing = await self._store.failing(self._connection.connection_id, source.name)
        return any(map(is_denied, failing.get(request_name(source, (account,)), ())))

    def _is_read(self, source: SourceSpec) -> bool:
        return not source.files and (self._readable is None or source.name in self._readable)
