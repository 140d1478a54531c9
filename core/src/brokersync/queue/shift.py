"""One worker's run through the jobs of a store."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from math import inf
from typing import Any

from brokersync.clock import CLOCKS_DIFFER
from brokersync.config import Settings
from brokersync.errors import StoreError
from brokersync.jobs import Job
from brokersync.provider import Clock
from brokersync.queue.bell import Bell
from brokersync.queue.engine import Defer, Handler
from brokersync.queue.fair import Fair, would_be_lost
from brokersync.queue.promises import Promises
from brokersync.store import JobTable

_BEATS_PER_HOLD = 3
_RESTS_PER_LOOK = 20
# who is woken finds the jobs of a worker that died all the same
_LOOKS_PER_HOLD = 2
# a store that takes longer to answer says that this process has more under way than it can do at a time
_BUSY = 0.1
_RESTS_PER_BUSY = 2
_LONGEST_BUSY_REST = 1.0
_BEGUN_AT_ONCE = 32
# stands for a job that another worker put back; no connection has this id
_WHATEVER = ""


class Shift:
    """Takes jobs as it has places for them and runs each; looks for them all the time, or when a bell wakes it."""

    def __init__(
        self,
        table: JobTable,
        clock: Clock,
        settings: Settings,
        handler: Handler,
        holder: str,
        places: int,
        bell: Bell | None = None,
    ) -> None:
        self._table, self._clock, self._handler, self._holder = table, clock, handler, holder
        self._queue, self._margin, self._bell = settings.queue, settings.perishable_margin, bell
        self._fair = Fair(places, self._queue.reserved(places))
        self._promises = Promises(self._fair, settings.long_wait)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._elsewhere: dict[str, datetime] = {}
        self._back: dict[str, tuple[Job, datetime]] = {}
        self._coming: dict[str, datetime] = {}
        self._news, self._stopping = asyncio.Event(), False
        self._look_at = self._busy_until = 0.0
        self._next_at: datetime | None = None
        self._looking: asyncio.Task[bool] | None = None
        # those that came before the last look, and those that came since
        self._heard: list[asyncio.Future[bool]] = []
        self._unheard: list[asyncio.Future[bool]] = []

    def stop(self) -> None:
        self._stopping = True
        self._news.set()

    def look(self) -> None:
        """See `Sleeper`."""
        self._look_at = 0.0
        self._news.set()

    def room(self) -> int:
        """See `Sleeper`."""
        return 0 if self._stopping else self._fair.free

    async def woken(self) -> bool:
        """See `Sleeper`. It is kept waiting while jobs wait for a place here, so that others are woken meanwhile."""
        if self._stopping:
            return False
        wake: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._unheard.append(wake)
        if not self._fair.waits:  # else it looks once in a while anyway
            self.look()
        return await wake

    async def work(self, *, until_empty: bool) -> None:
        beating = asyncio.create_task(self._beat(), name=f"holds of {self._holder}")
        try:
            while not self._stopping:
                self._news.clear()
                if await self._fill(until_empty) and until_empty and not self._tasks:
                    return
                await self._rest()
            self._answer([*self._heard, *self._unheard], looked=False)
            while self._tasks:
                await asyncio.wait(self._tasks.values())
        finally:
            self._stopping = True
            self._answer([*self._heard, *self._unheard], looked=False)
            left: list[asyncio.Task[Any]] = [beating, *self._tasks.values()]
            left += [self._looking] if self._looking is not None else []
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            await self._leave()

    async def _fill(self, until_empty: bool) -> bool:
        """Give the free places to jobs; whether the store was asked, and there are none."""
        try:
            looked = await self._looked(wait=until_empty)
            self._promises.pass_on(self._clock.now())
            while chosen := self._chosen():
                await self._take(chosen)
        except StoreError:
            if until_empty:
                raise
            # a store that is away for a while ends no worker; what it had chosen waits there
            for name in self._fair.under_way - self._tasks.keys():
                self._fair.ended(name)
            self._look_at = 0.0
            return False
        if not self._fair.waits:
            self._answer(self._heard, looked=True)
            self._heard = []
        return looked and not self._busy

    async def _looked(self, *, wait: bool) -> bool:
        """Look where it is time to; what was seen before is given out meanwhile, since a look may take long."""
        if self._looking is not None and self._looking.done():
            ended, self._looking = self._looking, None
            return ended.result()
        if self._looking is not None or (self._tasks and not self._is_time()):
            return False
        if wait:
            return await self._look_again()
        self._looking = asyncio.create_task(self._look_again(), name=f"look of {self._holder}")
        self._looking.add_done_callback(lambda _: self._news.set())
        return False

    async def _take(self, chosen: Sequence[Job]) -> None:
        """Begin what no other worker has, and no more for a while where that took long.

        What is begun beyond what a process can do comes late for the instants that its calls were promised.
        """
        loop, now = asyncio.get_running_loop(), self._clock.now()
        asked = loop.time()
        taken = await self._table.take([job.connection_id for job in chosen], self._holder, now, now + self._queue.hold)
        answered = loop.time()
        if answered - asked > _BUSY:
            self._busy_until = answered + min(_RESTS_PER_BUSY * (answered - asked), _LONGEST_BUSY_REST)
        for job in chosen:
            self._begin(job, taken)

    def _answer(self, wakes: Sequence[asyncio.Future[bool]], *, looked: bool) -> None:
        for wake in wakes:
            if not wake.done():
                wake.set_result(looked)

    def _is_time(self) -> bool:
        due = self._next_at is not None and self._clock.now() >= self._next_at
        return due or asyncio.get_running_loop().time() >= self._look_at

    async def _look_again(self) -> bool:
        now, began, woken = self._clock.now(), asyncio.get_running_loop().time(), len(self._unheard)
        self._look_at = inf
        self._elsewhere = {name: until for name, until in self._elsewhere.items() if until > now}
        self._coming = {name: at for name, at in self._coming.items() if at > now}
        ready = await self._table.ready(now)
        waiting = [job for job in ready if job.connection_id not in self._elsewhere]
        await self._expect(now, early=woken > 0 and not waiting)
        await self._pass_on(ready, now)
        self._fair.load(waiting, would_be_lost(now, self._margin), self._promises.forget(now))
        self._promises.rest()
        self._heard += self._unheard[:woken]
        self._unheard = self._unheard[woken:]
        ended = asyncio.get_running_loop().time()
        rest = max(self._queue.look_every.total_seconds(), _RESTS_PER_LOOK * (ended - began))
        # somebody may have said meanwhile that there is more
        self._look_at = min(self._look_at, ended + rest)
        return True

    async def _expect(self, now: datetime, *, early: bool) -> None:
        """Note when to look again; who was woken and finds nothing may have been woken by a clock that is ahead."""
        at = await self._table.next_at(now, self._promises.coming()) if early or not self._is_woken else None
        if at is not None and self._is_woken and at <= now + CLOCKS_DIFFER:
            self._coming[_WHATEVER] = at
        soon = [*self._elsewhere.values(), *self._coming.values()]
        if at is not None and not self._is_woken:
            soon.append(at)
        self._next_at = min(soon, default=None)

    async def _pass_on(self, ready: Sequence[Job], now: datetime) -> None:
        """Wake somebody else for what is not to be done here."""
        for_others = {job.connection_id for job in ready} & self._elsewhere.keys()
        if for_others and self._bell is not None:
            await self._bell.ring(dict.fromkeys(for_others, now + self._queue.look_every))

    @property
    def _is_woken(self) -> bool:
        return self._bell is not None and self._bell.rings

    def _chosen(self) -> list[Job]:
        chosen: list[Job] = []
        while len(chosen) < _BEGUN_AT_ONCE and not self._busy and (job := self._fair.next()) is not None:
            chosen.append(job)
        return chosen

    @property
    def _busy(self) -> bool:
        return asyncio.get_running_loop().time() < self._busy_until

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
        if (back := self._back.pop(name, None)) is not None:
            self._promises.comes(*back)
        self._news.set()

    async def _do(self, job: Job) -> None:
        try:
            later = await self._handled(job)
        except asyncio.CancelledError:
            await self._put_back(job, self._clock.now())
            raise
        if later is not None:
            await self._put_back(job, later.until, promised=later.promised)
            return
        with suppress(StoreError):  # the hold ends, and whoever has the job then finds nothing to do
            await self._table.end(job.connection_id, self._holder)

    async def _handled(self, job: Job) -> Defer | None:
        """When the job is to be taken up again."""
        try:
            await self._handler(job)
        except Defer as later:
            if later.promised:
                self._promises.made(job, later.until, lane=later.lane)
            if later.elsewhere:
                self._elsewhere[job.connection_id] = later.until + self._queue.hold
            return later
        except Exception:  # noqa: BLE001  whoever gave the handler knows what it raised; the job is done
            return None
        return None

    async def _put_back(self, job: Job, at: datetime, *, promised: bool = False) -> None:
        if not promised:
            self._coming[job.connection_id] = at
            self._next_at = at if self._next_at is None else min(at, self._next_at)
        with suppress(StoreError):  # the hold ends, and the job is free then
            await self._table.put_back(job.connection_id, self._holder, at)
            if promised:
                self._back[job.connection_id] = (job, at)
            if self._bell is not None:
                await self._bell.ring({job.connection_id: at})

    async def _leave(self) -> None:
        """What was taken just then, or could not be ended, is for the others."""
        with suppress(StoreError):
            left = await self._table.give_back(self._holder)
            if left and self._bell is not None:
                await self._bell.ring(dict.fromkeys(left, self._clock.now()))

    async def _rest(self) -> None:
        """Until there is something to do, or it is time to look for it."""
        wait = self._queue.look_every
        if self._is_woken and not self._fair.waits and not self._unheard:
            wait = self._queue.hold / _LOOKS_PER_HOLD
        # a look that is under way says when it has ended; to wait for what it looks for would be to wait for nothing
        look_at = None if self._looking is not None else self._next_at
        for at in (look_at, self._promises.next_at):
            if at is not None:
                wait = min(wait, max(at - self._clock.now(), timedelta(0)))
        seconds = wait.total_seconds()
        if self._busy:
            seconds = min(seconds, self._busy_until - asyncio.get_running_loop().time())
        with suppress(TimeoutError):
            # the loop's time, not the clock's: it goes on whatever a test's clock does. And no `wait_for`, which in
            # Python 3.11 loses a cancellation that comes together with the event
            async with asyncio.timeout(seconds):
                await self._news.wait()

    async def _beat(self) -> None:
        """Say that this worker is alive; a loop that is blocked says nothing."""
        while True:
            await asyncio.sleep(self._queue.hold.total_seconds() / _BEATS_PER_HOLD)
            if self._tasks:
                with suppress(StoreError):
                    await self._table.hold([*self._tasks], self._holder, self._clock.now() + self._queue.hold)
