"""What is known of an account's history over all of its sources. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import attrs

from brokersync.manifest import Manifest, SourceSpec
from brokersync.records import Span, SpanState
from brokersync.sync.days import day_floor
from brokersync.sync.ledger import subtract
from brokersync.sync.plan import asked_from, cut, may_give, still_open
from brokersync.types import BrokerAccount, TimeWindow

_LONG_AGO = datetime.min.replace(tzinfo=UTC)
# what nobody has read but can be had is better than what is lost: it is only a matter of asking
_RANK = {SpanState.FINAL: 4, SpanState.PROVISIONAL: 3, None: 2, SpanState.LOST: 1, SpanState.UNAVAILABLE: 0}


@attrs.frozen(kw_only=True)
class Stretch:
    """A stretch of history and the best that any source says of it.

    `state` is `None` where it was not read yet. `sources` are those that say so, none where nobody speaks of it; `due`
    tells whether one of the account's sources will be asked for it, again or for the first time, and `due_from` from
    when on the first of it can be asked for, where that is not yet so.
    """

    window: TimeWindow
    state: SpanState | None
    sources: tuple[str, ...]
    due: bool = False
    due_from: datetime | None = None


@attrs.frozen(kw_only=True)
class Later:
    """A day, or what is left of it, that a source can be asked for only `since` a moment to come."""

    window: TimeWindow
    since: datetime


@attrs.frozen(kw_only=True)
class SourceHistory:
    """What one source says: its spans, what it was never asked for, and what it will be asked for.

    `later` is what it can not be asked for yet, and will be.
    """

    source: str
    spans: tuple[Span, ...]
    unread: tuple[TimeWindow, ...] = ()
    due: tuple[TimeWindow, ...] = ()
    later: tuple[Later, ...] = ()


def source_histories(
    manifest: Manifest,
    account: BrokerAccount | None,
    spans: Mapping[str, Sequence[Span]],
    *,
    now: datetime,
    since: datetime | None = None,
    connected_at: datetime | None = None,
    readable: Collection[str] | None = None,
) -> tuple[SourceHistory, ...]:
    """What each of the manifest's sources knows of an account up to `now`; without an `account` none is asked again.

    Nor is one that is not among the `readable`, which are all where that is not known.
    """
    found = []
    for source in manifest.sources:
        known = _until(spans.get(source.name, ()), now)
        due: list[TimeWindow] = []
        given: list[TimeWindow] = []
        may_read = readable is None or source.name in readable
        if account is not None and not source.files and may_read:
            due = _past(still_open(source, account, known, now=now, since=since, connected_at=connected_at), now)
            ever = TimeWindow(_LONG_AGO, now)
            given = may_give(source, account, known, ever, now=now, since=since, connected_at=connected_at)
        found.append(_of_source(source, known, due, subtract(given, due)))
    return tuple(found)


def _of_source(
    source: SourceSpec, spans: Sequence[Span], due: Sequence[TimeWindow], later: Sequence[TimeWindow]
) -> SourceHistory:
    unread = subtract(due, [span.window for span in spans])
    return SourceHistory(
        source=source.name, spans=tuple(spans), unread=tuple(unread), due=tuple(due), later=_later(source, later)
    )


def _later(source: SourceSpec, windows: Sequence[TimeWindow]) -> tuple[Later, ...]:
    days = cut(windows, attrs.evolve(source, longest_window=timedelta(days=1)))
    known = [(day, asked_from(source, day)) for day in sorted(days)]
    return tuple(Later(window=day, since=since) for day, since in known if since)


def readable_until(manifest: Manifest, now: datetime) -> datetime:
    """Up to when every source can have told by now of the days that have ended."""
    return min(day_floor(now - source.finality_lag, source.calendar) for source in manifest.sources)


def _past(windows: Iterable[TimeWindow], now: datetime) -> list[TimeWindow]:
    return [TimeWindow(one.start, min(one.end, now)) for one in windows if one.start < now]


def _until(spans: Iterable[Span], now: datetime) -> list[Span]:
    return [attrs.evolve(one, window=past) for one in spans for past in _past([one.window], now)]


def stretches(histories: Iterable[SourceHistory]) -> tuple[Stretch, ...]:
    """The best statement of all these sources per stretch, oldest first; what nobody speaks of is left out."""
    histories = list(histories)
    said = [
        (window, state, one.source)
        for one in histories
        for window, state in (
            *((span.window, span.state) for span in one.spans),
            *((window, None) for window in one.unread),
        )
    ]
    due = [window for one in histories for window in one.due]
    edges = sorted({edge for window in (*(one[0] for one in said), *due) for edge in (window.start, window.end)})
    found: list[Stretch] = []
    for start, end in itertools.pairwise(edges):
        here = [(state, source) for window, state, source in said if start in window]
        if here:
            _join(found, _best(TimeWindow(start, end), here, due=any(start in window for window in due)))
    return tuple(found)


def with_holes(
    histories: Iterable[SourceHistory], *, begins: datetime | None = None, until: datetime | None = None
) -> tuple[Stretch, ...]:
    """The `stretches`, and what nobody speaks of among them, after `begins` and before `until`, as not read.

    So is what can be asked for only later.
    """
    histories = list(histories)
    known = stretches(histories)
    later = [one for history in histories for one in history.later]
    starts = [*(one.window.start for one in known[:1]), *([begins] if begins else [])]
    ends = [*(one.window.end for one in known[-1:]), *(one.window.end for one in later), *([until] if until else [])]
    if not starts or not ends or min(starts) >= max(ends):
        return known
    holes = subtract([TimeWindow(min(starts), max(ends))], [one.window for one in known])
    never = subtract(holes, [one.window for one in later])
    unread = [
        *(Stretch(window=one, state=None, sources=()) for one in never),
        *(_not_yet(one, later) for one in subtract(holes, never)),
    ]
    return tuple(sorted([*known, *unread], key=lambda one: one.window.start))


def _not_yet(window: TimeWindow, later: Iterable[Later]) -> Stretch:
    first = min(one.since for one in later if one.window.overlap(window))
    return Stretch(window=window, state=None, sources=(), due=True, due_from=first)


def _best(window: TimeWindow, said: Sequence[tuple[SpanState | None, str]], *, due: bool) -> Stretch:
    state = max((state for state, _ in said), key=lambda one: _RANK[one])
    sources = tuple(sorted({source for one, source in said if one is state}))
    return Stretch(window=window, state=state, sources=sources, due=due)


def _join(found: list[Stretch], new: Stretch) -> None:
    last = found[-1] if found else None
    if last and last.window.end == new.window.start and attrs.evolve(new, window=last.window) == last:
        found[-1] = attrs.evolve(last, window=TimeWindow(last.window.start, new.window.end))
    else:
        found.append(new)
