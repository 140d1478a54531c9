"""Windows that keep failing, and the smaller ones that are asked in their place. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final

import attrs

from brokersync.errors import BrokerNotReadyError
from brokersync.manifest import Calendar, CalendarUnit
from brokersync.records import FailedWindow
from brokersync.sync.days import floor, next_day
from brokersync.sync.ledger import subtract
from brokersync.types import TimeWindow

ENOUGH: Final = 2
NOT_READY: Final = BrokerNotReadyError.__name__
DENIED: Final = "Denied"
_SHORTEST = timedelta(hours=1)
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


def failed(known: Sequence[FailedWindow], window: TimeWindow, *, reason: str, at: datetime) -> tuple[FailedWindow, ...]:
    """What is known of one account's failing windows after another failure; they never overlap.

    A part of a window that has failed before carries that window's count on.
    """
    before = max((one.failures for one in known if one.window.overlap(window)), default=0)
    new = FailedWindow(window=window, failures=before + 1, reason=reason, at=at)
    # the rest has not been asked for on its own, so one failure is all that is held against it
    rest = (
        part if part in known else attrs.evolve(part, failures=min(part.failures, 1))
        for part in forgotten(known, window)
    )
    return tuple(sorted((*rest, new), key=lambda one: one.window))


def met(known: Sequence[FailedWindow], window: TimeWindow, *, reason: str, at: datetime) -> tuple[FailedWindow, ...]:
    """What is known after a failure that is not held against the window: no more than when it was, and why."""
    if not any(one.window.overlap(window) for one in known):
        new = FailedWindow(window=window, failures=0, reason=reason, at=at)
        return tuple(sorted((*known, new), key=lambda one: one.window))
    return tuple(_met_again(one, reason, at) if one.window.overlap(window) else one for one in known)


def _met_again(one: FailedWindow, reason: str, at: datetime) -> FailedWindow:
    if one.failures:
        return attrs.evolve(one, at=at)
    return FailedWindow(window=one.window, failures=0, reason=reason, at=at)


def is_only_not_ready(one: FailedWindow) -> bool:
    """Whether nothing but the broker's "not yet" is known of the window."""
    return not one.failures and one.reason == NOT_READY


def is_denied(one: FailedWindow) -> bool:
    """Whether the user has no right to it, so that asking again is of no use until that is mended."""
    return one.reason == DENIED


def put_off(
    known: Iterable[FailedWindow], window: TimeWindow, until: datetime, *, reason: str
) -> tuple[FailedWindow, ...]:
    """What is known when the broker wants not to be asked before then for a window that has just failed."""
    return tuple(
        attrs.evolve(one, not_before=until, reason=reason) if one.window.overlap(window) else one for one in known
    )


def put_off_until(known: Iterable[FailedWindow], window: TimeWindow, now: datetime) -> datetime | None:
    """Until when a window is to wait: for what is not ready that window alone, else all of its account.

    What was written by a clock that was ahead says nothing.
    """
    told = [
        one.not_before
        for one in known
        if one.not_before is not None
        and one.at <= now < one.not_before
        and (one.reason != NOT_READY or one.window.overlap(window))
    ]
    return max(told, default=None)


def in_line(failing: Mapping[str, Sequence[FailedWindow]], now: datetime) -> list[str]:
    """The requests that failed when they were last made, in the order of their turns: who waits longest is first.

    Who failed by a clock that was ahead might wait for ever, and so is first.
    """
    return sorted(filter(failing.get, failing), key=lambda name: last_at(failing[name], now))


def last_at(windows: Iterable[FailedWindow], now: datetime) -> datetime:
    """When one of these failed last; long ago for none."""
    return max((one.at for one in windows if one.at <= now), default=_LONG_AGO)


def forgotten(known: Iterable[FailedWindow], window: TimeWindow) -> tuple[FailedWindow, ...]:
    """What is left of the failing windows when `window` was read."""
    return tuple(attrs.evolve(one, window=part) for one in known for part in subtract([one.window], [window]))


def halved(windows: Iterable[TimeWindow], known: Sequence[FailedWindow], calendar: Calendar) -> list[TimeWindow]:
    """The windows cut so that what has failed is asked for on its own.

    A failing window stays whole until it has failed in two syncs and is then cut into halves, so far as its calendar
    can be cut: not below a day, nor below an hour where it counts in instants.
    """
    edges = [edge for one in known for edge in _edges(one, calendar)]
    return [piece for window in windows for piece in _split(window, edges)]


def _split(window: TimeWindow, edges: Iterable[datetime]) -> list[TimeWindow]:
    inside = sorted({edge for edge in edges if window.start < edge < window.end})
    return [TimeWindow(start, end) for start, end in pairwise((window.start, *inside, window.end))]


def middle(window: TimeWindow, calendar: Calendar, shortest: timedelta = _SHORTEST) -> datetime | None:
    """Where to halve a window; `None` for one day, and where instants are counted and a half is below `shortest`."""
    half = floor(window.start + window.length / 2, calendar)
    if calendar.unit is CalendarUnit.INSTANT:
        half = half.replace(microsecond=0)
        return half if min(half - window.start, window.end - half) >= shortest else None
    if half <= window.start:
        half = next_day(half, calendar)
    return half if window.start < half < window.end else None


def _edges(one: FailedWindow, calendar: Calendar) -> Iterator[datetime]:
    yield one.window.start
    yield one.window.end
    if one.failures >= ENOUGH and (half := middle(one.window, calendar)) is not None:
        yield half
