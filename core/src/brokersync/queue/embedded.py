"""The default engine: the jobs stand in the store that everything else stands in, so there is nothing more to run."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from math import inf

from brokersync.config import Settings
from brokersync.errors import StoreError
from brokersync.jobs import Job, JobCounts, JobPlace
from brokersync.provider import Clock
from brokersync.queue.engine import Defer, Handler
from brokersync.queue.fair import Fair, in_order
from brokersync.store import JobTable

_AT_ONCE = 500
_BEATS_PER_HOLD = 3
_RESTS_PER_LOOK = 20


class EmbeddedEngine:
    """A `JobEngine` in the store: durable, and for any number of processes on any number of machines.

    A worker holds a job for `queue.hold` at a time and extends that while its loop runs; the job of one that is dead,
    stopped or stuck is free when its hold ends. That two have one job at once then is harmless: the lease of the sync
    is what keeps them apart.
    """

    def __init__(self, table: JobTable, clock: Clock, settings: Settings, worker: str) -> None:
        self._table, self._clock, self._settings, self._worker = table, clock, settings, worker
        self._shift: _Shift | None = None
        self._stopping = False

    async def submit(self, *jobs: Job) -> int:
        """See `JobEngine`."""
        new = 0
        for first in range(0, len(jobs), _AT_ONCE):
            new += await self._table.submit(jobs[first : first + _AT_ONCE])
        if self._shift is not None:
            self._shift.look()
        return new

    async def cancel(self, connection_id: str) -> bool:
        """See `JobEngine`."""
        return await self._table.withdraw(connection_id, self._clock.now())

    async def run(self, handler: Handler, *, concurrency: int, until_empty: bool = False) -> None:
        """See `JobEngine`."""
        holder = f"{self._worker}-{secrets.token_hex(4)}"
        self._shift = _Shift(self._table, self._clock, self._settings, handler, holder, concurrency)
        try:
            if not self._stopping:
                await self._shift.work(until_empty=until_empty)
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


def would_be_lost(now: datetime, margin: timedelta) -> Callable[[Job], bool]:
    """Of which jobs the deadline is near; what is past it can not be saved by hurrying."""
    return lambda job: job.deadline is not None and now <= job.deadline <= now + margin


def positions(ready: Iterable[Job], now: datetime, settings: Settings) -> Mapping[str, int]:
    """Of each connection, the how manieth it is in its lane."""
    counts: Counter[str] = Counter()
    found = {}
    for job in in_order(ready, would_be_lost(now, settings.perishable_margin)):
        counts[job.lane] += 1
        found[job.connection_id] = counts[job.lane]
    return found


class _Shift:
    """One `run` of the engine."""

    def __init__(
        self, table: JobTable, clock: Clock, settings: Settings, handler: Handler, holder: str, places: int
    ) -> None:
        self._table, self._clock, self._handler, self._holder = table, clock, handler, holder
        self._queue, self._margin = settings.queue, settings.perishable_margin
        self._fair = Fair(places, self._queue.reserve)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._resting: dict[str, datetime] = {}
        self._news, self._stopping = asyncio.Event(), False
        self._look_at = 0.0
        self._next_at: datetime | None = None

    def stop(self) -> None:
        self._stopping = True
        self._news.set()

    def look(self) -> None:
        """There may be more to do than what was seen last."""
        self._look_at = 0.0
        self._news.set()

    async def work(self, *, until_empty: bool) -> None:
        beating = asyncio.create_task(self._beat(), name=f"holds of {self._holder}")
        try:
            while not self._stopping:
                self._news.clear()
                if await self._fill(until_empty) and until_empty and not self._tasks:
                    return
                await self._rest()
            while self._tasks:
                await asyncio.wait(self._tasks.values())
        finally:
            left = [beating, *self._tasks.values()]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _fill(self, until_empty: bool) -> bool:
        """Give the free places to jobs; whether the store was asked, and there are none."""
        try:
            looked = await self._look_again() if not self._tasks or self._is_time() else False
            while chosen := self._chosen():
                names = [job.connection_id for job in chosen]
                now = self._clock.now()
                taken = await self._table.take(names, self._holder, now, now + self._queue.hold)
                for job in chosen:
                    self._begin(job, taken)
        except StoreError:
            if until_empty:
                raise
            # a store that is away for a while ends no worker; what it had chosen waits there
            for name in self._fair.under_way - self._tasks.keys():
                self._fair.ended(name)
            return False
        return looked

    def _is_time(self) -> bool:
        due = self._next_at is not None and self._clock.now() >= self._next_at
        return due or asyncio.get_running_loop().time() >= self._look_at

    async def _look_again(self) -> bool:
        now, began = self._clock.now(), asyncio.get_running_loop().time()
        self._look_at = inf
        self._fair.drop()  # else what was seen before would stand in memory beside what is seen now
        self._resting = {name: until for name, until in self._resting.items() if until > now}
        ready = await self._table.ready(now)
        soon = [*self._resting.values(), *filter(None, [await self._table.next_at(now)])]
        self._next_at = min(soon, default=None)
        waiting = [job for job in ready if not self._resting.keys() & {job.lane, job.connection_id}]
        self._fair.load(waiting, would_be_lost(now, self._margin))
        ended = asyncio.get_running_loop().time()
        rest = max(self._queue.look_every.total_seconds(), _RESTS_PER_LOOK * (ended - began))
        # somebody may have said meanwhile that there is more
        self._look_at = min(self._look_at, ended + rest)
        return True

    def _chosen(self) -> list[Job]:
        chosen = []
        while (job := self._fair.next()) is not None:
            chosen.append(job)
        return chosen

    def _begin(self, job: Job, taken: frozenset[str]) -> None:
        name = job.connection_id
        if name not in taken:
            self._fair.ended(name)
            return
        self._tasks[name] = asyncio.create_task(self._do(job), name=f"job of {name}")
        self._tasks[name].add_done_callback(lambda _: self._ended(name))

    def _ended(self, name: str) -> None:
        del self._tasks[name]
        self._fair.ended(name)
        self._news.set()

    async def _do(self, job: Job) -> None:
        try:
            again = await self._handled(job)
        except asyncio.CancelledError:
            await self._put_back(job, self._clock.now())
            raise
        if again is None:
            with suppress(StoreError):  # the hold ends, and whoever has the job then finds nothing to do
                await self._table.end(job.connection_id, self._holder)
        else:
            await self._put_back(job, again)

    async def _handled(self, job: Job) -> datetime | None:
        """When the job is to be taken up again."""
        try:
            await self._handler(job)
        except Defer as later:
            if later.lane:
                self._resting.setdefault(job.lane, later.until)
                self.look()
            if later.elsewhere:
                self._resting[job.connection_id] = later.until + self._queue.hold
            return later.until
        except Exception:  # noqa: BLE001  whoever gave the handler knows what it raised; the job is done
            return None
        return None

    async def _put_back(self, job: Job, at: datetime) -> None:
        self._next_at = at if self._next_at is None else min(at, self._next_at)
        with suppress(StoreError):  # the hold ends, and the job is free then
            await self._table.put_back(job.connection_id, self._holder, at)

    async def _rest(self) -> None:
        """Until there is something to do, or it is time to look for it."""
        wait = self._queue.look_every
        if self._next_at is not None:
            wait = min(wait, max(self._next_at - self._clock.now(), timedelta(0)))
        with suppress(TimeoutError):
            # the loop's time, not the clock's: it goes on whatever a test's clock does. And no `wait_for`, which in
            # Python 3.11 loses a cancellation that comes together with the event
            async with asyncio.timeout(wait.total_seconds()):
                await self._news.wait()

    async def _beat(self) -> None:
        """Say that this worker is alive; a loop that is blocked says nothing."""
        while True:
            await asyncio.sleep(self._queue.hold.total_seconds() / _BEATS_PER_HOLD)
            if self._tasks:
                with suppress(StoreError):
                    await self._table.hold([*self._tasks], self._holder, self._clock.now() + self._queue.hold)
