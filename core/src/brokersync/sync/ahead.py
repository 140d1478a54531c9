"""What a clock that was ahead has said of history."""

from __future__ import annotations

from datetime import datetime

from brokersync.clock import CLOCKS_DIFFER
from brokersync.manifest import SourceSpec
from brokersync.records import Connection, Lease
from brokersync.store import Known, Store
from brokersync.sync.days import floor
from brokersync.sync.plan import reach


async def take_back_the_future(
    store: Store, connection: Connection, source: SourceSpec, known: Known, *, now: datetime, lease: Lease | None
) -> Known:
    """What such a clock has closed is open again, back to where the source is not yet final; what is known then.

    Nor can it have told what the source has forgotten.
    """
    moments = [span.window.end for each in known.spans.values() for span in each]
    moments += [moment for moment in (connection.last_synced_at, connection.failing_since) if moment]
    if all(moment <= now + CLOCKS_DIFFER for moment in moments):
        return known
    await store.take_back(
        connection,
        source.name,
        after=now + CLOCKS_DIFFER,
        to=floor(now - source.finality_lag, source.calendar),
        gives_from=reach(source, now),
        lease=lease,
    )
    return await store.known(connection, source.name)
