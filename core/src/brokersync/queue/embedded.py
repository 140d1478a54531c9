"""The engine whose jobs stand in the store that everything else stands in, so there is nothing more to run."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from brokersync.config import Settings
from brokersync.jobs import Job, JobCounts, JobPlace
from brokersync.provider import Clock
from brokersync.queue.bell import Bell
from brokersync.queue.engine import Handler, do_nothing
from brokersync.queue.fair import in_order, would_be_lost
from brokersync.queue.shift import Shift
from brokersync.store import JobTable

_AT_ONCE = 500


class EmbeddedEngine:
    """A `JobEngine` in the store: durable, and for any number of processes on any number of machines.

    A worker holds a job for `queue.hold` at a time and extends that while its loop runs; the job of one that is dead,
    stopped or stuck is free when its hold ends. That two have one job at once then is harmless: the lease of the sync
    is what keeps them apart. Workers look for jobs by themselves, or are woken by a `bell`.
    """

    def __init__(
        self, table: JobTable, clock: Clock, settings: Settings, worker: str, bell: Bell | None = None
    ) -> None:
        self._table, self._clock, self._settings, self._worker = table, clock, settings, worker
        self._bell = bell
        self._shift: Shift | None = None
        self._stopping = False

    async def submit(self, *jobs: Job) -> int:
        """See `JobEngine`."""
        new = 0
        for first in range(0, len(jobs), _AT_ONCE):
            some = jobs[first : first + _AT_ONCE]
            done = await self._table.submit(some)
            new += len(done.new)
            if self._bell is not None:
                wakes = done.new | done.sooner
                # who asks again is heard, even where the first wake-up was lost
                wakes |= {job.connection_id for job in some if job.asked}
                await self._bell.ring({job.connection_id: job.at for job in some if job.connection_id in wakes})
        if self._shift is not None:
            self._shift.look()
        return new

    async def cancel(self, connection_id: str) -> bool:
        """See `JobEngine`."""
        withdrawn = await self._table.withdraw(connection_id, self._clock.now())
        if self._bell is not None:
            await self._bell.hush(connection_id)
        return withdrawn

    async def run(
        self,
        handler: Handler,
        *,
        concurrency: int,
        until_empty: bool = False,
        on_started: Callable[[], None] = do_nothing,
    ) -> None:
        """See `JobEngine`."""
        holder = f"{self._worker}-{secrets.token_hex(4)}"
        shift = Shift(self._table, self._clock, self._settings, handler, holder, concurrency, self._bell)
        self._shift = shift
        try:
            if self._stopping:
                return
            if self._bell is None or until_empty:  # what is there already is found without being woken
                on_started()
                await shift.work(until_empty=until_empty)
            else:
                async with self._bell.listening(shift, holder):
                    on_started()
                    await shift.work(until_empty=False)
        finally:
            self._shift, self._stopping = None, False

    def stop(self) -> None:
        """See `JobEngine`."""
        self._stopping = True
        if self._shift is not None:
            self._shift.stop()

    async def counts(self) -> JobCounts:
        """See `JobEngine`."""
        return await self._table.counts(self._clock.now())

    async def places(self, owner: str) -> tuple[JobPlace, ...]:
        """See `JobEngine`."""
        now = self._clock.now()
        own = await self._table.of_owner(owner, now)
        places: Mapping[str, int] = {}
        if any(not held and job.at <= now for job, held in own):
            places = positions(await self._table.ready(now), now, self._settings)
        return tuple(
            JobPlace(job=job, running=held, position=0 if held else places.get(job.connection_id, 0))
            for job, held in own
        )

    async def aclose(self) -> None:
        """See `JobEngine`."""
        if self._bell is not None:
            await self._bell.aclose()


def positions(ready: Iterable[Job], now: datetime, settings: Settings) -> Mapping[str, int]:
    """Of each connection, the how manieth it is in its lane."""
    counts: Counter[str] = Counter()
    found = {}
    for job in in_order(ready, would_be_lost(now, settings.perishable_margin)):
        counts[job.lane] += 1
        found[job.connection_id] = counts[job.lane]
    return found
