"""What a fleet of workers does while its Redis is away, and after it is back, as the broker counts it."""

from __future__ import annotations

import os
import signal
import statistics
import tempfile
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence

import attrs

from benchmarks.fleet import SHORT
from benchmarks.fleet_run import WORKERS, Counted, Fleet
from benchmarks.fleet_work import OWNERS
from benchmarks.grid import Grid
from benchmarks.measuring import Goal
from brokersync.config import Settings
from brokersync.testing.redis_server import ScratchRedis, scratch_redis

MOST_ROUNDS = 3
BEFORE, AWAY, AFTER = 20.0, 30.0, 30.0
# a window, in which it is found that the Redis does not answer or answers again
_FOUND = 2.0


def _stand_still(redis: ScratchRedis) -> None:
    """What a cut network looks like: connections stay open and nothing is answered; what was sent arrives later."""
    os.kill(redis.pid, signal.SIGSTOP)
    time.sleep(AWAY)
    os.kill(redis.pid, signal.SIGCONT)


def _go_away(redis: ScratchRedis) -> None:
    redis.kill()
    time.sleep(AWAY)
    redis.start()


def _crash(redis: ScratchRedis) -> None:
    redis.kill()
    redis.start()
    time.sleep(AWAY)


# each with whether the server keeps its counts in a file
_CASES: Mapping[str, tuple[Callable[[ScratchRedis], None], bool]] = {
    "cut off for 30 s": (_stand_still, False),
    "away for 30 s, then empty": (_go_away, False),
    "away for 30 s, then with its file": (_go_away, True),
    "killed and back at once, empty": (_crash, False),
    "killed and back at once, with its file": (_crash, True),
}


@attrs.frozen(kw_only=True)
class Run:
    """What the broker counted; `went` is when the trouble began, in seconds since the first call."""

    counted: Counted
    went: float

    def used(self, since: float, until: float) -> float:
        """The part of the allowance of the whole app that was used."""
        plan, times = self.counted.plan, sorted(self.counted.let_in["app "])
        most = plan.app * (until - since) / plan.period
        return (bisect_left(times, until) - bisect_left(times, since)) / most

    @property
    def before(self) -> float:
        return self.used(self.went - 10, self.went)

    @property
    def away(self) -> float:
        return self.used(self.went + _FOUND, self.went + AWAY)

    @property
    def after(self) -> float:
        return self.used(self.went + AWAY + _FOUND, self.went + AWAY + AFTER - _FOUND)

    @property
    def refused(self) -> int:
        ends = self.went + AWAY + AFTER
        return sum(self.went <= at < ends for at in self.counted.refused)

    @property
    def forgotten(self) -> int:
        """Logins of which no call came in after it."""
        since = self.went + AWAY
        last = {name: max(times) for name, times in self.counted.let_in.items() if name.startswith("credential ")}
        return OWNERS - sum(at >= since for at in last.values())

    @property
    def failed(self) -> int:
        return self.counted.failed


def run(rounds: int) -> Grid:
    """Eight workers, and a Redis that is cut off or killed under them."""
    rounds = min(rounds, MOST_ROUNDS)
    runs = {name: [_run(*case) for _ in range(rounds)] for name, case in _CASES.items()}
    figures: Mapping[str, Callable[[Run], float]] = {
        "used before": lambda run: run.before,
        "while it lasts": lambda run: run.away,
        "after": lambda run: run.after,
        "refused": lambda run: run.refused,
        "logins not read again": lambda run: run.forgotten,
        "syncs that failed": lambda run: run.failed,
    }
    share = WORKERS * Settings().fleet.share / 100
    return Grid(
        name="outages",
        about=f"{WORKERS} workers, {OWNERS} logins, a limit of {SHORT.app} a second; {rounds} rounds, medians.",
        head=["the Redis is", *figures],
        rows=[
            [name, *(f"{statistics.median(figure(run) for run in done):.3g}" for figure in figures.values())]
            for name, done in runs.items()
        ],
        goals=[
            Goal(name="refused", value=_all(runs, lambda run: run.refused), at_most=0, unit=""),
            Goal(name="while away, of the shares", value=_most_away(runs) / share, at_most=1),
            Goal(name="logins not read again", value=_all(runs, lambda run: run.forgotten), at_most=0, unit=""),
            Goal(name="syncs that failed", value=_all(runs, lambda run: run.failed), at_most=0, unit=""),
        ],
    )


def _all(runs: Mapping[str, Sequence[Run]], figure: Callable[[Run], float]) -> float:
    return sum(figure(run) for done in runs.values() for run in done)


def _most_away(runs: Mapping[str, Sequence[Run]]) -> float:
    return max(run.away for name, done in runs.items() if _CASES[name][0] is not _crash for run in done)


def _run(trouble: Callable[[ScratchRedis], None], durable: bool) -> Run:
    with tempfile.TemporaryDirectory() as folder, scratch_redis(durable=durable) as redis:
        fleet = Fleet.start(SHORT, folder, redis.url)
        time.sleep(BEFORE)
        went = time.monotonic()
        trouble(redis)
        time.sleep(AFTER)
        counted = fleet.stop()
    return Run(counted=counted, went=went - counted.began)
