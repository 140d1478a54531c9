"""Trades and pages made up for the tests of the store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from brokersync.records import AccountKey, PageCommit
from brokersync.store import PageRules, SqliteStore, SqlStore, TradeFilter
from brokersync.store.sql import Fetch, Script
from brokersync.sync.fold import fold
from brokersync.sync.ledger import cover, reopen
from brokersync.types import AssetClass, BrokerTrade, Instrument, Side, TimeWindow, TradeBooking

DAY = timedelta(days=1)
START = datetime(2026, 3, 2, 15, tzinfo=UTC)
WEEK = TimeWindow(START, START + 7 * DAY)
ALL = TradeFilter(cancelled=True)
RULES = PageRules(fold=fold, cover=cover, reopen=reopen, precedence=lambda _: 1)
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


async def ids(store: SqlStore, owner: str = "o") -> list[str]:
    return [one.trade_id for one in (await store.trades(owner, ALL))[0]]


async def rows(store: SqlStore, tables: Sequence[str] = TABLES) -> dict[str, list[tuple[Any, ...]]]:
    """Everything in these tables."""

    def everything() -> Script[dict[str, list[tuple[Any, ...]]]]:
        found = {}
        for name in tables:
            found[name] = sorted(tuple(row) for row in (yield Fetch(f"SELECT * FROM {name}")))
        return found

    return await store._read(everything)


async def written(store: SqlStore, tables: Sequence[str] = TABLES) -> Any:
    """What changes with every row that is written, also where it is written as it was."""
    if isinstance(store, SqliteStore):
        return await store._do(lambda db: db.total_changes)

    def versions() -> Script[list[Any]]:
        found = []
        for name in tables:
            found += [tuple(row) for row in (yield Fetch(f"SELECT ctid::text, xmin::text FROM {name} ORDER BY ctid"))]
        return found

    return await store._read(versions)
