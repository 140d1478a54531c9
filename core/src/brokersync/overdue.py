"""Connections that nobody could read in time: what they have lost is written down and told without reading them."""

from __future__ import annotations

from collections.abc import Sequence

from brokersync.errors import BrokerAuthError
from brokersync.events import EventSink
from brokersync.records import Connection, Lease
from brokersync.shared import Shared
from brokersync.sync.commit import PageWriter, Target
from brokersync.sync.losses import LossWriter, deadline_of
from brokersync.sync.report import ReportBuilder


async def note_losses(shared: Shared, connection: Connection, lease: Lease, events: EventSink) -> None:
    """Write down what a connection has lost by now, and until when it loses no more.

    A run does the same as it begins to read; but a login that is refused, a pause, or a broker that is away may keep it
    from that for weeks, and its user would not be told. Raises `BrokerConfigError` where the plugin is gone.
    """
    manifest, now = shared.registry.manifest(connection.provider), shared.clock.now()
    readable = await _readable(shared, connection)
    report = ReportBuilder(
        owner=connection.owner, provider=connection.provider, connection_id=connection.connection_id, started_at=now
    )
    target = Target(
        owner=connection.owner, provider=connection.provider, connection_id=connection.connection_id, lease=lease
    )
    writer = PageWriter(
        target=target, manifest=manifest, store=shared.store, clock=shared.clock, events=events, report=report
    )
    losses = LossWriter(
        connection=connection,
        manifest=manifest,
        store=shared.store,
        writer=writer,
        events=events,
        report=report,
        readable=readable,
    )
    for source in manifest.sources:
        if not source.files and (readable is None or source.name in readable):
            await losses.note(source, now)
    deadline = await deadline_of(shared.store, connection, manifest, now=now, readable=readable)
    # what forgets by the minute is told of a few times a day
    following = None if deadline is None else max(deadline, now + shared.settings.sync_every)
    await shared.store.change_connection(connection.connection_id, deadline=following)


async def _readable(shared: Shared, connection: Connection) -> Sequence[str] | None:
    try:
        grant, _ = await shared.vault.load(connection)
    except BrokerAuthError:
        return None
    return grant.auth.sources
