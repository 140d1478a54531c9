"""When the job of a connection that is due may begin. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from brokersync.config import Settings
from brokersync.incidents import share
from brokersync.jobs import Job
from brokersync.maintenance import MaintenanceWindow
from brokersync.records import Connection
from brokersync.sync.deadline import Urgency, kept_out_until, urgency

_PART_OF_A_PERIOD: Final = 10


def job_of(connection: Connection, now: datetime, *, asked: bool = False) -> Job:
    """A job that may begin now."""
    return Job(
        connection_id=connection.connection_id,
        owner=connection.owner,
        provider=connection.provider,
        environment=connection.environment,
        at=now,
        deadline=connection.deadline,
        asked=asked,
    )


def planned_at(
    connection: Connection, now: datetime, settings: Settings, maintenance: Sequence[MaintenanceWindow] = ()
) -> datetime:
    """When the sync of a connection that is due is to begin.

    A sync that is routine is put off by the connection's own part of `queue.spread`, so that those which became due
    together drift apart. What was never synced, has failed, or would be lost begins now, unless the broker is closed.
    """
    at = _spread(connection, now, settings)
    return kept_out_until(connection, at, maintenance, margin=settings.perishable_margin) or at


def _spread(connection: Connection, now: datetime, settings: Settings) -> datetime:
    routine = connection.last_synced_at is not None and connection.next_at is not None
    troubled = connection.failing_since is not None or connection.doubted_since is not None
    urgent = urgency(
        now=now, deadline=connection.deadline, every=settings.sync_every, margin=settings.perishable_margin
    )
    if connection.next_at is None or not routine or troubled or urgent is not Urgency.NONE:
        return now
    spread = min(settings.queue.spread, settings.sync_every / _PART_OF_A_PERIOD)
    return max(now, connection.next_at + share(connection.connection_id, spread))
