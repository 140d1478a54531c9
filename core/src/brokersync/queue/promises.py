"""What the broker's limits have told this worker's jobs: an instant of their own, and that the others need not ask."""

from __future__ import annotations

import heapq
from collections.abc import Collection
from datetime import datetime, timedelta

import attrs

from brokersync.jobs import Job
from brokersync.queue.fair import Fair


class Promises:
    """Has jobs come back at the instants they were promised, and lanes rest until one more would be promised one.

    Who comes before that would be told to come back, too; who comes then waits for its turn, for `long_wait` at most.
    """

    def __init__(self, fair: Fair, long_wait: timedelta) -> None:
        self._fair, self._long_wait = fair, long_wait
        self._instants: dict[str, datetime] = {}
        self._lanes: dict[str, datetime] = {}
        self._coming: list[tuple[datetime, str, Job]] = []

    def made(self, job: Job, until: datetime, *, lane: bool) -> None:
        """The job was promised that instant; with `lane` nobody else of its lane has to ask sooner."""
        self._instants[job.connection_id] = until
        if lane:
            again = until - self._long_wait
            self._lanes[job.lane] = max(again, self._lanes.get(job.lane, again))
            self._fair.rest(job.lane)

    def comes(self, job: Job, at: datetime) -> None:
        """The job has ended here and waits in the store again; it need not be looked for there."""
        heapq.heappush(self._coming, (at, job.connection_id, attrs.evolve(job, at=at)))

    def coming(self) -> Collection[str]:
        """Whose instant is yet to come."""
        return [name for _, name, _ in self._coming]

    def pass_on(self, now: datetime) -> None:
        """Give out what has come by now, and wake the lanes that have rested."""
        while self._coming and self._coming[0][0] <= now:
            self._fair.call(heapq.heappop(self._coming)[2])
        for lane in [lane for lane, until in self._lanes.items() if until <= now]:
            del self._lanes[lane]
            self._fair.wake(lane)

    def forget(self, now: datetime) -> Collection[str]:
        """Of whom an instant is still kept; nothing is for those who let it pass for as long as a call waits."""
        self._instants = {name: at for name, at in self._instants.items() if at > now - self._long_wait}
        return self._instants.keys()

    def rest(self) -> None:
        """Lanes that rest do so after a `load`, too."""
        for lane in self._lanes:
            self._fair.rest(lane)

    @property
    def next_at(self) -> datetime | None:
        """When there is something to pass on."""
        return min([*self._lanes.values(), *(at for at, _, _ in self._coming[:1])], default=None)
