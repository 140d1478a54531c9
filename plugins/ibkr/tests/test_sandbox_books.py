"""The simulated broker's books and how statements write them, without HTTP."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokersync.plugin import SandboxSettings
from brokersync_ibkr.sandbox_calendar import business_days, is_business_day, local_day, wall_time
from brokersync_ibkr.sandbox_flex import ACTIVITY, CONFIRMATIONS, StatementOrder, StatementPrinter
from brokersync_ibkr.sandbox_ledger import Account, Login, open_logins

NOW = datetime(2026, 3, 11, 15, 0, tzinfo=UTC)
TODAY = date(2026, 3, 11)
YESTERDAY = date(2026, 3, 10)
DAYS = 400
OPENED = TODAY - timedelta(days=DAYS)


@cache
def logins(seed: int = 7) -> tuple[Login, ...]:
    return open_logins(SandboxSettings(now=lambda: NOW, seed=seed, days=DAYS))


@cache
def printer() -> StatementPrinter:
    return StatementPrinter()


def printed(accounts: Sequence[Account], first: date, last: date, kind: str = ACTIVITY) -> ET.Element:
    order = StatementOrder(kind=kind, first=first, last=last, period="", as_of=NOW)
    return ET.fromstring(printer().print(order, accounts))


@cache
def activity() -> ET.Element:
    return printed(logins()[0].accounts, OPENED, YESTERDAY)


@cache
def trades() -> tuple[ET.Element, ...]:
    return tuple(activity().iter("Trade"))


@cache
def paper_trades() -> tuple[ET.Element, ...]:
    return tuple(printed(logins()[1].accounts, OPENED, YESTERDAY).iter("Trade"))


def number(row: ET.Element, name: str) -> Decimal:
    return Decimal(row.attrib[name])


def test_logins_are_live_and_paper_in_turn_and_their_secrets_come_from_the_seed() -> None:
    first, second = logins()
    assert [(login.environment, [each.number for each in login.accounts]) for login in (first, second)] == [
        ("live", ["U7000001", "U7000002"]),
        ("paper", ["DU7000001", "DU7000002"]),
    ]
    values = [value for login in (first, second) for value in login.fields.values()]
    assert len(set(values)) == 6
    assert all(value.isdigit() for value in values)
    assert first.fields == open_logins(SandboxSettings(now=lambda: NOW))[0].fields
    assert first.fields["token"] != logins(seed=8)[0].fields["token"]
    assert first.token not in repr(first)


def test_more_accounts_than_ids_have_room_for_are_refused() -> None:
    with pytest.raises(ValueError, match="128"):
        open_logins(SandboxSettings(now=lambda: NOW, logins=13, accounts_per_login=10))


def test_a_day_in_the_books_never_changes() -> None:
    """Asked in another order, by a later clock, or after a shorter life, a day says the same."""
    account = logins()[0].accounts[0]
    days = business_days(date(2026, 1, 5), YESTERDAY)
    expected = {day: account.booked_on(day) for day in days}
    again = open_logins(SandboxSettings(now=lambda: NOW, days=DAYS))[0].accounts[0]
    later = open_logins(SandboxSettings(now=lambda: NOW + timedelta(days=30), days=DAYS + 30))[0].accounts[0]
    younger = open_logins(SandboxSettings(now=lambda: NOW, days=200))[0].accounts[0]
    assert {day: again.booked_on(day) for day in reversed(days)} == expected
    assert {day: later.booked_on(day) for day in days} == expected
    assert {day: younger.booked_on(day) for day in days} == expected
    assert any(expected.values())
    other = logins(seed=8)[0].accounts[0]
    assert {day: other.booked_on(day) for day in days} != expected


@settings(max_examples=25, deadline=None)
@given(st.integers(0, DAYS - 1), st.integers(0, DAYS - 1))
def test_a_statement_holds_the_rows_of_its_report_dates_and_no_others(one: int, other: int) -> None:
    first, last = OPENED + timedelta(days=min(one, other)), OPENED + timedelta(days=max(one, other))
    window = {row.attrib["transactionID"] for row in printed(logins()[0].accounts, first, last).iter("Trade")}
    low, high = f"{first:%Y%m%d}", f"{last:%Y%m%d}"
    assert window == {row.attrib["transactionID"] for row in trades() if low <= row.attrib["reportDate"] <= high}


def test_nothing_is_booked_on_weekends_holidays_or_before_the_opening() -> None:
    booked = {date.fromisoformat(row.attrib["reportDate"]) for row in trades()}
    assert all(is_business_day(day) and day > OPENED for day in booked)
    assert len(booked) > 0.8 * len(business_days(OPENED, YESTERDAY))
    assert not is_business_day(date(2025, 12, 25))


def test_the_mean_of_trades_per_day_is_what_was_asked_for() -> None:
    account = open_logins(SandboxSettings(now=lambda: NOW, days=1000, trades_per_day=4))[0].accounts[0]
    fills = [row for row in account.told_by(NOW) if row.chain == row.transaction_id]
    assert 3.2 < len(fills) / len(business_days(account.opened, TODAY)) < 4.8
    idle = open_logins(SandboxSettings(now=lambda: NOW, trades_per_day=0))[0].accounts[0]
    assert idle.told_by(NOW) == []


def test_ids_name_one_booking_one_execution_one_trade() -> None:
    transactions = Counter(row.attrib["transactionID"] for row in trades())
    executions = Counter(row.attrib["ibExecID"] for row in trades() if row.attrib["ibExecID"])
    assert set(transactions.values()) == {1}
    assert set(executions.values()) == {1}
    by_trade = defaultdict(set)
    for row in trades():
        if row.attrib["tradeID"]:
            by_trade[row.attrib["tradeID"]].add(row.attrib["ibExecID"].rpartition(".")[0])
    assert {len(names) for names in by_trade.values()} == {1}
    assert all(text.isdigit() for text in transactions)


def test_trade_rows_carry_every_attribute_and_only_text_forms_the_broker_has() -> None:
    names = {frozenset(row.attrib) for row in trades()}
    assert len(names) == 1
    assert len(names.pop()) >= 85
    for row in trades():
        assert re.fullmatch(r"20\d{6};\d{6}", row.attrib["dateTime"])
        assert "E" not in row.attrib["quantity"] + row.attrib["tradePrice"] + row.attrib["netCash"]


def test_money_follows_the_signs_of_each_category() -> None:
    for row in trades():
        category, factor = row.attrib["assetCategory"], number(row, "multiplier")
        if category == "BOND":
            factor /= 100
        money = number(row, "quantity") * number(row, "tradePrice") * factor
        costs = number(row, "ibCommission") + number(row, "taxes")
        margin = number(row, "quantity") * (number(row, "closePrice") - number(row, "tradePrice")) * factor
        net = {"CASH": Decimal(0), "FUT": margin + number(row, "ibCommission")}.get(category, costs - money)
        assert number(row, "tradeMoney") == money
        assert number(row, "proceeds") == -money
        assert number(row, "netCash") == net
        reversed_sign = -1 if "(Ca.)" in row.attrib["buySell"] else 1
        assert (number(row, "quantity") * reversed_sign > 0) == row.attrib["buySell"].startswith("BUY")


def test_instruments_say_the_same_of_themselves_in_every_row() -> None:
    told: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for row in trades():
        names = ("symbol", "description", "multiplier", "strike", "expiry", "putCall", "currency", "assetCategory")
        told[row.attrib["conid"]].add(tuple(row.attrib[name] for name in names))
        if row.attrib["expiry"]:
            assert row.attrib["tradeDate"] <= row.attrib["expiry"]
    assert {len(facts) for facts in told.values()} == {1}
    symbols = [next(iter(facts))[0] for facts in told.values()]
    assert len(set(symbols)) == len(symbols)


def local(row: ET.Element) -> str:
    return row.attrib["dateTime"][:8]


TRAPS: dict[str, Callable[[ET.Element], bool]] = {
    "rebate": lambda row: number(row, "ibCommission") > 0 and row.attrib["ibExecID"].endswith(".01"),
    "replacement": lambda row: row.attrib["ibExecID"].endswith(".02"),
    "second replacement": lambda row: row.attrib["ibExecID"].endswith(".03"),
    "cancel on a later day": lambda row: (
        row.attrib["transactionType"] == "TradeCancel" and row.attrib["reportDate"] > row.attrib["tradeDate"]
    ),
    "refund on a cancel": lambda row: (
        row.attrib["transactionType"] == "TradeCancel" and number(row, "ibCommission") > 0
    ),
    "expiry": lambda row: row.attrib["notes"] == "Ep" and row.attrib["dateTime"].endswith(";162000"),
    "exercise": lambda row: row.attrib["notes"] == "Ex" and row.attrib["assetCategory"] == "OPT",
    "delivery": lambda row: row.attrib["notes"] in ("Ex", "A") and row.attrib["assetCategory"] == "STK",
    "fraction": lambda row: row.attrib["transactionType"] == "FracShare" and not row.attrib["tradeID"],
    "fraction taken back": lambda row: row.attrib["transactionType"] == "FracShareCancel",
    "eight decimals": lambda row: number(row, "quantity").as_tuple().exponent == -8,
    "evening before": lambda row: local(row) < row.attrib["tradeDate"] and row.attrib["assetCategory"] == "FUT",
    "turned position": lambda row: row.attrib["openCloseIndicator"] == "C;O",
    "automatic conversion": lambda row: row.attrib["notes"] == "AFx" and row.attrib["ibExecID"].startswith("CUSTHSFX."),
    "bond with interest": lambda row: row.attrib["assetCategory"] == "BOND" and number(row, "accruedInt") < 0,
    "foreign fee": lambda row: row.attrib["ibCommissionCurrency"] != row.attrib["currency"],
    "tax": lambda row: number(row, "taxes") < 0,
    "part": lambda row: row.attrib["notes"] == "P",
    "third part of one name": lambda row: row.attrib["ibExecID"].endswith(".03.01"),
    "yen": lambda row: row.attrib["currency"] == "JPY",
    "ampersand": lambda row: "&" in row.attrib["description"],
    "inner space": lambda row: "  " in row.attrib["symbol"],
}


@pytest.mark.parametrize("trap", TRAPS)
def test_each_difficulty_is_in_the_history_of_each_login(trap: str) -> None:
    assert any(TRAPS[trap](row) for row in trades())
    assert any(TRAPS[trap](row) for row in paper_trades())


def test_a_cancel_points_at_what_it_takes_back_and_a_replacement_keeps_the_trade() -> None:
    by_transaction = {row.attrib["transactionID"]: row for row in trades()}
    cancels = [row for row in trades() if row.attrib["transactionType"] == "TradeCancel"]
    replaced = {row.attrib["tradeID"] for row in trades() if row.attrib["ibExecID"][-2:] in ("02", "03")}
    for cancel in cancels:
        target = by_transaction[cancel.attrib["origTransactionID"]]
        assert target.attrib["tradeID"] == cancel.attrib["origTradeID"]
        assert number(target, "quantity") == -number(cancel, "quantity")
        assert (cancel.attrib["tradeID"], cancel.attrib["ibExecID"], cancel.attrib["exchange"]) == ("", "", "--")
        assert cancel.attrib["notes"] == "Ca"
        assert cancel.attrib["dateTime"] == target.attrib["dateTime"]
        assert cancel.attrib["ibOrderID"] == target.attrib["ibOrderID"]
    targets = {cancel.attrib["origTradeID"] for cancel in cancels}
    assert replaced < targets


def test_orders_and_summaries_repeat_executions_under_no_id_of_theirs() -> None:
    sums = {row.tag: row for row in activity().iter() if row.tag in ("Order", "SymbolSummary")}
    assert {tag: row.attrib["levelOfDetail"] for tag, row in sums.items()} == {
        "Order": "ORDER",
        "SymbolSummary": "SYMBOL_SUMMARY",
    }
    assert all(
        not row.attrib["ibExecID"] + row.attrib["tradeID"] + row.attrib["transactionID"] for row in sums.values()
    )
    traded = [row for row in trades() if row.attrib["transactionType"] == "ExchTrade"]
    for tag in sums:
        rows = list(activity().iter(tag))
        for name in ("quantity", "ibCommission", "proceeds"):
            assert sum(number(row, name) for row in rows) == sum(number(row, name) for row in traded)


def test_option_events_repeat_book_entries_under_the_same_trade_id() -> None:
    entries = [row for row in trades() if row.attrib["transactionType"] == "BookTrade"]
    events = [row for row in activity().iter("OptionEAE") if row.attrib]
    assert Counter(row.attrib["tradeID"] for row in events) == Counter(row.attrib["tradeID"] for row in entries)
    assert {row.attrib["transactionType"] for row in events} == {"Expiration", "Exercise", "Assignment", "Buy"}
    assert not any(row.attrib["ibExecID"] for row in entries)


def test_rates_fill_the_statement_and_agree_with_the_rows() -> None:
    statement = activity().find("FlexStatements/FlexStatement[2]")
    assert statement is not None
    rates = {
        (row.attrib["reportDate"], row.attrib["fromCurrency"]): row.attrib["rate"]
        for row in statement.iter("ConversionRate")
    }
    assert len(rates) == 10 * len(business_days(OPENED, YESTERDAY))
    for row in statement.iter("Trade"):
        assert row.attrib["fxRateToBase"] == rates[row.attrib["reportDate"], row.attrib["currency"]]


def test_confirmations_tell_first_bookings_of_executions_under_the_ids_of_activity() -> None:
    confirmed = list(printed(logins()[0].accounts, OPENED, YESTERDAY, CONFIRMATIONS).iter("TradeConfirm"))
    names = ("tradeID", "orderID", "execID", "price", "quantity", "commission", "commissionCurrency", "dateTime")
    known = ("tradeID", "ibOrderID", "ibExecID", "tradePrice", "quantity", "ibCommission", "ibCommissionCurrency")
    originals = [
        row
        for row in trades()
        if row.attrib["transactionType"] == "ExchTrade" and row.attrib["ibExecID"].endswith(".01")
    ]
    assert {tuple(row.attrib[name] for name in names) for row in confirmed} == {
        tuple(row.attrib[name] for name in (*known, "dateTime")) for row in originals
    }
    assert "transactionID" not in confirmed[0].attrib
    assert {"O", "O;P", "C"} <= {row.attrib["code"] for row in confirmed}
    assert {row.attrib["levelOfDetail"] for row in confirmed} == {"EXECUTION"}


def test_executions_are_confirmed_five_to_ten_minutes_later() -> None:
    for row in logins()[0].accounts[0].statement_rows(OPENED, YESTERDAY):
        if row.confirmed_at is not None:
            assert timedelta(minutes=5) < row.confirmed_at - row.executed <= timedelta(minutes=10)


def test_paper_accounts_have_no_audit_trail() -> None:
    assert not any(row.attrib["brokerageOrderID"] + row.attrib["orderReference"] for row in paper_trades())
    assert any(row.attrib["orderReference"] for row in trades())


def test_new_yorks_wall_clock_survives_the_change_of_clocks() -> None:
    assert wall_time(date(2026, 3, 9), -19_800).isoformat() == "2026-03-08T18:30:00-04:00"
    assert wall_time(date(2026, 3, 6), 58_800).isoformat() == "2026-03-06T16:20:00-05:00"
    assert local_day(datetime(2026, 3, 11, 3, 59, tzinfo=UTC)) == YESTERDAY
