"""What a sync shows while it runs: on a terminal a line per connection, in a pipe nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Self

from brokersync.cli.tables import console, duration_text
from brokersync.events import (
    Event,
    LimitWaited,
    PageCommitted,
    RequestSent,
    RetryScheduled,
    ScopeFrozen,
    SyncDeferred,
    SyncFinished,
    TokenRefreshed,
    WindowStarted,
)

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from brokersync.records import Connection

_REDRAWS_PER_SECOND = 8
_ROUNDED = timedelta(seconds=1)
# whoever else used the login a moment ago made them, too, such as the command before
_TOO_MANY = "the broker had too many requests"


class SyncProgress:
    """An `EventSink` that draws; silent when standard error is no terminal."""

    def __init__(self, connections: Sequence[Connection]) -> None:
        self._connections = connections
        self._progress: Progress | None = None
        self._lines: dict[str, TaskID] = {}
        self._bookings: dict[str, int] = {}
        self._frozen: dict[str, ScopeFrozen] = {}
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            self._progress = self._draw()
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def _draw(self) -> Progress:
        from rich.progress import BarColumn, Progress, TextColumn

        progress = Progress(
            TextColumn("{task.fields[name]}", markup=False),
            BarColumn(bar_width=16),
            TextColumn("{task.fields[counts]}", markup=False),
            TextColumn("{task.description}", markup=False),
            console=console(stderr=True),
            refresh_per_second=_REDRAWS_PER_SECOND,
        )
        for connection in self._connections:
            self._lines[connection.connection_id] = progress.add_task(
                "starting", total=None, name=connection.connection_id, counts=""
            )
        return progress

    def __call__(self, event: Event) -> None:
        line = self._lines.get(event.connection_id)
        if self._progress is None or line is None:
            return
        if isinstance(event, PageCommitted):
            self._count(event)
        elif isinstance(event, WindowStarted):
            self._progress.update(line, total=event.total, completed=event.done)
        if isinstance(event, ScopeFrozen):
            self._frozen[event.connection_id] = event
        words = words_of(event, self._frozen.get(event.connection_id))
        if words is not None:
            self._progress.update(line, description=words)

    def _count(self, event: PageCommitted) -> None:
        if self._progress is None:
            return
        total = self._bookings.get(event.connection_id, 0) + event.fetched
        self._bookings[event.connection_id] = total
        elapsed = max(time.monotonic() - self._started, 0.001)
        self._progress.update(self._lines[event.connection_id], counts=f"{total} rows, {total / elapsed:.0f}/s")


def words_of(event: Event, frozen: ScopeFrozen | None) -> str | None:
    """What a line says of an event; of a pause that the broker wants, last `frozen`, it says why."""
    match event:
        case WindowStarted():
            return f"{event.source} {event.window.start:%Y-%m-%d} to {event.window.end:%Y-%m-%d}"
        case RequestSent(error=None):
            return f"reading {event.operation}"
        case RetryScheduled():
            return f"waits {duration_text(event.wait)} to try again: {event.reason}"
        case LimitWaited():
            return f"waits {duration_text(event.wait)} for the {event.scope}"
        case ScopeFrozen():
            return f"waits until {event.until:%H:%M:%S}: {_TOO_MANY}"
        case TokenRefreshed():
            return "new token"
        case SyncDeferred():
            pauses = frozen is not None and event.until <= frozen.until + _ROUNDED
            return f"waits until {event.until:%H:%M:%S}: {_TOO_MANY if pauses else event.reason}"
        case SyncFinished():
            return f"done: {event.added} added, {event.modified} modified"
    return None
