"""What the console script costs before it does anything."""

from __future__ import annotations

from benchmarks.measuring import Case, Goal, Table, measure

_EAGER = "import aiohttp, attrs, cattrs, redis, loguru, pluggy"
_ARGPARSE = "import argparse, pluggy; argparse.ArgumentParser('x').parse_args([])"


_CYCLOPTS, _EAGERLY = "cyclopts alone", "the whole stack imported eagerly"
_BOUNDS = (("--version", _CYCLOPTS, 1.0), ("--help", _EAGERLY, 0.7), ("providers", _EAGERLY, 0.7))


def run(rounds: int) -> Table:
    """The table."""
    cases = [
        Case(name="bare interpreter", kind="floor", arguments=["-c", "pass"]),
        Case(name="argparse + pluggy", kind="peer", arguments=["-c", _ARGPARSE]),
        Case(name=_CYCLOPTS, kind="floor", arguments=["-c", "import cyclopts"]),
        Case(name=_EAGERLY, kind="peer", arguments=["-c", _EAGER]),
        *(Case(name=f"brokersync {word}", kind="ours", arguments=["-m", "brokersync", word]) for word, _, _ in _BOUNDS),
    ]
    medians, errors = measure(cases, rounds)
    return Table(
        name="startup",
        rounds=rounds,
        cases=cases,
        medians=medians,
        errors=errors,
        goals=[
            Goal(
                name=f"brokersync {word} against {against}",
                value=medians[f"brokersync {word}"] / medians[against],
                at_most=bound,
            )
            for word, against, bound in _BOUNDS
            if f"brokersync {word}" in medians
        ],
        reference=_EAGERLY,
    )
