"""What a job costs in CPU: a place under the limit, a request on loopback, ten trades parsed and stored."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.job_work import PAGES, ROWS
from benchmarks.measuring import Case, Goal, Table, measure

MOST_ROUNDS = 5
_GET, _SCRIPT, _PAGES, _SYNCS = "an aiohttp GET", "a plain script", "a page of a sync", "a sync that finds nothing new"


def run(rounds: int) -> Table:
    """The table, in milliseconds for all requests of a case."""
    rounds = min(rounds, MOST_ROUNDS)
    command = [sys.executable, "-m", "benchmarks.job_work"]
    with subprocess.Popen([*command, "serve"], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            port = server.stdout.readline().strip()
            cases = [
                Case(name=name, kind=kind, arguments=[*command[1:], work, port], prints=True)
                for name, kind, work in (
                    (_GET, "floor", "get"), (_SCRIPT, "peer", "script"), (_PAGES, "ours", "pages"),
                    (_SYNCS, "ours", "syncs"),
                )
            ]  # fmt: skip
            medians, errors = measure(cases, rounds)
        finally:
            server.terminate()
    goals = [
        Goal(name=f"{_PAGES}, of {other}", value=medians[_PAGES] / medians[other], at_most=bound)
        for other, bound in ((_GET, 3), (_SCRIPT, 1.5))
        if _PAGES in medians and other in medians
    ]
    if _PAGES in medians:
        goals.append(Goal(name=f"CPU of {_PAGES} ({ROWS} trades)", value=medians[_PAGES] / PAGES, at_most=1, unit="ms"))
    return Table(name="job", rounds=rounds, cases=cases, medians=medians, errors=errors, goals=goals, reference=_GET)
