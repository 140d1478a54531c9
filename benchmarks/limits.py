"""Permits at a steady rate: how evenly, how fairly and at what price, in one process and in four.

Tasks ask again as soon as they have got one, so that the limit is wanted all the time.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import attrs

from benchmarks.grid import Grid
from benchmarks.limiters import CASES
from benchmarks.measuring import Goal
from benchmarks.plot import Line, plot
from brokersync.testing.redis_server import scratch_redis

RATE = 100
TASKS, EACH = 200, 10
PROCESSES = 4
MOST_ROUNDS = 3
UNCONTENDED = 20_000
_STARTS_WITHIN = 10.0
_MODULES = {"limits": "limits", "pyrate-limiter": "pyrate_limiter", "throttled-py": "throttled"}
_KINDS = {"no limit": "floor", "strict log": "floor", "ours": "ours"}


@attrs.frozen(kw_only=True)
class Run:
    """What the processes of one case got; instants in seconds since the first, in order."""

    shares: Sequence[Sequence[float]]
    waits: Sequence[float]
    cpu: float
    round_trips: float = 0.0

    @property
    def at(self) -> list[float]:
        return sorted(one for share in self.shares for one in share)

    @property
    def of_ideal(self) -> float:
        """How long it took, in the time that the limit allows: the first `RATE` go at once."""
        return self.at[-1] / ((len(self.at) - RATE) / RATE)

    @property
    def fullest(self) -> int:
        """The most permits in any window of a second."""
        at = self.at
        return max(number + 1 - bisect_left(at, one - 1 + 1e-9) for number, one in enumerate(at))

    def wait(self, part: float) -> float:
        return sorted(self.waits)[int(part * (len(self.waits) - 1))]

    @property
    def cpu_us(self) -> float:
        return self.cpu / len(self.at) * 1e6

    @property
    def unevenness(self) -> float:
        """By how much the process that is furthest off had more or less than its share when half was gone."""
        return self._uneven_from(0.0)

    @property
    def later_unevenness(self) -> float:
        """The same without the first second, which goes to whoever asks first."""
        return self._uneven_from(1.0)

    def _uneven_from(self, begins: float) -> float:
        middle = self.at[len(self.at) // 2]
        got = [bisect_left(sorted(share), middle) - bisect_left(sorted(share), begins) for share in self.shares]
        return max(abs(one - statistics.mean(got)) for one in got) / statistics.mean(got)


def one_process(rounds: int) -> Grid:
    """200 tasks want 2000 permits at 100 a second."""
    rounds = min(rounds, MOST_ROUNDS)
    names = [name for name in CASES if name != "no limit"]
    runs = _in_turns(names, rounds, lambda name: _run(name, 1))
    free = _in_turns(["aiolimiter", "ours"], rounds, lambda name: _run(name, 1, rate=10**9, tasks=1, each=UNCONTENDED))
    rates = {name: _median(done, lambda run: run.cpu_us) for name, done in free.items()}
    first = {name: done[0] for name, done in runs.items()}
    _draw(first)
    figures: Mapping[str, Any] = {
        "x ideal time": lambda run: run.of_ideal,
        "most in a second": lambda run: run.fullest,
        "p50 wait, s": lambda run: run.wait(0.5),
        "p99 wait, s": lambda run: run.wait(0.99),
        "us CPU a permit": lambda run: run.cpu_us,
    }
    ours = runs["ours"]
    return Grid(
        name="limits-one-process",
        about=f"{TASKS} tasks want {TASKS * EACH} permits at {RATE}/s; medians of {rounds} rounds.",
        head=["limiter", "kind", *figures],
        rows=_rows(names, runs, figures),
        goals=[
            Goal(name="time, of the ideal", value=_median(ours, lambda run: run.of_ideal), at_most=1.02),
            Goal(name="most in any second", value=max(run.fullest for run in ours), at_most=RATE, unit=""),
            Goal(
                name="p99 wait, of the median", at_most=1.05,
                value=_median(ours, lambda run: run.wait(0.99) / run.wait(0.5)),
            ),
            Goal(name="CPU a permit", value=_median(ours, lambda run: run.cpu_us), at_most=15, unit="us"),
            Goal(name="uncontended, rate of aiolimiter's", value=rates["aiolimiter"] / rates["ours"], at_least=1.5),
        ],
    )  # fmt: skip


def four_processes(rounds: int) -> Grid:
    """Four processes share 100 permits a second through one key."""
    rounds = min(rounds, MOST_ROUNDS)
    names = [name for name in CASES if name in _MODULES or name == "ours"]
    runs = _in_turns(names, rounds, lambda name: _run(name, PROCESSES, tasks=TASKS // PROCESSES, each=EACH // 2))
    figures: Mapping[str, Any] = {
        "x ideal time": lambda run: run.of_ideal,
        "most in a second": lambda run: run.fullest,
        "scripts a permit": lambda run: run.round_trips,
        "p50 wait, s": lambda run: run.wait(0.5),
        "p99 wait, s": lambda run: run.wait(0.99),
        "uneven by": lambda run: run.unevenness,
        "after the first second": lambda run: run.later_unevenness,
        "us CPU a permit": lambda run: run.cpu_us,
    }
    ours = runs["ours"]
    return Grid(
        name="limits-four-processes",
        about=f"{PROCESSES} processes want {TASKS * EACH // 2} permits at {RATE}/s; medians of {rounds} rounds.",
        head=["limiter", "kind", *figures],
        rows=_rows(names, runs, figures),
        goals=[
            Goal(name="used of the limit", value=1 / _median(ours, lambda run: run.of_ideal), at_least=0.99, unit=""),
            Goal(name="most in any second", value=max(run.fullest for run in ours), at_most=RATE * 1.02, unit=""),
            Goal(name="scripts a permit", value=_median(ours, lambda run: run.round_trips), at_most=1.1, unit=""),
            Goal(
                name="p99 wait, of the median", at_most=1.1,
                value=_median(ours, lambda run: run.wait(0.99) / run.wait(0.5)),
            ),
            Goal(name="uneven by", value=_median(ours, lambda run: run.unevenness), at_most=0.03, unit=""),
        ],
    )  # fmt: skip


def _in_turns(names: Sequence[str], rounds: int, run: Any) -> dict[str, list[Run]]:
    runs: dict[str, list[Run]] = {}
    for _ in range(rounds):
        for name in names:
            if name not in _MODULES or find_spec(_MODULES[name]) is not None:
                runs.setdefault(name, []).append(run(name))
    return runs


def _run(name: str, processes: int, *, rate: int = RATE, tasks: int = TASKS, each: int = EACH) -> Run:
    if processes == 1:
        return _gathered([_started(name, rate, tasks, each, begins=0.0, redis="")], lambda: 0)
    with scratch_redis() as server:
        before = _scripts(server.socket)
        begins = time.monotonic() + _STARTS_WITHIN
        started = [_started(name, rate, tasks, each, begins, server.url) for _ in range(processes)]
        return _gathered(started, lambda: _scripts(server.socket) - before)


def _started(name: str, rate: int, tasks: int, each: int, begins: float, redis: str) -> subprocess.Popen[str]:
    words = ["--rate", rate, "--tasks", tasks, "--each", each, "--begins", begins, "--redis", redis]
    command = [sys.executable, "-m", "benchmarks.limiters", name, *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _gathered(started: Sequence[subprocess.Popen[str]], scripts: Any) -> Run:
    told = [json.loads(process.communicate()[0]) for process in started]
    first = min(min(one["at"]) for one in told)
    shares = [[at - first for at in one["at"]] for one in told]
    return Run(
        shares=shares,
        waits=[wait for one in told for wait in one["waits"]],
        cpu=sum(one["cpu"] for one in told),
        round_trips=scripts() / sum(map(len, shares)),
    )


def _scripts(socket: Path) -> int:
    """How often the server was asked to run a script."""
    from redis import Redis

    with Redis(unix_socket_path=str(socket)) as client:
        stats: Any = client.info("commandstats")
    return sum(one["calls"] for name, one in stats.items() if name.startswith(("cmdstat_eval", "cmdstat_fcall")))


def _median(runs: Sequence[Run], figure: Any) -> float:
    return float(statistics.median(figure(run) for run in runs))


def _rows(names: Sequence[str], runs: Mapping[str, Sequence[Run]], figures: Mapping[str, Any]) -> list[list[str]]:
    rows = []
    for name in names:
        kind = _KINDS.get(name, "peer")
        if name not in runs:
            rows.append([name, kind, "not installed", *[""] * (len(figures) - 1)])
            continue
        rows.append([name, kind, *(f"{_median(runs[name], figure):.4g}" for figure in figures.values())])
    return rows


def _draw(runs: Mapping[str, Run]) -> None:
    """How many permits the second before each instant holds, of ours and of aiolimiter."""
    step = 0.02
    lines = []
    for name in ("aiolimiter", "ours"):
        at = runs[name].at
        moments = [number * step for number in range(int(at[-1] / step))]
        held = [bisect_left(at, moment + 1e-9) - bisect_left(at, moment - 1 + 1e-9) for moment in moments]
        lines.append(Line(name, list(zip(moments, held, strict=True))))
    into = Path(__file__).parent / "results"
    into.mkdir(exist_ok=True)
    text = plot(lines, bound=RATE, x="seconds", y=f"permits in the second before, limit {RATE}")
    (into / "permits.svg").write_text(text, encoding="utf-8")
