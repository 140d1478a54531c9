"""An exercised option, its cancel, its rebooking and its delivery: linked in any order and however files split them."""

from __future__ import annotations

import io
from itertools import permutations, product
from pathlib import Path

from brokersync import BrokerSync
from brokersync.store import TradeFilter

from .test_corrections_in_any_order import _BASE, statement

_LEG = _BASE | {
    "transactionType": "BookTrade", "dateTime": "20260305;162000", "tradeDate": "20260305", "reportDate": "20260305",
    "ibCommission": "0", "notes": "Ex",
}  # fmt: skip
_OPTION = _LEG | {
    "assetCategory": "OPT", "symbol": "ACME  260305C00010000", "conid": "22", "underlyingConid": "11",
    "underlyingSymbol": "ACME", "multiplier": "100", "strike": "10", "expiry": "20260305", "putCall": "C",
    "buySell": "SELL", "quantity": "-1", "tradePrice": "0", "tradeID": "900", "transactionID": "9001",
}  # fmt: skip
_CANCEL = _OPTION | {
    "transactionType": "TradeCancel", "buySell": "SELL (Ca.)", "quantity": "1", "tradeID": "", "origTradeID": "900",
    "origTransactionID": "9001", "transactionID": "9003",
}  # fmt: skip
_REBOOKED = _OPTION | {"transactionID": "9004"}
_DELIVERY = _LEG | {
    "buySell": "BUY", "quantity": "100", "tradePrice": "10", "tradeID": "901", "transactionID": "9002",
}  # fmt: skip
_LINKED = [("trade:900", "active", ("trade:901",)), ("trade:901", "active", ("trade:900",))]


async def ends(bs: BrokerSync, owner: str) -> list[tuple[str, str, tuple[str, ...]]]:
    trades = [one async for one in bs.trades(owner, TradeFilter(cancelled=True))]
    return sorted((one.trade_id, one.status.value, one.related) for one in trades)


async def test_files_in_any_order_and_split_end_in_two_linked_trades(tmp_path: Path) -> None:
    orders = permutations([_OPTION, _CANCEL, _REBOOKED, _DELIVERY])
    async with BrokerSync.open(tmp_path / "s.db") as bs:
        for number, (order, (first, second)) in enumerate(product(orders, ((4, 4), (1, 2), (2, 3)))):
            owner = f"owner {number}"
            for part in (order[:first], order[first:second], order[second:]):
                await bs.import_statement("ibkr", io.BytesIO(statement(part)), owner=owner)
            assert await ends(bs, owner) == _LINKED


async def test_legs_of_two_files_stay_linked_when_one_is_read_again_or_all_are_renormalised(tmp_path: Path) -> None:
    async with BrokerSync.open(tmp_path / "s.db") as bs:
        files = [statement([row]) for row in (_OPTION, _DELIVERY)]
        for file in (*files, files[0]):
            report = await bs.import_statement("ibkr", io.BytesIO(file), owner="me")
        assert (report.unchanged, report.modified) == (1, 0)
        explained = await bs.explain("me", account="U7", trade_id="trade:901")
        assert {one.words for one in explained.bookings} == {"gives the trade its content"}
        again = await bs.renormalise("me")
        assert (again.renewed, again.modified) == (0, 0)
        assert await ends(bs, "me") == _LINKED
