"""When a connection must be read at the latest, and when to read it next. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from enum import IntEnum

from brokersync.incidents import share
from brokersync.maintenance import MaintenanceWindow, closed_from, closed_until
from brokersync.manifest import CalendarUnit, Manifest, Retention, SourceScope, SourceSpec
from brokersync.records import Connection, Span
from brokersync.sync.days import next_day
from brokersync.sync.plan import still_open
from brokersync.types import BrokerAccount

_LAST_CHANCE = 10
_PROBE_OF_A_LOGIN = timedelta(days=1)

SpansOfSource = Mapping[tuple[str, str], Sequence[Span]]


class Urgency(IntEnum):
    """How soon something is lost for ever; a higher one is read first.

    `NEAR`: before the next ordinary sync; `CLOSE`: within the margin; `LAST`: within a tenth of it.
    """

    NONE = 0
    NEAR = 1
    CLOSE = 2
    LAST = 3


def last_safe_moment(
    manifest: Manifest,
    accounts: Sequence[BrokerAccount],
    spans: Mapping[str, SpansOfSource],
    *,
    now: datetime,
    since: datetime | None = None,
    readable: Sequence[str] | None = None,
) -> datetime | None:
    """Until when everything that can still be had must be read; `None` where nothing perishes.

    `spans` are known per source, and there per (environment, account id); `readable` are the sources that the login
    may read, all where that is not known.
    """
    moments = [
        moment
        for source in manifest.sources
        if not source.files and (readable is None or source.name in readable)
        for moment in _moments(source, accounts, spans.get(source.name, {}), now, since)
    ]
    return min(moments, default=None)


def _moments(
    source: SourceSpec, accounts: Sequence[BrokerAccount], spans: SpansOfSource, now: datetime, since: datetime | None
) -> Iterator[datetime]:
    if source.retention is Retention.SESSION and (accounts or source.scope is SourceScope.LOGIN):
        yield next_day(now, source.calendar)
    # another source tells for good what a source that withdraws tells early, so nothing perishes with it
    if source.retention is not Retention.LIMITED or source.look_back is None or source.withdraws:
        return
    for account in accounts:
        known = spans.get((account.environment, account.account_id), ())
        for gap in still_open(source, account, known, now=now, since=since)[:1]:
            yield _forgets(source, gap.start, source.look_back, now)


def _forgets(source: SourceSpec, start: datetime, look_back: timedelta, now: datetime) -> datetime:
    safe = start + look_back
    if safe > now or source.calendar.unit is CalendarUnit.INSTANT:
        return safe
    # the source may be forgetting this day by the hour already; until the day is over it is worth asking
    return next_day(start, source.calendar) + look_back


def next_sync(
    *,
    now: datetime,
    synced_at: datetime | None,
    deadline: datetime | None,
    every: timedelta,
    margin: timedelta,
    maintenance: Sequence[MaintenanceWindow] = (),
) -> datetime:
    """When to sync next: `every` so often, `margin` before the deadline, and once more at a tenth of it.

    Where the broker is closed then it may answer nothing, so it is also read `margin` before it closes.

    `synced_at` is when the last sync began, and `deadline` what held then or holds now. Never in the past.
    """
    if synced_at is None:
        return now
    moments = [synced_at + every]
    if deadline is not None:
        closes = closed_from(maintenance, deadline - margin)
        early = () if closes is None else (closes - margin,)
        moments += [moment for moment in (*early, *_alarms(deadline, margin)) if moment > synced_at]
    return max(now, min(moments))


def next_probe(*, now: datetime, deadline: datetime | None, margin: timedelta) -> datetime:
    """When to try a login that waits for its user: once a day, and before something is lost, if it was an outage."""
    return next_sync(now=now, synced_at=now, deadline=deadline, every=_PROBE_OF_A_LOGIN, margin=margin)


def _alarms(deadline: datetime, margin: timedelta) -> tuple[datetime, datetime]:
    return deadline - margin, deadline - margin / _LAST_CHANCE


def kept_out_until(
    connection: Connection, moment: datetime, maintenance: Sequence[MaintenanceWindow], *, margin: timedelta
) -> datetime | None:
    """When a sync may begin that is to begin in a broker's maintenance; those that wait are spread over a minute.

    One whose history is lost before the broker opens again is let in `margin` before that: what can be had then is all
    that can.
    """
    opens = closed_until(maintenance, moment)
    if opens is None:
        return None
    if connection.deadline is not None and moment <= connection.deadline <= opens:
        opens = connection.deadline - margin
        if moment >= opens:
            return None
    return opens + share(connection.connection_id)


def urgency(*, now: datetime, deadline: datetime | None, every: timedelta, margin: timedelta) -> Urgency:
    """How urgent a sync is now; what is past its deadline can not be saved by hurrying."""
    if deadline is None or deadline < now or deadline - now > max(every, margin):
        return Urgency.NONE
    first, last = _alarms(deadline, margin)
    if now >= last:
        return Urgency.LAST
    return Urgency.CLOSE if now >= first else Urgency.NEAR
