"""The how-to's code works as it is written: logins taken over, trades read, the journal's rows linked."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from brokersync import BrokerAuthError, BrokerConfigError, BrokerSync, BrokerTrade, get_broker_provider
from brokersync.factory import make_credentials
from brokersync.plugin import TimePrecision
from brokersync.registry import ProviderRegistry
from brokersync.testing import run_sandbox

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "coming-from-a-journal.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def guide() -> dict[str, Callable[..., Any]]:
    names: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL):
        exec(compile(code, "docs/coming-from-a-journal.md", "exec"), names)
    return names


async def _token(broker: Any) -> str:
    """A login that another program makes at the sandbox."""
    login = broker.logins[0]
    loaded = ProviderRegistry.installed().load("tradovate")
    async with get_broker_provider("tradovate", settings=broker.settings(), environment=login.environment) as provider:
        auth = await provider.authenticate(make_credentials(loaded, login.fields))
    assert auth.access_token is not None
    return auth.access_token.reveal()


def _as_journal(trades: list[BrokerTrade]) -> list[dict[str, Any]]:
    """What an older journal made of trades: ids for some, local times to the minute for others, and one of its own."""
    assert all(trade.time_precision is TimePrecision.SECOND for trade in trades)
    rows = [
        {
            "id": number,
            "account": trade.account_id,
            "fill_id": trade.trade_id.partition(":")[2] if number % 2 else None,
            "symbol": trade.instrument.symbol,
            "side": trade.side.value,
            "quantity": trade.quantity,
            "price": trade.price,
            "time": trade.executed_at - timedelta(hours=5),
        }
        for number, trade in enumerate(trades)
    ]
    own = rows[0] | {"id": "own", "price": Decimal("0.01"), "fill_id": None}
    return [*rows, own]


async def test_logins_and_rows_come_over(guide: dict[str, Callable[..., Any]], tmp_path: Path) -> None:
    async with (
        run_sandbox("tradovate") as broker,
        BrokerSync.open(tmp_path / "journal.db", settings=broker.settings()) as bs,
    ):
        ends = datetime.now(UTC) + timedelta(minutes=80)
        alice = {"name": "alice", "token": await _token(broker), "token_ends": ends, "api_key": broker.logins[0].fields}
        bob = {"name": "bob", "token": "nobody's token", "token_ends": ends, "api_key": None}
        connections = await guide["take_over_logins"](bs, [alice, bob])
        assert list(connections) == ["alice"]
        assert await guide["take_over_logins"](bs, [alice]) == connections

        login = broker.logins[0]
        again = await bs.connect("tradovate", owner="alice", fields=login.fields, environment=login.environment)
        assert again.connection_id == connections["alice"]

        await bs.run(connections["alice"])
        trades = [trade async for trade in bs.trades("alice")]
        assert len(trades) > 100

        todo = await guide["link_rows"](bs, "alice", _as_journal(trades))
        linked = dict(todo["link"])
        for number, trade in enumerate(trades):
            if number % 2:
                assert [key.trade_id for key in linked[str(number)]] == [trade.trade_id]
        assert len(linked) + len(todo["ask"]) == len(trades)
        assert [row_id for row_id, _ in todo["keep"]] == ["own"]


async def test_what_the_guide_says_of_a_plugin_that_takes_no_tokens_over(tmp_path: Path) -> None:
    async with run_sandbox("ibkr") as broker, BrokerSync.open(tmp_path / "j.db", settings=broker.settings()) as bs:
        with pytest.raises(BrokerConfigError, match="takes no tokens over") as caught:
            await bs.take_over("ibkr", owner="me", tokens={"access_token": "a Flex token"})
        assert "token" in (caught.value.remedy or "")


async def test_a_foreign_token_that_the_broker_does_not_know_leaves_nothing(tmp_path: Path) -> None:
    async with run_sandbox("tradovate") as broker, BrokerSync.open(tmp_path / "j.db", settings=broker.settings()) as bs:
        with pytest.raises(BrokerAuthError):
            await bs.take_over("tradovate", owner="me", tokens={"access_token": "nobody's token"})
        assert await bs.connections() == ()
