"""`python -m benchmarks [table ...] [--rounds N] [--into FOLDER]` runs all tables, or those named."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from benchmarks import brokers, discovery, fleet, flex, job, limits, matching, outages, startup, store
from benchmarks.measuring import Written, write

TABLES: dict[str, Callable[[int], Written]] = {
    "brokers": brokers.run,
    "discovery": discovery.run,
    "fleet": fleet.run,
    "flex": flex.run,
    "job": job.run,
    "limits": limits.one_process,
    "limits-fleet": limits.four_processes,
    "matching": matching.run,
    "outages": outages.run,
    "startup": startup.run,
    "store": store.run,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Peer, floor and ours, side by side.")
    parser.add_argument("table", nargs="*", help=f"{', '.join(TABLES)}; all of them when none is named")
    parser.add_argument("--rounds", type=int, default=11, help="processes per case that count (default: 11)")
    parser.add_argument(
        "--into", type=Path, default=Path(__file__).parent / "results", help="where to write the tables"
    )
    options = parser.parse_args()
    for name in options.table:
        if name not in TABLES:
            parser.error(f"there is no table {name!r}; there are {', '.join(TABLES)}")
    for name in options.table or TABLES:
        table = TABLES[name](options.rounds)
        write(table, options.into)
        print(table.markdown())


if __name__ == "__main__":
    main()
