"""What the whole workspace's tests share: how large the slow suites are, and what they did."""

from __future__ import annotations

from collections.abc import Callable

import pytest

_SIZES = pytest.StashKey[dict[str, str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run the slow suites in their full size")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_SIZES] = {}


@pytest.fixture
def sized(request: pytest.FixtureRequest) -> Callable[[str, int, int], int]:
    """`sized(what, ci, full)` gives the number to run, and has it printed at the end."""

    def choose(what: str, ci: int, full: int) -> int:
        number = full if request.config.getoption("--full") else ci
        request.config.stash[_SIZES][what] = f"{what}: {number} (full size {full})"
        return number

    return choose


@pytest.fixture
def told(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """`told(line)` has a line printed at the end: what a slow suite has really done."""

    def tell(line: str) -> None:
        request.config.stash[_SIZES][line] = line

    return tell


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    sizes = config.stash[_SIZES]
    if sizes:
        terminalreporter.section("sizes of the slow suites")
        for line in sizes.values():
            terminalreporter.write_line(line)
