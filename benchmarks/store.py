"""Trades into a store: ours against plain tables of SQLite and Postgres, fresh and again."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.measuring import Case, Goal, Table, measure

MOST_ROUNDS = 3

_KINDS = {
    "sqlite floor": "floor",
    "sqlite ours fresh": "ours",
    "sqlite ours without ledger": "ours",
    "sqlite ours without feed": "ours",
    "sqlite ours resync": "ours",
    "postgres copy": "floor",
    "postgres executemany fresh": "peer",
    "postgres executemany resync": "peer",
    "postgres ours fresh": "ours",
    "postgres ours without ledger": "ours",
    "postgres ours without feed": "ours",
    "postgres ours resync": "ours",
    "encoding": "floor",
}


def run(rounds: int) -> Table:
    """The table; a round is long, so there are three at most."""
    rounds = min(rounds, MOST_ROUNDS)
    cases = [
        Case(name=name, kind=kind, arguments=["-m", "benchmarks.store_work", name], prints=True)
        for name, kind in _KINDS.items()
    ]
    medians, errors = measure(cases, rounds)
    return Table(
        name="store",
        rounds=rounds,
        cases=cases,
        medians=medians,
        errors=errors,
        goals=_goals(medians),
        reference="sqlite floor",
    )


def _goals(medians: dict[str, float]) -> Sequence[Goal]:
    """How many times as fast as the other a case is; milliseconds are for the same number of rows."""
    wanted = [
        ("SQLite, trades, changes and coverage: of its floor", "sqlite ours fresh", "sqlite floor", 0.5),
        ("SQLite, a resync: of the fresh rate", "sqlite ours resync", "sqlite ours fresh", 5.0),
        ("SQLite, with the ledger: of the rate without", "sqlite ours fresh", "sqlite ours without ledger", 0.9),
        ("SQLite, with the feed: of the rate without", "sqlite ours fresh", "sqlite ours without feed", 0.8),
        ("Postgres, fresh: of executemany", "postgres ours fresh", "postgres executemany fresh", 2.0),
        ("Postgres, a resync: of executemany again", "postgres ours resync", "postgres executemany resync", 3.0),
        ("Postgres, with the ledger: of the rate without", "postgres ours fresh", "postgres ours without ledger", 0.9),
        ("Postgres, with the feed: of the rate without", "postgres ours fresh", "postgres ours without feed", 0.8),
        ("Postgres, fresh: of COPY with a key", "postgres ours fresh", "postgres copy", 0.5),
    ]
    return [
        Goal(name=name, value=medians[other] / medians[ours], at_least=bound)
        for name, ours, other, bound in wanted
        if ours in medians and other in medians
    ]
