"""However a history is split over session reads, reports and files, it ends in the same trades, to the cent."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st

from brokersync.types import BrokerTrade

from .desk import (
    Desk,
    Name,
    booked_costs,
    booked_executions,
    costs,
    executions,
    file_of,
    open_desk,
    rows_of,
    totals,
)

START = datetime(2026, 6, 10, 15, 0, tzinfo=UTC)  # a Wednesday, 10:00 in Chicago
_CHICAGO_MINUTES = -300

Step: TypeAlias = tuple[str, int, int]
"""What is read, how many hours after the step before, and which third of the rows a file leaves out."""

_steps = st.lists(
    st.tuples(st.sampled_from(["session", "reports", "file", "part", "local"]), st.integers(0, 40), st.integers(0, 2)),
    max_size=6,
)


@given(steps=_steps, seed=st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_any_split_of_a_history_ends_in_the_same_trades(steps: list[Step], seed: int) -> None:
    asyncio.run(_played(steps, seed))


async def _played(steps: Sequence[Step], seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with open_desk(Path(folder), START, days=5, trades_per_day=4, seed=seed) as desk:
            connection = await desk.connect()
            for what, hours, third in steps:
                desk.clock.time += timedelta(hours=hours)
                await _read(desk, connection, what, third)
            trades, ledger = await desk.trades(), await desk.ledger()
            booked = booked_executions(ledger)
            for name, told in _to_the_second(executions(trades.values())).items():
                assert told == _to_the_second(booked)[name], "no part of a history is another one"
            desk.clock.time = _saturday_after(desk.clock.time)
            await desk.sync(connection, "reports", again_from=START - timedelta(days=30))
            await _check_all(desk)


def _saturday_after(moment: datetime) -> datetime:
    """When nobody trades, and all that Friday's fills cost is booked."""
    return moment + timedelta(days=7 - (moment.weekday() + 2) % 7)


async def _read(desk: Desk, connection: str, what: str, third: int) -> None:
    if what in ("session", "reports"):
        await desk.sync(connection, what)
        return
    for side in ("live", "demo"):
        rows = rows_of(await desk.export("Fills", side=side, minutes=_CHICAGO_MINUTES))
        if not rows:
            continue
        columns = [name for name in rows[0] if what != "local" or name != "_timestamp"]
        kept = [row for place, row in enumerate(rows) if what == "file" or place % 3 != third]
        await desk.import_file(file_of(kept, columns), zone="America/Chicago" if what == "local" else None)


def _to_the_second(told: Mapping[Name, tuple[Any, ...]]) -> dict[Name, tuple[Any, ...]]:
    """A file without `_timestamp` tells no more."""
    return {
        name: tuple(one.replace(microsecond=0) if isinstance(one, datetime) else one for one in row)
        for name, row in told.items()
    }


async def _check_all(desk: Desk) -> None:
    trades, ledger = await desk.trades(), await desk.ledger()
    assert executions(trades.values()) == booked_executions(ledger)
    assert costs(trades.values()) == booked_costs(ledger)
    assert totals(costs(trades.values())) == totals(booked_costs(ledger))
    assert await desk.bs.quarantined("me") == ()
    assert {one.instrument.complete for one in trades.values()} <= {True}


async def test_the_gross_of_each_pair_is_what_the_broker_says_to_the_cent(tmp_path: Path) -> None:
    """Every pair that Tradovate makes is paid as our two fills say: by its own Performance, its cash, its lists."""
    async with open_desk(tmp_path, START, days=120, trades_per_day=8) as desk:
        connection = await desk.connect()
        await desk.sync(connection)
        trades = await desk.trades()
        pairs = 0
        for side in ("live", "demo"):
            gross: dict[str, Decimal] = {}
            for row in rows_of(await desk.export("Position%20History", side=side)):
                amount, currency = _gross(trades, side, row["Buy Fill ID"], row["Sell Fill ID"], row["Paired Qty"])
                assert Decimal(row["P/L"]) == amount.quantize(Decimal("0.01"))
                gross[currency] = gross.get(currency, Decimal(0)) + amount
                pairs += 1
            for row in rows_of(await desk.export("Performance", side=side)):
                amount, _ = _gross(trades, side, row["buyFillId"], row["sellFillId"], row["qty"])
                assert _money(row["pnl"]) == amount.quantize(Decimal("0.01"))
            assert gross == await _paid(desk, side)
            for pair in await _fill_pairs(desk, side):
                buy, sell = (trades[side, f"fill:{pair[one]}"] for one in ("buyFillId", "sellFillId"))
                assert (buy.price, sell.price) == (pair["buyPrice"], pair["sellPrice"])
        assert pairs > 500
        assert _bought(trades) == await _bought_by_the_broker(desk)


def _gross(
    trades: Mapping[Name, BrokerTrade], side: str, buy_id: str, sell_id: str, quantity: str
) -> tuple[Decimal, str]:
    buy, sell = trades[side, f"fill:{buy_id}"], trades[side, f"fill:{sell_id}"]
    assert (str(buy.side), str(sell.side), buy.instrument) == ("buy", "sell", sell.instrument)
    assert buy.instrument.multiplier is not None
    assert buy.instrument.currency is not None
    return (sell.price - buy.price) * Decimal(quantity) * buy.instrument.multiplier, buy.instrument.currency


def _money(text: str) -> Decimal:
    return Decimal(text.replace("$(", "-").strip("$)").replace(",", ""))


async def _paid(desk: Desk, side: str) -> dict[str, Decimal]:
    """What was booked for pairs, by currency."""
    paid: dict[str, Decimal] = {}
    for row in rows_of(await desk.export("Cash%20History", side=side)):
        if row["Cash Change Type"] == " Trade Paired":
            paid[row["Currency"]] = paid.get(row["Currency"], Decimal(0)) + Decimal(row["Delta"].replace(",", ""))
    return paid


async def _fill_pairs(desk: Desk, side: str) -> list[dict[str, Any]]:
    """The pairs of the session, as the trading host lists them."""
    fields = desk.sandbox.logins[0].fields
    body = {"name": fields["username"], "password": fields["password"], "sec": fields["sec"], "cid": int(fields["cid"])}
    login = f"{desk.sandbox.hosts[side]}/auth/accesstokenrequest"
    async with desk.http.post(login, json=body) as answer:
        token = (await answer.json())["accessToken"]
    headers = {"Authorization": f"Bearer {token}"}
    async with desk.http.get(f"{desk.sandbox.hosts[side]}/fillPair/list", headers=headers) as answer:
        rows: list[dict[str, Any]] = json.loads(await answer.text(), parse_float=Decimal)
    return rows


def _bought(trades: Mapping[Name, BrokerTrade]) -> dict[tuple[str, str, str], Decimal]:
    """How many contracts were bought and sold of each symbol."""
    sums: dict[tuple[str, str, str], Decimal] = {}
    for (side, _), one in trades.items():
        key = (side, one.instrument.symbol, str(one.side))
        sums[key] = sums.get(key, Decimal(0)) + one.quantity
    return sums


async def _bought_by_the_broker(desk: Desk) -> dict[tuple[str, str, str], Decimal]:
    sums: dict[tuple[str, str, str], Decimal] = {}
    for (side, _), fill in (await desk.ledger()).items():
        key = (side, fill["symbol"], fill["side"])
        sums[key] = sums.get(key, Decimal(0)) + Decimal(fill["quantity"])
    return sums
