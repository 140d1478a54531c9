"""What a source has forgotten before it was read, and who may still know it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from brokersync.manifest import CalendarUnit, Manifest, Retention, SourceSpec
from brokersync.records import Span, SpanState
from brokersync.sync.days import floor
from brokersync.sync.ledger import read_windows, subtract
from brokersync.sync.plan import may_give, reach
from brokersync.types import BrokerAccount, TimeWindow

# the broker's clock and ours differ by less
_CLOCKS_DIFFER: Final = timedelta(seconds=5)
_DAY: Final = timedelta(days=1)


def gone(
    source: SourceSpec,
    account: BrokerAccount,
    spans: Sequence[Span],
    *,
    now: datetime,
    connected_at: datetime,
    since: datetime | None = None,
    begun: Iterable[TimeWindow] = (),
) -> tuple[Span, ...]:
    """The spans of an account that the source can not give any more and that nothing is known of, oldest first.

    Nor is anything known for sure of what is provisional still, where that ends after a lag. What the source could give
    when the connection was made is lost; what it could not even then was never available, and of a source that
    keeps a session only nothing is said of it. A source that withdraws loses nothing. History begins where the
    account was opened, but not before `since`. `begun` are windows whose request is under way and may still bring
    them.
    """
    horizon, first = reach(source, now), reach(source, connected_at)
    if source.files or horizon is None or first is None:
        return ()
    moments = [moment for moment in (since, account.opened_at) if moment]
    begins = floor(max(moments), source.calendar) if moments else first
    if source.retention is Retention.SESSION:
        begins = max(begins, first)
    under_way = list(begun)
    known = [span.window for span in spans]
    sure = [span.window for span in spans if span.state is not SpanState.PROVISIONAL or not _becomes_final(source)]
    return (
        *_unknown(begins, min(first, horizon), [*known, *under_way], SpanState.UNAVAILABLE),
        # what a source tells early only, another one tells for good
        *(() if source.withdraws else _unknown(max(begins, first), horizon, [*sure, *under_way], SpanState.LOST)),
    )


def _becomes_final(source: SourceSpec) -> bool:
    """Whether what is read is final before it is forgotten; without a lag a source may never call it so."""
    limited, lag = source.retention is Retention.LIMITED, source.finality_lag
    # the lag runs from the end of a day
    return limited and source.look_back is not None and timedelta(0) < lag <= source.look_back - _DAY


def _unknown(start: datetime, end: datetime, taken: Sequence[TimeWindow], state: SpanState) -> list[Span]:
    if start >= end:
        return []
    return [Span(window=part, state=state) for part in subtract([TimeWindow(start, end)], taken)]


def given_by_none(
    window: TimeWindow,
    account: BrokerAccount,
    others: Iterable[tuple[SourceSpec, Sequence[Span]]],
    is_read: Callable[[SourceSpec], bool],
    *,
    now: datetime,
    since: datetime | None = None,
    connected_at: datetime | None = None,
) -> list[TimeWindow]:
    """What of a window is lost for good: no other source has given it, and none that is read by itself will.

    Of the `others` their spans of the account are known; `is_read` says which are asked at each sync.
    """
    given: list[TimeWindow] = []
    for source, spans in others:
        given += read_windows(spans)
        if is_read(source):
            given += may_give(source, account, spans, window, now=now, since=since, connected_at=connected_at)
    return subtract([window], given)


def lost_its_front(source: SourceSpec, window: TimeWindow, since: datetime, until: datetime) -> bool:
    """Whether a source may have dropped the first days of a window while it was read.

    Then a place that counts rows from the front, as the number of a page does, has moved past some that nobody was
    given; and the list of a session is that of the next one. Where history goes by instants it is dropped all the time,
    so there a place that counts from the front is of no use to begin with.
    """
    edge = reach(source, until + _CLOCKS_DIFFER)
    if edge is None or window.start >= edge:
        return False
    if source.retention is Retention.SESSION:
        return True
    before = reach(source, since - _CLOCKS_DIFFER)
    return source.calendar.unit is CalendarUnit.DAY and before is not None and before < edge


def repair(
    manifest: Manifest, source: SourceSpec, window: TimeWindow, now: datetime, readable: Sequence[str] | None = None
) -> str:
    """How a window that `source` has lost can be had all the same, as a sentence.

    `readable` are the sources that the login may read; all where that is not known.
    """
    others = [one for one in manifest.sources if one.name != source.name]
    readers = [
        one.name
        for one in others
        if not one.files and (readable is None or one.name in readable) and _reaches(one, window, now)
    ]
    if readers:
        return f"It is still in {' and '.join(readers)}, read at each sync."
    if any(one.files for one in others):
        return _import(manifest)
    return f"Nothing else of {manifest.display_name} reaches back so far."


def what_may_follow(
    told: Sequence[SourceSpec],
    window: TimeWindow,
    now: datetime,
    *,
    due: bool,
    connected: bool,
    others: Iterable[SourceSpec] = (),
) -> str:
    """What becomes of a span that is provisional in the sources that `told` of it, as a clause; `others` may follow."""
    if due:
        return "it is read again at the next sync"
    if any(one.files for one in told):
        return "a later statement may correct it"
    if not connected and any(_reaches(one, window, now) for one in (*told, *others) if not one.files):
        return "no connection reads this account; once it is connected, it is read again"
    return "it can not be read again"


def way_to_read(manifest: Manifest, window: TimeWindow, now: datetime, *, connected: bool) -> str:
    """How a window that nobody has read and no sync will ask for can be had, as a sentence."""
    if any(one.files and one.covers for one in manifest.sources):
        return _import(manifest)
    if not connected and any(_reaches(one, window, now) for one in manifest.sources if not one.files):
        return "No connection reads this account: connect it to go on."
    if any(one.files for one in manifest.sources):
        return _import(manifest)
    return f"Nothing of {manifest.display_name} that is read reaches these days."


def _import(manifest: Manifest) -> str:
    told = f"from {manifest.display_name} and import it: brokersync import {manifest.key} FILE."
    if any(one.files and one.covers for one in manifest.sources):
        return f"Download a statement of these days {told}"
    return f"Download an export of these days {told} It adds its trades, and does not prove that there were no others."


def _reaches(source: SourceSpec, window: TimeWindow, now: datetime) -> bool:
    edge = reach(source, now)
    return edge is None or edge < window.end
