"""A plugin of pytest that writes down how each check ended, and leaves out those of other processes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

import pytest

OUTCOMES: Final = "BROKERSYNC_VERIFY_OUTCOMES"
PART: Final = "BROKERSYNC_VERIFY_PART"
_MOST_CHARACTERS: Final = 600
# as many ordinary checks take as long
_LONG: Final = {
    "test_a_hundred_thousand_rows_fit_in_memory": 50,
    "test_an_unknown_word_is_never_guessed": 20,
    "test_an_odd_row_takes_no_other_along": 20,
    "test_names_of_rows_hang_on_nothing_that_may_change": 20,
}


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """One process of several runs its part of the checks; all parts take about as long."""
    part, _, parts = os.environ.get(PART, "0/1").partition("/")
    loads = [0] * int(parts)
    mine: list[pytest.Item] = []
    others: list[pytest.Item] = []
    for item in sorted(items, key=lambda one: one.name not in _LONG):
        lightest = loads.index(min(loads))
        loads[lightest] += _LONG.get(item.name, 1)
        (mine if lightest == int(part) else others).append(item)
    items[:] = mine
    config.hook.pytest_deselected(items=others)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """A line for each check that has ended, or that could not begin."""
    if report.when != "call" and report.outcome == "passed":
        return
    xfail = getattr(report, "wasxfail", None)
    outcome = "exempt" if xfail is not None and report.outcome == "skipped" else report.outcome
    told = {"check": report.nodeid.rpartition("::")[2], "outcome": outcome, "why": xfail or _why(report)}
    with Path(os.environ[OUTCOMES]).open("a", encoding="utf-8") as file:
        file.write(json.dumps(told) + "\n")


def _why(report: pytest.TestReport) -> str:
    if report.passed:
        return ""
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    text = str(crash.message if crash is not None else report.longrepr)
    return text.removeprefix("brokersync.testing.contract.expecting.BrokenContract: ")[:_MOST_CHARACTERS]
