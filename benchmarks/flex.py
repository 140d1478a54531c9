"""Flex XML to trades: ours beside ibflex and bare expat, in CPU and memory."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.grid import Grid
from benchmarks.measuring import Goal

MOST_ROUNDS = 5
ROWS = int(os.environ.get("BENCHMARK_ROWS", "100000"))
_CASES = {
    "lexer": ("expat, nobody listens", "floor"),
    "dicts": ("expat, a dict for each row", "floor"),
    "ibflex": ("ibflex, all of it kept", "peer"),
    "service": ("ours, the service's answer", "ours"),
    "downloaded": ("ours, a file: checked, then read", "ours"),
}
_COMMAND = [sys.executable, "-m", "benchmarks.flex_work"]


def run(rounds: int) -> Grid:
    """The table; a round is long, so there are five at most."""
    rounds = min(rounds, MOST_ROUNDS)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "statement.xml"
        subprocess.run([*_COMMAND, "write", str(file), str(ROWS)], check=True)
        size = file.stat().st_size / 1e6
        found: dict[str, list[tuple[float, float]]] = {case: [] for case in _CASES}
        for _ in range(rounds):
            for case, taken in found.items():
                taken.append(_measured(case, file))
    ms = {case: statistics.median(one[0] for one in taken) for case, taken in found.items()}
    peak = {case: statistics.median(one[1] for one in taken) for case, taken in found.items()}
    rates = {case: ROWS / spent * 1000 for case, spent in ms.items()}
    return Grid(
        name="flex",
        about=f"{ROWS:,} executions in {size:.0f} MB, CPU time, medians of {rounds} rounds;",
        head=("what", "kind", "rows a second", "x the dicts of expat", "MB above start"),
        rows=[
            (name, kind, f"{rates[case]:,.0f}", f"{rates[case] / rates['dicts']:.2f}", f"{peak[case]:.0f}")
            for case, (name, kind) in _CASES.items()
        ],
        goals=[
            Goal(name="the service's answer, of ibflex", value=rates["service"] / rates["ibflex"], at_least=5),
            Goal(name="the service's answer, of expat's dicts", value=rates["service"] / rates["dicts"], at_least=0.75),
            Goal(name="memory of the service's answer", value=peak["service"], at_most=100, unit="MB"),
            Goal(name="memory of a file", value=peak["downloaded"], at_most=100, unit="MB"),
        ],
    )


def _measured(case: str, file: Path) -> tuple[float, float]:
    done = subprocess.run([*_COMMAND, case, str(file)], stdout=subprocess.PIPE, text=True, check=True)
    told = json.loads(done.stdout)
    if told["rows"] not in (ROWS, -1):
        raise RuntimeError(f"{case} read {told['rows']} rows of {ROWS}")
    return told["ms"], told["peak_mb"]
