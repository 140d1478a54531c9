"""IBKR rows without any id, in statements of any days: equal ones are neither doubled nor lost."""

from __future__ import annotations

import asyncio
import io
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokersync import BrokerSync

_ROW = {
    "accountId": "U7", "currency": "USD", "assetCategory": "STK", "symbol": "ACME", "conid": "11", "multiplier": "1",
    "transactionType": "ExchTrade", "buySell": "BUY", "quantity": "1", "ibCommission": "-1",
    "ibCommissionCurrency": "USD", "tradeID": "", "transactionID": "",
}  # fmt: skip
FIRST, END = 2, 8
# the day of the trade, how many days later it was booked, and the price
Row = tuple[int, int, int]
_rows = st.lists(st.tuples(st.integers(FIRST, END - 3), st.integers(0, 2), st.integers(1, 2)), min_size=1, max_size=8)


def statement(rows: Sequence[Row], first: int, end: int) -> bytes:
    """What IBKR tells of the days of booking from `first` up to `end`."""
    told = [
        _ROW
        | {"dateTime": f"2026030{day};100000", "tradeDate": f"2026030{day}", "reportDate": f"2026030{day + later}"}
        | {"tradePrice": str(price)}
        for day, later, price in rows
        if first <= day + later < end
    ]
    body = "".join("<Trade " + " ".join(f'{name}="{value}"' for name, value in row.items()) + " />" for row in told)
    return (
        '<FlexQueryResponse queryName="q" type="AF"><FlexStatements count="1"><FlexStatement accountId="U7"'
        f' fromDate="2026030{first}" toDate="2026030{end - 1}" period="" whenGenerated="20260310;060000">'
        f"<Trades>{body}</Trades></FlexStatement></FlexStatements></FlexQueryResponse>"
    ).encode()


class Shop:
    """One store; each reading under an owner of its own."""

    def __init__(self, runner: asyncio.Runner, bs: BrokerSync) -> None:
        self._runner, self._bs = runner, bs
        self._owners = (f"owner {number}" for number in itertools.count())

    def ids(self, rows: Sequence[Row], windows: Sequence[tuple[int, int]]) -> list[str]:
        return self._runner.run(self._read(rows, windows, next(self._owners)))

    async def _read(self, rows: Sequence[Row], windows: Sequence[tuple[int, int]], owner: str) -> list[str]:
        for first, end in windows:
            report = await self._bs.import_statement("ibkr", io.BytesIO(statement(rows, first, end)), owner=owner)
            assert report.problems == ()
        return sorted([trade.trade_id async for trade in self._bs.trades(owner)])


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder: Path = tmp_path_factory.mktemp("equal")
    with asyncio.Runner() as runner:
        opened = BrokerSync.open(folder / "s.db")
        bs = runner.run(opened.__aenter__())
        yield Shop(runner, bs)
        runner.run(opened.__aexit__(None, None, None))


@settings(deadline=None, max_examples=25)
@given(rows=_rows, cuts=st.sets(st.integers(FIRST + 1, END - 1)), data=st.data())
def test_statements_of_any_days_in_any_order_and_overlapping_give_one_set_of_trades(
    shop: Shop, rows: list[Row], cuts: set[int], data: st.DataObject
) -> None:
    whole = shop.ids(rows, [(FIRST, END)])
    assert len(whole) == len(rows)
    pieces = list(itertools.pairwise([FIRST, *sorted(cuts), END]))
    more = data.draw(st.lists(st.tuples(st.integers(FIRST, END - 1), st.integers(1, 4)), max_size=2))
    overlapping = [(first, min(first + days, END)) for first, days in more]
    assert shop.ids(rows, data.draw(st.permutations([*pieces, *overlapping]))) == whole
