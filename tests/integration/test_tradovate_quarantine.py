"""Tradovate's fills that a mistaken plugin could not read leave quarantine once a corrected one reads them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import attrs
import pytest

from brokersync import BrokerSync, Deferred, SyncReport
from brokersync.store import TradeFilter
from brokersync.types import BrokerTrade
from brokersync_tradovate import payloads


class Desk:
    """One connection to a sandbox, read once with a plugin that takes no fill for readable."""

    def __init__(self, bs: BrokerSync, clock: Any) -> None:
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
async def desk(staged: Any) -> AsyncIterator[Desk]:
    async with staged("tradovate", days=12, trades_per_day=3) as stage:
        made = Desk(stage.bs, stage.clock)
        made.connection = (await stage.connect()).connection_id
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
