"""One trade and one row that agree in all, to be changed by a test in what it is about."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from brokersync.matching import ExistingTrade, Match, NamedTrade, match_rows
from brokersync.types import AssetClass, BrokerTrade, Instrument, Side, TimePrecision

BUY, SELL = Side.BUY, Side.SELL
AT = datetime(2026, 3, 4, 15, 30, 12, tzinfo=UTC)


def at(text: str) -> datetime:
    """A UTC instant of the day that all tests are about, or of another day that is named."""
    return datetime.fromisoformat(text if "T" in text else f"2026-03-04T{text}").replace(tzinfo=UTC)


def future(symbol: str = "MESH6", **facts: Any) -> Instrument:
    return Instrument(symbol=symbol, asset_class=AssetClass.FUTURE, currency="USD", **facts)


def stock(symbol: str, **facts: Any) -> Instrument:
    return Instrument(symbol=symbol, asset_class=AssetClass.STOCK, currency="USD", **facts)


def trade(trade_id: str = "fill:1", *, names: Iterable[str] = (), **facts: Any) -> NamedTrade:
    values: dict[str, Any] = {
        "provider": "acme",
        "environment": "live",
        "account_id": "A1",
        "instrument": future(),
        "side": BUY,
        "quantity": "2",
        "price": "5012.25",
        "executed_at": AT,
    }
    values |= facts
    for name in ("quantity", "price"):
        values[name] = Decimal(values[name])
    if isinstance(values["executed_at"], date) and not isinstance(values["executed_at"], datetime):
        day = values["executed_at"]
        values |= {
            "executed_at": datetime(day.year, day.month, day.day, 5, tzinfo=UTC),
            "trade_date": day,
            "time_precision": TimePrecision.DAY,
        }
    return NamedTrade(trade=BrokerTrade(trade_id=trade_id, **values), names=tuple(names))


def row(row_id: str = "r1", **facts: Any) -> ExistingTrade:
    values: dict[str, Any] = {
        "provider": "acme",
        "account_id": "A1",
        "symbol": "MESH6",
        "side": BUY,
        "quantity": "2",
        "price": "5012.25",
        "executed_at": AT,
    }
    values |= facts
    for name in ("quantity", "price", "exit_price"):
        if name in values:
            values[name] = Decimal(values[name])
    return ExistingTrade(row_id=row_id, **values)


def answers(rows: Iterable[ExistingTrade], trades: Iterable[NamedTrade]) -> dict[str, Match]:
    return {match.row_id: match for match in match_rows(rows, trades)}


def only(a_row: ExistingTrade, *trades: NamedTrade) -> Match:
    (match,) = match_rows([a_row], trades)
    return match


def ids(match: Match) -> list[str]:
    return [key.trade_id for key in match.trades]


def candidates(match: Match) -> list[str]:
    return [key.trade_id for key in match.candidates]
