"""How long one worker takes for the syncs of many brokers on loopback, of the least that their limits allow."""

from __future__ import annotations

import asyncio
import json
import os
import random
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from benchmarks.brokers_work import BROKERS, CALLS, PLACES, opened, rate_of
from benchmarks.grid import Grid
from benchmarks.measuring import Goal
from benchmarks.processes import ended, said, started

_CONNECTIONS = int(os.environ.get("BENCHMARK_CONNECTIONS", "10000"))
_PROGRAM = "benchmarks.brokers_work"
_DEAD = "100"
_AT_ONCE = 20


@attrs.frozen(kw_only=True)
class Run:
    """When the last call of each broker came in, in seconds since the first of all, and what they took."""

    last: Mapping[int, float]
    let_in: Mapping[int, int]
    refused: int
    failed: int
    cpu: float
    grew: float

    @property
    def least(self) -> Mapping[int, float]:
        """The least that each broker's limit allows: a window goes at once, and the rest at its rate."""
        return {number: calls / rate_of(number) for number, calls in self.let_in.items()}

    @property
    def makespan(self) -> float:
        return max(self.last.values())

    @property
    def bound(self) -> float:
        return max(*self.least.values(), self.cpu)

    @property
    def slowdowns(self) -> Sequence[float]:
        """How much longer each broker took than its limit makes it, ascending; a second is nothing."""
        least = self.least
        return sorted(at / max(least[number], 1.0) for number, at in self.last.items())


def run(rounds: int) -> Grid:
    """The same connections in two orders, and with a dead broker; it takes long, so always one round."""
    cases = {"shuffled": "", "broker by broker": "", "shuffled, one broker dead": _DEAD}
    runs = {name: _course(by_broker=name == "broker by broker", dead=dead) for name, dead in cases.items()}
    well, *others = runs.values()
    figures: Mapping[str, Any] = {
        "makespan, s": lambda one: one.makespan,
        "x bound": lambda one: one.makespan / one.bound,
        "slowdown, median": lambda one: statistics.median(one.slowdowns),
        "p90": lambda one: one.slowdowns[int(0.9 * len(one.slowdowns))],
        "CPU, s": lambda one: one.cpu,
        "MiB more": lambda one: one.grew,
        "refused": lambda one: one.refused,
    }
    return Grid(
        name="brokers",
        about=(
            f"{_CONNECTIONS} connections of {BROKERS} brokers, {CALLS} calls each, one worker with {PLACES} places;"
            " one round."
        ),
        head=["order", *figures],
        rows=[[name, *(f"{figure(one):.3g}" for figure in figures.values())] for name, one in runs.items()],
        goals=[
            Goal(
                name="makespan, of the bound",
                value=max(one.makespan / one.bound for one in runs.values()),
                at_most=1.05,
            ),
            *(
                Goal(name=f"makespan {name}, of that shuffled", value=one.makespan / well.makespan, at_most=1.05)
                for name, one in list(runs.items())[1:]
            ),
            Goal(name="refused", value=sum(one.refused for one in runs.values()), at_most=0, unit=""),
            Goal(name="syncs that failed", value=sum(one.failed for one in (well, *others[:1])), at_most=0, unit=""),
        ],
    )


def _course(*, by_broker: bool, dead: str) -> Run:
    numbers = list(range(_CONNECTIONS))
    random.Random(2).shuffle(numbers)
    if by_broker:
        numbers.sort(key=lambda number: number % BROKERS)
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_connect(folder, numbers))
        return _run(folder, dead)


async def _connect(folder: str, numbers: Sequence[int]) -> None:
    async with opened("1", folder, "") as bs:
        gate = asyncio.Semaphore(_AT_ONCE)

        async def connect(number: int) -> None:
            async with gate:
                name, key = f"bench-{number % BROKERS}", f"key-{number:06}"
                await bs.connect(name, owner=f"owner {number}", fields={"api_key": key})

        await asyncio.gather(*map(connect, numbers))


def _run(folder: str, dead: str) -> Run:
    broker = started(_PROGRAM, "broker")
    worker = started(_PROGRAM, "worker", said(broker), folder, dead)
    said(worker)
    dead_ones = len(range(int(dead), _CONNECTIONS, BROKERS)) if dead else 0
    done = 0
    while done < _CONNECTIONS - dead_ones:
        done = json.loads(said(worker)).get("done", 0)
    told, counted = ended(worker), ended(broker)
    return Run(
        last={int(number): at for number, at in counted["last"].items()},
        let_in={int(number): calls for number, calls in counted["let_in"].items()},
        refused=counted["refused"],
        failed=told["outcomes"].get("failed", 0),
        cpu=told["cpu"],
        grew=told["grew"],
    )
