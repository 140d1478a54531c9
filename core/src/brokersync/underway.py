"""What is under way in one `BrokerSync`: what closing ends, and what must come to its own end whoever asked for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from functools import wraps
from typing import Any, Final, TypeVar, cast

from brokersync.errors import ClosedError

R = TypeVar("R")
M = TypeVar("M", bound=Callable[..., Coroutine[Any, Any, Any]])

_CLOSE: Final = "close"


class Underway:
    """What closing ends, with `until_closed`; and with `see_through` what it waits for.

    Who waits for what is seen through may be cancelled, as often as one likes, and the work goes on. What is lost with
    a process stays lost: after a kill, or where a loop is left without its tasks being ended, as `asyncio.run` ends
    them, or where that end is interrupted too, nobody learns what became of the work.
    """

    def __init__(self) -> None:
        self.closed = False
        self._calls: set[asyncio.Task[Any]] = set()
        self._works: dict[str, _Work[Any]] = {}

    def check_open(self) -> None:
        """Raises `ClosedError` from the moment on in which closing begins."""
        if self.closed:
            raise _closed()

    async def until_closed(self, call: Coroutine[Any, Any, R]) -> R:
        """The outcome of a call, in a task of its own; raises `ClosedError` when closing has ended it."""
        if self.closed:
            call.close()
            raise _closed()
        task = asyncio.create_task(call)
        self._calls.add(task)
        try:
            return await task
        except asyncio.CancelledError:
            this = asyncio.current_task()
            if this is None or this.cancelling() or not self.closed:
                raise
            raise _closed() from None
        finally:
            self._calls.discard(task)

    async def see_through(self, name: str, work: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """The outcome of the work, which is begun when all that has this name has come to its end."""
        await self._over(name)
        self.check_open()
        return await self._seen(name, work)

    async def open(self) -> None:
        """Work may be begun, again."""
        await self._over(_CLOSE)
        self.closed = False

    async def close(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Begin nothing more from now on, and see `work` through, which closes all the rest."""
        self.closed = True
        await self._over(_CLOSE)
        await self._seen(_CLOSE, work)

    async def end(self, at_most: timedelta) -> None:
        """End all calls, and wait for all work to come to its own end; what takes longer than that is cancelled."""
        for call in (calls := tuple(self._calls)):
            call.cancel()
        if calls:
            await asyncio.wait(calls)
        works = [work for name, work in self._works.items() if name != _CLOSE]
        if not works:
            return
        await asyncio.wait(works, timeout=at_most.total_seconds())
        for work in works:
            work.cancel()
        await asyncio.wait(works)

    async def _over(self, name: str) -> None:
        while (work := self._works.get(name)) is not None:
            await asyncio.wait([work])

    async def _seen(self, name: str, work: Callable[[], Coroutine[Any, Any, R]]) -> R:
        made: _Work[R] = _Work(work(), name=name)
        self._works[name] = made
        made.add_done_callback(self._ended)
        await asyncio.wait([made])
        if made.cancelled():
            self.check_open()
        return made.result()

    def _ended(self, work: asyncio.Task[Any]) -> None:
        self._works.pop(work.get_name())
        if not work.cancelled():
            work.exception()  # who asked for it may be gone


def _closed() -> ClosedError:
    return ClosedError("brokersync was closed.", remedy="Open it again and repeat the call; it goes on from here.")


class _Work(asyncio.Task[R]):
    def cancel(self, msg: Any | None = None) -> bool:
        """A loop that ends cancels all its tasks and waits for them; this one is waited for, and is not cancelled.

        While the loop runs, none but `end` and the timeouts within the work know this task.
        """
        return self.get_loop().is_running() and super().cancel(msg)


def until_closed(method: M) -> M:
    """A method of `BrokerSync` that takes long: closing ends it and waits for that, and its caller is told."""

    @wraps(method)
    async def call(self: Any, *args: Any, **facts: Any) -> Any:
        return await self._shared.underway.until_closed(method(self, *args, **facts))

    return cast("M", call)
