"""How well a fleet of workers keeps and uses the limits of a broker on loopback, as the broker counts them."""

from __future__ import annotations

import statistics
import tempfile
import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from benchmarks.fleet_run import WORKERS, Counted, Fleet
from benchmarks.fleet_work import OWNERS, Plan
from benchmarks.grid import Grid
from benchmarks.measuring import Goal
from brokersync.testing.redis_server import scratch_redis

MOST_ROUNDS = 3
_LONG = Plan(app=300, credential=60, endpoint=200, period=10.0)
SHORT = Plan(app=30, credential=6, endpoint=20, period=1.0)
_HALVED = attrs.evolve(SHORT, halves_after=20.0)
# each with the number of windows that are measured, from the first call on
_CASES: Mapping[str, tuple[Plan, int]] = {
    "windows of 10 s": (_LONG, 6),
    "windows of 1 s": (SHORT, 60),
    "half from 20 s on, told by headers": (attrs.evolve(_HALVED, tells=True), 40),
    "half from 20 s on, by 429 alone": (_HALVED, 40),
}


@attrs.frozen(kw_only=True)
class Run:
    """What the broker counted in the windows from the first call on."""

    counted: Counted
    windows: int

    @property
    def plan(self) -> Plan:
        return self.counted.plan

    @property
    def let_in(self) -> Sequence[float]:
        return self.counted.let_in["app "]

    @property
    def refused(self) -> Sequence[float]:
        return self.counted.refused

    @property
    def ends(self) -> float:
        return self.windows * self.plan.period

    @property
    def calls(self) -> int:
        """Those that came in while it was measured."""
        return _before(self.let_in, self.ends) + _before(self.refused, self.ends)

    @property
    def used(self) -> float:
        """The part of the allowance of the whole app that was used before it was halved, if it ever was."""
        ends = self.plan.halves_after or self.ends
        return _before(self.let_in, ends) / (self.plan.app * ends / self.plan.period)

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
        times = self.let_in
        return (_before(times, self.ends) - _before(times, since)) / (
            self.plan.app // 2 * (self.ends - since) / self.plan.period
        )

    @property
    def failed(self) -> int:
        return self.counted.failed


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
    with tempfile.TemporaryDirectory() as folder, scratch_redis() as redis:
        fleet = Fleet.start(plan, folder, redis.url)
        time.sleep(plan.period * windows + 2)
        return Run(counted=fleet.stop(), windows=windows)


def _before(times: Sequence[float], moment: float) -> int:
    return bisect_left(sorted(times), moment)


def _median(runs: Sequence[Run], figure: Any) -> float:
    return float(statistics.median(figure(run) for run in runs))
