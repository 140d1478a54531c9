"""An API key that lacks one right reads everything else."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from brokersync import BrokerSync, Done
from brokersync.store import TradeFilter
from brokersync.testing import run_sandbox
from brokersync.types import FeesState


@pytest.mark.parametrize("login", [0, 1])
async def test_a_key_without_the_right_to_fees_keeps_its_login_and_its_trades(tmp_path: Path, login: int) -> None:
    async with (
        run_sandbox("tradovate") as broker,
        BrokerSync.open(tmp_path / "s.db", settings=broker.settings()) as bs,
        aiohttp.ClientSession() as http,
    ):
        fault = {"fault": "permission_denied", "operation": "fillFee/list", "times": 100}
        async with http.post(f"{broker.base_url}/_sandbox/faults", json=fault) as answer:
            answer.raise_for_status()
        mine = broker.logins[login]
        connection = await bs.connect("tradovate", owner="me", fields=mine.fields, environment=mine.environment)
        outcome = await bs.run(connection.connection_id, sources=["session"])
        trades = [trade async for trade in bs.trades("me", TradeFilter())]
    assert isinstance(outcome, Done)
    assert not outcome.report.problems
    if trades:  # on a Saturday the session is empty
        assert {trade.fees_state for trade in trades} == {FeesState.PENDING}
        assert any("Fees" in name for name in outcome.report.unmapped)
