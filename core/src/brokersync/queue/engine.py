"""The seam to the engine that keeps and runs jobs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Protocol, TypeAlias

from brokersync.jobs import Job, JobCounts, JobPlace

Handler: TypeAlias = Callable[[Job], Awaitable[None]]
"""Does a job. Whatever it raises but `Defer`, the job is done: what is due again, the store's connections say."""


def do_nothing() -> None:
    """Nobody wants to hear of it."""


class Defer(Exception):  # noqa: N818  it says what is to be done, and is no error
    """Raised by a handler: come back `until` then. That is neither a failure nor an attempt.

    What is `promised` has that instant to itself, and nobody else could use it; with `lane` all other jobs of the lane
    wait until shortly before, as far as this worker goes. With `elsewhere` another worker is to have the job first.
    """

    def __init__(self, until: datetime, *, promised: bool = False, lane: bool = False, elsewhere: bool = False) -> None:
        super().__init__(until)
        self.until, self.promised, self.lane, self.elsewhere = until, promised or lane, lane, elsewhere


class JobEngine(Protocol):
    """Keeps one job for each connection, and runs each on one worker at a time.

    The truth is the store's connections: an engine that loses its jobs costs the time until they are submitted again.
    """

    async def submit(self, *jobs: Job) -> int:
        """How many of them are new; one that waits already is brought forward where this one may begin earlier."""

    async def cancel(self, connection_id: str) -> bool:
        """Take back a job that waits; `False` where none does. One that runs goes on."""

    async def run(
        self,
        handler: Handler,
        *,
        concurrency: int,
        until_empty: bool = False,
        on_started: Callable[[], None] = do_nothing,
    ) -> None:
        """Run so many jobs at a time until `stop`, or with `until_empty` until none may begin any more.

        `on_started` hears when the first may begin: what it needs for that is there.

        Cancelling it cancels the handlers, and their jobs are there for others at once.
        """

    def stop(self) -> None:
        """Let `run` begin nothing more, and return when what it runs has ended."""

    async def counts(self) -> JobCounts: ...

    async def places(self, owner: str) -> tuple[JobPlace, ...]:
        """Where the owner's jobs stand; when they are expected is not known here."""

    async def aclose(self) -> None: ...
