"""A page on its way from a provider into the store."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs

from brokersync.converter import instant_text
from brokersync.errors import BrokerDataUnavailableError, DataUnavailableReason
from brokersync.events import EventSink, PageCommitted
from brokersync.manifest import Manifest, SourceSpec
from brokersync.provider import Clock
from brokersync.records import (
    AccountKey,
    ChangeCause,
    Era,
    Lease,
    OpenRequest,
    PageCommit,
    PageOutcome,
    Span,
    SpanState,
)
from brokersync.store import PageRules, Store
from brokersync.sync.ages import Ages
from brokersync.sync.doubts import is_to_come, named_alike, not_made_yet, rows_missing
from brokersync.sync.fold import fold
from brokersync.sync.ledger import cover, give_up, reopen, subtract
from brokersync.sync.occurrences import Occurrences
from brokersync.sync.plan import Ask
from brokersync.sync.proof import Proof
from brokersync.sync.report import ReportBuilder
from brokersync.sync.telling import Telling
from brokersync.types import BrokerAccount, CoveredSpan, TradePage

# a broker that has nothing for days this old will not have it later either
_SETTLED = timedelta(days=10)


def page_rules(manifest: Manifest) -> PageRules:
    """The rules by which a store folds and covers this broker's pages."""
    ranks = {source.name: source.precedence for source in manifest.sources}
    return PageRules(fold=fold, cover=cover, reopen=reopen, precedence=lambda source: ranks.get(source, 0))


@attrs.frozen(kw_only=True)
class Target:
    """For whom pages are committed: an owner's broker, through a connection or from a file."""

    owner: str
    provider: str
    connection_id: str | None = None
    lease: Lease | None = None
    era: Era | None = None
    file: str = ""


