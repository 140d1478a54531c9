"""How the sandbox writes statements: Flex XML, a statement per account, executions between rows that sum them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from datetime import date, datetime

import attrs

from brokersync_ibkr.sandbox_bookings import Booking
from brokersync_ibkr.sandbox_calendar import NEW_YORK, business_days
from brokersync_ibkr.sandbox_costs import details
from brokersync_ibkr.sandbox_instruments import CURRENCIES, rate
from brokersync_ibkr.sandbox_ledger import Account, master_of, plain
from brokersync_ibkr.sandbox_query import DETAILS, QuerySettings
from brokersync_ibkr.sandbox_rows import (
    ACCOUNT_NAMES,
    CONFIRM_NAMES,
    EXERCISE_NAMES,
    TRADE_NAMES,
    allocated,
    as_confirmation,
    day_text,
    exercise_values,
    lot_values,
    summed_values,
    time_text,
    trade_values,
)

ACTIVITY = "AF"
CONFIRMATIONS = "TCF"


@attrs.frozen(kw_only=True)
class StatementOrder:
    """A statement that was asked for: which days, what is known `as_of` an instant, and the query's settings."""

    kind: str
    first: date
    last: date
    period: str
    as_of: datetime
    query: QuerySettings = attrs.field(factory=QuerySettings)

    @property
    def parts(self) -> list[StatementOrder]:
        """The statements of an account: one, or one a day."""
        if not self.query.breakout_by_day:
            return [self]
        days = business_days(self.first, self.last)
        # our choice: what a span without any business day gives then is not known
        return [attrs.evolve(self, first=day, last=day, period="SingleDay") for day in days] or [self]


class StatementPrinter:
    """Writes statements; the rows of a day that is over are written once and kept."""

    def __init__(self) -> None:
        self._days: dict[tuple[str, date, QuerySettings], str] = {}
        self._rates: dict[tuple[str, date, QuerySettings], str] = {}

    def print(self, order: StatementOrder, accounts: Iterable[Account]) -> bytes:
        """The whole report; the same order gives the same bytes."""
        if order.query.format == "CSV":
            return _as_csv(order, accounts).encode()
        activity = order.kind == ACTIVITY
        name = "Sandbox Activity" if activity else "Sandbox Confirmations"
        sections = self._activity if activity else _confirmations
        members = list(accounts)
        statements = [statement(part, one.number, sections(part, one)) for one in members for part in order.parts]
        if order.query.master:
            told = [_master_statement(part, members) for part in order.parts]
            statements = told if order.query.master == "consolidated" else told + statements
        content = section("FlexStatements", "".join(statements), f' count="{len(statements)}"')
        return f'<FlexQueryResponse queryName="{name}" type="{order.kind}">\n{content}</FlexQueryResponse>\n'.encode()

    def _activity(self, order: StatementOrder, account: Account) -> str:
        days, query = business_days(order.first, order.last), order.query
        rows = account.statement_rows(order.first, order.last)
        made: dict[str, Callable[[], str]] = {
            "AccountInformation": lambda: _account_information(account, query),
            "Trades": lambda: section(
                "Trades", _sums(order, rows, account) + "".join(self._day(account, day, query) for day in days)
            ),
            DETAILS: lambda: section(DETAILS, details(rows, account, query)),
            "OptionEAE": lambda: section("OptionEAE", _exercises(rows, account, query)),
            "ConversionRates": lambda: section(
                "ConversionRates", "".join(self._rates_of(account.currency, day, query) for day in days)
            ),
        }
        return "".join(make() for name, make in made.items() if name in query.sections)

    def _day(self, account: Account, day: date, query: QuerySettings) -> str:
        key = (account.number, day, query)
        if key not in self._days:
            self._days[key] = _executions(ACTIVITY, account.booked_on(day), account, query)
        return self._days[key]

    def _rates_of(self, base: str, day: date, query: QuerySettings) -> str:
        key = (base, day, query)
        if key not in self._rates:
            self._rates[key] = "".join(
                f'<ConversionRate reportDate="{query.text("reportDate", day_text(day))}" fromCurrency="{currency}"'
                f' toCurrency="{base}" rate="{plain(rate(currency, base, day))}" />\n'
                for currency in CURRENCIES
            )
        return self._rates[key]


def statement(order: StatementOrder, number: str, sections: str) -> str:
    head = {
        "accountId": number,
        "fromDate": day_text(order.first),
        "toDate": day_text(order.last),
        "period": order.period,
        "whenGenerated": time_text(order.as_of.astimezone(NEW_YORK)),
    }
    return f"<FlexStatement{order.query.attributes(head)}>\n{sections}</FlexStatement>\n"


def _confirmations(order: StatementOrder, account: Account) -> str:
    rows = _confirmed(order, account)
    if "Trades" not in order.query.sections:
        return ""
    return section("TradeConfirms", _sums(order, rows, account) + _executions(order.kind, rows, account, order.query))


