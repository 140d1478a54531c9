"""An hour of the broker's time, with a fault in nearly every minute of it: nothing is lost, doubled or given up."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from brokersync.events import Event, HistoryLost, RetryScheduled
from brokersync.records import ConnectionState
from brokersync.sandboxes import SandboxSettings
from brokersync.types import FeesState
from brokersync_tradovate.sandbox import create

from .desk import Desk, booked_costs, booked_executions, costs, executions, open_desk

START = datetime(2026, 6, 10, 14, 0, tzinfo=UTC)  # a Wednesday, 9:00 in Chicago
_SECOND, _MINUTE, _HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
# what goes by itself; a token that dies costs a login, of which there are five an hour for an address
_PASSING = (
    "cut",
    "html",
    "maintenance",
    "penalty_ticket",
    "server_error",
    "slow",
    "timeout",
    "truncated",
    "wrong_shape",
)
_OF_TOKENS = {12: "expired_token", 31: "session_closed", 47: "expired_token"}


async def test_an_hour_under_faults_loses_nothing(tmp_path: Path, sized: Callable[[str, int, int], int]) -> None:
    for seed in range(sized("hours of Tradovate's time under faults", 1, 10)):
        folder = tmp_path / str(seed)
        folder.mkdir()
        await _one_hour(folder, seed)


async def _one_hour(folder: Path, seed: int) -> None:
    heard: list[Event] = []
    rng = Random(f"an hour of faults:{seed}")
    simulated = {"days": 4, "trades_per_day": 150, "seed": seed}
    async with open_desk(folder, START, events=heard.append, a_request_takes=_SECOND, **simulated) as desk:
        connection = await desk.connect()
        while (minute := (desk.clock.time - START) // _MINUTE) < 60:
            fault = _OF_TOKENS.get(minute) or rng.choice(_PASSING)
            await desk.arm(fault=fault, times=rng.randint(1, 2), after=rng.randint(0, 3))
            await desk.bs.run(connection)
            desk.clock.time = max(desk.clock.time, START + (minute + 1) * _MINUTE)
        traded = [fill for fill in (await desk.ledger()).values() if fill["executed_at"] > START.isoformat()]
        await desk.disarm()
        desk.clock.time += _HOUR
        await desk.sync(connection)

        await _check(desk, connection)
        assert len(traded) > 5, "the hour was not an idle one"
        assert len([one for one in heard if isinstance(one, RetryScheduled)]) > 10, "and the faults were met"
        assert (await desk.requests())["auth/accesstokenrequest"] <= 1 + len(_OF_TOKENS)
        assert [one for one in heard if isinstance(one, HistoryLost)] == []


@pytest.mark.parametrize("fault", ["rate_limit", "locked"])
async def test_a_lock_out_is_sat_out_without_a_word_and_loses_nothing(tmp_path: Path, fault: str) -> None:
    async with open_desk(tmp_path, START, days=4, trades_per_day=150) as desk:
        connection = await desk.connect()
        await desk.arm(fault=fault, operation="fill/list")
        for _ in range(12):
            await desk.bs.run(connection)
            desk.clock.time += timedelta(minutes=4)
        asked = await desk.requests()
        assert asked["fill/list"] == 1, "one request in that hour would begin it again"

        desk.clock.time += _HOUR
        await desk.sync(connection)

        await _check(desk, connection)


async def _check(desk: Desk, connection: str) -> None:
    trades, ledger = await desk.trades(), await desk.ledger()
    until = desk.clock.time - timedelta(minutes=10)
    late = {name for name, fill in ledger.items() if datetime.fromisoformat(fill["executed_at"]) > until}
    settled = [trade for name, trade in trades.items() if name not in late]
    assert executions(trades.values()) == booked_executions(ledger)
    assert costs(settled) == {name: fees for name, fees in booked_costs(ledger).items() if name not in late}
    assert await desk.bs.quarantined("me") == ()
    assert FeesState.PENDING not in {one.fees_state for one in settled}
    assert (await desk.bs.connection(connection)).state is ConnectionState.ACTIVE


def test_every_fault_that_passes_by_itself_is_one_of_the_sandboxes() -> None:
    broker = create(SandboxSettings(now=lambda: START, days=1))
    assert {*_PASSING, *_OF_TOKENS.values()} <= set(broker.faults)
