"""An event loop without a real clock: seeded order, virtual time, and processes that can be killed or stopped."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import heapq
import random
from collections.abc import AsyncGenerator, Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any, ClassVar, TypeVar

T = TypeVar("T")

_PROCESS: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


class DeadlockError(Exception):
    """Nobody can go on: nothing is ready and no timer is set."""


class EndlessError(Exception):
    """A seed needs more steps than any sound course of events does."""


class Process:
    """One simulated process of the operating system: what a crash kills and a pause stops.

    A killed process is no cancelled one: its coroutines are never resumed, so nothing of it cleans up.
    """

    def __init__(self, name: str, on_crash: Callable[[], None] = lambda: None) -> None:
        self.name = name
        self.alive = True
        self.mortal = True
        self.skew = timedelta(0)
        self.stopped_until = 0.0
        self._stops: list[datetime] = []
        self.held: list[asyncio.Handle] = []
        self._fuse: int | None = None
        self._brake: tuple[int, float] | None = None
        self._on_crash = on_crash

    def light_fuse(self, steps: int) -> None:
        """Crash when it has made so many steps more; an earlier crash stays as it is planned."""
        if self._fuse is None or steps < self._fuse:
            self._fuse = steps

    def light_brake(self, steps: int, seconds: float) -> None:
        """Stand still for so long after so many steps more."""
        self._brake = (steps, seconds)

    def brakes(self) -> float:
        """One step nearer to standing still; for how many seconds, when it is now."""
        if self._brake is None:
            return 0.0
        steps, seconds = self._brake
        self._brake = (steps - 1, seconds) if steps > 0 else None
        return 0.0 if steps > 0 else seconds

    def spare(self) -> None:
        """Nothing kills it any more."""
        self.mortal, self._fuse = False, None

    def burn(self) -> None:
        """One step nearer to the crash."""
        if self._fuse is not None:
            self._fuse -= 1
            if self._fuse < 0:
                self.crash()

    def crash(self) -> None:
        if self.alive:
            self.alive = False
            self._on_crash()

    def stopped_since(self, moment: datetime) -> bool:
        """Whether it stood still at any time from then on."""
        return any(end >= moment for end in self._stops)

    def stop(self, until: float, end: datetime) -> None:
        self.stopped_until = until
        self._stops.append(end)

    @staticmethod
    def current() -> Process | None:
        return _PROCESS.get()


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs ready handles in an order drawn from `chance`; when none is ready, time jumps to the next timer.

    There is no I/O and there are no threads: work for an executor runs inside the loop, as a step of its own. True time
    (`now`) is that of the world; it can be made to leap, while the loop's own seconds go on as if nothing had been.
    """

    longest: ClassVar[int] = 150_000

    def __init__(self, chance: random.Random, start: datetime) -> None:
        super().__init__()
        self._ready: list[asyncio.Handle] = []  # type: ignore[assignment]  # any of them may be next, not the first
        self._chance = chance
        self._start, self._seconds, self._now = start, 0.0, start
        self._tasks: list[tuple[asyncio.Task[Any], Process | None]] = []
        self._own_kind: set[asyncio.Task[Any]] = set()
        self.complaints: list[str] = []
        self.steps = 0
        self.set_task_factory(self._new_task)
        self.set_exception_handler(self._complain)

    def time(self) -> float:
        return self._seconds

    def now(self) -> datetime:
        return self._now

    def leap(self, by: timedelta) -> None:
        """The machine slept: the world went on, the timers did not."""
        self._start += by
        self._now += by

    def spawn(self, process: Process | None, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start a task in a process; what it starts belongs to that process, too."""
        return self.create_task(work, context=self.context_of(process))

    @staticmethod
    def context_of(process: Process | None) -> contextvars.Context:
        context = contextvars.copy_context()
        context.run(_PROCESS.set, process)
        return context

    def stop_process(self, process: Process, seconds: float) -> None:
        """Let none of its handles run for so long, as when a machine pages or its virtual one is moved."""
        process.stop(self._seconds + seconds, self.now() + timedelta(seconds=seconds))
        self.call_at(process.stopped_until, self._resume, process, context=self.context_of(None))

    def _resume(self, process: Process) -> None:
        self._ready += process.held
        process.held.clear()

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]  # typeshed knows it as a coroutine
        future = self.create_future()

        def work() -> None:
            if future.cancelled():
                return
            try:
                future.set_result(func(*args))
            except Exception as error:  # noqa: BLE001  whatever it is, it belongs to whoever waits
                future.set_exception(error)

        self.call_soon(work)
        return future

    def _run_once(self) -> None:
        self._wake()
        if not self._ready:
            if not self._scheduled:
                waiting = [repr(task) for task, _ in self._tasks if not task.done()]
                raise DeadlockError("\n".join(waiting))
            self._seconds = max(self._seconds, self._scheduled[0].when())
            self._now = self._start + timedelta(seconds=round(self._seconds, 6))
            self._wake()
        self.steps += 1
        if self.steps > self.longest:
            raise EndlessError(f"{self.steps} steps")
        self._step(self._next())

    def _next(self) -> asyncio.Handle:
        ready = self._ready
        place = int(self._chance.random() * len(ready))
        ready[place], ready[-1] = ready[-1], ready[place]
        return ready.pop()

    def _step(self, handle: asyncio.Handle) -> None:
        if handle.cancelled():
            return
        process = handle._context.get(_PROCESS)
        if process is not None:
            if process.alive and process.stopped_until <= self._seconds:
                self._drive(process)
            if not process.alive:
                return
            if process.stopped_until > self._seconds:
                process.held.append(handle)
                return
        handle._run()

    def _drive(self, process: Process) -> None:
        """Let happen to a process what was prepared for this step of it."""
        process.burn()
        seconds = process.brakes()
        if seconds and process.alive:
            self.stop_process(process, seconds)

    def _wake(self) -> None:
        """Make ready whose time has come."""
        while self._scheduled and (self._scheduled[0].cancelled() or self._scheduled[0].when() <= self._seconds):
            timer = heapq.heappop(self._scheduled)
            timer._scheduled = False
            if not timer.cancelled():
                self._ready.append(timer)

    def _new_task(self, loop: asyncio.AbstractEventLoop, work: Any, context: Any = None) -> asyncio.Task[Any]:
        # held, so that what a crash has left is never collected, which would run its cleanup
        task = asyncio.Task(work, loop=loop, context=context)
        self._tasks.append((task, Process.current() if context is None else context.get(_PROCESS)))
        return task

    def call_soon(
        self, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        task = getattr(callback, "__self__", None)
        if isinstance(task, asyncio.Task) and type(task) is not asyncio.Task and task not in self._own_kind:
            # the factory does not hear of tasks of a kind of their own
            self._own_kind.add(task)
            self._tasks.append((task, Process.current() if context is None else context.get(_PROCESS)))
        return super().call_soon(callback, *args, context=context)

    def left_over(self) -> list[str]:
        """The tasks of living processes that are not done, or have failed and told nobody."""
        return [
            repr(task)
            for task, process in self._tasks
            if process is not None and process.alive and (not task.done() or task._log_traceback)  # type: ignore[attr-defined]  # how asyncio itself knows it
        ]

    def _complain(self, loop: asyncio.AbstractEventLoop, facts: dict[str, Any]) -> None:
        self.complaints.append(f"{facts.get('message')}: {facts.get('exception')!r}")

    def _asyncgen_firstiter_hook(self, generator: AsyncGenerator[Any, Any]) -> None:
        pass

    def _asyncgen_finalizer_hook(self, generator: AsyncGenerator[Any, Any]) -> None:
        # only what a crash has left may be open still, and that is not to clean up
        if not self.is_closed():
            self.complaints.append(f"an async generator was left open: {generator!r}")

    def _write_to_self(self) -> None:
        pass

    def bury(self) -> None:
        """Close the loop and let go of what crashed; whatever its cleanup tries comes too late to be seen."""
        for task, _ in self._tasks:
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]  # it is meant to be pending
                coroutine = task.get_coro()
                assert coroutine is not None
                for _ in range(20):
                    with contextlib.suppress(BaseException):
                        coroutine.close()
                        break
            elif not task.cancelled():
                task.exception()
        self._tasks.clear()
        self._own_kind.clear()
        self._scheduled.clear()
        self._ready.clear()
        self.close()


class ProcessClock:
    """A `Clock` of one simulated process: true time, by a clock that is a little wrong."""

    def __init__(self, loop: VirtualLoop, process: Process) -> None:
        self._loop, self._process = loop, process

    def now(self) -> datetime:
        return self._loop.now() + self._process.skew

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
