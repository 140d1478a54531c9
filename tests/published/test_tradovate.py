"""Tradovate's plugin and a server that was made of the published description understand each other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from brokersync import BrokerSync, Done
from brokersync.config import BrokerSettings, Settings
from brokersync.store import TradeFilter
from brokersync.types import BrokerTrade, FeesState

from .answers import Broker, Row
from .requests import violations
from .server import TOKEN, Published
from .table import OPERATIONS, SHAPES, names

LOGIN = {"username": "somebody", "password": "a-secret", "cid": "8001", "sec": "another-secret"}
_FEES = {
    "commission": "commission", "exchangeFee": "exchange", "clearingFee": "clearing", "nfaFee": "regulatory",
    "brokerageFee": "brokerage", "ipFee": "platform", "orderRoutingFee": "routing",
}  # fmt: skip  # a table


async def _read(published: Published, clock: Any, folder: Path, seed: int) -> tuple[list[BrokerTrade], Any, Any]:
    """What is read of the session, after a login, or with a token of either side that another program had."""
    async with published.serving() as hosts:
        settings = Settings(brokers={"tradovate": BrokerSettings(hosts=hosts)})
        async with BrokerSync.open(folder / "store.db", settings=settings, clock=clock) as bs:
            if seed % 3 == 0:
                connection = await bs.connect("tradovate", owner="me", fields=LOGIN, environment="live")
            else:
                side, tokens = ("live", "demo")[seed % 3 - 1], {"access_token": TOKEN}
                connection = await bs.take_over("tradovate", owner="me", tokens=tokens, environment=side)
            outcome = await bs.run(connection.connection_id, sources=["session"])
            assert isinstance(outcome, Done)
            trades = [one async for one in bs.trades("me", TradeFilter())]
            return trades, outcome.report, await bs.quarantined("me")


def test_the_two_understand_each_other(sized: Callable[[str, int, int], int], tmp_path: Path, clock: Any) -> None:
    """Every answer that the description allows is taken for what it says, and no request breaks its rules."""
    asked: set[str] = set()
    for seed in range(sized("servers made of Tradovate's published description", 12, 300)):
        published = Published(seed, clock.time - timedelta(hours=12), clock.time)
        folder = tmp_path / str(seed)
        folder.mkdir()
        trades, report, held = asyncio.run(_read(published, clock, folder, seed))

        assert (published.wrong, report.problems) == ([], ()), seed
        _check(published, trades, held)
        asked |= published.asked
    assert asked == {path for _, path in OPERATIONS}, "nothing is in the table that nobody asks for"


def _check(published: Published, trades: list[BrokerTrade], held: Any) -> None:
    booked = {(one.environment, one.trade_id): one for one in trades}
    for side, broker in published.sides.items():
        orders = {row["id"]: row for row in broker.rows["Order"]}
        waiting = {one["raw"]["fill"]["id"]: one["reason"] for one in held if one["environment"] == side}
        for fill in broker.rows["Fill"]:
            trade = booked.pop((side, f"fill:{fill['id']}"), None)
            if fill["orderId"] not in orders:
                assert trade is None
                assert "order" in waiting[fill["id"]]
            else:
                assert trade is not None
                assert _told(trade) == _published(broker, fill, orders[fill["orderId"]])
                _check_fees(broker, fill, trade)
    assert booked == {}


def _told(trade: BrokerTrade) -> tuple[Any, ...]:
    instrument = trade.instrument
    return (
        trade.account_id, trade.order_id, str(trade.side), trade.quantity, trade.price, trade.executed_at,
        instrument.symbol, instrument.multiplier, instrument.currency, "inactive" in trade.tags,
    )  # fmt: skip  # a row


def _published(broker: Broker, fill: Row, order: Row) -> tuple[Any, ...]:
    contract = _one(broker, "Contract", fill["contractId"])
    product = _product(broker, contract)
    return (
        str(order["accountId"]), str(order["id"]), fill["action"].lower(), Decimal(fill["qty"]), fill["price"],
        datetime.fromisoformat(fill["timestamp"]).astimezone(UTC), contract["name"].strip(), product["valuePerPoint"],
        _currency(broker, product["currencyId"]), not fill["active"],
    )  # fmt: skip  # a row


def _check_fees(broker: Broker, fill: Row, trade: BrokerTrade) -> None:
    row = next((one for one in broker.rows["FillFee"] if one["id"] == fill["id"]), {})
    product = _product(broker, _one(broker, "Contract", fill["contractId"]))
    expected: dict[str, tuple[Decimal, str]] = {}
    for name, kind in _FEES.items():
        if row.get(name) is not None:
            currency = row.get(f"{name.removesuffix('Fee')}CurrencyId")
            code = _currency(broker, product["currencyId"] if currency is None else currency)
            expected[kind] = (row[name], code)
    assert {str(fee.kind): (fee.amount, fee.currency) for fee in trade.fees} == expected
    # each amount may be absent, and nothing in the description says which of them a fill has
    assert trade.fees_state is (FeesState.ESTIMATED if expected else FeesState.PENDING)


def _one(broker: Broker, shape: str, number: int) -> Row:
    (row,) = broker.items(shape, [number])
    return row


def _product(broker: Broker, contract: Row) -> Row:
    return _one(broker, "Product", _one(broker, "ContractMaturity", contract["contractMaturityId"])["productId"])


def _currency(broker: Broker, number: int) -> str:
    return str(_one(broker, "Currency", number)["name"]).upper()


@pytest.mark.parametrize(
    ("method", "path", "query", "body", "said"),
    [
        ("GET", "/contract/list", {}, "", "not published"),
        ("POST", "/fill/list", {}, "", "not published"),
        ("GET", "/fill/list", {"from": "2026"}, "", "was given"),
        ("GET", "/contract/items", {}, "", "was given"),
        ("GET", "/contract/items", {"ids": "1;2"}, "", "whole numbers"),
        ("GET", "/fill/list", {}, "{}", "no body"),
        ("POST", "/auth/accesstokenrequest", {}, '{"name":"a"}', "needs password"),
        ("POST", "/auth/accesstokenrequest", {}, '{"name":"a","password":1}', "is no str"),
        ("POST", "/auth/accesstokenrequest", {}, '{"name":"a","password":"b","user":"c"}', "has no user"),
    ],
)
def test_the_server_refuses_what_is_not_published(
    method: str, path: str, query: Mapping[str, str], body: str, said: str
) -> None:
    headers = {"Authorization": "Bearer t", "Content-Type": "application/json"}
    assert [said in one for one in violations(method, path, query, body, headers)] == [True]


def test_the_table_is_read_as_it_is_written() -> None:
    for shape in SHAPES:
        assert len({one.name for one in names(shape)}) == len(names(shape)) > 1
    assert {one.gives.strip("[]") for one in OPERATIONS.values()} <= SHAPES.keys()
    assert [one.required for one in names("Currency")] == [True, True, False]
