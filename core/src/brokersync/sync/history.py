"""What is known of an account's history over all of its sources. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

import attrs

from brokersync.manifest import Manifest, SourceSpec
from brokersync.records import Span, SpanState
from brokersync.sync.days import day_floor
from brokersync.sync.ledger import subtract, union
from brokersync.sync.plan import may_give, still_open
from brokersync.types import BrokerAccount, TimeWindow

_LONG_AGO = datetime.min.replace(tzinfo=UTC)
# what nobody has read but can be had is better than what is lost: it is only a matter of asking
_RANK = {SpanState.FINAL: 4, SpanState.PROVISIONAL: 3, None: 2, SpanState.LOST: 1, SpanState.UNAVAILABLE: 0}


@attrs.frozen(kw_only=True)
class Stretch:
    """A stretch of history and the best that any source says of it.

    `state` is `None` where it was not read yet. `sources` are those that say so, none where nobody speaks of it; `due`
    tells whether one of the account's sources will be asked for it, again or for the first time.
    """

    window: TimeWindow
    state: SpanState | None
    sources: tuple[str, ...]
    due: bool = False


@attrs.frozen(kw_only=True)
class SourceHistory:
    """What one source says: its spans, what it was never asked for, and what it will be asked for.

    `later` is what it can not be asked for yet, and will be.
    """

    source: str
    spans: tuple[Span, ...]
    unread: tuple[TimeWindow, ...] = ()
    due: tuple[TimeWindow, ...] = ()
    later: tuple[TimeWindow, ...] = ()


def source_histories(
    manifest: Manifest,
    account: BrokerAccount | None,
    spans: Mapping[str, Sequence[Span]],
    *,
    now: datetime,
    since: datetime | None = None,
    connected_at: datetime | None = None,
) -> tuple[SourceHistory, ...]:
    """What each of the manifest's sources knows of an account up to `now`; without an `account` none is asked again."""
    found = []
    for source in manifest.sources:
        known = _until(spans.get(source.name, ()), now)
        due: list[TimeWindow] = []
        given: list[TimeWindow] = []
        if account is not None and not source.files:
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
        source=source.name, spans=tuple(spans), unread=tuple(unread), due=tuple(due), later=tuple(later)
    )


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
    """The `stretches`, and what nobody speaks of among them, after `begins` and before `until`, as not read."""
    histories = list(histories)
    known = stretches(histories)
    starts = [*(one.window.start for one in known[:1]), *([begins] if begins else [])]
    ends = [*(one.window.end for one in known[-1:]), *([until] if until else [])]
    if not starts or not ends or min(starts) >= max(ends):
        return known
    holes = subtract([TimeWindow(min(starts), max(ends))], [one.window for one in known])
    later = union(window for one in histories for window in one.later)
    never = subtract(holes, later)
    unread = [
        *(Stretch(window=one, state=None, sources=()) for one in never),
        *(Stretch(window=one, state=None, sources=(), due=True) for one in subtract(holes, never)),
    ]
    return tuple(sorted([*known, *unread], key=lambda one: one.window.start))


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
