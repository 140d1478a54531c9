"""Why a part of a day was not read, and when it will be. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from brokersync.explaining.explanation import SourceState
from brokersync.explaining.failing import failed, worst
from brokersync.explaining.known import Known, Login, due_from, is_due, readers_of, why_without
from brokersync.manifest import SourceSpec
from brokersync.records import ConnectionState
from brokersync.sync.plan import request_name
from brokersync.sync.untold import untold
from brokersync.types import TimeWindow


def in_the_way(known: Known, source: SourceSpec, window: TimeWindow) -> tuple[SourceState, str]:
    """Why a window of which nothing is known was not read."""
    if source.files and source.covers:
        return SourceState.NO_FILE, "no statement that tells of this day was imported"
    if source.files:
        return SourceState.NO_FILE, "its files add trades, and do not tell which days they hold"
    if not known.logins:
        return SourceState.NOT_ASKED, "no connection reads this account; connect it to go on"
    readers = readers_of(known, source)
    if not readers:
        return SourceState.NOT_ASKED, why_without(known.manifest, source)
    for login in readers:
        if found := _begun(login, source, window):
            return SourceState.WAITS, found
    for login in readers:
        if found := _failed(login, source, window):
            return SourceState.FAILED, found
    return _to_come(known, source, window, readers)


def _to_come(known: Known, source: SourceSpec, window: TimeWindow, readers: Sequence[Login]) -> tuple[SourceState, str]:
    """When a day will be read that nothing keeps from being read, or why it will not."""
    if is_due(known, source, window):
        return SourceState.UNREAD, "not read yet" + _next(readers, known.now)
    if moment := due_from(known, source, window):
        return SourceState.LATER, f"it can be read from {moment:%Y-%m-%d %H:%M} UTC on{_idle(readers)}"
    since = [one.connection.since for one in readers if one.connection.since]
    if since and min(since) > window.start:
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
    failing = login.failing.get(source.name, {})
    windows = (*failing.get(request_name(source, (login.account,)), ()), *untold(source, login.account, failing, ()))
    # what is put off with its whole connection waits for that
    active = login.connection.state is ConnectionState.ACTIVE
    found = [one for one in windows if one.window.overlap(window) and (one.failures or active)]
    return failed(worst(found)) if found else ""


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
