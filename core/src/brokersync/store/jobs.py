"""Jobs in a store: which connections wait for a worker, and which worker holds one for how long."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from sys import intern
from typing import Any, Final, Protocol, TypeVar

import attrs

from brokersync.jobs import Job, JobCounts
from brokersync.store.rows import optional_moment, optional_text, sortable
from brokersync.store.sql import Fetch, Many, Put, Row, Script, execute, fetch_one

R = TypeVar("R")

_JOB: Final = ("connection_id", "owner", "provider", "environment", "at", "deadline", "asked")
_COLUMNS: Final = (*_JOB, "holder")
_FREE: Final = "(holder = '' OR held_until <= ?)"
_IS_THIS: Final = "connection_id = ? AND holder = ?"


@attrs.frozen
class Submitted:
    """The connections that had no job before, and those whose job may begin sooner than before."""

    new: frozenset[str] = frozenset()
    sooner: frozenset[str] = frozenset()


class JobTable(Protocol):
    """Every method is one transaction and safe to repeat. A hold that has ended counts for nothing."""

    async def submit(self, jobs: Sequence[Job]) -> Submitted:
        """One that waits is brought forward and never put off.

        Nothing is kept for a connection that is not there.
        """

    async def withdraw(self, connection_id: str, now: datetime) -> bool:
        """`False` where no job waits; one that is held is none."""

    async def ready(self, now: datetime) -> tuple[Job, ...]:
        """Those that may begin and that nobody holds, the longest waiting first."""

    async def next_at(self, now: datetime, besides: Collection[str] = ()) -> datetime | None:
        """When the next one may begin of those that may not yet, `besides` these."""

    async def take(self, names: Sequence[str], holder: str, now: datetime, until: datetime) -> frozenset[str]:
        """Those of the jobs that `holder` has got; the others are gone, put off, or somebody else's."""

    async def hold(self, names: Sequence[str], holder: str, until: datetime) -> frozenset[str]:
        """Those of the jobs that `holder` has still, which it goes on having."""

    async def end(self, connection_id: str, holder: str) -> None:
        """The job is done, unless it is somebody else's by now."""

    async def put_back(self, connection_id: str, holder: str, at: datetime) -> None:
        """The job waits again until then, unless it is somebody else's by now."""

    async def give_back(self, holder: str) -> frozenset[str]:
        """Whatever `holder` has still is free; of which connections those are."""

    async def counts(self, now: datetime) -> JobCounts: ...

    async def of_owner(self, owner: str, now: datetime) -> tuple[tuple[Job, bool], ...]:
        """The owner's jobs, each with whether it is held."""

    async def ended(self, provider: str, environment: str, since: datetime) -> int:
        """How many syncs at a broker's environment have ended since then."""


class Runs(Protocol):
    """Runs a script."""

    async def __call__(self, script: Callable[[], Script[R]]) -> R: ...


@attrs.frozen
class SqlJobs:
    """A `JobTable` over what runs scripts that read, and what runs those that write."""

    _read: Runs
    _write: Runs

    async def submit(self, jobs: Sequence[Job]) -> Submitted:
        return await self._write(lambda: _submit(jobs))

    async def withdraw(self, connection_id: str, now: datetime) -> bool:
        return await self._write(lambda: _withdraw(connection_id, now))

    async def ready(self, now: datetime) -> tuple[Job, ...]:
        return await self._read(lambda: _ready(now))

    async def next_at(self, now: datetime, besides: Collection[str] = ()) -> datetime | None:
        return await self._read(lambda: _next_at(now, [*besides]))

    async def take(self, names: Sequence[str], holder: str, now: datetime, until: datetime) -> frozenset[str]:
        return await self._write(lambda: _take(names, holder, now, until))

    async def hold(self, names: Sequence[str], holder: str, until: datetime) -> frozenset[str]:
        return await self._write(lambda: _hold(names, holder, until))

    async def end(self, connection_id: str, holder: str) -> None:
        await self._write(lambda: execute(f"DELETE FROM jobs WHERE {_IS_THIS}", connection_id, holder))

    async def put_back(self, connection_id: str, holder: str, at: datetime) -> None:
        await self._write(lambda: _put_back(connection_id, holder, at))

    async def give_back(self, holder: str) -> frozenset[str]:
        return await self._write(lambda: _give_back(holder))

    async def counts(self, now: datetime) -> JobCounts:
        return await self._read(lambda: _counts(now))

    async def of_owner(self, owner: str, now: datetime) -> tuple[tuple[Job, bool], ...]:
        return await self._read(lambda: _of_owner(owner, now))

    async def ended(self, provider: str, environment: str, since: datetime) -> int:
        return await self._read(lambda: _ended(provider, environment, since))


def _submit(jobs: Sequence[Job]) -> Script[Submitted]:
    wanted = {job.connection_id: job for job in jobs}
    held = yield Fetch("SELECT connection_id, at FROM jobs WHERE connection_id IN (??)", (list(wanted),))
    known = {row[0]: row[1] for row in held}
    # whoever ends a connection locks it first, and finds the job then, or is found to have ended it
    present = yield Fetch(
        "SELECT connection_id FROM connections WHERE connection_id IN (??) ORDER BY connection_id {for_share}",
        (sorted(wanted.keys() - known),),
    )
    new = frozenset(row[0] for row in present)
    yield Put("jobs", _COLUMNS, [(*_values(wanted[name]), "") for name in sorted(new)], key=("connection_id",))
    yield Many(
        "UPDATE jobs SET at = CASE WHEN at > ? THEN ? ELSE at END, deadline = ?, asked = CASE WHEN ? > asked"
        " THEN ? ELSE asked END WHERE connection_id = ?"
        " AND (at > ? OR asked < ? OR coalesce(deadline, '') <> ?)",
        [_raised(wanted[name]) for name in sorted(known)],
    )
    return Submitted(new, frozenset(name for name, at in known.items() if at > sortable(wanted[name].at)))


