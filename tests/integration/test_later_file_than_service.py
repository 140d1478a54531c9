"""A row that the service and a file tell differently: the one that IBKR generated later stands, in either order."""

from __future__ import annotations

import io
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from brokersync import BrokerSync, Deferred


def document(row: dict[str, str], day: str, made: str) -> bytes:
    told = " ".join(f'{name}="{text}"' for name, text in row.items())
    return (
        '<FlexQueryResponse queryName="q" type="AF"><FlexStatements count="1">'
        f'<FlexStatement accountId="{row["accountId"]}" fromDate="{day}" toDate="{day}" period=""'
        f' whenGenerated="{made}"><Trades><Trade {told} /></Trades>'
        "</FlexStatement></FlexStatements></FlexQueryResponse>"
    ).encode()


async def synced(bs: BrokerSync, clock: Any, connection_id: str) -> None:
    outcome: Any = None
    while outcome is None or isinstance(outcome, Deferred):
        outcome = await bs.run(connection_id, sources=["activity"])
        clock.time = max(clock.time, getattr(outcome, "until", clock.time))


@pytest.mark.parametrize(("made", "stands"), [("20250101;060000", "service"), ("20260610;180000", "file")])
async def test_the_later_of_service_and_file_stands_in_any_order(
    staged: Any, clock: Any, made: str, stands: str
) -> None:
    async with staged("ibkr", days=12, trades_per_day=3, think=timedelta(seconds=1)) as stage:
        bs = stage.bs
        first = await stage.connect("first")
        await synced(bs, clock, first.connection_id)
        trade, *_ = [one async for one in bs.trades("first") if one.fees and one.event.value == "execution"]
        explained = await bs.explain("first", account=trade.account_id, trade_id=trade.trade_id)
        row = {name: str(text) for name, text in explained.bookings[0].raw.items()}
        day = row["reportDate"][:8]
        file = document(row | {"ibCommission": "-77"}, day, made)
        await bs.import_statement("ibkr", io.BytesIO(file), owner="first")
        await bs.import_statement("ibkr", io.BytesIO(file), owner="second")
        second = await stage.connect("second")
        await synced(bs, clock, second.connection_id)
        ends = []
        for owner in ("first", "second"):
            explained = await bs.explain(owner, account=trade.account_id, trade_id=trade.trade_id)
            ends.append([fee.amount for one in explained.trades for fee in one.fees if fee.kind.value == "commission"])
        assert ends[0] == ends[1]
        assert (ends[0] == [Decimal(77)]) is (stands == "file")
