"""Which windows of a source to ask for now. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

import attrs

from brokersync.manifest import CalendarUnit, Retention, SourceScope, SourceSpec
from brokersync.records import FailedWindow, Span, SpanState
from brokersync.sync.days import ceiling, day_floor, floor, next_day
from brokersync.sync.halving import halved, last_at
from brokersync.sync.ledger import subtract, union
from brokersync.sync.untold_notes import closes
from brokersync.types import BrokerAccount, TimeWindow

_DEFAULT_LOOK_BACK = timedelta(days=365)
_INSTANT = timedelta(microseconds=1)
_EVER = datetime.max.replace(tzinfo=UTC)
_NONE: Mapping[str, Sequence[FailedWindow]] = MappingProxyType({})


@attrs.frozen(kw_only=True)
class Ask:
    """One request to make: a window of a source, for one account or for all of the login.

    One that `may_rest` is asked for only since it was read provisionally.
    """

    source: SourceSpec
    accounts: tuple[BrokerAccount, ...]
    window: TimeWindow
    may_rest: bool = attrs.field(default=False, eq=False)

    @property
    def account(self) -> str:
        """What tells this request from the others of its source: empty for the whole login."""
        return request_name(self.source, self.accounts)


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
    connected_at: datetime | None = None,
    again_from: datetime | None = None,
    failing: Mapping[str, Sequence[FailedWindow]] = _NONE,
) -> list[Ask]:
    """What is due of one source, newest window first and those that keep failing last, in halves.

    `spans` are known per (environment, account id). History begins where the account was opened, but not before
    `since`; where neither is known, as far back as the source looked when the login was `connected_at`, or where the
    ledger begins, so that nothing moves out of sight unread. What is final is asked again from `again_from` on
    and within the source's `reread`. `failing` windows are known per `Ask.account`; of a source that is read for the
    whole login what was noted of an account that the answers did not tell is asked for it like what is final.
    """
    bound = _Bounds(source, now, since, connected_at, again_from)
    if source.scope is SourceScope.LOGIN:
        gaps = union(
            gap for account in accounts for gap in bound.gaps(account, _of(spans, account), _noted(failing, account))
        )
        targets = [(tuple(accounts), gaps if accounts else bound.gaps(None, ()))]
    else:
        targets = [((account,), bound.gaps(account, _of(spans, account))) for account in accounts]
    return [
        Ask(source=source, accounts=asked, window=piece, may_rest=bound.may_rest(piece, asked, spans))
        for asked, windows in targets
        for piece in _pieces(windows, source, failing.get(request_name(source, asked), ()), now)
    ]


def a_day_first(asks: Sequence[Ask]) -> list[Ask]:
    """The asks, the first of them in two: its last day alone, and the rest."""
    if not asks or asks[0].source.calendar.unit is CalendarUnit.INSTANT:
        return list(asks)
    window, calendar = asks[0].window, asks[0].source.calendar
    day = TimeWindow(max(window.start, day_floor(window.end - _INSTANT, calendar)), window.end)
    pieces = [day, *subtract([window], [day])]
    return [*(attrs.evolve(asks[0], window=piece) for piece in pieces), *asks[1:]]


def request_name(source: SourceSpec, accounts: Sequence[BrokerAccount]) -> str:
    """What tells a request for these accounts from the others of its source: empty for the whole login."""
    if source.scope is SourceScope.LOGIN:
        return ""
    return f"{accounts[0].environment}/{accounts[0].account_id}"


def _pieces(
    windows: Iterable[TimeWindow], source: SourceSpec, known: Sequence[FailedWindow], now: datetime
) -> list[TimeWindow]:
    failing = [one for one in known if one.failures]
    pieces = cut(halved(windows, failing, source.calendar), source)
    return sorted(pieces, key=lambda piece: _place([one for one in failing if piece.overlap(one.window)], now))


def _place(failing: Sequence[FailedWindow], now: datetime) -> tuple[bool, datetime]:
    """Last what keeps failing, and of that first what waits longest, so that each has its turn."""
    return bool(failing), last_at(failing, now)


def still_open(
    source: SourceSpec,
    account: BrokerAccount,
    spans: Sequence[Span],
    *,
    now: datetime,
    since: datetime | None = None,
    connected_at: datetime | None = None,
) -> list[TimeWindow]:
    """What is not settled of an account and can be had: never read, or provisional."""
    bound = _Bounds(attrs.evolve(source, reread=timedelta(0)), now, since, connected_at, None)
    return bound.gaps(account, spans)


def may_give(
    source: SourceSpec,
    account: BrokerAccount,
    spans: Sequence[Span],
    window: TimeWindow,
    *,
    now: datetime,
    since: datetime | None = None,
    connected_at: datetime | None = None,
) -> list[TimeWindow]:
    """What of a window a source will give when it is asked, now or later; what it has given is not among it."""
    begins = _Bounds(source, now, since, connected_at, None).start(account, spans)
    within = window.overlap(TimeWindow(begins, _EVER))
    closed = (span.window for span in spans if span.state is not SpanState.PROVISIONAL)
    return [] if within is None else subtract([within], closed)


def asked_from(source: SourceSpec, window: TimeWindow) -> datetime | None:
    """From when on a source can be asked for a window's first day; `None` where it has forgotten that by then."""
    if source.calendar.unit is CalendarUnit.INSTANT:
        return window.start
    begins = day_floor(window.start, source.calendar)
    if source.open_day:
        return begins
    ends = next_day(begins, source.calendar)
    moment = ends + source.finality_lag
    edge = reach(source, moment)
    return moment if edge is None or edge < ends else None


