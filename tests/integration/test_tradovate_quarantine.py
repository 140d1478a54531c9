"""Tradovate's fills that a mistaken plugin could not read leave quarantine once a corrected one reads them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import pytest

from brokersync import BrokerSync, Deferred, SyncReport
from brokersync.sandboxes import SandboxSettings
from brokersync.store import TradeFilter
from brokersync.testing import run_sandbox
from brokersync.types import BrokerTrade
from brokersync_tradovate import payloads


class Clock:
    """Sleeping moves the time on and takes none."""

    def __init__(self) -> None:
        self.time = datetime(2026, 6, 10, 15, 0, tzinfo=UTC)  # a Wednesday

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()

    async def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)
        await asyncio.sleep(0)


class Desk:
    """One connection to a sandbox, read once with a plugin that takes no fill for readable."""

    def __init__(self, bs: BrokerSync, clock: Clock) -> None:
        self.bs, self.clock = bs, clock
        self.connection = ""

    async def sync(self, source: str) -> SyncReport:
        begin = self.clock.time - timedelta(days=40)
        while isinstance(outcome := await self.bs.run(self.connection, sources=[source], again_from=begin), Deferred):
            self.clock.time = max(self.clock.time, outcome.until)
        self.clock.time += timedelta(minutes=1)
        return outcome.report

    async def trades(self, owner: str = "me") -> list[BrokerTrade]:
        found = [one async for one in self.bs.trades(owner, TradeFilter(cancelled=True))]
        return [attrs.evolve(one, revision=1) for one in found]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    clock = Clock()
    settings = SandboxSettings(now=clock.now, days=12, trades_per_day=3)
    async with (
        run_sandbox("tradovate", settings=settings) as sandbox,
        BrokerSync.open(tmp_path / "s.db", settings=sandbox.settings(), clock=clock) as bs,
    ):
        mine = sandbox.logins[0]
        made = Desk(bs, clock)
        connection = await bs.connect("tradovate", owner="me", fields=mine.fields, environment=mine.environment)
        made.connection = connection.connection_id
        yield made


def _refuses(row: payloads.Row) -> payloads.Fill:
    raise payloads.RowError("the plugin has a mistake")


async def _misread(desk: Desk, source: str, monkeypatch: pytest.MonkeyPatch) -> int:
    with monkeypatch.context() as mistaken:
        mistaken.setattr(payloads.Fill, "of", _refuses)
        held = []
        for _ in range(2):
            await desk.sync(source)
            held.append(len(await desk.bs.quarantined("me")))
    assert held[1] == held[0] > 0, "each row is kept once"
    assert await desk.trades() == []
    return held[0]


@pytest.mark.parametrize("source", ["session", "reports"])
async def test_the_next_sync_of_a_corrected_plugin_takes_them_out(
    desk: Desk, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = await _misread(desk, source, monkeypatch)
    await desk.sync(source)
    assert len(await desk.trades()) == held
    assert await desk.bs.quarantined("me") == ()


@pytest.mark.parametrize("source", ["session", "reports"])
async def test_renormalise_takes_them_out_and_reads_them_as_a_sync_does(
    desk: Desk, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = await _misread(desk, source, monkeypatch)
    report = await desk.bs.renormalise("me")
    assert (report.understood, report.added) == (held, held)
    assert await desk.bs.quarantined("me") == ()
    assert {one.trade_id[:5] for one in await desk.trades()} == {"fill:"}
