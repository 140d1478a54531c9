"""A broker's sandbox in this process, a store over it, and a clock in the test's hands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from brokersync import BrokerSync
from brokersync.records import Connection
from brokersync.sandboxes import SandboxSettings
from brokersync.testing import RunningSandbox, run_sandbox


class Clock:
    """Sleeping moves the time on and takes none."""

    def __init__(self) -> None:
        self.time = datetime(2026, 6, 10, 15, 0, tzinfo=UTC)  # a Wednesday, 11:00 in New York

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()

    async def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)
        await asyncio.sleep(0)


@attrs.frozen
class Stage:
    """What a backend has of a broker."""

    key: str
    sandbox: RunningSandbox
    bs: BrokerSync
    clock: Clock

    async def connect(self, owner: str = "me", without: str | None = None) -> Connection:
        """The sandbox's first login; `without` one of its fields."""
        mine = self.sandbox.logins[0]
        fields = {name: value for name, value in mine.fields.items() if name != without}
        return await self.bs.connect(self.key, owner=owner, fields=fields, environment=mine.environment)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def staged(clock: Clock, tmp_path: Path) -> Callable[..., AbstractAsyncContextManager[Stage]]:
    """`staged(broker, days=..., ...)` is a `Stage` over such a sandbox."""

    @asynccontextmanager
    async def stage(broker: str, **simulated: Any) -> AsyncIterator[Stage]:
        settings = SandboxSettings(now=clock.now, **simulated)
        async with (
            run_sandbox(broker, settings=settings) as sandbox,
            BrokerSync.open(tmp_path / "store.db", settings=sandbox.settings(), clock=clock) as bs,
        ):
            yield Stage(broker, sandbox, bs, clock)

    return stage