class PageWriter:
    """Commits the pages of one reading after another, and counts them."""

    def __init__(
        self,
        *,
        target: Target,
        manifest: Manifest,
        store: Store,
        clock: Clock,
        events: EventSink,
        report: ReportBuilder,
        again_from: datetime | None = None,
    ) -> None:
        self._target, self._manifest, self._store, self._clock = target, manifest, store, clock
        self._again_from = again_from
        self._events, self._report, self._rules = events, report, page_rules(manifest)
        self._start(None, None, None)

    def begin(self, ask: Ask, opened: OpenRequest | None = None) -> None:
        """The pages that follow answer `ask`, from its start or from where `opened` was left."""
        self._start(ask, ask.source, opened)

    def begin_file(self, source: SourceSpec) -> None:
        """The pages that follow are a file's; all that they cover counts."""
        self._start(None, source, None)

    def _start(self, ask: Ask | None, source: SourceSpec | None, opened: OpenRequest | None) -> None:
        self._ask, self._kept = ask, opened
        self._proof = Proof.of(source, ask, opened, self._clock.now()) if source else None
        self.telling = Telling(self._proof, opened)
        self._occurrences = Occurrences(opened.counts) if opened else Occurrences()
        self._ages = Ages(opened.made_at if opened else None)
        self._bookmark: str | None = None
        self._gave_rows = opened is not None and opened.gave_rows
        self._moved = self._doubted = False

    @property
    def keeps_place(self) -> bool:
        """Whether the present request can go on later from where it stands."""
        return self._kept is not None and self._kept.cursor is not None

    @property
    def moves_on(self) -> bool:
        """Whether the present reading came to a place from which it can go on."""
        return self._moved

    async def commit(self, page: TradePage, *, going_on: bool, read_at: datetime | None = None) -> PageOutcome:
        """Make a page durable that came at `read_at`, else just now; without `going_on` it ends its reading."""
        self._gave_rows = self._gave_rows or bool(page.bookings or page.quarantined)
        read_at = read_at or self._clock.now()
        bookings = tuple(self._occurrences.number(booking) for booking in page.bookings)
        quarantined = tuple(map(self._occurrences.number_row, page.quarantined))
        as_of = self._as_of(page, read_at)
        self._ages.add(page, as_of)
        spans = tuple(part for span in page.covered for part in self._spans(span, read_at))
        self.telling.add(page, spans)
        self._bookmark = page.bookmark or self._bookmark
        whole = not going_on and await self._is_whole(spans)
        self._ages.cover(page)
        following = self._next(page) if going_on else None
        outcome = await self._store.commit_page(
            attrs.evolve(
                self._frame(),
                bookings=bookings,
                alike=self._occurrences.takes_alike(),
                as_of=as_of,
                accounts=page.accounts,
                spans=spans,
                quarantined=quarantined,
                next_request=following,
                ends_request=not going_on,
                finished=self._ask.window if self._ask and not going_on else None,
                bookmark=self._bookmark if whole else None,
            ),
            self._rules,
        )
        self._kept = following or self._kept
        self._moved = self._moved or following is not None
        self._report.page(page, outcome)
        if page.rows not in (None, page.disposed):
            self._report.problem(rows_missing(page, self._manifest), source=self._reading.source.name)
        if self._occurrences.takes_confused():
            self._report.problem(named_alike(self._manifest), source=self._reading.source.name)
        self._events(self._committed(page, outcome))
        return outcome

    async def stuck(self) -> None:
        """Count a sync that could not move a begun request on."""
        if self._kept is not None:
            self._kept = attrs.evolve(self._kept, attempts=self._kept.attempts + 1)
            await self._store.commit_page(attrs.evolve(self._frame(), next_request=self._kept), self._rules)

    def may_be_empty(self, ask: Ask) -> bool:
        """Whether a broker that has nothing there may be believed: a window of which rows came has data."""
        return ask.window.end <= self._clock.now() - _SETTLED and bool(ask.accounts) and not self._gave_rows

    async def unavailable(
        self, ask: Ask, error: BrokerDataUnavailableError, accounts: Iterable[BrokerAccount]
    ) -> list[tuple[BrokerAccount, Span]]:
        """Write down that these accounts' window can not be had, where that is sure; else leave it open and report it.

        Answers with what is closed by it that was not before.
        """
        sure = error.reason is not DataUnavailableReason.NO_SUCH_DATA or self.may_be_empty(ask)
        self.begin(ask)
        if not sure:
            self._report.problem(error, source=ask.source.name, window=ask.window)
        state = SpanState.LOST if error.reason is DataUnavailableReason.EXPIRED else SpanState.UNAVAILABLE
        window = self._reading.provable(ask.window) if sure else None
        spans = [] if window is None else [(one, Span(window=window, state=state)) for one in accounts]
        page = attrs.evolve(self._frame(), ends_request=True, finished=ask.window)
        return await self._put(page, spans, self._rules)

    async def write_down(
        self, source: SourceSpec, spans: Sequence[tuple[BrokerAccount, Span]]
    ) -> list[tuple[BrokerAccount, Span]]:
        """Write what is known of a source's history without having read it; answers with what of it is new.

        It is laid over what is provisional, too.
        """
        self._start(None, source, None)
        rules = attrs.evolve(self._rules, cover=give_up)
        return await self._put(attrs.evolve(self._frame(), cause=None), spans, rules, over=(SpanState.PROVISIONAL,))

    async def _put(
        self,
        page: PageCommit,
        spans: Sequence[tuple[BrokerAccount, Span]],
        rules: PageRules,
        over: Collection[SpanState] = (),
    ) -> list[tuple[BrokerAccount, Span]]:
        """Lay these spans over the ledger; others that see the account may have done so meanwhile."""
        keyed = tuple((self._key(account.environment, account.account_id), span) for account, span in spans)
        before = (await self._store.commit_page(attrs.evolve(page, spans=keyed), rules)).covered_before
        stands = {name: [one.window for one in known if one.state not in over] for name, known in before.items()}
        return [
            (account, attrs.evolve(span, window=part))
            for account, span in spans
            for part in subtract([span.window], stands.get(f"{account.environment}/{account.account_id}", ()))
        ]

    def _frame(self) -> PageCommit:
        return PageCommit(
            owner=self._target.owner,
            provider=self._target.provider,
            source=self._reading.source.name,
            at=self._clock.now(),
            cause=ChangeCause.FILE if self._ask is None else None,
            origin=self._origin(),
            lease=self._target.lease,
            era=self._target.era,
            connection_id=self._target.connection_id,
            request_account=self._ask.account if self._ask else "",
            again_from=self._again_from,
            begins=self._kept is None,
        )

    def _origin(self) -> dict[str, Any]:
        """Where these bookings were read."""
        if self._ask is None:
            return {"file": self._target.file}
        window = self._ask.window
        return {
            "connection": self._target.connection_id,
            "window": [instant_text(window.start), instant_text(window.end)],
        }

    def _next(self, page: TradePage) -> OpenRequest | None:
        if page.cursor is None or self._ask is None or self._target.connection_id is None:
            return None
        kept = self._kept
        return OpenRequest(
            connection_id=self._target.connection_id,
            source=self._ask.source.name,
            account=self._ask.account,
            window=self._ask.window,
            cursor=page.cursor,
            begun_at=self._reading.begun_at,
            resume_at=page.resume_at,
            accounts=self._reading.accounts,
            gave_rows=self._gave_rows,
            made_at=self._ages.pending(self._reading.accounts),
            # a place that several pages lead to lies behind the first of them
            counts=kept.counts if kept and kept.cursor == page.cursor else self._occurrences.kept(),
        )

    def _as_of(self, page: TradePage, read_at: datetime) -> datetime | None:
        """When the broker made the page, where that can be so."""
        if page.as_of is None or not is_to_come(page.as_of, read_at):
            return page.as_of
        if not self._doubted:
            self._doubted = True
            self._report.problem(not_made_yet(page.as_of, self._manifest), source=self._reading.source.name)
        return None

    def _spans(self, covered: CoveredSpan, read_at: datetime) -> list[tuple[AccountKey, Span]]:
        spans = self._reading.spans(covered, read_at, self._ages.of(covered.environment, covered.account_id))
        for span in spans:
            self._report.covered(self._reading.source.name, covered.environment, covered.account_id, span.window)
        return [(self._key(covered.environment, covered.account_id), span) for span in spans]

    async def _is_whole(self, spans: Sequence[tuple[AccountKey, Span]]) -> bool:
        """Whether nothing is missing before the bookmark, nor needed once more: only what follows it will be read."""
        if self._bookmark is None or self._ask is None:
            return True
        if self._occurrences.seen:
            return False
        known = await self._store.spans(self._target.owner, self._target.provider, self._ask.source.name)
        for account in self._ask.accounts:
            key = self._key(account.environment, account.account_id)
            new = [span for of, span in spans if of == key]
            made = self._ages.of(account.environment, account.account_id)
            if self._reading.missing((*known.get((account.environment, account.account_id), ()), *new), made):
                return False
        return True

    @property
    def _reading(self) -> Proof:
        if self._proof is None:
            raise AssertionError("begin() comes before commit()")
        return self._proof

    def _key(self, environment: str, account_id: str) -> AccountKey:
        return AccountKey(
            owner=self._target.owner, provider=self._target.provider, environment=environment, account_id=account_id
        )

    def _committed(self, page: TradePage, outcome: PageOutcome) -> PageCommitted:
        return PageCommitted(
            provider=self._target.provider,
            connection_id=self._target.connection_id or "",
            source=self._reading.source.name,
            fetched=len(page.bookings),
            added=outcome.added,
            modified=outcome.modified,
            removed=outcome.removed,
            unchanged=outcome.unchanged,
            quarantined=outcome.quarantined,
        )
