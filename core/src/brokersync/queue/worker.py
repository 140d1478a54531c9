"""A worker: it plans, works jobs off, and stops when it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

from brokersync.errors import StoreError
from brokersync.queue.engine import JobEngine, do_nothing
from brokersync.queue.handling import JobHandler
from brokersync.shared import Shared

_LOOKED_AFTER_EVERY: Final = timedelta(minutes=1)
_STORE_ANSWERS_WITHIN: Final = 5.0
# a store that lets nobody write is given up, and what was to be given back is free when its time has passed
_LETS_GO_WITHIN: Final = 2.0


class Worker:
    """One of any number on a store, in this process. `run` it once, `stop` it at any time.

    It looks for what is due, works jobs off, and renews, prunes and tells what `run_due` does.
    """

    def __init__(
        self,
        shared: Shared,
        engine: JobEngine,
        handler: JobHandler,
        *,
        plan: Callable[[], Awaitable[None]],
        look_after: Callable[[], Awaitable[None]],
        concurrency: int,
        stop_within: timedelta,
    ) -> None:
        self._shared, self._engine, self._handler = shared, engine, handler
        self._plan, self._look_after = plan, look_after
        self._stop_within = stop_within
        self._stopping, self._works = asyncio.Event(), False
        self.concurrency = concurrency

    async def run(self, *, on_started: Callable[[], None] = do_nothing) -> None:
        """Work until `stop`, or until brokersync is closed, which raises `ClosedError`.

        After `stop` syncs end at their next page, and those that do not within `queue.stop_within` where they are; what
        they have read is kept, and another worker goes on. Cancelling it does not wait for a page. A store that
        lets nobody write is given up within seconds; what could not be given back is free when its time has passed.

        `on_started` hears when it begins to work. Raises `StoreError` where the Redis of the queue does not answer.
        """
        await self._shared.underway.until_closed(self._run(on_started))

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopping.set()

    @property
    def outcomes(self) -> Mapping[str, int]:
        """How many syncs ended how: `done`, `deferred`, `failed`, `cancelled`."""
        return dict(self._handler.outcomes)

    async def trouble(self) -> str | None:
        """Why it is not ready to work; `None` while it is."""
        if self._stopping.is_set():
            return "The worker is stopping."
        if not self._works:
            return "The worker does not run."
        try:
            async with asyncio.timeout(_STORE_ANSWERS_WITHIN):
                await self._shared.store.layout()
                await self._write()
        except StoreError as error:
            return error.message
        except TimeoutError:
            return f"The store has not answered for {_STORE_ANSWERS_WITHIN:.0f} seconds."
        return None

    async def _write(self) -> None:
        """A store that answers who reads may let nobody write; this lease is nobody's to wait for."""
        now, holder = self._shared.clock.now(), self._shared.worker
        await self._shared.store.take_lease(f"ready|{holder}", owner="", holder=holder, now=now, until=now)

    async def _run(self, on_started: Callable[[], None]) -> None:
        def started() -> None:
            self._works = True
            on_started()

        engine = self._engine.run(self._handler, concurrency=self.concurrency, on_started=started)
        working = asyncio.create_task(engine)
        beside = [
            asyncio.create_task(_again_and_again(self._plan, self._shared.settings.queue.plan_every)),
            asyncio.create_task(_again_and_again(self._look_after, _LOOKED_AFTER_EVERY)),
        ]
        told = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait([working, told, *beside], return_when=asyncio.FIRST_COMPLETED)
            self._engine.stop()
            self._handler.hand_over()
            # afterwards, since a plan that waits for the store must not keep a sync from ending at its page
            await _ended(beside)
            await asyncio.wait([working], timeout=self._stop_within.total_seconds())
        finally:
            self._works = False
            await _ended([working, told, *beside])


async def _again_and_again(work: Callable[[], Awaitable[None]], every: timedelta) -> None:
    while True:
        with suppress(StoreError):  # the next time is soon enough
            await work()
        # the loop's time, so that a test's clock can stand
        await asyncio.sleep(every.total_seconds())


async def _ended(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """All of them, cancelled where they have not come to an end, and again; raises what one of them met."""
    left: Collection[asyncio.Task[Any]] = tasks
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_LETS_GO_WITHIN)
    for task in tasks:
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
