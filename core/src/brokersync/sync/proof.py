"""What the pages of one reading prove of an account's history. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import attrs

from brokersync.manifest import SourceScope, SourceSpec
from brokersync.records import OpenRequest, Span, SpanState
from brokersync.sync.days import day_floor
from brokersync.sync.ledger import read_windows, subtract
from brokersync.sync.plan import Ask
from brokersync.sync.retention import lost_its_front
from brokersync.types import BrokerAccount, CoveredSpan, Finality, TimeWindow


@attrs.frozen
class Proof:
    """One reading: what was asked for (nothing of a file), when its first answer was, and of which accounts.

    `accounts` are named as environment/id; `taken_up_at` is when it was gone on with, where it was broken off.
    """

    source: SourceSpec
    ask: Ask | None
    begun_at: datetime
    taken_up_at: datetime
    accounts: tuple[str, ...] = ()
    resumed: bool = False

    @classmethod
    def of(cls, source: SourceSpec, ask: Ask | None, opened: OpenRequest | None, now: datetime) -> Proof:
        """The reading of `ask`, from its start or from where `opened` was left."""
        accounts = _names(ask.accounts) if ask else ()
        if opened is None:
            return cls(source, ask, now, now, accounts)
        begun_with = accounts if opened.accounts is None else opened.accounts
        return cls(source, ask, opened.begun_at or now, now, begun_with, resumed=True)

    def spans(self, covered: CoveredSpan, read_at: datetime, as_of: datetime | None = None) -> tuple[Span, ...]:
        """What a page's claim comes to, that was read at `read_at` and made at `as_of`."""
        window = self.provable(covered.window, as_of)
        if window is None or not self._knows(covered) or self._may_lack_rows(read_at):
            return ()
        return _by_finality(self.source, window, covered.finality, self._known_at(as_of))

    def provable(self, window: TimeWindow, as_of: datetime | None = None) -> TimeWindow | None:
        """The part of a page's claim that was asked for and had already passed when it was, and when it was made."""
        asked = self.ask.window if self.ask else window
        start, end = max(window.start, asked.start), min(window.end, asked.end, self._known_at(as_of))
        return TimeWindow(start, end) if start < end else None

    def missing(self, spans: Iterable[Span], as_of: datetime | None = None) -> list[TimeWindow]:
        """What was asked for of an account, could be proved, and is not read by these spans of its."""
        window = self.provable(self.ask.window, as_of) if self.ask else None
        return subtract([window], read_windows(spans)) if window else []

    def _known_at(self, as_of: datetime | None) -> datetime:
        """Of when a page can tell: a broker may answer with what it made long before it was asked."""
        return self.begun_at if as_of is None else min(self.begun_at, as_of)

    def _knows(self, covered: CoveredSpan) -> bool:
        if self.ask is None:
            return True
        # a login that was read in one go has told of all its accounts; the pages before a place that was left have not
        # told of those that came up since
        if self.source.scope is SourceScope.LOGIN and (not self.resumed or not self.accounts):
            return True
        return f"{covered.environment}/{covered.account_id}" in self.accounts

    def _may_lack_rows(self, read_at: datetime) -> bool:
        """Whether the source may have dropped a part of the window while it was read."""
        return self.ask is not None and lost_its_front(self.source, self.ask.window, self.taken_up_at, read_at)


def _names(accounts: Sequence[BrokerAccount]) -> tuple[str, ...]:
    return tuple(f"{one.environment}/{one.account_id}" for one in accounts)


def _by_finality(source: SourceSpec, window: TimeWindow, finality: Finality, read_at: datetime) -> tuple[Span, ...]:
    """What was younger than the source's finality lag is provisional, whatever the page says."""
    settled = window.start
    if finality is not Finality.PROVISIONAL:
        settled = min(max(day_floor(read_at - source.finality_lag, source.calendar), window.start), window.end)
    parts = ((window.start, settled, SpanState.FINAL), (settled, window.end, SpanState.PROVISIONAL))
    return tuple(Span(window=TimeWindow(start, end), state=state) for start, end, state in parts if start < end)