def _confirmed(order: StatementOrder, account: Account) -> list[Booking]:
    days = business_days(order.first, order.last)
    return [row for day in days for row in account.confirmed_on(day, order.as_of)]


def _as_csv(order: StatementOrder, accounts: Iterable[Account]) -> str:
    activity = order.kind == ACTIVITY
    rows = [
        trade_values(row, account) if activity else as_confirmation(trade_values(row, account))
        for account in accounts
        for row in (account.statement_rows(order.first, order.last) if activity else _confirmed(order, account))
    ]
    return order.query.csv(TRADE_NAMES if activity else CONFIRM_NAMES, rows)


def _account_information(account: Account, query: QuerySettings) -> str:
    opened = day_text(account.opened)
    master = bool(query.master)
    values = {
        "accountId": account.number,
        "currency": account.currency,
        "name": "Sandbox Trader",
        "accountType": "Advisor Client" if master else "Individual",
        "customerType": "Individual",
        "dateOpened": opened,
        "dateFunded": opened,
        "masterName": "Sandbox Master" if master else "",
        "ibEntity": "IBLLC-US",
    }
    return query.element("AccountInformation", ACCOUNT_NAMES, values)


def _master_statement(order: StatementOrder, members: Sequence[Account]) -> str:
    """The master's own, with what it allocated to its sub-accounts, or one with the rows of all of them.

    Our choices, since nobody published one: its own shows each allocated execution under the master's id, with the code
    for allocations and, in confirmations, to whom.
    """
    query, number = order.query, master_of(members)
    together = query.master == "consolidated"
    values = {
        "accountId": number,
        "currency": members[0].currency,
        "name": "Sandbox Master",
        "accountType": "Advisor Master Consolidated" if together else "Advisor Master",
        "dateOpened": day_text(min(member.opened for member in members)),
    }
    activity = order.kind == ACTIVITY
    rows = "".join(
        _row(order.kind, "Trade" if activity else "TradeConfirm", told if together else allocated(told, number), query)
        for member in members
        for row in (member.statement_rows(order.first, order.last) if activity else _confirmed(order, member))
        for told in (trade_values(row, member),)
    )
    information = query.element("AccountInformation", ACCOUNT_NAMES, values) if activity else ""
    return statement(order, number, information + section("Trades" if activity else "TradeConfirms", rows))


def _exercises(rows: Sequence[Booking], account: Account, query: QuerySettings) -> str:
    entries = [row for row in rows if row.kind == "BookTrade"]
    return "".join(query.element("OptionEAE", EXERCISE_NAMES, exercise_values(row, account)) for row in entries)


def _executions(kind: str, rows: Sequence[Booking], account: Account, query: QuerySettings) -> str:
    """Each order's row that sums it, then its executions; book entries and reversals have no such row."""
    parts: list[str] = []
    for group in _grouped(rows, lambda row: (row.report_date, row.order_id)):
        traded = [row for row in group if row.kind == "ExchTrade"]
        if traded and "ORDER" in query.levels:
            parts.append(_row(kind, "Order", summed_values(traded, account, "ORDER"), query))
        if "EXECUTION" in query.levels:
            name = "Trade" if kind == ACTIVITY else "TradeConfirm"
            parts += [_row(kind, name, trade_values(row, account), query) for row in group]
        if "CLOSED_LOT" in query.levels:
            parts += [_row(kind, "Lot", lot_values(row, account), query) for row in group if "C" in row.open_close]
    return "".join(parts)


def _sums(order: StatementOrder, rows: Sequence[Booking], account: Account) -> str:
    traded = [row for row in rows if row.kind == "ExchTrade"]
    keys: dict[str, tuple[str, Callable[[Booking], Hashable]]] = {
        "ASSET_SUMMARY": ("AssetSummary", lambda row: (row.contract.category, row.side)),
        "SYMBOL_SUMMARY": ("SymbolSummary", lambda row: (row.contract.conid, row.side)),
    }
    return "".join(
        _row(order.kind, name, summed_values(group, account, level), order.query)
        for level, (name, key) in keys.items()
        if level in order.query.levels
        for group in _grouped(traded, key)
    )


def _grouped(rows: Sequence[Booking], key: Callable[[Booking], Hashable]) -> list[list[Booking]]:
    groups: defaultdict[Hashable, list[Booking]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return list(groups.values())


def _row(kind: str, name: str, values: Mapping[str, str], query: QuerySettings) -> str:
    if kind == ACTIVITY:
        return query.element(name, TRADE_NAMES, values)
    return query.element(name, CONFIRM_NAMES, as_confirmation(values))


def section(name: str, rows: str, attributes: str = "") -> str:
    return f"<{name}{attributes}>\n{rows}</{name}>\n" if rows else f"<{name}{attributes} />\n"
