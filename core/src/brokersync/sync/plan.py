"""Which windows of a source to ask for now. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import attrs

from brokersync.manifest import Calendar, CalendarUnit, Retention, SourceScope, SourceSpec
from brokersync.records import Span, SpanState
from brokersync.sync.ledger import subtract, union
from brokersync.types import BrokerAccount, TimeWindow

_DEFAULT_LOOK_BACK = timedelta(days=365)
_INSTANT = timedelta(microseconds=1)


@attrs.frozen(kw_only=True)
class Ask:
    """One request to make: a window of a source, for one account or for all of the login."""

    source: SourceSpec
    accounts: tuple[BrokerAccount, ...]
    window: TimeWindow

    @property
    def account(self) -> str:
        """What tells this request from the others of its source: empty for the whole login."""
        if self.source.scope is SourceScope.LOGIN:
            return ""
        return f"{self.accounts[0].environment}/{self.accounts[0].account_id}"


def perishable_first(sources: Iterable[SourceSpec]) -> list[SourceSpec]:
    """The order in which to read: what vanishes first, then by precedence."""
    return sorted(sources, key=lambda source: (source.retention is not Retention.SESSION, -source.precedence))


def plan_source(
    source: SourceSpec,
    accounts: Sequence[BrokerAccount],
    spans: Mapping[tuple[str, str], Sequence[Span]],
    *,
    now: datetime,
    since: datetime | None = None,
    again_from: datetime | None = None,
) -> list[Ask]:
    """What is due of one source, newest window first.

    `spans` are known per (environment, account id). History begins where the account was opened, but not before
    `since`; where neither is known, as far back as the source looks. What is final is asked again from `again_from` on
    and within the source's `reread`.
    """
    bound = _Bounds(source, now, since, again_from)
    if source.scope is SourceScope.LOGIN:
        gaps = union(gap for account in accounts for gap in bound.gaps(account, _of(spans, account)))
        windows = gaps if accounts else bound.gaps(None, ())
        return [Ask(source=source, accounts=tuple(accounts), window=piece) for piece in cut(windows, source)]
    return [
        Ask(source=source, accounts=(account,), window=piece)
        for account in accounts
        for piece in cut(bound.gaps(account, _of(spans, account)), source)
    ]


def cut(windows: Iterable[TimeWindow], source: SourceSpec) -> list[TimeWindow]:
    """The windows in pieces that the source answers at once, cut on its calendar, newest first.

    A day is never cut, however long daylight saving makes it.
    """
    pieces: list[TimeWindow] = []
    for window in windows:
        end = window.end
        while end > window.start:
            start = max(window.start, _piece_start(end, source))
            pieces.append(TimeWindow(start, end))
            end = start
    return sorted(pieces, reverse=True)


def _piece_start(end: datetime, source: SourceSpec) -> datetime:
    """The earliest start of a piece that ends at `end`."""
    if source.longest_window is None:
        return datetime.min.replace(tzinfo=UTC)
    start = end - source.longest_window
    if source.calendar.unit is CalendarUnit.INSTANT or start == day_floor(start, source.calendar):
        return start
    following = next_day(start, source.calendar)
    return following if following < end else day_floor(end - _INSTANT, source.calendar)


def day_floor(moment: datetime, calendar: Calendar) -> datetime:
    """When the source's day that holds `moment` began, in UTC."""
    zone, starts = ZoneInfo(calendar.zone), _day_start(calendar)
    local = moment.astimezone(zone)
    day = local.date() if local.time() >= starts else local.date() - timedelta(days=1)
    return datetime.combine(day, starts, zone).astimezone(UTC)


def next_day(moment: datetime, calendar: Calendar) -> datetime:
    """When the source's day after the one that holds `moment` begins, in UTC."""
    zone = ZoneInfo(calendar.zone)
    day = day_floor(moment, calendar).astimezone(zone).date() + timedelta(days=1)
    return datetime.combine(day, _day_start(calendar), zone).astimezone(UTC)


def _day_start(calendar: Calendar) -> time:
    return time.fromisoformat(calendar.day_starts)


def _of(spans: Mapping[tuple[str, str], Sequence[Span]], account: BrokerAccount) -> Sequence[Span]:
    return spans.get((account.environment, account.account_id), ())


@attrs.frozen
class _Bounds:
    source: SourceSpec
    now: datetime
    since: datetime | None
    again_from: datetime | None

    def gaps(self, account: BrokerAccount | None, spans: Sequence[Span]) -> list[TimeWindow]:
        start, end = self._start(account), self._end()
        if start >= end:
            return []
        settled = end - self.source.reread
        if self.again_from is not None:
            settled = min(settled, self._floor(self.again_from))
        closed = [self._before(span.window, settled) for span in spans if span.state is not SpanState.PROVISIONAL]
        return subtract([TimeWindow(start, end)], [window for window in closed if window is not None])

    def _before(self, window: TimeWindow, settled: datetime) -> TimeWindow | None:
        end = min(window.end, self._floor(settled))
        return TimeWindow(window.start, end) if window.start < end else None

    def _start(self, account: BrokerAccount | None) -> datetime:
        if self.source.retention is Retention.SESSION:
            return self._floor(self.now)
        reach = None if self.source.retention is Retention.UNLIMITED else self.source.look_back
        farthest = self.now - reach if reach else None
        known = [moment for moment in (self.since, account.opened_at if account else None) if moment]
        wanted = max(known, default=self.now - (self.source.look_back or _DEFAULT_LOOK_BACK))
        return self._floor(max(wanted, farthest) if farthest else wanted)

    def _end(self) -> datetime:
        if self.source.calendar.unit is CalendarUnit.INSTANT:
            return self.now
        if self.source.open_day:
            return next_day(self.now, self.source.calendar)
        return self._floor(self.now - self.source.finality_lag)

    def _floor(self, moment: datetime) -> datetime:
        return day_floor(moment, self.source.calendar) if self.source.calendar.unit is CalendarUnit.DAY else moment
