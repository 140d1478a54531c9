"""When a sync reads far behind what is covered, for corrections that came later than usual. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from brokersync.manifest import SourceSpec
from brokersync.records import Connection

# each sync of that day does, as one that waits for its broker goes on in the next
_LASTS = timedelta(days=1)


def again_from(sources: Iterable[SourceSpec], connection: Connection, now: datetime) -> datetime | None:
    """From when on a sync of the connection reads what is covered as well, where one of its sources wants it now.

    Counted from the day of connecting, so that not all connections do it on one day. Who does not sync on the day does
    so in the next sync.
    """
    begins = [
        turn - one.back
        for source in sources
        for one in source.rereads
        if (turn := _last_turn(connection.created_at, one.every, now)) is not None
        and (connection.last_synced_at is None or connection.last_synced_at < turn + _LASTS)
    ]
    return min(begins, default=None)


def _last_turn(start: datetime, every: timedelta, now: datetime) -> datetime | None:
    every = max(every, _LASTS)
    turns = (now - start) // every
    return start + turns * every if turns > 0 else None
