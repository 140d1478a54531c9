"""Coverage: what is known of each stretch of an account's history. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from brokersync.records import Span, SpanState
from brokersync.types import TimeWindow

_STRENGTH = {SpanState.LOST: 0, SpanState.UNAVAILABLE: 0, SpanState.PROVISIONAL: 1, SpanState.FINAL: 2}


def cover(spans: Sequence[Span], new: Span) -> tuple[Span, ...]:
    """The spans with `new` laid over them, ordered, without overlap, equal neighbours joined.

    What is final stays final: a weaker statement about a stretch changes nothing.
    """
    return _laid_over(spans, new, _STRENGTH)


def give_up(spans: Sequence[Span], new: Span) -> tuple[Span, ...]:
    """Like `cover`, but what is provisional gives way, too: it will not be read again."""
    return _laid_over(spans, new, {**_STRENGTH, SpanState.PROVISIONAL: 0})


def reopen(spans: Sequence[Span], window: TimeWindow) -> tuple[Span, ...]:
    """The spans with what is final of `window` provisional: it is to be read once more."""
    pieces: list[Span] = []
    for span in spans:
        shared = span.window.overlap(window) if span.state is SpanState.FINAL else None
        if shared is None:
            pieces.append(span)
            continue
        pieces.append(Span(window=shared, state=SpanState.PROVISIONAL))
        pieces += (Span(window=part, state=span.state) for part in subtract([span.window], [shared]))
    return tuple(_joined(sorted(pieces, key=lambda span: span.window.start)))


def _laid_over(spans: Sequence[Span], new: Span, strength: Mapping[SpanState, int]) -> tuple[Span, ...]:
    pieces: list[Span] = []
    rest = [new.window]
    for span in spans:
        shared = span.window.overlap(new.window)
        if shared is None:
            pieces.append(span)
        elif strength[new.state] < strength[span.state]:
            pieces.append(span)
            rest = subtract(rest, [span.window])
        else:
            pieces += (Span(window=part, state=span.state) for part in subtract([span.window], [shared]))
    pieces += (Span(window=part, state=new.state) for part in rest)
    return tuple(_joined(sorted(pieces, key=lambda span: span.window.start)))


def subtract(windows: Iterable[TimeWindow], taken: Iterable[TimeWindow]) -> list[TimeWindow]:
    """What is left of `windows` without `taken`, in order."""
    left = sorted(windows)
    for hole in taken:
        left = [part for window in left for part in _without(window, hole)]
    return left


def union(windows: Iterable[TimeWindow]) -> list[TimeWindow]:
    """The windows in order, with those that overlap or touch joined."""
    joined: list[TimeWindow] = []
    for window in sorted(windows):
        if joined and window.start <= joined[-1].end:
            joined[-1] = TimeWindow(joined[-1].start, max(joined[-1].end, window.end))
        else:
            joined.append(window)
    return joined


def read_windows(spans: Iterable[Span]) -> list[TimeWindow]:
    """The stretches that were read, final or not, in order and joined."""
    return union(span.window for span in spans if span.state in (SpanState.FINAL, SpanState.PROVISIONAL))


def _without(window: TimeWindow, hole: TimeWindow) -> list[TimeWindow]:
    if window.overlap(hole) is None:
        return [window]
    parts = []
    if window.start < hole.start:
        parts.append(TimeWindow(window.start, hole.start))
    if hole.end < window.end:
        parts.append(TimeWindow(hole.end, window.end))
    return parts


def _joined(spans: Iterable[Span]) -> list[Span]:
    joined: list[Span] = []
    for span in spans:
        if joined and joined[-1].state is span.state and joined[-1].window.end == span.window.start:
            joined[-1] = Span(window=TimeWindow(joined[-1].window.start, span.window.end), state=span.state)
        else:
            joined.append(span)
    return joined