def _raised(job: Job) -> tuple[Any, ...]:
    at, deadline, asked = sortable(job.at), optional_text(job.deadline), int(job.asked)
    return at, at, deadline, asked, asked, job.connection_id, at, asked, deadline or ""


def _withdraw(connection_id: str, now: datetime) -> Script[bool]:
    row = yield from fetch_one(
        f"DELETE FROM jobs WHERE connection_id = ? AND {_FREE} RETURNING 1", connection_id, sortable(now)
    )
    return row is not None


def _ready(now: datetime) -> Script[tuple[Job, ...]]:
    moment = sortable(now)
    rows = yield Fetch(
        f"SELECT {', '.join(_JOB)} FROM jobs WHERE at <= ? AND {_FREE} ORDER BY at, connection_id", (moment, moment)
    )
    return tuple(map(_job, rows))


def _next_at(now: datetime, besides: list[str]) -> Script[datetime | None]:
    row = yield from fetch_one(
        "SELECT at FROM jobs WHERE at > ? AND holder = '' AND connection_id NOT IN (??) ORDER BY at LIMIT 1",
        *(sortable(now), besides),
    )
    return None if row is None else optional_moment(row[0])


def _take(names: Sequence[str], holder: str, now: datetime, until: datetime) -> Script[frozenset[str]]:
    moment, taken = sortable(now), set()
    # in one order for all, so that no two of them wait for each other
    for name in sorted(names):
        row = yield from fetch_one(
            f"UPDATE jobs SET holder = ?, held_until = ? WHERE connection_id = ? AND at <= ? AND {_FREE} RETURNING 1",
            *(holder, sortable(until), name, moment, moment),
        )
        if row is not None:
            taken.add(name)
    return frozenset(taken)


def _hold(names: Sequence[str], holder: str, until: datetime) -> Script[frozenset[str]]:
    rows = yield Fetch(
        "UPDATE jobs SET held_until = ? WHERE holder = ? AND connection_id IN (??) RETURNING connection_id",
        (sortable(until), holder, list(names)),
    )
    return frozenset(row[0] for row in rows)


def _put_back(connection_id: str, holder: str, at: datetime) -> Script[None]:
    yield from execute(
        f"UPDATE jobs SET holder = '', held_until = NULL, at = ? WHERE {_IS_THIS}",
        *(sortable(at), connection_id, holder),
    )


def _give_back(holder: str) -> Script[frozenset[str]]:
    rows = yield Fetch(
        "UPDATE jobs SET holder = '', held_until = NULL WHERE holder = ? RETURNING connection_id", (holder,)
    )
    return frozenset(row[0] for row in rows)


def _counts(now: datetime) -> Script[JobCounts]:
    moment = sortable(now)
    waits = f"at <= ? AND {_FREE}"
    ready, oldest = yield from fetch_one(f"SELECT count(*), min(at) FROM jobs WHERE {waits}", moment, moment)
    (later,) = yield from fetch_one("SELECT count(*) FROM jobs WHERE at > ? AND holder = ''", moment)
    (running,) = yield from fetch_one("SELECT count(*) FROM jobs WHERE holder <> '' AND held_until > ?", moment)
    return JobCounts(ready=int(ready), later=int(later), running=int(running), oldest=optional_moment(oldest))


def _of_owner(owner: str, now: datetime) -> Script[tuple[tuple[Job, bool], ...]]:
    rows = yield Fetch(
        f"SELECT {', '.join(_JOB)}, CASE WHEN {_FREE} THEN 0 ELSE 1 END FROM jobs WHERE owner = ?"
        " ORDER BY at, connection_id",
        (sortable(now), owner),
    )
    return tuple((_job(row[:-1]), bool(row[-1])) for row in rows)


def _ended(provider: str, environment: str, since: datetime) -> Script[int]:
    row = yield from fetch_one(
        "SELECT count(*) FROM sync_log JOIN connections ON connections.connection_id = sync_log.connection_id"
        " WHERE sync_log.at >= ? AND connections.provider = ? AND connections.environment = ?",
        *(sortable(since), provider, environment),
    )
    return int(row[0])


def _values(job: Job) -> tuple[Any, ...]:
    return (
        job.connection_id, job.owner, job.provider, job.environment, sortable(job.at), optional_text(job.deadline),
        int(job.asked),
    )  # fmt: skip


def _job(row: Row) -> Job:
    connection_id, owner, provider, environment, at, deadline, asked = row
    return Job(
        connection_id=connection_id,
        # thousands of them are read at a time, and say the same
        owner=intern(owner),
        provider=intern(provider),
        environment=intern(environment),
        at=datetime.fromisoformat(at),
        deadline=optional_moment(deadline),
        asked=bool(asked),
    )
