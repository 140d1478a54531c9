"""Which connections are due, and running them: one, or all whose time has come."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from brokersync.arguments import checked
from brokersync.closing import closed_to
from brokersync.connections import Connections
from brokersync.errors import BrokerConfigError, ClosedError, StoreError
from brokersync.events import EventSink, SyncFailed, no_events
from brokersync.incidents import Incident, share
from brokersync.listening import all_of, harmless
from brokersync.manifest import Manifest
from brokersync.overdue import note_overdue
from brokersync.records import Connection, Deferred, Done
from brokersync.runner import Run, RunOptions
from brokersync.settling import transition
from brokersync.states import Cause, moved
from brokersync.sync.deadline import Urgency, urgency
from brokersync.upkeep import GrantUpkeep

_PRUNED_EVERY = timedelta(hours=1)


class Scheduling(Connections):
    """Runs connections, pauses them, and knows whose turn it is."""

    @checked
    async def run(
        self,
        connection_id: str,
        *,
        owner: str | None = None,
        sources: Sequence[str] | None = None,
        again_from: datetime | None = None,
        events: EventSink = no_events,
    ) -> Done | Deferred:
        """Bring a connection's trades up to date, as far as it goes without a long wait.

        Repeating it is safe at any time. It is `Deferred` while another worker is at it, the broker is away, or its
        owner has paused it. With `owner` another owner's connection is as unknown as none. Raises `BrokerAuthError`
        when the user must log in again, which the connection then says too, and `BrokerConfigError` when the operator
        must act.
        """
        known = await self.connection(connection_id, owner)
        if sources is not None:
            _check_sources(sources, self._shared.registry.manifest(known.provider))
        options = RunOptions(sources=sources, again_from=again_from)
        async with self._shared.locks[f"sync|{connection_id}"]:
            connection = known if self._shared.underway.closed else await self.connection(connection_id, owner)
            return await self._tracked(connection, options, events)

    @checked
    async def due(self, owner: str | None = None, *, now: datetime | None = None) -> tuple[Connection, ...]:
        """The connections of an owner, or of all, whose time has come; what perishes first comes first.

        Of a broker's environment that is away it is one at most, which probes it; those that have waited are spread
        over a minute when it is back.
        """
        now = now or self._shared.clock.now()
        healths = await self._store.broker_healths()
        incidents = {(one.provider, one.environment): one.incident for one in healths if one.incident}
        waits = [place for place, one in incidents.items() if one.closed_at is None and now < one.probe_at]
        by_place: dict[tuple[str, str], list[Connection]] = {}
        for connection in await self._store.due_connections(owner, now, waits):
            by_place.setdefault((connection.provider, connection.environment), []).append(connection)
        ready: list[Connection] = []
        for place, waiting in by_place.items():
            ready += _ready(waiting, incidents[place], now) if place in incidents else waiting
        return tuple(sorted(ready, key=lambda one: self._rank(one, now)))

    @checked
    async def run_due(
        self, owner: str | None = None, *, concurrency: int = 8, events: EventSink = no_events
    ) -> Mapping[str, Done | Deferred | Exception]:
        """Run once each connection that is due, so many at a time, and answer how each ended, by connection.

        What fails for one keeps no other from being run and is its answer. One that another worker has is left to it.
        While a broker is closed for maintenance none of its connections is run, unless it would lose something then.
        Of connections that nobody can read, what they lose is written down and told. Grants that would lapse are
        renewed on the way, see `renew_grants`, and once an hour what is older than it is to
        be kept is deleted, as `prune` does. Call it every minute or so: from a loop, a task queue or cron, in as many
        processes as you like.
        """
        ends: dict[str, Done | Deferred | Exception] = {}
        places = asyncio.Semaphore(concurrency)

        async def run(connection: Connection) -> None:
            async with places:
                try:
                    ends[connection.connection_id] = await self._in_background(connection, events)
                except Exception as error:  # noqa: BLE001  a bug met by one connection is its answer, as any error is
                    ends[connection.connection_id] = error

        underway = self._shared.underway
        now = self._shared.clock.now()
        due = await underway.until_closed(self.due(owner, now=now))
        ready = [one for one in due if closed_to(self._shared, one, now) is None]
        async with asyncio.TaskGroup() as group:
            for connection in ready:
                if connection.connection_id not in self._shared.runs:
                    group.create_task(run(connection), name=f"sync of {connection.connection_id}")
        return {**await self._look_after(owner, events), **ends}

    async def _look_after(self, owner: str | None, events: EventSink) -> Mapping[str, Exception]:
        """What has to be done now and then beside the syncs; the bugs that connections have met by it."""
        underway, upkeep = self._shared.underway, GrantUpkeep(self._shared)
        with suppress(StoreError):  # what the store says to the next call is soon enough
            await underway.until_closed(upkeep.renew_idle(owner))
        bugs = upkeep.bugs
        with suppress(StoreError):
            await underway.until_closed(self._note_overdue(owner, all_of(harmless(events), self._shared.events), bugs))
        with suppress(StoreError):  # what is left is pruned the next time
            await underway.until_closed(self._prune_now_and_then())
        return bugs

    async def _note_overdue(self, owner: str | None, events: EventSink, bugs: dict[str, Exception]) -> None:
        """What no run could read in time is lost all the same, and its user is told."""
        shared = self._shared
        for one in await self._store.overdue_connections(owner, shared.clock.now()):
            if one.connection_id in shared.runs:
                continue
            try:
                await note_overdue(shared, one, events)
            except StoreError:
                raise
            except Exception as error:  # noqa: BLE001  what is wrong with one connection keeps no other from being told
                bugs[one.connection_id] = error
                said = "What it has lost meanwhile could not be written down; that is tried again."
                names = {"provider": one.provider, "connection_id": one.connection_id}
                events(SyncFailed(**names, error=type(error).__name__, message=said))

    async def _prune_now_and_then(self) -> None:
        if await self._is_this_ones("prune", _PRUNED_EVERY):
            await self._store.prune(self._shared.clock.now(), self._shared.settings.keep)

    async def _is_this_ones(self, what: str, every: timedelta) -> bool:
        """Whether it is for this process to do something now that one of all is to do every so often."""
        now, holder = self._shared.clock.now(), secrets.token_hex(8)
        # nobody gives this lease back
        lease = await self._store.take_lease(what, owner="", holder=holder, now=now, until=now + every)
        return lease.holder == holder

    @checked
    async def pause(self, connection_id: str, *, owner: str | None = None) -> Connection:
        """Leave a connection alone until `resume`; a sync under way here ends at its next page."""
        await self.connection(connection_id, owner)
        self.cancel(connection_id)
        return await self._move(
            connection_id, Cause.PAUSED, "Its owner has paused it.", "Resume it when it is to be synced again."
        )

    @checked
    async def resume(self, connection_id: str, *, owner: str | None = None) -> Connection:
        """Sync a paused connection again, from now on."""
        await self.connection(connection_id, owner)
        return await self._move(connection_id, Cause.RESUMED, None, None)

    @checked
    def cancel(self, connection_id: str, *, owner: str | None = None) -> bool:
        """Have a sync of this process end at its next page, which makes it `Deferred`; `False` when there is none.

        To cancel the task that awaits `run` is as safe, and does not wait for the page.
        """
        run = self._shared.runs.get(connection_id)
        if run is None or owner not in (None, run.owner):
            return False
        run.stop()
        return True

    @checked
    async def incidents(self, *, open_only: bool = False) -> tuple[Incident, ...]:
        """The times in which a broker's environment was away for everybody, newest first."""
        return tuple(one for one in await self._store.incidents() if not open_only or one.closed_at is None)

    async def _in_background(self, connection: Connection, events: EventSink) -> Done | Deferred:
        async with self._shared.locks[f"sync|{connection.connection_id}"]:
            return await self._tracked(connection, RunOptions(only_due=True), events)

    async def _tracked(self, connection: Connection, options: RunOptions, events: EventSink) -> Done | Deferred:
        """Run until closing ends it, which is no error of the caller's."""
        shared, name = self._shared, connection.connection_id
        run = Run(shared, connection, options, events)
        if shared.underway.closed:
            return run.put_off(shared.clock.now(), "brokersync was closed before this was begun.")
        shared.runs[name] = run
        try:
            return await shared.underway.until_closed(run())
        except ClosedError:
            return run.put_off(shared.clock.now(), "brokersync was closed while this was read.")
        finally:
            shared.runs.pop(name, None)

    async def _move(self, connection_id: str, cause: Cause, reason: str | None, remedy: str | None) -> Connection:
        change = await self._store.move_connection(
            connection_id, lambda known: moved(known, cause, reason=reason, remedy=remedy)
        )
        if change is None:
            return await self.connection(connection_id)
        if (event := transition(*change)) is not None:
            self._shared.events(event)
        return change[1]

    def _rank(self, connection: Connection, now: datetime) -> tuple[int, datetime, datetime]:
        settings = self._shared.settings
        urgent: Urgency = urgency(
            now=now, deadline=connection.deadline, every=settings.sync_every, margin=settings.perishable_margin
        )
        return -urgent, connection.next_at or connection.created_at, connection.created_at


def _ready(waiting: Sequence[Connection], incident: Incident, now: datetime) -> list[Connection]:
    if incident.closed_at is not None:
        return [one for one in waiting if now >= incident.closed_at + share(one.connection_id)]
    # another one each time: what is wrong with one connection must not keep the broker from being seen back
    in_turn = sorted(waiting, key=lambda one: not (one.doubted_since is None and one.failing_since is None))
    return [in_turn[incident.probes % len(in_turn)]]


def _check_sources(wanted: Sequence[str] | None, manifest: Manifest) -> None:
    """Raises `BrokerConfigError` when none of these sources can be read."""
    names = [source.name for source in manifest.sources if not source.files]
    if wanted is not None and not wanted:
        raise BrokerConfigError("The list of sources is empty.", remedy="Name one, or leave it out for all of them.")
    if wanted is not None and not set(wanted).intersection(names):
        raise BrokerConfigError(
            f"{manifest.display_name} has no source {', '.join(map(repr, wanted))} to read from.",
            remedy=f"Its sources are: {', '.join(names) or 'files only'}.",
            provider=manifest.key,
        )
