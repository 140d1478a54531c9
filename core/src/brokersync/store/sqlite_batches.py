"""What waits for the thread of a database goes there together, since each way there and back costs."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Any, Final, TypeAlias
from weakref import WeakKeyDictionary

import attrs

from brokersync.store.sql import Script

_MOST: Final = 64


@attrs.frozen
class Write:
    """A script that writes, which may be run again where what it has written could not be kept."""

    script: Callable[[], Script[Any]]


@attrs.frozen
class Raised:
    """What a piece of work raised."""

    error: BaseException


Work: TypeAlias = Callable[[sqlite3.Connection], Any] | Write


@attrs.frozen(eq=False)
class Asked:
    """A piece of work for a connection, until its caller is answered or gives up."""

    db: sqlite3.Connection
    work: Work
    executor: Executor
    done: asyncio.Future[Any]

    @property
    def wanted(self) -> bool:
        return not self.done.done()


class Batches:
    """Has work done on a thread; while that is busy what comes is gathered, what reads apart from what writes."""

    def __init__(self, run: Callable[[Sequence[Asked]], Sequence[Any]]) -> None:
        self._run = run
        self._gathered: WeakKeyDictionary[asyncio.AbstractEventLoop, _Gathered] = WeakKeyDictionary()

    async def do(self, executor: Executor, db: sqlite3.Connection, work: Work) -> Any:
        """What the work gives. Of a cancelled caller work that waits is taken back, and work under way goes on."""
        loop = asyncio.get_running_loop()
        gathered = self._gathered.setdefault(loop, _Gathered(self._run))
        asked = Asked(db, work, executor, loop.create_future())
        gathered.add(asked)
        return await asked.done

    def send_all(self) -> None:
        """Have all that waits done before anything else that the thread is given."""
        if (gathered := self._gathered.get(asyncio.get_running_loop())) is not None:
            gathered.send_all()


class _Gathered:
    """What was asked for in one event loop."""

    def __init__(self, run: Callable[[Sequence[Asked]], Sequence[Any]]) -> None:
        self._run = run
        self._reads: list[Asked] = []
        self._writes: list[Asked] = []
        self._under_way = 0
        self._wrote = True

    def add(self, asked: Asked) -> None:
        (self._writes if isinstance(asked.work, Write) else self._reads).append(asked)
        if not self._under_way:
            self._send()

    def send_all(self) -> None:
        while self._send():
            pass

    def _send(self) -> bool:
        batch = self._next()
        if not batch:
            return False
        try:
            sent = asyncio.get_running_loop().run_in_executor(batch[0].executor, self._run, batch)
        except RuntimeError as error:  # the executor was shut down, and nothing that waits for it comes any more
            _answer(batch, [Raised(error)] * len(batch))
            return True
        self._under_way += 1
        sent.add_done_callback(partial(self._deliver, batch))
        return True

    def _next(self) -> list[Asked]:
        """What reads and what writes in turn, so that neither keeps the other waiting."""
        self._reads = [one for one in self._reads if one.wanted]
        self._writes = [one for one in self._writes if one.wanted]
        self._wrote = bool(self._writes) and not (self._wrote and self._reads)
        waiting = self._writes if self._wrote else self._reads
        batch, waiting[:_MOST] = waiting[:_MOST], []
        return batch

    def _deliver(self, batch: Sequence[Asked], sent: asyncio.Future[Sequence[Any]]) -> None:
        self._under_way -= 1
        if sent.cancelled():
            for one in batch:
                one.done.cancel()
        elif (error := sent.exception()) is not None:
            _answer(batch, [Raised(error)] * len(batch))
        else:
            _answer(batch, sent.result())
        if not self._under_way:
            self._send()


def _answer(batch: Sequence[Asked], outcomes: Sequence[Any]) -> None:
    for one, outcome in zip(batch, outcomes, strict=True):
        if not one.wanted:
            continue
        if isinstance(outcome, Raised):
            one.done.set_exception(outcome.error)
        else:
            one.done.set_result(outcome)
