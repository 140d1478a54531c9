"""For how long a connection is left alone, since the broker or its owner has asked for it. Pure.

A process that begins anew knows nothing of what another one has frozen, so it is kept with the connection.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import attrs

from brokersync.config import Settings
from brokersync.records import Connection, ConnectionState

# a broker that means longer says so again; nonsense, or a clock that was ahead, is not believed for a year
_LONGEST: Final = timedelta(days=7)


def rest(connection: Connection, now: datetime, settings: Settings) -> tuple[datetime, str] | None:
    """Until when nothing of it is to be sent, and why; `None` where it may be synced."""
    if connection.state is ConnectionState.PAUSED:
        return now + settings.sync_every, "The connection is paused by its owner."
    until = connection.silent_until
    if until is None or not now < until <= now + _LONGEST:
        return None
    return until, "The broker wants to be left alone until then."


def silenced(until: datetime, now: datetime, settings: Settings) -> Callable[[Connection], Connection]:
    """Not to be synced before; what is no longer than a wait that nobody has asked for is left to the limiter."""

    end = min(until, now + _LONGEST)

    def rule(known: Connection) -> Connection:
        if end - now <= settings.retry.longest_wait:
            return known
        is_left_alone = known.state is not ConnectionState.ACTIVE and known.next_at is None
        due = None if is_left_alone else max(known.next_at or end, end)
        return attrs.evolve(known, silent_until=end, next_at=due)

    return rule
