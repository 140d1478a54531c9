"""Which of the waiting jobs is next. Pure: no clock, no store."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final

import attrs

from brokersync.jobs import Job

# of the places that are free a lane takes so many times what it leaves, so that no broker ever has them all
_TIMES_WHAT_IS_LEFT: Final = 3


class Fair:
    """Gives each free place to a job: fair across brokers and across owners.

    Of all places `reserve`, which are fewer, are for jobs that somebody waits for. The others go to what would be lost
    first, and else to the broker with the fewest jobs under way, and there to who was promised an instant, or to the
    owner who has waited longest for a turn; an owner's own jobs that are waited for come before the owner's others.
    Each job that is given counts as under way until `ended`.
    """

    def __init__(self, places: int, reserve: int) -> None:
        self._places, self._reserve = places, reserve
        self._running: dict[str, tuple[str, bool]] = {}
        self._per_lane: Counter[str] = Counter()
        self._turns = _Turns()
        self._lanes: dict[str, _Lane] = {}
        self._is_urgent: Callable[[Job], bool] = lambda job: False

    def load(
        self, waiting: Iterable[Job], is_urgent: Callable[[Job], bool], promised: Collection[str] = frozenset()
    ) -> None:
        """These wait now, and besides them only who was called. The order of turns goes on from before."""
        called = [job for lane in self._lanes.values() for job in lane.called()]
        # what was there before goes first, or ten thousand jobs would take twice the memory meanwhile
        lanes = self._lanes = {}
        self._is_urgent = is_urgent
        for job in waiting:
            if job.connection_id not in self._running:
                if (lane := lanes.get(job.lane)) is None:
                    lane = lanes[job.lane] = _Lane(job.lane, self._turns)
                lane.add(job, urgent=is_urgent(job), promised=job.connection_id in promised)
        self._turns.keep({key for lane in lanes.values() for key in lane.waiters()})
        for lane in lanes.values():
            lane.begin()
        for job in called:
            if job.lane not in lanes or not lanes[job.lane].has(job):
                self.call(job)

    def call(self, job: Job) -> None:
        """It waits from now on, before all others of its broker, unless it is under way."""
        if job.connection_id in self._running:
            return
        if (lane := self._lanes.get(job.lane)) is None:
            lane = self._lanes[job.lane] = _Lane(job.lane, self._turns)
            lane.begin()
        lane.call(job, urgent=self._is_urgent(job))

    def rest(self, lane: str) -> None:
        """Of this lane only those have a turn that were promised an instant, until `wake` or the next `load`."""
        if lane in self._lanes:
            self._lanes[lane].rests = True

    def wake(self, lane: str) -> None:
        """All of this lane have turns again."""
        if lane in self._lanes:
            self._lanes[lane].rests = False

    @property
    def waits(self) -> bool:
        """Whether anything of the last `load` has no place yet."""
        return any(lane.waits() for lane in self._lanes.values())

    @property
    def free(self) -> int:
        """How many places nobody has."""
        return self._places - len(self._running)

    @property
    def under_way(self) -> set[str]:
        """The connections of the jobs that were given and have not ended."""
        return set(self._running)

    def next(self) -> Job | None:
        """The job that is to begin now, if there is a place for one."""
        if len(self._running) >= self._places:
            return None
        reserved = sum(of_reserve for _, of_reserve in self._running.values())
        if reserved < self._reserve and (job := self._pick(_Lane.may_be_asked, _Lane.next_asked)) is not None:
            return self._begin(job, of_reserve=True)
        if len(self._running) - reserved >= self._places - self._reserve:
            return None
        job = self._pick(_Lane.may_be_urgent, _Lane.next_urgent) or self._pick(_Lane.waits, _Lane.next_in_turn)
        return None if job is None else self._begin(job, of_reserve=False)

    def ended(self, connection_id: str) -> None:
        """The job is no longer under way here, or never was, since another worker has it."""
        lane, _ = self._running.pop(connection_id)
        self._per_lane[lane] -= 1
        if not self._per_lane[lane]:
            del self._per_lane[lane]

    def _begin(self, job: Job, *, of_reserve: bool) -> Job:
        self._running[job.connection_id] = (job.lane, of_reserve)
        self._per_lane[job.lane] += 1
        return job

    def _pick(self, may: Callable[[_Lane], bool], of: Callable[[_Lane], Job | None]) -> Job | None:
        room = _TIMES_WHAT_IS_LEFT * self.free
        lanes = [one for one in self._lanes.values() if may(one) and self._per_lane[one.name] < room]
        while lanes:
            lane = min(lanes, key=lambda one: (self._per_lane[one.name], self._turns[one.name]))
            if (job := of(lane)) is not None:
                self._turns.served(lane.name)
                return job
            lanes.remove(lane)
        return None


def would_be_lost(now: datetime, margin: timedelta) -> Callable[[Job], bool]:
    """Of which jobs the deadline is near; what is past it can not be saved by hurrying."""
    return lambda job: job.deadline is not None and now <= job.deadline <= now + margin


def in_order(waiting: Iterable[Job], is_urgent: Callable[[Job], bool]) -> Iterator[Job]:
    """All of them, as a single place would be given to them from now on."""
    fair = Fair(1, 0)
    fair.load(waiting, is_urgent)
    while (job := fair.next()) is not None:
        yield job
        fair.ended(job.connection_id)


class _Turns:
    """When each lane, and each owner in it, had its last turn, or came to wait for the first."""

    def __init__(self) -> None:
        self._last: dict[str | tuple[str, str, bool], int] = {}
        self._count = 0

    def __getitem__(self, key: str | tuple[str, str, bool]) -> int:
        return self._last.setdefault(key, self._count)

    def served(self, key: str | tuple[str, str, bool]) -> None:
        self._count += 1
        self._last[key] = self._count

    def keep(self, keys: set[str | tuple[str, str, bool]]) -> None:
        """Forget whoever waits no more."""
        self._last = {key: turn for key, turn in self._last.items() if key in keys}


@attrs.define
class _Lane:
    """The jobs that wait for one environment of a broker."""

    name: str
    _turns: _Turns
    rests: bool = False
    _waiting: set[str] = attrs.field(factory=set)
    _urgent: list[Job] = attrs.field(factory=list)
    _promised: list[Job] = attrs.field(factory=list)
    _called: list[Job] = attrs.field(factory=list)
    _of_owner: dict[tuple[str, str, bool], list[Job]] = attrs.field(factory=dict)
    _queues: dict[bool, _Queue] = attrs.field(factory=dict)

    def add(self, job: Job, *, urgent: bool, promised: bool) -> None:
        self._waiting.add(job.connection_id)
        if urgent:
            self._urgent.append(job)
        if promised:
            self._promised.append(job)
        self._of_owner.setdefault((self.name, job.owner, False), []).append(job)
        if job.asked:
            self._of_owner.setdefault((self.name, job.owner, True), []).append(job)

    def has(self, job: Job) -> bool:
        return job.connection_id in self._waiting

    def called(self) -> list[Job]:
        return [job for job in self._called if job.connection_id in self._waiting]

    def call(self, job: Job, *, urgent: bool) -> None:
        self._waiting.add(job.connection_id)
        self._called.append(job)
        self._promised.append(job)
        self._promised.sort(key=_oldest_last)
        if job.asked:
            self._queues[True].put((self.name, job.owner, True), job)
        if urgent:
            self._urgent.append(job)
            self._urgent.sort(key=_soonest_lost, reverse=True)

    def waits(self) -> bool:
        return any(job.connection_id in self._waiting for job in self._promised) if self.rests else bool(self._waiting)

    def may_be_urgent(self) -> bool:
        return bool(self._urgent)

    def may_be_asked(self) -> bool:
        return bool(self._promised if self.rests else self._queues[True])

    def waiters(self) -> Iterable[str | tuple[str, str, bool]]:
        return (self.name, *self._of_owner)

    def begin(self) -> None:
        """All are there."""
        self._urgent.sort(key=_soonest_lost, reverse=True)
        self._promised.sort(key=_oldest_last)
        for asked in (True, False):
            owners = {key: jobs for key, jobs in self._of_owner.items() if key[2] is asked}
            self._queues[asked] = _Queue(owners, self._turns)

    def next_urgent(self) -> Job | None:
        if self.rests:
            urgent = {job.connection_id for job in self._urgent}
            return self._promised_if(lambda job: job.connection_id in urgent)
        return self._last_of(self._urgent)

    def next_asked(self) -> Job | None:
        return self._promised_if(lambda job: job.asked) if self.rests else self._in_turn(self._queues[True])

    def next_in_turn(self) -> Job | None:
        # the broker's limit keeps that instant free for it, and nobody else could use it
        return self._last_of(self._promised) or (None if self.rests else self._in_turn(self._queues[False]))

    def _promised_if(self, suits: Callable[[Job], bool]) -> Job | None:
        for job in reversed(self._promised):
            if job.connection_id in self._waiting and suits(job):
                return self._given(job)
        return None

    def _last_of(self, jobs: list[Job]) -> Job | None:
        while jobs:
            if (job := jobs.pop()).connection_id in self._waiting:
                return self._given(job)
        return None

    def _in_turn(self, queue: _Queue) -> Job | None:
        job = queue.next(self._waiting)
        return None if job is None else self._given(job)

    def _given(self, job: Job) -> Job:
        self._waiting.discard(job.connection_id)
        return job


def _soonest_lost(job: Job) -> tuple[bool, datetime | None, datetime, str]:
    return job.deadline is None, job.deadline, job.at, job.connection_id


def _oldest_last(job: Job) -> tuple[float, str]:
    return -job.at.timestamp(), job.connection_id


def _first_last(job: Job) -> tuple[bool, datetime, str]:
    return not job.asked, job.at, job.connection_id


class _Queue:
    """Owners in the order of their turns, each with its jobs: at the end what is waited for, before it the oldest."""

    def __init__(self, owners: dict[tuple[str, str, bool], list[Job]], turns: _Turns) -> None:
        self._turns = turns
        self._jobs = owners
        for jobs in owners.values():
            if len(jobs) > 1:  # most owners have one, of whom there may be very many
                jobs.sort(key=_first_last, reverse=True)
        self._order = [(turns[key], jobs[-1].at, key) for key, jobs in owners.items()]
        heapq.heapify(self._order)

    def __bool__(self) -> bool:
        return bool(self._order)

    def put(self, key: tuple[str, str, bool], job: Job) -> None:
        """One more, before the owner's others."""
        self._jobs.setdefault(key, []).append(job)
        heapq.heappush(self._order, (self._turns[key], job.at, key))

    def next(self, waiting: set[str]) -> Job | None:
        while self._order:
            _, _, key = heapq.heappop(self._order)
            jobs = self._jobs[key]
            while jobs and jobs[-1].connection_id not in waiting:
                jobs.pop()
            if not jobs:
                continue
            job = jobs.pop()
            self._turns.served(key)
            if jobs:
                heapq.heappush(self._order, (self._turns[key], jobs[-1].at, key))
            return job
        return None
