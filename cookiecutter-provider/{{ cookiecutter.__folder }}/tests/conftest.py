from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from brokersync import BrokerSync, ProviderRegistry
from brokersync.events import Event
from brokersync.plugin import Manifest, SandboxSettings
from brokersync.testing import RunningSandbox, run_sandbox

from .filling import steps
from .logins import KEY
from .stage import Clock, Stage


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def sandbox(clock: Clock) -> AsyncIterator[RunningSandbox]:
    """The simulated broker on loopback, found as core finds it: through the entry point and the manifest."""
    async with run_sandbox(KEY, settings=SandboxSettings(now=clock.now, days=90)) as running:
        yield running


@pytest.fixture
async def stage(sandbox: RunningSandbox, clock: Clock, tmp_path: Path) -> AsyncIterator[Stage]:
    events: list[Event] = []
    store = tmp_path / "store.db"
    async with BrokerSync.open(store, settings=sandbox.settings(), clock=clock, events=events.append) as bs:
        yield Stage(sandbox, bs, clock, store, events)


@pytest.fixture
def manifest() -> Manifest:
    return ProviderRegistry.installed().manifest(KEY)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if count := sum(map(len, steps().values())):
        terminalreporter.section("still invented")
        terminalreporter.write_line(f"{count} places tell of an invented broker; `pytest -m release` lists them.")
