"""Trades and pages made up for the tests of the store."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from brokersync.records import AccountKey, PageCommit
from brokersync.store import PageRules, SqliteStore, TradeFilter
from brokersync.sync.fold import fold
from brokersync.sync.ledger import cover
from brokersync.types import AssetClass, BrokerTrade, Instrument, Side, TimeWindow, TradeBooking

DAY = timedelta(days=1)
START = datetime(2026, 3, 2, 15, tzinfo=UTC)
WEEK = TimeWindow(START, START + 7 * DAY)
ALL = TradeFilter(cancelled=True)
RULES = PageRules(fold=fold, cover=cover, precedence=lambda _: 1)
TABLES = ("accounts", "bookings", "raw_rows", "booking_names", "trades", "changes", "coverage", "quarantine")


def trade(trade_id: str, *, account: str = "A", at: datetime = START, symbol: str = "EUR", **facts: Any) -> BrokerTrade:
    values: dict[str, Any] = {
        "provider": "paper", "environment": "live", "account_id": account, "trade_id": trade_id, "side": Side.BUY,
        "instrument": Instrument(symbol=symbol, asset_class=AssetClass.STOCK), "quantity": Decimal(1),
        "price": Decimal(2), "executed_at": at,
    }  # fmt: skip
    return BrokerTrade(**(values | facts))


def page(*trades: BrokerTrade, owner: str = "o", **facts: Any) -> PageCommit:
    values: dict[str, Any] = {
        "owner": owner, "provider": "paper", "source": "fills", "at": START,
        "bookings": tuple(TradeBooking.of(one) for one in trades),
    }  # fmt: skip
    return PageCommit(**(values | facts))


def key(owner: str = "o", account: str = "A") -> AccountKey:
    return AccountKey(owner=owner, provider="paper", environment="live", account_id=account)


async def ids(store: SqliteStore, owner: str = "o") -> list[str]:
    return [one.trade_id for one in (await store.trades(owner, ALL))[0]]


def rows(path: Path, tables: Sequence[str] = TABLES) -> dict[str, list[Any]]:
    with sqlite3.connect(path) as db:
        found = {name: db.execute(f"SELECT * FROM {name}").fetchall() for name in tables}
    db.close()
    return found
