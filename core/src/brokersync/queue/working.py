"""Jobs of a `BrokerSync`: submitting them, and working them off."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import attrs

from brokersync.arguments import checked
from brokersync.closing import maintenance_of
from brokersync.errors import BrokerConfigError
from brokersync.events import EventSink, JobsCounted, no_events
from brokersync.jobs import Job, JobCounts, JobPlace
from brokersync.listening import all_of, harmless
from brokersync.queue.handling import JobHandler
from brokersync.queue.opening import open_engine
from brokersync.queue.planner import job_of, planned_at
from brokersync.queue.worker import Worker
from brokersync.records import Connection, ConnectionState, Deferred, Done
from brokersync.runner import RunOptions
from brokersync.scheduling import Scheduling
from brokersync.shared import Shared
from brokersync.underway import until_closed

_LATELY: Final = timedelta(minutes=10)


class Working(Scheduling):
    """Has connections synced by workers, in this process or in any other."""

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._engine = open_engine(shared)

    @until_closed
    @checked
    async def sync_now(self, connection_id: str, *, owner: str | None = None) -> None:
        """Have a worker sync a connection as soon as it can, whether it is due or not.

        It has a place before what is merely due. Asking again for what waits or is under way adds nothing. Raises
        `BrokerConfigError` for a connection that is paused.
        """
        connection = await self.connection(connection_id, owner)
        if connection.state is ConnectionState.PAUSED:
            raise BrokerConfigError(
                f"The connection {connection_id} is paused by its owner.", remedy="Resume it to have it synced."
            )
        await self._engine.submit(job_of(connection, self._shared.clock.now(), asked=True))

    @until_closed
    @checked
    async def job_counts(self) -> JobCounts:
        """How many jobs wait and run, of all owners and workers."""
        return await self._engine.counts()

    @until_closed
    @checked
    async def job_places(self, owner: str) -> tuple[JobPlace, ...]:
        """Of each of the owner's jobs: whether it is under way, else where it stands and when it is expected."""
        now, places = self._shared.clock.now(), []
        for place in await self._engine.places(owner):
            expected: datetime | None = place.job.at
            if place.position:
                ended = await self._store.jobs.ended(place.job.provider, place.job.environment, now - _LATELY)
                expected = now + _LATELY * place.position / ended if ended else None
            places.append(attrs.evolve(place, expected_at=None if place.running else expected))
        return tuple(places)

    @checked
    def worker(
        self,
        *,
        concurrency: int | None = None,
        stop_within: timedelta | None = None,
        events: EventSink = no_events,
    ) -> Worker:
        """A worker of this process, which syncs what is due and what is asked for; see `Worker.run`.

        What is not given is as the settings have it. Any number of processes may have one.
        """
        queue = self._shared.settings.queue
        return Worker(
            self._shared,
            self._engine,
            JobHandler(self._shared, self._run_job, events),
            plan=self._plan,
            look_after=partial(self._look_after_all, events),
            concurrency=queue.concurrency if concurrency is None else concurrency,
            stop_within=queue.stop_within if stop_within is None else stop_within,
        )

    async def _look_after_all(self, events: EventSink) -> None:
        await self._look_after(None, events)
        counts, now = await self._engine.counts(), self._shared.clock.now()
        oldest = timedelta(0) if counts.oldest is None else max(now - counts.oldest, timedelta(0))
        told = JobsCounted(ready=counts.ready, later=counts.later, running=counts.running, oldest=oldest)
        all_of(harmless(events), self._shared.events)(told)

    async def _take_jobs_back(self, connections: Sequence[Connection]) -> None:
        for connection in connections:
            await self._engine.cancel(connection.connection_id)

    async def _run_job(self, connection: Connection, job: Job, events: EventSink) -> Done | Deferred:
        async with self._shared.locks[f"sync|{connection.connection_id}"]:
            return await self._tracked(connection, RunOptions(only_due=not job.asked), events)

    async def _plan(self) -> None:
        """Submit what is due; of all workers one does it at a time."""
        shared, now = self._shared, self._shared.clock.now()
        if not await self._is_this_ones("plan", shared.settings.queue.plan_every):
            return
        troubled = {(one.provider, one.environment) for one in await self._store.broker_healths() if one.incident}
        jobs = []
        for one in await self.due():
            probes = (one.provider, one.environment) in troubled
            at = now if probes else planned_at(one, now, shared.settings, maintenance_of(shared, one.provider))
            jobs.append(attrs.evolve(job_of(one, now), at=at))
        await self._engine.submit(*jobs)