def reach(source: SourceSpec, moment: datetime) -> datetime | None:
    """How far back the source gave history at that moment; `None` where it keeps all.

    Where it counts in days, whole days count: the one that lies `look_back` behind can be had until it ends.
    """
    if source.retention is Retention.SESSION:
        return day_floor(moment, source.calendar)
    if source.retention is Retention.UNLIMITED or source.look_back is None:
        return None
    return floor(moment - source.look_back, source.calendar)


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


def _of(spans: Mapping[tuple[str, str], Sequence[Span]], account: BrokerAccount) -> Sequence[Span]:
    return spans.get((account.environment, account.account_id), ())


def _noted(failing: Mapping[str, Sequence[FailedWindow]], account: BrokerAccount) -> list[TimeWindow]:
    return [one.window for one in failing.get(f"{account.environment}/{account.account_id}", ()) if closes(one)]


@attrs.frozen
class _Bounds:
    source: SourceSpec
    now: datetime
    since: datetime | None
    connected_at: datetime | None
    again_from: datetime | None

    def gaps(
        self, account: BrokerAccount | None, spans: Sequence[Span], noted: Sequence[TimeWindow] = ()
    ) -> list[TimeWindow]:
        start, end = self.start(account, spans), self._end()
        if start >= end:
            return []
        settled = end - self.source.reread
        if self.again_from is not None:
            settled = min(settled, self._floor(self.again_from))
        settled_spans = [span.window for span in spans if span.state is not SpanState.PROVISIONAL]
        closed = [self._closed(window, settled) for window in (*settled_spans, *noted)]
        return subtract([TimeWindow(start, end)], [window for window in closed if window is not None])

    def may_rest(
        self,
        window: TimeWindow,
        accounts: Sequence[BrokerAccount],
        spans: Mapping[tuple[str, str], Sequence[Span]],
    ) -> bool:
        """Whether it is asked for since it is provisional for each account, and for no other reason."""
        if not accounts or self.again_from is not None or window.end > self._end() - self.source.reread:
            return False
        return not any(
            subtract([window], [one.window for one in _of(spans, account) if one.state is SpanState.PROVISIONAL])
            for account in accounts
        )

    def _closed(self, window: TimeWindow, settled: datetime) -> TimeWindow | None:
        """What of the window need not be asked for: whole days, for what is left of one is asked as the day it is."""
        start, end = ceiling(window.start, self.source.calendar), self._floor(min(window.end, settled))
        return TimeWindow(start, end) if start < end else None

    def start(self, account: BrokerAccount | None, spans: Sequence[Span]) -> datetime:
        """Where history begins that the source can be asked for."""
        farthest = reach(self.source, self.now)
        if self.source.retention is Retention.SESSION and farthest is not None:
            return farthest
        known = [moment for moment in (self.since, account.opened_at if account else None) if moment]
        wanted = self._floor(max(known) if known else self._looks_back_to(spans))
        return max(wanted, farthest) if farthest else wanted

    def _looks_back_to(self, spans: Sequence[Span]) -> datetime:
        """Where it began to look, not where it would begin today: what is left behind is not read by itself."""
        first = (self.connected_at or self.now) - (self.source.look_back or _DEFAULT_LOOK_BACK)
        return min([first, *(span.window.start for span in spans)])

    def _end(self) -> datetime:
        if self.source.calendar.unit is CalendarUnit.INSTANT:
            return self.now
        if self.source.open_day:
            return next_day(self.now, self.source.calendar)
        return self._floor(self.now - self.source.finality_lag)

    def _floor(self, moment: datetime) -> datetime:
        return floor(moment, self.source.calendar)
