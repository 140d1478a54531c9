"""How well a fleet of workers keeps and uses the limits of a broker on loopback, as the broker counts them."""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from benchmarks.fleet_work import OWNERS, Plan, opened
from benchmarks.grid import Grid
from benchmarks.measuring import Goal
from brokersync.testing.redis_server import scratch_redis

WORKERS = 8
MOST_ROUNDS = 3
_COMMAND = (sys.executable, "-m", "benchmarks.fleet_work")
_LONG = Plan(app=300, credential=60, endpoint=200, period=10.0)
_SHORT = Plan(app=30, credential=6, endpoint=20, period=1.0)
_HALVED = attrs.evolve(_SHORT, halves_after=20.0)
# each with the number of windows that are measured, from the first call on
_CASES: Mapping[str, tuple[Plan, int]] = {
    "windows of 10 s": (_LONG, 6),
    "windows of 1 s": (_SHORT, 60),
    "half from 20 s on, told by headers": (attrs.evolve(_HALVED, tells=True), 40),
    "half from 20 s on, by 429 alone": (_HALVED, 40),
}


@attrs.frozen(kw_only=True)
class Run:
    """What the broker counted, in seconds since the first call, and what became of the syncs."""

    plan: Plan
    windows: int
    let_in: Mapping[str, Sequence[float]]
    refused: Sequence[float]
    outcomes: Mapping[str, int]

    @property
    def ends(self) -> float:
        return self.windows * self.plan.period

    @property
    def calls(self) -> int:
        """Those that came in while it was measured."""
        return _before(self.let_in["app "], self.ends) + _before(self.refused, self.ends)

    @property
    def used(self) -> float:
        """The part of the allowance of the whole app that was used before it was halved, if it ever was."""
        ends = self.plan.halves_after or self.ends
        return _before(self.let_in["app "], ends) / (self.plan.app * ends / self.plan.period)

    @property
    def refused_share(self) -> float:
        return _before(self.refused, self.ends) / self.calls

    @property
    def settled_after(self) -> float:
        """Periods from the halving until the last call that was refused."""
        since = self.plan.halves_after or 0.0
        late = [at for at in self.refused if since <= at < self.ends]
        return (max(late) - since) / self.plan.period if late else 0.0

    @property
    def used_when_halved(self) -> float:
        """The part that was used of what was left of the allowance, from two periods after the halving on."""
        if self.plan.halves_after is None:
            return float("nan")
        since = self.plan.halves_after + 2 * self.plan.period
        times = self.let_in["app "]
        return (_before(times, self.ends) - _before(times, since)) / (
            self.plan.app // 2 * (self.ends - since) / self.plan.period
        )

    @property
    def failed(self) -> int:
        return self.outcomes.get("failed", 0)


def run(rounds: int) -> Grid:
    """Eight workers, one broker that meters the app, each login and each endpoint."""
    rounds = min(rounds, MOST_ROUNDS)
    runs = {name: [_run(plan, windows) for _ in range(rounds)] for name, (plan, windows) in _CASES.items()}
    figures: Mapping[str, Any] = {
        "used of the limit": lambda run: run.used,
        "refused, %": lambda run: run.refused_share * 100,
        "used when halved": lambda run: run.used_when_halved,
        "last refused, periods after": lambda run: run.settled_after,
        "syncs that failed": lambda run: run.failed,
    }
    rows = [[name, *(f"{_median(done, figure):.3g}" for figure in figures.values())] for name, done in runs.items()]
    long, short, *halved = runs.values()
    return Grid(
        name="fleet",
        about=f"{WORKERS} workers, {OWNERS} logins, a broker that counts by its own clock; {rounds} rounds.",
        head=["what the broker allows", *figures],
        rows=rows,
        goals=[
            Goal(name="10 s: used", value=_median(long, lambda run: run.used), at_least=0.99, unit=""),
            Goal(name="10 s: refused, %", value=_median(long, _refused), at_most=0, unit=""),
            Goal(name="1 s: used", value=_median(short, lambda run: run.used), at_least=0.93, unit=""),
            Goal(name="1 s: refused, %", value=_median(short, _refused), at_most=0.5, unit=""),
            *(
                Goal(
                    name=f"halved, {how}: periods until the last refusal", at_most=1, unit="",
                    value=_median(done, lambda run: run.settled_after),
                )
                for how, done in zip(("headers", "429"), halved, strict=True)
            ),
            Goal(
                name="syncs that failed", at_most=0, unit="",
                value=sum(run.failed for done in runs.values() for run in done),
            ),
        ],
    )  # fmt: skip


def _refused(run: Run) -> float:
    return run.refused_share * 100


def _run(plan: Plan, windows: int) -> Run:
    with (
        tempfile.TemporaryDirectory() as folder,
        scratch_redis() as redis,
        _started("broker", plan.words()) as broker,
    ):
        port = _said(broker)
        asyncio.run(_connect(plan, port, folder))
        workers = [_started("worker", plan.words(), port, folder, redis.url) for _ in range(WORKERS)]
        for one in workers:
            _said(one)
        time.sleep(plan.period * windows + 2)
        told = [_ended(one) for one in workers]
        counted = _ended(broker)
    outcomes = {name: sum(one["outcomes"].get(name, 0) for one in told) for one in told for name in one["outcomes"]}
    return Run(plan=plan, windows=windows, outcomes=outcomes, **counted)


async def _connect(plan: Plan, port: str, folder: str) -> None:
    async with opened(plan, port, folder, "") as bs:
        for number in range(OWNERS):
            await bs.connect("bench", owner=f"owner {number}", fields={"api_key": f"key-{number:04}"})


def _started(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen([*_COMMAND, *words], stdout=subprocess.PIPE, text=True)


def _said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _ended(process: subprocess.Popen[str]) -> Any:
    process.terminate()
    return json.loads(process.communicate(timeout=60)[0].splitlines()[-1])


def _before(times: Sequence[float], moment: float) -> int:
    return bisect_left(sorted(times), moment)


def _median(runs: Sequence[Run], figure: Any) -> float:
    return float(statistics.median(figure(run) for run in runs))
