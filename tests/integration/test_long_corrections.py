"""Corrections of corrections over weeks, each told by a file of its own, read in every order: one state."""

from __future__ import annotations

import io
from decimal import Decimal
from itertools import permutations
from pathlib import Path

import pytest

from brokersync import BrokerSync

from .test_corrections_in_any_order import state

_ROW = {
    "accountId": "U7", "currency": "USD", "assetCategory": "STK", "symbol": "ACME", "conid": "11", "multiplier": "1",
    "dateTime": "20260302;100000", "tradeDate": "20260302", "ibCommissionCurrency": "USD",
}  # fmt: skip
_COSTS = ("-1", "0.2", "0.3", "-0.5")


def booked(turn: int, *, trade: str = "700", quantity: int | None = None) -> dict[str, str]:
    """The original, or what was booked in its place in that turn: a smaller one each time."""
    return _ROW | {
        "transactionType": "ExchTrade", "buySell": "BUY", "tradeID": trade, "transactionID": f"{trade}{turn}0",
        "ibExecID": f"0000aa.0000{trade}.01.{turn + 1:02d}", "quantity": str(quantity or 100 - 10 * turn),
        "tradePrice": f"10.{9 - turn}", "ibCommission": _COSTS[turn],
    }  # fmt: skip


def taken_back(row: dict[str, str]) -> dict[str, str]:
    number = row["transactionID"]
    own = {
        "transactionType": "TradeCancel", "buySell": "BUY (Ca.)", "quantity": f"-{row['quantity']}", "notes": "Ca",
        "tradeID": "", "ibExecID": "", "origTradeID": row["tradeID"], "origTransactionID": number,
        "transactionID": f"{number}5", "ibCommission": "0",
    }  # fmt: skip
    return row | own


_FIRST, _SECOND, _THIRD, _LAST = (booked(turn) for turn in range(4))
_THREE_TIMES = (
    (_FIRST,),
    (taken_back(_FIRST), _SECOND),
    (taken_back(_SECOND), _THIRD),
    (taken_back(_THIRD), _LAST),
)
_PARTS = (booked(0, quantity=60), booked(0, trade="701", quantity=40))
STORIES = {
    "replaced three times": (_THREE_TIMES, [("active", "70", "1.0")]),
    "replaced twice and taken back": ((*_THREE_TIMES[:3], (taken_back(_THIRD),)), [("cancelled", "80", "0.5")]),
    "a part taken back": ((_PARTS, (taken_back(_PARTS[1]),)), [("active", "60", "1"), ("cancelled", "40", "1")]),
}


def file_of(week: int, rows: tuple[dict[str, str], ...], left_out: str) -> bytes:
    day = f"202603{2 + 7 * week:02d}"
    told = [{name: value for name, value in (row | {"reportDate": day}).items() if name != left_out} for row in rows]
    body = "".join("<Trade " + " ".join(f'{name}="{value}"' for name, value in row.items()) + " />" for row in told)
    return (
        '<FlexQueryResponse queryName="q" type="AF"><FlexStatements count="1"><FlexStatement accountId="U7"'
        f' fromDate="{day}" toDate="{day}" period="" whenGenerated="{int(day) + 1};061500">'
        f"<Trades>{body}</Trades></FlexStatement></FlexStatements></FlexQueryResponse>"
    ).encode()


@pytest.mark.parametrize("left_out", ["", "ibExecID", "origTransactionID", "origTradeID"])
@pytest.mark.parametrize("story", STORIES)
async def test_corrections_of_corrections_end_in_one_state_in_whichever_order_their_files_are_read(
    tmp_path: Path, story: str, left_out: str
) -> None:
    weeks, expected = STORIES[story]
    files = [file_of(week, rows, left_out) for week, rows in enumerate(weeks)]
    ends = []
    async with BrokerSync.open(tmp_path / "s.db") as bs:
        for order in permutations(files):
            owner = f"owner {len(ends)}"
            for file in order:
                await bs.import_statement("ibkr", io.BytesIO(file), owner=owner)
            ends.append(await state(bs, owner))
    trades, _ = ends[0]
    told = sorted((one.status.value, one.quantity, sum(fee.amount for fee in one.fees)) for one in trades)
    assert told == [(status, Decimal(quantity), Decimal(cost)) for status, quantity, cost in expected]
    assert all(end == ends[0] for end in ends)
