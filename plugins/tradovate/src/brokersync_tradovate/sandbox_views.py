"""What a user sees of the books: the entities of the current trading session, as the trading hosts list them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal

import attrs

from brokersync_tradovate.sandbox_ledger import Book, Fill, Order, Session
from brokersync_tradovate.sandbox_logins import Account, User
from brokersync_tradovate.sandbox_market import Catalogue, opens, session_of
from brokersync_tradovate.sandbox_wire import Row, calendar_day, stamp

FEES_KNOWN_AFTER = timedelta(minutes=10)


@attrs.frozen(kw_only=True)
class View:
    """What one user sees of one environment at one moment; of everything that happens, only the current session."""

    user: User
    environment: str
    book: Book
    catalogue: Catalogue
    now: datetime

    def accounts(self) -> list[Account]:
        return [one for one in self.user.accounts if one.environment == self.environment and one.listed]

    def session(self) -> Session:
        """The user's part of the current session, as far as it has come."""
        whole, own = self.book.session(session_of(self.now)), {account.id for account in self.accounts()}
        return Session(
            whole.day,
            orders=[row for row in whole.orders if row.account.id in own and row.intent.placed_at <= self.now],
            fills=[
                row for row in whole.fills if row.account.id in own and row.account.shows(row.at) and row.at <= self.now
            ],
            pairs=[row for row in whole.pairs if row.position.account.id in own and row.at <= self.now],
            positions=[row for row in whole.positions if row.account.id in own],
        )


def fill_rows(view: View) -> Iterator[Row]:
    for fill in view.session().fills:
        yield {
            "id": fill.id,
            "orderId": fill.order.id,
            "contractId": view.catalogue.contract_id(fill.contract),
            "timestamp": stamp(fill.at),
            "tradeDate": calendar_day(fill.session),
            "action": fill.side,
            "qty": fill.quantity,
            "price": fill.price,
            "active": True,
            "finallyPaired": 0,
            "external": False,
        }


def fill_fee_rows(view: View) -> Iterator[Row]:
    for fill in view.session().fills:
        if view.now - fill.at < FEES_KNOWN_AFTER:
            continue
        row: Row = {"id": fill.id}
        for kind, amount in fill.fees.items():
            row[kind] = amount
            row[f"{kind.removesuffix('Fee')}CurrencyId"] = view.catalogue.currencies[fill.contract.product.currency]
        yield row


def order_rows(view: View) -> Iterator[Row]:
    session = view.session()
    for order in session.orders:
        filled = sum(fill.quantity for fill in session.fills if fill.order.id == order.id)
        yield {
            "id": order.id,
            "accountId": order.account.id,
            "contractId": view.catalogue.contract_id(order.intent.contract),
            "timestamp": stamp(order.intent.placed_at),
            "action": order.intent.side,
            "ordStatus": _order_status(order, filled),
            "executionProviderId": 2,
            "archived": False,
            "external": False,
            "admin": False,
        }


def _order_status(order: Order, filled: int) -> str:
    if not order.intent.parts:
        return "Canceled"
    return "Filled" if filled == order.intent.quantity else "Working"


def pair_rows(view: View) -> Iterator[Row]:
    for pair in view.session().pairs:
        yield {
            "id": pair.id,
            "positionId": pair.position.id,
            "buyFillId": pair.buy.id,
            "sellFillId": pair.sell.id,
            "qty": pair.quantity,
            "buyPrice": pair.buy.price,
            "sellPrice": pair.sell.price,
            "active": True,
        }


def position_rows(view: View) -> Iterator[Row]:
    session = view.session()
    for position in session.positions:
        fills = [f for f in session.fills if f.account == position.account and f.contract == position.contract]
        if not fills and not position.previous:
            continue
        bought, bought_value = _sums(fills, "Buy")
        sold, sold_value = _sums(fills, "Sell")
        yield {
            "id": position.id,
            "accountId": position.account.id,
            "contractId": view.catalogue.contract_id(position.contract),
            "timestamp": stamp(fills[-1].at if fills else opens(session.day)),
            "tradeDate": calendar_day(session.day),
            "netPos": position.previous + bought - sold,
            "bought": bought,
            "boughtValue": bought_value,
            "sold": sold,
            "soldValue": sold_value,
            "archived": False,
            "prevPos": position.previous,
        }


def _sums(fills: list[Fill], side: str) -> tuple[int, Decimal]:
    own = [fill for fill in fills if fill.side == side]
    return sum(fill.quantity for fill in own), sum((fill.price * fill.quantity for fill in own), Decimal(0))


def execution_report_rows(view: View) -> Iterator[Row]:
    session = view.session()
    for order in session.orders:
        yield {**_report(view, order, order.id + 1), "execType": "New", "timestamp": stamp(order.intent.placed_at)}
    done: dict[int, int] = {}
    for fill in session.fills:
        done[fill.order.id] = done.get(fill.order.id, 0) + fill.quantity
        yield {
            **_report(view, fill.order, fill.id + 1),
            "execType": "Trade",
            "timestamp": stamp(fill.at),
            "tradeDate": calendar_day(fill.session),
            "ordStatus": _order_status(fill.order, done[fill.order.id]),
            "cumQty": done[fill.order.id],
            "lastQty": fill.quantity,
            "lastPx": fill.price,
            "execRefId": str(fill.id),
        }


def _report(view: View, order: Order, number: int) -> Row:
    return {
        "id": number,
        "commandId": order.id,
        "name": f"sandbox-{number}",
        "accountId": order.account.id,
        "contractId": view.catalogue.contract_id(order.intent.contract),
        "orderId": order.id,
        "action": order.intent.side,
    }


def cash_balance_rows(view: View) -> Iterator[Row]:
    for account in view.accounts():
        latest = {
            cash.currency: cash
            for session in view.book.sessions(account.created, view.now)
            for cash in session.cash
            if cash.account == account and cash.at <= view.now
        }
        for place, (currency, cash) in enumerate(latest.items()):
            yield {
                "id": account.id * 10 + place,
                "accountId": account.id,
                "timestamp": stamp(cash.at),
                "tradeDate": calendar_day(session_of(cash.at)),
                "currencyId": view.catalogue.currencies[currency],
                "amount": cash.balance,
            }
