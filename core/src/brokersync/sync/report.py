"""Counts of one sync, gathered from pages and events into a `SyncReport`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import attrs

from brokersync.dispositions import Disposition
from brokersync.errors import (
    BrokerAuthError,
    BrokerConfigError,
    BrokerError,
    BrokerMaintenanceError,
    BrokerRateLimitError,
    BrokerRetryableError,
    BrokerTimeoutError,
    BrokerUnavailableError,
    LimitScope,
)
from brokersync.events import Event, LimitWaited, RequestSent, RetryScheduled, ScopeFrozen
from brokersync.records import LostSpan, PageOutcome, SpanReport, SyncReport
from brokersync.sync.ledger import union
from brokersync.types import TimeWindow, TradePage

_OF_THE_LOGIN = (LimitScope.APP, LimitScope.EGRESS, LimitScope.CREDENTIAL)
_OF_ALL = (LimitScope.APP, LimitScope.EGRESS)
_AWAY = (BrokerUnavailableError, BrokerTimeoutError, BrokerMaintenanceError)


class ReportBuilder:
    """Hears the events of one sync and counts its pages; also an `EventSink`."""

    def __init__(self, *, owner: str, provider: str, connection_id: str | None, started_at: datetime) -> None:
        self._base = SyncReport(owner=owner, provider=provider, connection_id=connection_id, started_at=started_at)
        self._numbers: Counter[str] = Counter()
        self._fates: Counter[Disposition] = Counter()
        self._skipped: Counter[str] = Counter()
        self._unmapped: Counter[str] = Counter()
        self._waited = timedelta(0)
        self._asked: dict[tuple[str, str, str], list[TimeWindow]] = {}
        self._covered: dict[tuple[str, str, str], list[TimeWindow]] = {}
        self._problems: list[Mapping[str, Any]] = []
        self._lost: list[LostSpan] = []
        self._errors: list[BrokerError] = []
        self._frozen: dict[str, datetime] = {}
        self._ended_by: LimitScope | None = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, RequestSent):
            self._numbers["requests"] += 1
        elif isinstance(event, RetryScheduled):
            self._numbers["retries"] += 1
            self._wait(event.wait)
        elif isinstance(event, LimitWaited):
            self._wait(event.wait)
        elif isinstance(event, ScopeFrozen):
            self._frozen[event.scope] = max(event.until, self._frozen.get(event.scope, event.until))

    def _wait(self, wait: timedelta) -> None:
        self._numbers["waits"] += 1
        self._waited += wait

    def page(self, page: TradePage, outcome: PageOutcome) -> None:
        """Count a committed page."""
        self._numbers["pages"] += 1
        self._numbers["rows"] += page.disposed if page.rows is None else page.rows
        self._numbers["fetched"] += len(page.bookings)
        self._fates.update(outcome.fates)
        self._fates[Disposition.QUARANTINED] += outcome.quarantined
        self._fates[Disposition.SAME] += len(page.quarantined) - outcome.quarantined
        self._fates[Disposition.NOT_AN_EXECUTION] += sum(page.skipped.values())
        for name in ("added", "modified", "removed", "unchanged", "quarantined", "waiting"):
            self._numbers[name] += getattr(outcome, name)
        self._skipped.update(page.skipped)
        self._unmapped.update(page.unmapped)

    def withdrew(self, trades: int) -> None:
        """Count trades that were taken back since nothing confirmed them."""
        self._numbers["modified"] += trades

    def asked(self, source: str, environment: str, account_id: str, window: TimeWindow) -> None:
        """Note that a span of an account was asked for."""
        self._asked.setdefault((source, environment, account_id), []).append(window)

    def covered(self, source: str, environment: str, account_id: str, window: TimeWindow) -> None:
        """Note that a span of an account was proved."""
        self._covered.setdefault((source, environment, account_id), []).append(window)

    def lost(self, span: LostSpan) -> None:
        """Note a span that a source has forgotten before it was read."""
        self._lost.append(span)

    def problem(self, error: BrokerError, *, source: str | None = None, window: TimeWindow | None = None) -> None:
        """Note something that did not succeed; the sync goes on."""
        self._errors.append(error)
        facts = error.describe()
        if source is not None:
            facts["source"] = source
        if window is not None:
            facts["window"] = [window.start.date().isoformat(), window.end.date().isoformat()]
        self._problems.append(facts)

    def ended(self, error: BrokerError) -> None:
        """Note what ended the sync."""
        self.problem(error)
        self._ended_by = error.freeze if isinstance(error, BrokerRetryableError | BrokerAuthError) else None

    @property
    def silent_until(self) -> datetime | None:
        """Until when the broker wants to hear nothing of this login at all, or nothing of what the sync ended with."""
        scopes = (*_OF_THE_LOGIN, *([self._ended_by] if self._ended_by else []))
        return max((self._frozen[scope] for scope in scopes if scope in self._frozen), default=None)

    @property
    def has_pages(self) -> bool:
        """Whether the broker has given a page."""
        return self._numbers["pages"] > 0

    @property
    def away(self) -> BrokerError | None:
        """The error of a sync in which the broker answered nothing and failed on its side; `None` for all others."""
        gone = [error for error in self._errors if isinstance(error, _AWAY)]
        return gone[0] if gone and len(gone) == len(self._errors) and not self.has_pages else None

    @property
    def limited_for_all(self) -> bool:
        """Whether a limit that all connections share let a call of this sync not go."""
        scopes = [error.scope for error in self._errors if isinstance(error, BrokerRateLimitError)]
        return any(scope in _OF_ALL for scope in scopes)

    @property
    def broken(self) -> BrokerConfigError | None:
        """The error of a sync that read nothing because of a plugin or the configuration; `None` for all others."""
        if self.has_pages:
            return None
        return next((error for error in self._errors if isinstance(error, BrokerConfigError)), None)

    def build(self, now: datetime) -> SyncReport:
        """The report as it stands."""
        return attrs.evolve(
            self._base,
            pages=self._numbers["pages"],
            rows=self._numbers["rows"],
            fetched=self._numbers["fetched"],
            added=self._numbers["added"],
            modified=self._numbers["modified"],
            removed=self._numbers["removed"],
            unchanged=self._numbers["unchanged"],
            quarantined=self._numbers["quarantined"],
            # the target of an earlier sync's cancel counts below zero
            waiting=max(self._numbers["waiting"], 0),
            requests=self._numbers["requests"],
            retries=self._numbers["retries"],
            waits=self._numbers["waits"],
            duration=now - self._base.started_at,
            waited=self._waited,
            dispositions={fate.value: self._fates[fate] for fate in Disposition if self._fates[fate]},
            spans=self._spans(),
            lost=tuple(self._lost),
            skipped=dict(self._skipped),
            unmapped=dict(self._unmapped),
            problems=tuple(self._problems),
        )

    def _spans(self) -> tuple[SpanReport, ...]:
        found = []
        for key in sorted(self._asked.keys() | self._covered.keys()):
            source, environment, account_id = key
            covered = union(self._covered.get(key, ()))
            asked = self._asked.get(key, covered)
            found.append(
                SpanReport(
                    source=source,
                    environment=environment,
                    account_id=account_id,
                    requested=TimeWindow(min(w.start for w in asked), max(w.end for w in asked)),
                    covered=tuple(covered),
                )
            )
        return tuple(found)
