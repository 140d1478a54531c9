"""Connections that nobody could read in time: what they have lost is written down and told without reading them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import datetime

from brokersync.errors import BrokerConfigError, BrokerError, LeaseLostError, StoreError
from brokersync.events import EventSink
from brokersync.holding import held
from brokersync.records import Connection, Lease
from brokersync.shared import Shared
from brokersync.sync.commit import PageWriter, Target
from brokersync.sync.losses import LossWriter, deadline_of
from brokersync.sync.report import ReportBuilder


async def note_overdue(
    shared: Shared, connection: Connection, events: EventSink, *, report: ReportBuilder | None = None
) -> None:
    """Write down what a connection has lost whose deadline has passed, and until when it loses no more.

    A run does the same as it begins to read; but a login that is refused, a pause, or a broker that is away may keep it
    from that for weeks, and its user would not be told. It is left to a worker that syncs the connection.
    """
    now = shared.clock.now()
    if not _is_overdue(connection, now):
        return
    report = report or ReportBuilder(
        owner=connection.owner, provider=connection.provider, connection_id=connection.connection_id, started_at=now
    )
    # who comes to need the plugin says what is wrong with it
    with suppress(BrokerConfigError, LeaseLostError):
        await _note_alone(shared, connection, events, report)


@asynccontextmanager
async def noted_overdue(
    shared: Shared, connection: Connection, events: EventSink, lease: Lease, report: ReportBuilder
) -> AsyncGenerator[None]:
    """The same around what reads the connection: before it, but for what that may give again, and where it fails."""
    overdue = _is_overdue(connection, shared.clock.now())
    if overdue:
        with suppress(BrokerConfigError):
            await _note(shared, connection, lease, events, report, before_reading=True)
    try:
        yield
    except StoreError:
        raise
    except BrokerError:
        if overdue:
            with suppress(BrokerConfigError):
                await _note(shared, connection, lease, events, report)
        raise


def _is_overdue(connection: Connection, now: datetime) -> bool:
    return connection.deadline is not None and connection.deadline <= now


async def _note_alone(shared: Shared, connection: Connection, events: EventSink, report: ReportBuilder) -> None:
    async with held(shared, f"sync|{connection.connection_id}", connection.owner) as own:
        if own is not None:
            await _note(shared, connection, own.lease, events, report)


async def _note(
    shared: Shared,
    connection: Connection,
    lease: Lease,
    events: EventSink,
    report: ReportBuilder,
    *,
    before_reading: bool = False,
) -> None:
    manifest, now = shared.registry.manifest(connection.provider), shared.clock.now()
    readable = await shared.readable(connection)
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
        clock=shared.clock,
        writer=writer,
        events=events,
        report=report,
        readable=readable,
    )
    for source in manifest.sources:
        if not source.files and (readable is None or source.name in readable):
            known = await shared.store.known(connection, source.name)
            await losses.note(source, known, before_reading=before_reading)
    if losses.left:
        return
    deadline = await deadline_of(shared.store, connection, manifest, now=now, readable=readable)
    # what forgets by the minute is told of a few times a day
    following = None if deadline is None else max(deadline, now + shared.settings.sync_every)
    await shared.store.change_connection(connection.connection_id, deadline=following)
