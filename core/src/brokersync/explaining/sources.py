"""What each source of an account says of one day: coverage first, then what stands in its way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Final

from brokersync.explaining.days import beside, booked_later, day_in
from brokersync.explaining.explanation import SourceAnswer, SourceState
from brokersync.explaining.known import Known, is_due
from brokersync.explaining.obstacles import in_the_way
from brokersync.manifest import SelectsBy, SourceSpec
from brokersync.records import SpanState
from brokersync.sync.days import day_floor, stretch_text
from brokersync.sync.ledger import subtract, union
from brokersync.sync.retention import repair, what_may_follow
from brokersync.types import TimeWindow

_READ: Final = {SpanState.FINAL, SpanState.PROVISIONAL}
_NOTHING_MISSING: Final = {*_READ, SpanState.UNAVAILABLE}
_Parts = Mapping[SpanState | None, Sequence[TimeWindow]]


def answers(known: Known, day: date) -> tuple[SourceAnswer, ...]:
    """What each source of the manifest says of the day."""
    return tuple(_answer(known, source, day) for source in known.manifest.sources)


def _answer(known: Known, source: SourceSpec, day: date) -> SourceAnswer:
    window, by_booking = day_in(day, source), source.selects_by is SelectsBy.BOOKED
    around = [one for one in beside(day, source, known.manifest) if one.start < known.now]
    state, words = _state(known, source, window, around)
    reading = known.readings.get(source.name)
    return SourceAnswer(
        source=source.name,
        state=state,
        words=words,
        day=window,
        zone=source.calendar.zone,
        by_booking=by_booking,
        unread_after=_unread_after(known, source, window) if by_booking else None,
        unread_beside=tuple(_unread_beside(known, source, around, state)),
        read_at=reading.at if reading else None,
        asked=reading.asked if reading else None,
        skipped=reading.skipped if reading else {},
    )


def _unread_after(known: Known, source: SourceSpec, window: TimeWindow) -> date | None:
    """The first day after it on which its trades may be booked and which is not read to its end."""
    for later, day in booked_later(window, source):
        if day.end > known.now or not _parts(known, source, day).keys() <= _NOTHING_MISSING:
            return later
    return None


def _unread_beside(known: Known, source: SourceSpec, around: Iterable[TimeWindow], state: SourceState) -> Iterator[str]:
    """What beside a day that was read was not and why; beside one that is final also what is not final itself."""
    for window in around if state in (SourceState.FINAL, SourceState.PROVISIONAL) else ():
        parts = _parts(known, source, window)
        missing = list(_missing(known, source, parts))
        for part, _, words in missing:
            yield f"{stretch_text(part, source.calendar.zone)} ({words.rstrip('.')})"
        if state is SourceState.FINAL and not missing and (window.end > known.now or SpanState.PROVISIONAL in parts):
            yield f"{stretch_text(window, source.calendar.zone)} (still provisional)"


def _state(
    known: Known, source: SourceSpec, window: TimeWindow, around: Sequence[TimeWindow]
) -> tuple[SourceState, str]:
    if window.start >= known.now:
        # where it is the day already by another calendar, that is all there is to read of it
        return _state(known, source, around[-1], ()) if around else (SourceState.FUTURE, "the day has not begun there")
    parts = _parts(known, source, window)
    if parts.keys() <= _READ:
        return _read(known, source, window, parts)
    missing = list(_missing(known, source, parts))
    if len(parts) == 1 and len(missing) == 1:
        return missing[0][1:]
    told = "; ".join(f"{stretch_text(part, source.calendar.zone)}: {words}" for part, _, words in missing)
    if parts.keys() & _READ:
        return SourceState.PARTLY, f"a part of it was read; the rest: {told}"
    return missing[0][1], told


def _read(known: Known, source: SourceSpec, window: TimeWindow, parts: _Parts) -> tuple[SourceState, str]:
    if window.end <= known.now and SpanState.PROVISIONAL not in parts:
        return SourceState.FINAL, "read completely"
    due = not source.files and is_due(known, source, window)
    if window.end > known.now and not due and known.logins:
        return SourceState.PROVISIONAL, "read so far: the day is not over"
    follows = what_may_follow([source], window, known.now, due=due, connected=bool(known.logins))
    return SourceState.PROVISIONAL, f"read, and still provisional: {follows}"


def _parts(known: Known, source: SourceSpec, window: TimeWindow) -> _Parts:
    """The parts of what is past of a day by what is known of them; `None` stands for nothing."""
    past = TimeWindow(window.start, min(window.end, known.now))
    found: dict[SpanState | None, list[TimeWindow]] = {}
    for span in known.spans.get(source.name, ()):
        if part := span.window.overlap(past):
            found.setdefault(span.state, []).append(part)
    left = subtract([past], [part for parts in found.values() for part in parts])
    new = _since_the_last_read(known, source)
    if unread := [part for part in left if not found or new is None or part.start < new]:
        found[None] = unread
    return found


def _since_the_last_read(known: Known, source: SourceSpec) -> datetime | None:
    """Up to when the running day is read; what went by since then is not missing yet."""
    begun = day_floor(known.now, source.calendar)
    if begun == known.now:
        return None
    unread = subtract([TimeWindow(begun, known.now)], [span.window for span in known.spans.get(source.name, ())])
    return unread[-1].start if unread and unread[-1].end == known.now and unread[-1].start > begun else None


def _missing(known: Known, source: SourceSpec, parts: _Parts) -> Iterator[tuple[TimeWindow, SourceState, str]]:
    """The parts that were not read and why, what may still be read first; the same is said once of neighbours."""
    for part in parts.get(None, ()):
        yield part, *in_the_way(known, source, part)
    for part in union(parts.get(SpanState.LOST, ())):
        yield part, SourceState.LOST, f"lost before it was read. {_repair(known, source, part)}"
    for part in union(parts.get(SpanState.UNAVAILABLE, ())):
        yield part, SourceState.UNAVAILABLE, f"{known.manifest.display_name} has never had it there"


def _repair(known: Known, source: SourceSpec, window: TimeWindow) -> str:
    readable = known.logins[0].readable if known.logins else None
    return repair(known.manifest, source, window, known.now, readable)
