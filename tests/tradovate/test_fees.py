"""What fills cost as the broker's books say it, however seldom anybody looks."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from brokersync.types import BrokerTrade, FeesState

from .desk import Desk, Name, booked_costs, costs, open_desk

TUESDAY = datetime(2026, 6, 9, 12, 30, tzinfo=UTC)


@pytest.mark.parametrize(("every", "turns"), [(1, 10), (3, 6), (7, 4)])
async def test_fees_of_an_evening_are_read_again_until_they_are_final(tmp_path: Path, every: int, turns: int) -> None:
    async with open_desk(tmp_path, TUESDAY, days=9, trades_per_day=10) as desk:
        connection = await desk.connect()
        for turn in range(turns):
            desk.clock.time = max(desk.clock.time, TUESDAY + timedelta(days=turn * every))
            await desk.sync(connection, "reports")
        trades = await desk.trades()
        seen = desk.clock.time - timedelta(days=every + 4)
        settled = {name: one for name, one in _alone(trades).items() if one.executed_at < seen}
        assert any(one.executed_at.hour >= 22 for one in settled.values())
        assert {name for name, one in settled.items() if one.fees_state is not FeesState.FINAL} == set()
        await check_final(desk)


async def check_final(desk: Desk) -> None:
    """Fees that are called final are those in the broker's books."""
    trades, booked = await desk.trades(), booked_costs(await desk.ledger())
    final = [one for one in trades.values() if one.fees_state is FeesState.FINAL]
    told = costs(final)
    assert told == {name: booked[name] for name in told}


def _alone(trades: dict[Name, BrokerTrade]) -> dict[Name, BrokerTrade]:
    """Those that nothing was traded beside in their second."""
    places = Counter(map(_place, trades.values()))
    return {name: one for name, one in trades.items() if places[_place(one)] == 1}


def _place(trade: BrokerTrade) -> tuple[str, str, str, datetime]:
    moment = trade.executed_at.replace(microsecond=0)
    return trade.environment, trade.account_id, trade.instrument.symbol, moment
