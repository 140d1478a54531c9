"""What stands in the reports of the simulated broker, row by row, in a time zone of the reader's."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import attrs

from brokersync_tradovate.sandbox_ledger import Cash, Fill, Order, Pair, Session
from brokersync_tradovate.sandbox_logins import Account
from brokersync_tradovate.sandbox_market import Product, session_of
from brokersync_tradovate.sandbox_views import FEES_KNOWN_AFTER, View
from brokersync_tradovate.sandbox_wire import stamp

_FILLS = (
    "_id,_orderId,_contractId,_timestamp,_tradeDate,_action,_qty,_price,_active,_accountId,Fill ID,Order ID,Timestamp,"
    "Date,Account,B/S,Quantity,Price,_priceFormat,_priceFormatType,_tickSize,Contract,Product,Product Description,"
    "commission"
)
_CASH = "Account,Transaction ID,Timestamp,Date,Delta,Amount,Cash Change Type,Currency,Contract"
_PERFORMANCE = (
    "symbol,_priceFormat,_priceFormatType,_tickSize,buyFillId,sellFillId,qty,buyPrice,sellPrice,pnl,boughtTimestamp,"
    "soldTimestamp,duration"
)
_ORDERS = (
    "orderId,Account,Order ID,B/S,Contract,Product,Product Description,avgPrice,filledQty,Fill Time,lastCommandId,"
    "Status,_priceFormat,_priceFormatType,_tickSize,spreadDefinitionId,Version ID,Timestamp,Date,Quantity,Text,Type,"
    "Limit Price,Stop Price,decimalLimit,decimalStop,Filled Qty,Avg Fill Price,decimalFillAvg,Venue,Notional Value,"
    "Currency"
)
_POSITIONS = (
    "Position ID,Timestamp,Trade Date,Net Pos,Net Price,Bought,Avg. Buy,Sold,Avg. Sell,Account,Contract,Product,"
    "Product Description,_priceFormat,_priceFormatType,_tickSize,Pair ID,Buy Fill ID,Sell Fill ID,Paired Qty,"
    "Buy Price,Sell Price,P/L,Currency,Bought Timestamp,Sold Timestamp"
)


@attrs.frozen(kw_only=True)
class Span:
    """The days asked for, as the requested zone counts them."""

    view: View
    accounts: tuple[Account, ...]
    start: datetime
    end: datetime
    zone: timezone

    def sessions(self) -> Iterator[Session]:
        return self.view.book.sessions(self.start, min(self.end, self.view.now))

    def holds(self, account: Account, at: datetime) -> bool:
        return account.shows(at) and self.start <= at < self.end and at <= self.view.now and account in self.accounts

    def local(self, moment: datetime) -> str:
        return moment.astimezone(self.zone).strftime("%m/%d/%Y %H:%M:%S")


def _fill_rows(span: Span) -> Iterator[list[object]]:
    for session in span.sessions():
        for fill in session.fills:
            if span.holds(fill.account, fill.at):
                yield _fill_row(span, fill)


def _fill_row(span: Span, fill: Fill) -> list[object]:
    product, local = fill.contract.product, fill.at.astimezone(span.zone)
    return [
        fill.id,
        fill.order.id,
        span.view.catalogue.contract_id(fill.contract),
        stamp(fill.at).replace("T", " "),
        fill.session.isoformat(),
        0 if fill.side == "Buy" else 1,
        fill.quantity,
        format(fill.price, "f"),
        "true",
        fill.account.id,
        fill.id,
        fill.order.id,
        span.local(fill.at),
        f"{local.month}/{local.day}/{local:%y}",
        fill.account.name,
        f" {fill.side}",
        fill.quantity,
        _shown(product, fill.price),
        *_formats(product),
        fill.contract.name,
        product.name,
        product.description,
        format(fill.fees["commission"], "f"),
    ]


def _formats(product: Product) -> list[object]:
    return [product.price_format, int(product.fractional), format(product.tick, "f")]


def _shown(product: Product, price: Decimal) -> str:
    """The price as people read it: Treasury notes in 32nds and half 32nds."""
    if not product.fractional:
        return f"{price:.2f}"
    points, halves = divmod(int(price * 64), 64)
    return f"{points}'{halves // 2:02}{5 if halves % 2 else 0}"


def _cash_rows(span: Span) -> Iterator[list[object]]:
    for session in span.sessions():
        for cash in session.cash:
            if span.holds(cash.account, cash.at) and not _is_late(span, cash):
                yield _cash_row(span, cash)


def _is_late(span: Span, cash: Cash) -> bool:
    """The commission is booked with the fill, and what others charge for it a while later."""
    return cash.kind.endswith("Fee") and span.view.now - cash.at < FEES_KNOWN_AFTER


def _cash_row(span: Span, cash: Cash) -> list[object]:
    return [
        cash.account.name,
        cash.id,
        span.local(cash.at),
        session_of(cash.at).isoformat(),
        f"{cash.delta:,}",
        f"{cash.balance:,}",
        " " + re.sub(r"(?<!^)(?=[A-Z])", " ", cash.kind),
        cash.currency,
        cash.contract.name if cash.contract else "",
    ]


def _performance_rows(span: Span) -> Iterator[list[object]]:
    for session in span.sessions():
        for pair in session.pairs:
            if span.holds(pair.position.account, pair.at):
                yield _performance_row(span, pair)


def _performance_row(span: Span, pair: Pair) -> list[object]:
    product = pair.position.contract.product
    return [
        pair.position.contract.name,
        *_formats(product),
        pair.buy.id,
        pair.sell.id,
        pair.quantity,
        _shown(product, pair.buy.price),
        _shown(product, pair.sell.price),
        f"$({-pair.profit:,.2f})" if pair.profit < 0 else f"${pair.profit:,.2f}",
        span.local(pair.buy.at),
        span.local(pair.sell.at),
        _duration(abs(pair.buy.at - pair.sell.at)),
    ]


def _duration(held: timedelta) -> str:
    seconds = held // timedelta(seconds=1)
    parts = ((seconds // 3600, "h"), (seconds // 60 % 60, "min"), (seconds % 60, "sec"))
    return " ".join(f"{number}{unit}" for number, unit in parts if number) or "0sec"


def _order_rows(span: Span) -> Iterator[list[object]]:
    for session in span.sessions():
        for order in session.orders:
            if span.holds(order.account, order.intent.placed_at):
                fills = [one for one in session.fills if one.order.id == order.id and one.at <= span.view.now]
                yield _order_row(span, order, fills)


def _order_row(span: Span, order: Order, fills: list[Fill]) -> list[object]:
    intent, product, local = order.intent, order.intent.contract.product, order.intent.placed_at.astimezone(span.zone)
    filled = sum(fill.quantity for fill in fills)
    value = sum((fill.price * fill.quantity for fill in fills), Decimal(0))
    price = value / filled if filled else None
    shown = "" if price is None else f"{price:.2f}"
    return [
        order.id,
        order.account.name,
        order.id,
        f" {intent.side}",
        intent.contract.name,
        product.name,
        product.description,
        price or "",
        filled or "",
        span.local(fills[-1].at) if fills else "",
        order.id,
        " Filled" if filled == intent.quantity else " Working" if intent.parts else " Canceled",
        *_formats(product),
        "",
        order.id,
        span.local(intent.placed_at),
        f"{local.month}/{local.day}/{local:%y}",
        intent.quantity,
        "",
        " Market",
        *[""] * 4,
        filled or "",
        shown,
        shown,
        "",
        f"{value * product.value_per_point:,.2f}" if filled else "",
        product.currency,
    ]


def _position_rows(span: Span) -> Iterator[list[object]]:
    for session in span.sessions():
        for pair in session.pairs:
            if span.holds(pair.position.account, pair.at):
                yield _position_row(span, session, pair)


def _position_row(span: Span, session: Session, pair: Pair) -> list[object]:
    position, product = pair.position, pair.position.contract.product
    own = [
        one
        for one in session.fills
        if (one.account, one.contract) == (position.account, position.contract) and one.at <= span.view.now
    ]
    bought, sold = ([one for one in own if one.side == side] for side in ("Buy", "Sell"))
    return [
        position.id,
        span.local(own[-1].at),
        session.day.isoformat(),
        position.previous + _quantity(bought) - _quantity(sold),
        "",
        _quantity(bought),
        _average(bought),
        _quantity(sold),
        _average(sold),
        position.account.name,
        position.contract.name,
        product.name,
        product.description,
        *_formats(product),
        pair.id,
        pair.buy.id,
        pair.sell.id,
        pair.quantity,
        _shown(product, pair.buy.price),
        _shown(product, pair.sell.price),
        f"{pair.profit:.2f}",
        product.currency,
        span.local(pair.buy.at),
        span.local(pair.sell.at),
    ]


def _quantity(fills: list[Fill]) -> int:
    return sum(fill.quantity for fill in fills)


def _average(fills: list[Fill]) -> object:
    value = sum((fill.price * fill.quantity for fill in fills), Decimal(0))
    return f"{value / _quantity(fills):.2f}" if fills else ""


# how Tradovate calls a report: its columns, and its rows
REPORTS: Mapping[str, tuple[str, Callable[[Span], Iterator[list[object]]]]] = {
    "Fills": (_FILLS, _fill_rows),
    "Cash History": (_CASH, _cash_rows),
    "Performance": (_PERFORMANCE, _performance_rows),
    "Orders": (_ORDERS, _order_rows),
    "Position History": (_POSITIONS, _position_rows),
}
