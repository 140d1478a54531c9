"""How the sandbox writes statements: Flex XML, a statement per account, executions between rows that sum them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from datetime import date, datetime
from html import escape

import attrs

from brokersync_ibkr.sandbox_bookings import Booking
from brokersync_ibkr.sandbox_calendar import NEW_YORK, business_days
from brokersync_ibkr.sandbox_instruments import CURRENCIES, rate
from brokersync_ibkr.sandbox_ledger import Account, plain
from brokersync_ibkr.sandbox_rows import (
    CONFIRM_NAMES,
    EXERCISE_NAMES,
    TRADE_NAMES,
    as_confirmation,
    day_text,
    exercise_values,
    summed_values,
    time_text,
    trade_values,
)

ACTIVITY = "AF"
CONFIRMATIONS = "TCF"


@attrs.frozen(kw_only=True)
class StatementOrder:
    """A statement that was asked for: which days, and what is known `as_of` an instant."""

    kind: str
    first: date
    last: date
    period: str
    as_of: datetime


class StatementPrinter:
    """Writes statements; the rows of a day that is over are written once and kept."""

    def __init__(self) -> None:
        self._days: dict[tuple[str, date], str] = {}
        self._rates: dict[tuple[str, date], str] = {}

    def print(self, order: StatementOrder, accounts: Iterable[Account]) -> bytes:
        """The whole report; the same order gives the same bytes."""
        activity = order.kind == ACTIVITY
        name = "Sandbox Activity" if activity else "Sandbox Confirmations"
        sections = self._activity if activity else _confirmations
        statements = [_statement(order, account, sections(order, account)) for account in accounts]
        content = _section("FlexStatements", "".join(statements), f' count="{len(statements)}"')
        return f'<FlexQueryResponse queryName="{name}" type="{order.kind}">\n{content}</FlexQueryResponse>\n'.encode()

    def _activity(self, order: StatementOrder, account: Account) -> str:
        days = business_days(order.first, order.last)
        rows = account.statement_rows(order.first, order.last)
        entries = [row for row in rows if row.kind == "BookTrade"]
        trades = _summaries(order.kind, rows, account) + "".join(self._day(account, day) for day in days)
        exercises = [_element("OptionEAE", EXERCISE_NAMES, exercise_values(row, account)) for row in entries]
        return (
            _account_information(account)
            + _section("Trades", trades)
            + _section("OptionEAE", "".join(exercises))
            + _section("ConversionRates", "".join(self._rates_of(account.currency, day) for day in days))
        )

    def _day(self, account: Account, day: date) -> str:
        key = (account.number, day)
        if key not in self._days:
            self._days[key] = _executions(ACTIVITY, account.booked_on(day), account)
        return self._days[key]

    def _rates_of(self, base: str, day: date) -> str:
        key = (base, day)
        if key not in self._rates:
            self._rates[key] = "".join(
                f'<ConversionRate reportDate="{day_text(day)}" fromCurrency="{currency}" toCurrency="{base}"'
                f' rate="{plain(rate(currency, base, day))}" />\n'
                for currency in CURRENCIES
            )
        return self._rates[key]


def _statement(order: StatementOrder, account: Account, sections: str) -> str:
    head = {
        "accountId": account.number,
        "fromDate": day_text(order.first),
        "toDate": day_text(order.last),
        "period": order.period,
        "whenGenerated": time_text(order.as_of.astimezone(NEW_YORK)),
    }
    return f"<FlexStatement{_attributes(head)}>\n{sections}</FlexStatement>\n"


def _confirmations(order: StatementOrder, account: Account) -> str:
    days = business_days(order.first, order.last)
    rows = [row for day in days for row in account.confirmed_on(day, order.as_of)]
    content = _summaries(order.kind, rows, account) + _executions(order.kind, rows, account)
    return _section("TradeConfirms", content)


def _account_information(account: Account) -> str:
    opened = day_text(account.opened)
    values = {
        "accountId": account.number,
        "acctAlias": "",
        "model": "",
        "currency": account.currency,
        "name": "Sandbox Trader",
        "accountType": "Individual",
        "customerType": "Individual",
        "dateOpened": opened,
        "dateFunded": opened,
        "dateClosed": "",
        "masterName": "",
        "ibEntity": "IBLLC-US",
    }
    return f"<AccountInformation{_attributes(values)} />\n"


def _executions(kind: str, rows: Sequence[Booking], account: Account) -> str:
    """Each order's row that sums it, then its executions; book entries and reversals have no such row."""
    parts: list[str] = []
    for group in _grouped(rows, lambda row: (row.report_date, row.order_id)):
        traded = [row for row in group if row.kind == "ExchTrade"]
        if traded:
            parts.append(_row(kind, "Order", summed_values(traded, account, "ORDER")))
        name = "Trade" if kind == ACTIVITY else "TradeConfirm"
        parts += [_row(kind, name, trade_values(row, account)) for row in group]
    return "".join(parts)


def _summaries(kind: str, rows: Sequence[Booking], account: Account) -> str:
    traded = [row for row in rows if row.kind == "ExchTrade"]
    groups = _grouped(traded, lambda row: (row.contract.conid, row.side))
    return "".join(_row(kind, "SymbolSummary", summed_values(group, account, "SYMBOL_SUMMARY")) for group in groups)


def _grouped(rows: Sequence[Booking], key: Callable[[Booking], Hashable]) -> list[list[Booking]]:
    groups: defaultdict[Hashable, list[Booking]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return list(groups.values())


def _row(kind: str, name: str, values: Mapping[str, str]) -> str:
    if kind == ACTIVITY:
        return _element(name, TRADE_NAMES, values)
    return _element(name, CONFIRM_NAMES, as_confirmation(values))


def _element(name: str, names: Sequence[str], values: Mapping[str, str]) -> str:
    return f"<{name}{_attributes({key: values.get(key, '') for key in names})} />\n"


def _attributes(values: Mapping[str, str]) -> str:
    return "".join(f' {name}="{escape(value)}"' for name, value in values.items())


def _section(name: str, rows: str, attributes: str = "") -> str:
    return f"<{name}{attributes}>\n{rows}</{name}>\n" if rows else f"<{name}{attributes} />\n"
