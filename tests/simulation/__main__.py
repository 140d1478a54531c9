"""Run the simulation: one seed with its trace, or many that are counted."""

from __future__ import annotations

import argparse
import os
import random
import sys

from .bugs import BUGS
from .runner import Result, run_many, run_seed, seeds_until_caught


def main() -> int:
    """The exit code: 0 when every promise was kept (or, with --bugs, every bug was caught)."""
    asked = _parser().parse_args()
    if asked.bugs:
        return _hunt(asked.seeds)
    if asked.seed is not None:
        result = run_seed(asked.seed, asked.bug)
        print("\n".join(result.trace))
        print(result)
        return int(result.finding is not None)
    first = random.SystemRandom().randrange(1 << 32) if asked.first is None else asked.first
    print(f"seeds from {first} on, with {asked.processes} processes", flush=True)
    tally = run_many(
        first,
        seeds=asked.seeds,
        seconds=asked.seconds,
        processes=asked.processes,
        bug=asked.bug,
        on_finding=_show,
    )
    print(tally)
    return int(bool(tally.found))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="replay this one and print its trace")
    parser.add_argument("--seeds", type=int, default=1000, help="how many to run")
    parser.add_argument("--seconds", type=float, default=0, help="go on for at least so long")
    parser.add_argument("--first", type=int, help="where to begin; fresh seeds otherwise")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--bug", choices=sorted(BUGS), help="plant this bug")
    parser.add_argument("--bugs", action="store_true", help="plant one bug after another until each is caught")
    return parser


def _show(result: Result) -> None:
    print(result, flush=True)


def _hunt(most: int) -> int:
    missed = 0
    for bug in BUGS:
        caught = seeds_until_caught(bug, most)
        missed += caught is None
        told = f"not caught in {most} seeds" if caught is None else f"{caught.seed + 1} seeds: {caught.promise}"
        print(f"{bug}: {told}", flush=True)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
