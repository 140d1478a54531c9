"""A plugin of pytest that writes down how each check ended, and shares the checks with other processes."""

from __future__ import annotations

import json
import os
from hashlib import sha256
from pathlib import Path
from typing import Final

import pytest

OUTCOMES: Final = "BROKERSYNC_VERIFY_OUTCOMES"
TAKEN: Final = "BROKERSYNC_VERIFY_TAKEN"
_MOST_CHARACTERS: Final = 600
# as many ordinary checks take as long
_LONG: Final = {
    "test_a_hundred_thousand_rows_fit_in_memory": 50,
    "test_an_unknown_word_is_never_guessed": 20,
    "test_an_odd_row_takes_no_other_along": 20,
    "test_names_of_rows_hang_on_nothing_that_may_change": 20,
    "test_a_fault_is_told_as_what_it_is[drip]": 15,
    "test_a_fault_is_told_as_what_it_is[silence]": 15,
}


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long ones first, so that no process is left alone with one at the end."""
    items.sort(key=lambda one: -_LONG.get(one.name, 1))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> bool | None:
    """One process of several takes the check, whichever is free first; the others pass it by."""
    try:
        (Path(os.environ[TAKEN]) / sha256(item.nodeid.encode()).hexdigest()).touch(exist_ok=False)
    except FileExistsError:
        return True
    return None


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
