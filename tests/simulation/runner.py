"""Seeds from the outside: one run to its finding, many of them counted."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import itertools
import os
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from typing import Final
from unittest import mock

import attrs

from .bugs import planted
from .invariants import Violation
from .loop import DeadlockError, EndlessError
from .world import Line, World

_CHUNK: Final = 20
_ENOUGH: Final = 10


@attrs.frozen(kw_only=True)
class Result:
    """What became of one seed.

    `promise` is the one that was broken; a finding without is an error of the code's own.
    """

    seed: int
    steps: int
    told: tuple[Line, ...]
    last_draw: float
    finding: str | None = None
    promise: str | None = None

    @property
    def trace(self) -> tuple[str, ...]:
        return tuple(map(str, self.told))

    @property
    def trace_hash(self) -> str:
        """The hash of all that happened and of the order of every step."""
        digest = hashlib.blake2b("\n".join(self.trace).encode(), digest_size=8)
        digest.update(f"{self.steps} {self.last_draw}".encode())
        return digest.hexdigest()

    def __str__(self) -> str:
        if self.finding is None:
            return f"seed {self.seed}: every promise is kept after {self.steps} steps, trace {self.trace_hash}"
        return f"seed {self.seed}: {self.finding}\n  replay it with: {command(self.seed)}"


def command(seed: int) -> str:
    """What replays a seed exactly."""
    return f"python -m tests.simulation --seed {seed}"


def run_seed(seed: int, bug: str | None = None) -> Result:
    """One whole course of events."""
    with _seeded_randomness(seed), planted(bug):
        gc.disable()  # garbage is to be collected between seeds, never at a moment that depends on the seeds before
        world = World(seed)
        try:
            broken = _life(world)
            told, last_draw = tuple(world.told), world.chance.random()
        finally:
            world.loop.bury()
            world.database.close()
            gc.enable()
    return Result(
        seed=seed,
        steps=world.loop.steps,
        told=told,
        last_draw=last_draw,
        finding=None if broken is None else _told(broken),
        promise=_promise(broken),
    )


@attrs.define
class Tally:
    """How many seeds were run, and those of them that found something."""

    seeds: int = 0
    found: list[Result] = attrs.field(factory=list)
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.seeds} seeds in {self.seconds:.0f} seconds, {len(self.found)} of them broke a promise"


def run_many(
    first: int,
    *,
    seeds: int,
    seconds: float = 0.0,
    processes: int = 1,
    bug: str | None = None,
    on_finding: Callable[[Result], None] = lambda _: None,
) -> Tally:
    """At least so many seeds from `first` on, and for at least so long, unless enough have found something."""
    tally, began = Tally(), time.monotonic()
    chunks = itertools.count(first, _CHUNK)
    with ProcessPoolExecutor(processes) as pool:
        running: set[Future[list[Result]]] = set()

        def wanted() -> bool:
            if len(tally.found) >= _ENOUGH:
                return False
            handed_out = tally.seeds + len(running) * _CHUNK
            return handed_out < seeds or time.monotonic() - began < seconds

        while running or wanted():
            while len(running) < processes and wanted():
                running.add(pool.submit(_run_chunk, next(chunks), bug))
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                tally.seeds += _CHUNK
                for result in future.result():
                    tally.found.append(result)
                    on_finding(result)
    tally.seconds = time.monotonic() - began
    return tally


def seeds_until_caught(bug: str, most: int) -> Result | None:
    """The first seed, counted from zero, in which a planted bug finds something."""
    results = (run_seed(seed, bug) for seed in range(most))
    return next((result for result in results if result.finding is not None), None)


def _run_chunk(first: int, bug: str | None) -> list[Result]:
    results = (run_seed(seed, bug) for seed in range(first, first + _CHUNK))
    return [attrs.evolve(result, told=()) for result in results if result.finding is not None]


def _life(world: World) -> BaseException | None:
    loop = world.loop
    try:
        loop.run_until_complete(world.run())
        left = loop.left_over()
        if left:
            return Violation("no task is left", "; ".join(left))
        if loop.complaints:
            return Violation("nothing fails unheard", "; ".join(loop.complaints))
    except DeadlockError as error:
        return Violation("somebody can always go on", str(error))
    except EndlessError as error:
        return Violation("everything comes to its end", str(error))
    except Exception as error:  # noqa: BLE001  whatever it is, it is the finding
        return error
    return None


def _told(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_told(one) for one in error.exceptions)
    return str(error) if isinstance(error, Violation) else f"{type(error).__name__}: {error}"


def _promise(error: BaseException | None) -> str | None:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error.promise if isinstance(error, Violation) else None


@contextlib.contextmanager
def _seeded_randomness(seed: int) -> Iterator[None]:
    """Names, keys and jitter come from the system's randomness; here that, too, is the seed's."""
    system = random.Random(f"system {seed}")
    with mock.patch.object(os, "urandom", system.randbytes), mock.patch.object(random, "_urandom", system.randbytes):
        yield
