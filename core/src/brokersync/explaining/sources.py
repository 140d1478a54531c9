"""What each source of an account says of one day: coverage first, then what stands in its way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import attrs

from brokersync.explaining.explanation import SourceAnswer, SourceState
from brokersync.explaining.failing import failed
from brokersync.explaining.readings import Reading
from brokersync.manifest import Manifest, SelectsBy, SourceSpec
from brokersync.records import Connection, ConnectionState, FailedWindow, OpenRequest, Span, SpanState
from brokersync.sync.history import SourceHistory, source_histories
from brokersync.sync.ledger import subtract
from brokersync.sync.plan import request_name
from brokersync.sync.retention import repair, what_may_follow
from brokersync.types import BrokerAccount, TimeWindow

# a trade of the evening before a long weekend is booked on the day after it
_BOOKED_WITHIN: Final = 4
_WEEKEND: Final = (5, 6)
_NOTHING_MISSING: Final = {SpanState.FINAL, SpanState.PROVISIONAL, SpanState.UNAVAILABLE}


@attrs.frozen(kw_only=True)
class Login:
    """A connection that sees the account: what it has begun, what fails, and which sources it may read."""

    connection: Connection
    account: BrokerAccount
    begun: Sequence[OpenRequest]
    failing: Mapping[str, Mapping[str, Sequence[FailedWindow]]]
    readable: Sequence[str] | None


@attrs.frozen(kw_only=True)
class Known:
    """All that is known of one account's history."""

    manifest: Manifest
    spans: Mapping[str, Sequence[Span]]
    logins: Sequence[Login]
    readings: Mapping[str, Reading]
    now: datetime


def day_window(day: date, source: SourceSpec) -> TimeWindow:
    """The day as the source's calendar has it."""
    starts, zone = time.fromisoformat(source.calendar.day_starts), ZoneInfo(source.calendar.zone)
    start, end = (datetime.combine(one, starts, zone).astimezone(UTC) for one in (day, day + timedelta(days=1)))
    return TimeWindow(start, end)


def answers(known: Known, day: date) -> tuple[SourceAnswer, ...]:
    """What each source of the manifest says of the day."""
    return tuple(_answer(known, source, day) for source in known.manifest.sources)


def _answer(known: Known, source: SourceSpec, day: date) -> SourceAnswer:
    window, by_booking = day_window(day, source), source.selects_by is SelectsBy.BOOKED
    state, words = _state(known, source, window)
    reading = known.readings.get(source.name)
    return SourceAnswer(
        source=source.name,
        state=state,
        words=words,
        day=window,
        zone=source.calendar.zone,
        by_booking=by_booking,
        unread_after=_unread_after(known, source, day) if by_booking else None,
        read_at=reading.at if reading else None,
        asked=reading.asked if reading else None,
        skipped=reading.skipped if reading else {},
    )


def _unread_after(known: Known, source: SourceSpec, day: date) -> date | None:
    """The first day after it on which its trades may be booked and which is not read to its end."""
    spans = known.spans.get(source.name, ())
    for later in (day + timedelta(days=ahead) for ahead in range(1, _BOOKED_WITHIN + 1)):
        window = day_window(later, source)
        over = window.end <= known.now
        if later.weekday() not in _WEEKEND and not (over and _said(spans, window, known.now) <= _NOTHING_MISSING):
            return later
    return None


def _state(known: Known, source: SourceSpec, window: TimeWindow) -> tuple[SourceState, str]:
    if window.start >= known.now:
        return SourceState.FUTURE, "the day has not begun there"
    said = _said(known.spans.get(source.name, ()), window, known.now)
    if said == {SpanState.FINAL}:
        return SourceState.FINAL, "read completely"
    if said <= {SpanState.FINAL, SpanState.PROVISIONAL} and said:
        return SourceState.PROVISIONAL, f"read, and still provisional: {_again(known, source, window)}"
    if said == {SpanState.LOST}:
        return SourceState.LOST, f"lost before it was read. {_repair(known, source, window)}"
    if said == {SpanState.UNAVAILABLE}:
        return SourceState.UNAVAILABLE, f"{known.manifest.display_name} has never had it there"
    state, words = _in_the_way(known, source, window)
    read = said & {SpanState.FINAL, SpanState.PROVISIONAL}
    if read and not source.files:
        return SourceState.PARTLY, f"a part of it was read; the rest: {words}"
    return state, words


