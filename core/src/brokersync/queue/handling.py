"""What a worker does with a job: it looks at the connection again, runs it, and says when to come back."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeAlias

from brokersync.closing import closed_to
from brokersync.errors import BrokerError
from brokersync.events import Event, EventSink, JobStuck, SyncRecorded
from brokersync.jobs import Job
from brokersync.queue.engine import Defer
from brokersync.records import Connection, ConnectionState, Deferred, Done
from brokersync.shared import Shared

RunConnection: TypeAlias = Callable[[Connection, Job, EventSink], Awaitable[Done | Deferred]]


class JobHandler:
    """The handler of a worker's engine. The connection's row decides what a job is worth when its turn has come."""

    def __init__(self, shared: Shared, run: RunConnection, events: EventSink) -> None:
        self._shared, self._run, self._events = shared, run, events
        self._under_way: set[str] = set()
        self._handing_over = False
        self.outcomes: Counter[str] = Counter()

    def hand_over(self) -> None:
        """Have the syncs that it runs end at their next page, to be gone on with by another worker.

        One that is only about to begin ends with its first sign of life.
        """
        self._handing_over = True
        for name in self._under_way:
            self._stop(name)

    def _stop(self, name: str) -> None:
        if (run := self._shared.runs.get(name)) is not None:
            run.stop(go_on=True)

    async def __call__(self, job: Job) -> None:
        """Raises `Defer` where the job is to come back."""
        connection = await self._shared.store.connection(job.connection_id)
        if connection is None or connection.state is ConnectionState.PAUSED:
            return
        now = self._shared.clock.now()
        if not job.asked and not _is_due(connection, now):
            if connection.next_at is None:
                return
            raise Defer(connection.next_at)
        if (opens := closed_to(self._shared, connection, now)) is not None:
            raise Defer(opens)
        self._under_way.add(job.connection_id)
        try:
            outcome = await self._watched(connection, job)
        except BrokerError:
            return  # the row says what comes next
        finally:
            self._under_way.discard(job.connection_id)
        if outcome is None:
            raise Defer(self._shared.clock.now(), elsewhere=True)
        if isinstance(outcome, Deferred):
            # where one process has all calls of a limit, whoever comes sooner need not ask
            alone = self._shared.settings.fleet.redis is None
            raise Defer(outcome.until, promised=outcome.for_all, lane=outcome.for_all and alone)

    async def _watched(self, connection: Connection, job: Job) -> Done | Deferred | None:
        """Run it as long as there is any sign of life; `None` where there was none for too long."""
        silence = self._shared.settings.queue.stuck_after
        loop = asyncio.get_running_loop()
        limit = asyncio.timeout(silence.total_seconds())

        def sign(event: Event) -> None:
            if isinstance(event, SyncRecorded):
                self.outcomes[event.outcome] += 1
            elif not limit.expired():
                limit.reschedule(loop.time() + silence.total_seconds())
            if self._handing_over:
                self._stop(job.connection_id)
            self._events(event)

        try:
            async with limit:
                return await self._run(connection, job, sign)
        except TimeoutError:
            if not limit.expired():
                raise
        names = {"provider": connection.provider, "connection_id": connection.connection_id}
        self._shared.events(JobStuck(**names, silent_for=silence))
        return None


def _is_due(connection: Connection, now: datetime) -> bool:
    if connection.next_at is None:
        return connection.state is ConnectionState.ACTIVE
    return connection.next_at <= now
