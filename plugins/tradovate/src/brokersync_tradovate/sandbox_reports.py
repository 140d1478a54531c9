"""The Reporting API of the simulated broker: CSV for a span of days and an account."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal

import attrs

from brokersync_tradovate.sandbox_ledger import Cash, Fill, Pair, Session
from brokersync_tradovate.sandbox_logins import Account
from brokersync_tradovate.sandbox_market import Product, session_of
from brokersync_tradovate.sandbox_views import View
from brokersync_tradovate.sandbox_wire import MALFORMED, Answer, Json, RefusedError, Row, answer, error_text, stamp

_LONGEST_DAYS = 63
_DATE = re.compile(r"(\d{1,2})/(\d{1,2})/((?:19|20|21)\d\d)")
_INTERNAL_ERROR = Answer(500, "Internal Server Error", "text/plain")
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


@attrs.frozen(kw_only=True)
class _Span:
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


def definitions() -> Answer:
    """The answer of requestReportDefinitions."""
    params: list[Row] = [
        {"name": "startDate", "paramType": "Date", "optional": False},
        {"name": "endDate", "paramType": "Date", "optional": False},
        {"name": "account", "paramType": "accounts", "optional": True},
    ]
    return answer(
        {
            "reports": [
                {"name": name, "params": params, "fields": header.split(","), "templates": [], "pdfEnabled": False}
                for name, (header, _) in _REPORTS.items()
            ]
        }
    )


def names_an_account(body: Mapping[str, Json]) -> bool:
    """Whether the report is one of those that answer quickly."""
    return bool(_params(body).get("account"))


def report(view: View, body: Mapping[str, Json]) -> Answer:
    """The answer of requestReport: `data`, or `errorText`, each with status 200.

    Raises `RefusedError` for a time zone that is no number (400) and for dates not written M/D/YYYY (500).
    """
    known = _REPORTS.get(str(body.get("name")))
    if known is None:
        return error_text("Unknown report")
    if body.get("representationType") != "csv":
        return error_text("Unknown representation type")
    params = _params(body)
    minutes = _minutes(body.get("timezone"))
    first, last = _day(params.get("startDate")), _day(params.get("endDate"))
    if (last - first).days + 1 > _LONGEST_DAYS:
        return error_text("Too long range")
    accounts = tuple(account for account in view.accounts() if account.name == params.get("account"))
    if not accounts and "account" in params:
        return error_text("account is not found (ID:0)")
    zone = timezone(timedelta(minutes=minutes))
    span = _Span(
        view=view,
        accounts=accounts or tuple(view.accounts()),
        start=datetime.combine(first, time(), zone),
        end=datetime.combine(last, time(), zone) + timedelta(days=1),
        zone=zone,
    )
    header, rows = known
    return answer({"data": _csv(header, rows(span))})


def _params(body: Mapping[str, Json]) -> dict[str, Json]:
    params = body.get("params")
    if not isinstance(params, list) or not all(isinstance(param, dict) and "name" in param for param in params):
        raise RefusedError(MALFORMED)
    return {str(param["name"]): param.get("value") for param in params}


def _minutes(value: Json) -> int:
    number = int(value) if isinstance(value, int | Decimal) and not isinstance(value, bool) else None
    if number is None or abs(number) >= 24 * 60:
        raise RefusedError(Answer(400, '{"errorText":"JSON: illegal number in timezone"}'))
    return number


def _day(value: Json) -> date:
    match = _DATE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise RefusedError(_INTERNAL_ERROR)
    month, day, year = (int(part) for part in match.groups())
    try:
        return date(year, month, day)
    except ValueError:
        raise RefusedError(_INTERNAL_ERROR) from None


def _csv(header: str, rows: Iterable[list[object]]) -> str:
    """The rows under their header; only a line break where there are none."""
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return f"{header}\r\n{text.getvalue()}" if text.getvalue() else "\r\n"


def _fill_rows(span: _Span) -> Iterator[list[object]]:
    for session in span.sessions():
        for fill in session.fills:
            if span.holds(fill.account, fill.at):
                yield _fill_row(span, fill)


def _fill_row(span: _Span, fill: Fill) -> list[object]:
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


def _cash_rows(span: _Span) -> Iterator[list[object]]:
    for session in span.sessions():
        for cash in session.cash:
            if span.holds(cash.account, cash.at):
                yield _cash_row(span, cash)


def _cash_row(span: _Span, cash: Cash) -> list[object]:
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


def _performance_rows(span: _Span) -> Iterator[list[object]]:
    for session in span.sessions():
        for pair in session.pairs:
            if span.holds(pair.position.account, pair.at):
                yield _performance_row(span, pair)


def _performance_row(span: _Span, pair: Pair) -> list[object]:
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


_REPORTS: Mapping[str, tuple[str, Callable[[_Span], Iterator[list[object]]]]] = {
    "Fills": (_FILLS, _fill_rows),
    "Cash History": (_CASH, _cash_rows),
    "Performance": (_PERFORMANCE, _performance_rows),
}
