"""The only file that knows docket: wake-ups as its tasks, and its worker as what delivers them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Final

from docket import Docket, TaskKey, Worker
from docket.execution import Disposition
from opentelemetry import context

_TASK: Final = "wake"
_AT_ONCE: Final = 50
_LONGEST_PAUSE: Final = timedelta(milliseconds=250)
# each time docket logs a traceback
_RECONNECTS_AFTER = timedelta(seconds=5)


class Wakes:
    """Wake-ups in a Redis: one for each key, which is all that stands there besides its time."""

    def __init__(self, url: str, name: str, *, look_every: timedelta, hold: timedelta) -> None:
        # without a result to keep, nothing is left of a wake-up that was delivered
        self._docket = Docket(name=name, url=url, execution_ttl=timedelta(0))
        self._pause = min(look_every, _LONGEST_PAUSE)
        # a worker renews four times in it, so those of one that died come after its holds on jobs have ended
        self._undelivered_after = hold * 4 / 3
        self._register(_nobody)

    async def open(self) -> None:
        """Reach for nothing yet."""
        await self._docket.__aenter__()

    async def close(self) -> None:
        await self._docket.__aexit__(None, None, None)

    async def put(self, times: Mapping[str, datetime]) -> None:
        """Of each key: deliver a wake-up then, instead of one that was to come before."""
        calls = [self._docket.call(_TASK, when=at, key=key)() for key, at in times.items()]
        # docket writes down in which context it was asked, with whatever the embedder has put into its baggage
        before = context.attach(context.Context())
        try:
            written = await self._docket.replace_many(calls, chunk_size=_AT_ONCE)
        finally:
            context.detach(before)
        for one in written:
            if one.disposition is Disposition.FAILED and one.schedule_exception is not None:
                raise one.schedule_exception

    async def withdraw(self, key: str) -> None:
        await self._docket.cancel(key)

    async def answers(self) -> None:
        """Raises what keeps the Redis from answering."""
        async with self._docket.redis() as redis:
            await redis.exists(self._docket.stream_key)

    async def deliver(self, to: Callable[[str], Awaitable[None]], room: Callable[[], int], worker: str) -> None:
        """Call `to` with the key of each wake-up that is this worker's, as long as there is room, until cancelled."""
        self._register(to)
        try:
            async with self._worker(room, worker) as made:
                await made.run_forever()
        finally:
            self._register(_nobody)

    def _register(self, to: Callable[[str], Awaitable[None]]) -> None:
        async def wake(key: str = TaskKey()) -> None:
            await to(key)

        # without the tasks that docket brings along
        self._docket.tasks.clear()
        self._docket.register(wake, [_TASK])

    @asynccontextmanager
    async def _worker(self, room: Callable[[], int], name: str) -> AsyncIterator[Worker]:
        made = _Worker(
            self._docket,
            name=name,
            redelivery_timeout=self._undelivered_after,
            reconnection_delay=_RECONNECTS_AFTER,
            minimum_check_interval=self._pause,
            scheduling_resolution=self._pause,
            schedule_automatic_tasks=False,
        )
        made.room = room
        async with made:
            yield made


class _Worker(Worker):
    """Takes no more wake-ups than there is room for at the time."""

    room: Callable[[], int] = staticmethod(lambda: 0)

    @property
    def concurrency(self) -> int:
        return self.room()

    @concurrency.setter
    def concurrency(self, _: int) -> None:
        """It is not fixed."""


async def _nobody(_: str) -> None:
    """Who does not listen is told nothing."""
