"""A job: a sync that waits for its turn, whichever engine keeps it."""

from __future__ import annotations

from datetime import datetime

import attrs


@attrs.frozen(kw_only=True)
class Job:
    """A sync that waits for its turn, or is under way: one for each connection. It may begin `at` that time.

    `deadline` is until when it must be done before history is lost; `asked` says that somebody waits for it.
    """

    connection_id: str
    owner: str
    provider: str
    environment: str
    at: datetime
    deadline: datetime | None = None
    asked: bool = False

    @property
    def lane(self) -> str:
        """What all jobs share that one broker's limits hold up."""
        return f"{self.provider}|{self.environment}"


@attrs.frozen(kw_only=True)
class JobPlace:
    """Where a job stands. `position` counts from 1 those of its lane that may begin, and is 0 where it may not yet.

    `expected_at` is when it will begin, by how many syncs of the lane have ended lately; `None` where none has.
    """

    job: Job
    running: bool = False
    position: int = 0
    expected_at: datetime | None = None


@attrs.frozen(kw_only=True)
class JobCounts:
    """How many jobs may begin, how many wait for their time, and how many are under way.

    `oldest` is since when the one that has waited longest might have begun.
    """

    ready: int = 0
    later: int = 0
    running: int = 0
    oldest: datetime | None = None