def _said(spans: Iterable[Span], window: TimeWindow, now: datetime) -> set[SpanState | None]:
    """Every state that a part of the day is in; `None` stands for what nothing is known of."""
    past = TimeWindow(window.start, min(window.end, now))
    inside = [span for span in spans if span.window.overlap(past)]
    said: set[SpanState | None] = {span.state for span in inside}
    left = subtract([past], [span.window for span in inside])
    # a running day is read up to the last sync
    return said | {None} if left and not (said and window.end > now) else said


def _again(known: Known, source: SourceSpec, window: TimeWindow) -> str:
    due = not source.files and _due(known, source, window)
    return what_may_follow(due=due, files=source.files)


def _due(known: Known, source: SourceSpec, window: TimeWindow) -> bool:
    return any(due.overlap(window) for one in _histories(known, source) for due in one.due)


def _due_from(known: Known, source: SourceSpec, window: TimeWindow) -> datetime | None:
    """From when on it can be asked for what it can not be asked for yet."""
    later = [day for one in _histories(known, source) for day in one.later]
    return min((day.since for day in later if day.window.overlap(window)), default=None)


def _histories(known: Known, source: SourceSpec) -> Iterator[SourceHistory]:
    """What the source says by each login that may read it."""
    for login in _readers(known, source):
        one = login.connection
        histories = source_histories(
            known.manifest, login.account, known.spans, now=known.now, since=one.since, connected_at=one.created_at
        )
        yield next(one for one in histories if one.source == source.name)


def _readers(known: Known, source: SourceSpec) -> list[Login]:
    return [one for one in known.logins if one.readable is None or source.name in one.readable]


def _in_the_way(known: Known, source: SourceSpec, window: TimeWindow) -> tuple[SourceState, str]:
    """Why a day of which nothing is known was not read."""
    if source.files:
        return SourceState.NO_FILE, "no statement that tells of this day was imported"
    if not known.logins:
        return SourceState.NOT_ASKED, "no connection reads this account; connect it to go on"
    readers = _readers(known, source)
    if not readers:
        return SourceState.NOT_ASKED, "the login has no right to it"
    for login in readers:
        if found := _begun(login, source, window):
            return SourceState.WAITS, found
    for login in readers:
        if found := _failed(login, source, window):
            return SourceState.FAILED, found
    return _to_come(known, source, window, readers)


def _to_come(known: Known, source: SourceSpec, window: TimeWindow, readers: Sequence[Login]) -> tuple[SourceState, str]:
    """When a day will be read that nothing keeps from being read, or why it will not."""
    if _due(known, source, window):
        return SourceState.UNREAD, "not read yet" + _next(readers, known.now)
    if moment := _due_from(known, source, window):
        return SourceState.LATER, f"it can be read from {moment:%Y-%m-%d %H:%M} UTC on{_idle(readers)}"
    since = [one.connection.since for one in readers if one.connection.since]
    if since and min(since) >= window.end:
        return SourceState.NOT_ASKED, f"not asked for: the connection reads from {min(since):%Y-%m-%d} on"
    return SourceState.NOT_ASKED, "not asked for: it lies outside of what this source is read for"


def _begun(login: Login, source: SourceSpec, window: TimeWindow) -> str:
    name = request_name(source, (login.account,))
    for one in login.begun:
        if (one.source, one.account) == (source.name, name) and one.window.overlap(window):
            when = f" and is ready after {one.resume_at:%Y-%m-%d %H:%M} UTC" if one.resume_at else ""
            return f"begun and not finished: the answer is under way{when}; the next sync goes on with it"
    return ""


def _failed(login: Login, source: SourceSpec, window: TimeWindow) -> str:
    windows = login.failing.get(source.name, {}).get(request_name(source, (login.account,)), ())
    for one in windows:
        # what is put off with its whole connection waits for that
        if one.window.overlap(window) and (one.failures or login.connection.state is ConnectionState.ACTIVE):
            return failed(one)
    return ""


def _next(readers: Sequence[Login], now: datetime) -> str:
    if idle := _idle(readers):
        return idle
    moments = [one.connection.next_at for one in readers if one.connection.next_at]
    if not moments:
        return "; the next sync reads it"
    first = min(moments)
    due = "has been due since" if first < now else "is due"
    return f"; the next sync {due} {first:%Y-%m-%d %H:%M} UTC"


def _idle(readers: Sequence[Login]) -> str:
    idle = [one.connection for one in readers if one.connection.state is not ConnectionState.ACTIVE]
    if len(idle) < len(readers):
        return ""
    return f", and the connection is not synced ({idle[0].state.value.replace('_', ' ')}): {idle[0].reason or ''}"


def _repair(known: Known, source: SourceSpec, window: TimeWindow) -> str:
    readable = known.logins[0].readable if known.logins else None
    return repair(known.manifest, source, window, known.now, readable)
