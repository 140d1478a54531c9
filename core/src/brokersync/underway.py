"""What is under way in one `BrokerSync` and must come to its own end, whoever asked for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, Final, TypeVar

from brokersync.errors import ClosedError

R = TypeVar("R")

_CLOSE: Final = "close"


class Underway:
    """Work that is seen through: who waits for it may be cancelled, as often as one likes, and the work goes on.

    What is lost with a process stays lost: after a kill, or where a loop is left without its tasks being ended, as
    `asyncio.run` ends them, or where that end is interrupted too, nobody learns what became of the work.
    """

    def __init__(self) -> None:
        self._closing = False
        self._works: dict[str, _Work[Any]] = {}

    def check_open(self) -> None:
        """Raises `ClosedError` from the moment on in which closing begins."""
        if self._closing:
            raise ClosedError(
                "brokersync was closed meanwhile.", remedy="Open it again and repeat the call; it goes on from here."
            )

    async def see_through(self, name: str, work: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """The outcome of the work, which is begun when all that has this name has come to its end."""
        await self._over(name)
        self.check_open()
        return await self._seen(name, work)

    async def open(self) -> None:
        """Work may be begun, again."""
        await self._over(_CLOSE)
        self._closing = False

    async def close(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Begin nothing more from now on, and see `work` through, which closes all the rest."""
        self._closing = True
        await self._over(_CLOSE)
        await self._seen(_CLOSE, work)

    async def end(self, at_most: timedelta) -> None:
        """Wait until all work has come to its end; what takes longer is cancelled."""
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


class _Work(asyncio.Task[R]):
    def cancel(self, msg: Any | None = None) -> bool:
        """A loop that ends cancels all its tasks and waits for them; this one is waited for, and is not cancelled.

        While the loop runs, none but `end` and the timeouts within the work know this task.
        """
        return self.get_loop().is_running() and super().cancel(msg)
