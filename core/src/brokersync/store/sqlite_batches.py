"""What waits for the thread of a database goes there together, since each way there and back costs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Any, Final, Generic, TypeAlias, TypeVar

import attrs

W = TypeVar("W")

_MOST: Final = 64


@attrs.frozen
class Raised:
    """What a piece of work raised."""

    error: BaseException


Outcomes: TypeAlias = Sequence[Any]
"""What each piece of work gave, or what it `Raised`, in their order."""


class Batches(Generic[W]):
    """Has work done on a thread, in the order in which it came; while the thread is busy what comes is gathered."""

    def __init__(self, run: Callable[[Sequence[W]], Outcomes]) -> None:
        self._run = run
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: list[tuple[W, asyncio.Future[Any]]] = []
        self._under_way = 0

    async def do(self, executor: Executor, work: W) -> Any:
        """What the work gives. Of a cancelled caller work that waits is taken back, and work under way goes on."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # one that has ended took what it had under way with it
            self._loop, self._waiting, self._under_way = loop, [], 0
        done: asyncio.Future[Any] = loop.create_future()
        self._waiting.append((work, done))
        if not self._under_way:
            self.send(executor)
        return await done

    def send(self, executor: Executor) -> None:
        """Have all that waits done, behind what is under way."""
        while batch := self._next():
            loop = asyncio.get_running_loop()
            sent = loop.run_in_executor(executor, self._run, [work for work, _ in batch])
            self._under_way += 1
            sent.add_done_callback(partial(self._deliver, executor, batch))

    def _next(self) -> list[tuple[W, asyncio.Future[Any]]]:
        wanted = [one for one in self._waiting if not one[1].done()]
        batch, self._waiting = wanted[:_MOST], wanted[_MOST:]
        return batch

    def _deliver(
        self, executor: Executor, batch: Sequence[tuple[W, asyncio.Future[Any]]], ended: asyncio.Future[Outcomes]
    ) -> None:
        self._under_way -= 1
        if not self._under_way:
            self.send(executor)
        for (_, done), outcome in zip(batch, ended.result(), strict=True):
            if done.done():
                continue
            if isinstance(outcome, Raised):
                done.set_exception(outcome.error)
            else:
                done.set_result(outcome)
