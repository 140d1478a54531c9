"""From the broker's rows to bookings: pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from brokersync.plugin import (
    AssetClass,
    BookingEffect,
    BrokerTrade,
    Fee,
    FeeKind,
    Instrument,
    QuarantinedRow,
    RawRow,
    Side,
    TradeBooking,
    TradePage,
)

_SIDES = {"BUY": Side.BUY, "SELL": Side.SELL}
_KINDS = {"STK": AssetClass.STOCK, "FUT": AssetClass.FUTURE}


def outcome_of(row: Mapping[str, Any], contract: Mapping[str, Any], account_id: str) -> TradeBooking | QuarantinedRow:
    raw = {**row, "contract": dict(contract)}
    try:
        return _booking(row, contract, account_id, raw)
    except (KeyError, TypeError, ValueError, InvalidOperation) as error:
        return QuarantinedRow(
            reason=f"{type(error).__name__}: {error}",
            raw=raw,
            account_id=account_id,
            environment="live",
            row_id=f"fill:{row['id']}" if _is_id(row.get("id")) else None,
        )


def unknown_kind(contract: Mapping[str, Any]) -> str | None:
    kind = contract.get("kind")
    return None if kind in _KINDS else f"kind {kind}"


def renormalise(source: str, rows: Iterable[RawRow]) -> Iterator[TradePage]:
    for kept in rows:
        outcome = outcome_of(kept.raw, kept.raw["contract"], kept.account_id or "")
        if isinstance(outcome, TradeBooking):
            yield TradePage(bookings=(outcome,))
        else:
            yield TradePage(quarantined=(outcome,))


def _booking(
    row: Mapping[str, Any], contract: Mapping[str, Any], account_id: str, raw: Mapping[str, Any]
) -> TradeBooking:
    if not _is_id(row["id"]):
        raise ValueError("the row has no id")
    name = f"fill:{row['id']}"
    if row["kind"] == "cancel":
        return TradeBooking(
            booking_id=name,
            environment="live",
            account_id=account_id,
            effect=BookingEffect.CANCEL,
            refs=(f"fill:{row['of']}",),
            raw=raw,
        )
    if row["kind"] != "fill":
        raise ValueError(f"the kind {row['kind']!r} is unknown")
    return TradeBooking.of(_trade(row, contract, account_id, name), raw=raw)


def _trade(row: Mapping[str, Any], contract: Mapping[str, Any], account_id: str, name: str) -> BrokerTrade:
    multiplier = contract.get("multiplier")
    return BrokerTrade(
        provider="toy",
        environment="live",
        account_id=account_id,
        trade_id=name,
        order_id=str(row["order"]),
        group_id=row.get("group"),
        leg=row.get("leg"),
        instrument=Instrument(
            symbol=row["symbol"],
            asset_class=_KINDS.get(contract.get("kind", ""), AssetClass.OTHER),
            currency=contract.get("currency"),
            multiplier=None if multiplier is None else _number(multiplier),
        ),
        side=_SIDES[row["side"]],
        quantity=_number(row["quantity"]),
        price=_number(row["price"]),
        executed_at=_moment(row["at"]),
        fees=(Fee(kind=FeeKind.COMMISSION, amount=_number(row["fee"]), currency="USD"),),
        net_cash=None if row.get("cash") is None else _number(row["cash"]),
    )


def _is_id(value: Any) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool) and 0 < len(str(value)) < 100


def _number(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise TypeError(f"{value!r} is no number")
    return Decimal(value)


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("the time has no zone")
    return moment.astimezone(UTC)
