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
class JobCounts:
    """How many jobs may begin, how many wait for their time, and how many are under way.

    `oldest` is since when the one that has waited longest might have begun.
    """

    ready: int = 0
    later: int = 0
    running: int = 0
    oldest: datetime | None = None
