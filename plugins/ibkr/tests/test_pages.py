from __future__ import annotations

import random
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokersync.plugin import BrokerAccount, BrokerConfigError, BrokerResponseError, Finality, TimeWindow
from brokersync_ibkr.coverage import Days
from brokersync_ibkr.pages import PAGE_SIZE
from brokersync_ibkr.payloads import FlexSyntaxError

INFORMATION = {
    "accountId": "U4711001",
    "acctAlias": "",
    "name": "Made Up",
    "accountType": "Individual",
    "currency": "chf",
    "dateOpened": "20200302",
    "dateClosed": "",
}


def window(first: date, end: date) -> TimeWindow:
    return Days(first, end).window


def covered(pages: list[Any]) -> list[tuple[str, TimeWindow, Finality]]:
    assert not any(page.covered for page in pages[:-1])
    return [(span.account_id, span.window, span.finality) for span in pages[-1].covered]


WEEK = window(date(2024, 3, 11), date(2024, 3, 15))


def test_pages_hold_500_bookings_and_only_the_last_says_what_is_covered(flex: Any) -> None:
    pages = flex.pages(flex.document(flex.statement(flex.trade(number) for number in range(1201))))
    assert [len(page.bookings) for page in pages] == [500, 500, 201]
    assert len({booking.booking_id for page in pages for booking in page.bookings}) == 1201
    assert covered(pages) == [("U4711001", WEEK, Finality.FINAL)]
    assert all(page.cursor is None and page.resume_at is None for page in pages)


def test_an_empty_trades_section_is_a_valid_answer(flex: Any) -> None:
    [page] = flex.pages(flex.document(flex.statement()))
    assert page.bookings == ()
    assert covered([page]) == [("U4711001", WEEK, Finality.FINAL)]


@pytest.mark.parametrize("level", [None, "", "EXECUTION"])
def test_executions_are_taken_with_or_without_their_level(flex: Any, level: str | None) -> None:
    assert flex.booking(levelOfDetail=level).booking_id == "tx:900100"


def test_sums_and_lots_are_counted_and_never_trades(flex: Any) -> None:
    sums = [
        flex.trade(1, element="Order", levelOfDetail="ORDER"),
        flex.trade(2, element="Lot", levelOfDetail="CLOSED_LOT"),
        flex.trade(3, element="Lot", levelOfDetail="EXECUTION"),
        flex.trade(4, element="WashSale", levelOfDetail="WASH_SALE"),
        flex.trade(5, element="SymbolSummary", levelOfDetail="SYMBOL_SUMMARY", tradeDate="MULTI"),
        flex.trade(6, element="AssetSummary", levelOfDetail="ASSET_SUMMARY"),
        flex.trade(7, levelOfDetail="ORDER"),
        flex.trade(8, levelOfDetail="CLOSED_LOT"),
        flex.trade(9, levelOfDetail="NEWLY_MADE"),
    ]
    [page] = flex.pages(flex.document(flex.statement([*sums, flex.trade()])))
    assert [booking.booking_id for booking in page.bookings] == ["tx:900100"]
    assert page.skipped == {
        "Order": 1,
        "Lot": 2,
        "WashSale": 1,
        "SymbolSummary": 1,
        "AssetSummary": 1,
        "Trade ORDER": 1,
        "Trade CLOSED_LOT": 1,
        "Trade NEWLY_MADE": 1,
    }
    assert page.unmapped == {"levelOfDetail=NEWLY_MADE": 1}


@pytest.mark.parametrize("row", [{"element": "Order"}, {"element": "SymbolSummary"}, {"levelOfDetail": "ORDER"}])
def test_a_document_with_sums_but_no_execution_says_what_to_tick(flex: Any, row: dict[str, str]) -> None:
    with pytest.raises(BrokerConfigError) as caught:
        flex.pages(flex.document(flex.statement([flex.trade(**row)]), flex.statement()))
    assert "tick Execution" in caught.value.remedy


def test_a_late_wash_sale_alone_does_not_ask_for_executions(flex: Any) -> None:
    [page] = flex.pages(flex.document(flex.statement([flex.trade(element="WashSale", levelOfDetail="WASH_SALE")])))
    assert page.skipped == {"WashSale": 1}
    assert page.covered


def test_a_document_without_its_trades_section_can_not_tell_that_there_were_none(flex: Any) -> None:
    with pytest.raises(BrokerConfigError, match="no Trades section"):
        flex.pages(flex.document(flex.statement(section=None, extra="<CashTransactions></CashTransactions>")))
    [page] = flex.pages(flex.document(flex.statement(section=None, extra=flex.account(**INFORMATION))))
    # alone, it may be of an account without any activity: its days are read again
    assert covered([page]) == [("U4711001", WEEK, Finality.PROVISIONAL)]


def test_a_document_without_any_statement_is_refused(flex: Any) -> None:
    with pytest.raises(BrokerResponseError, match="no statement"):
        flex.pages(flex.document())


def test_the_query_of_the_other_type_is_named(flex: Any) -> None:
    confirmations = flex.document(flex.statement(section="TradeConfirms"), kind="TCF")
    with pytest.raises(BrokerConfigError, match="activity_query_id is no Activity"):
        flex.pages(confirmations, expected="AF")
    with pytest.raises(BrokerConfigError, match="confirmations_query_id is no Trade Confirmation"):
        flex.pages(flex.document(flex.statement()), expected="TCF")
    assert flex.pages(confirmations, expected="TCF")


def test_new_names_and_values_are_counted_and_stop_nothing(flex: Any) -> None:
    rows = [
        flex.trade(1, brandNew="", alsoNew="x"),
        flex.trade(2, brandNew="y", assetCategory="MOON", notes="P;Zz", putCall="X", openCloseIndicator="?"),
        "<Novelty a='1' />",
    ]
    [page] = flex.pages(flex.document(flex.statement(rows, extra="<NewSection />"), kind="XX"))
    assert len(page.bookings) == 2
    assert page.unmapped == {
        "Trade@brandNew": 2,
        "Trade@alsoNew": 1,
        "assetCategory=MOON": 1,
        "code=Zz": 1,
        "putCall=X": 1,
        "openCloseIndicator=?": 1,
        "Trades/Novelty": 1,
        "NewSection": 1,
        "type=XX": 1,
    }


def test_several_accounts_and_repeated_statements_are_told_once_each(flex: Any) -> None:
    body = flex.document(
        flex.statement([flex.trade(1)], last="20240312"),
        flex.statement([flex.trade(2, accountId="DU4711002")], account="DU4711002"),
        flex.statement([flex.trade(3)], first="20240313"),
    )
    [page] = flex.pages(body)
    assert covered([page]) == [("DU4711002", WEEK, Finality.FINAL), ("U4711001", WEEK, Finality.FINAL)]
    assert [(one.account_id, one.environment) for one in page.accounts] == [
        ("DU4711002", "paper"),
        ("U4711001", "live"),
    ]
    assert [booking.account_id for booking in page.bookings] == ["U4711001", "DU4711002", "U4711001"]


def test_a_page_says_when_its_statement_was_made_and_holds_nothing_of_another(flex: Any) -> None:
    first = flex.statement([flex.trade(1), flex.trade(2)], made="20240318;061500")
    second = flex.statement([flex.trade(3)], made="20240319;061500", account="U4711002")
    undated = flex.statement([flex.trade(4)], made="", account="U4711003")
    pages = list(flex.read(flex.document(first, second, undated)))
    assert [(page.as_of, len(page.bookings)) for page in pages] == [
        (datetime(2024, 3, 18, 10, 15, tzinfo=UTC), 2),
        (datetime(2024, 3, 19, 10, 15, tzinfo=UTC), 1),
        (None, 1),
    ]
    assert [bool(page.covered) for page in pages] == [False, False, True]
    assert sum(page.rows or 0 for page in pages) == 4


@pytest.mark.parametrize("made", ["20240318", "18/03/2024", "2024-03-18"])
def test_a_statement_that_tells_the_day_alone_was_made_at_its_start(flex: Any, made: str) -> None:
    (page,) = flex.read(flex.document(flex.statement([flex.trade(1)], made=made)))
    assert page.as_of == datetime(2024, 3, 18, 4, tzinfo=UTC)


@pytest.mark.parametrize("made", ["yesterday", "20241318;061500", "99991231;235959"])
def test_a_time_of_making_that_is_none_is_counted_and_stops_nothing(flex: Any, made: str) -> None:
    (page,) = flex.read(flex.document(flex.statement([flex.trade(1)], made=made)))
    assert (page.as_of, len(page.bookings)) == (None, 1)
    assert page.unmapped == {"a whenGenerated that is no time": 1}


def test_breakout_by_day_is_one_span_over_the_weekends(flex: Any) -> None:
    days = ["20240307", "20240308", "20240311", "20240312", "20240314"]
    [page] = flex.pages(flex.document(*(flex.statement(first=day, last=day) for day in days)))
    assert covered([page]) == [
        ("U4711001", window(date(2024, 3, 7), date(2024, 3, 12)), Finality.FINAL),
        ("U4711001", window(date(2024, 3, 14), date(2024, 3, 14)), Finality.FINAL),
    ]


def test_the_row_names_its_account_else_the_statement_does(flex: Any) -> None:
    rows = [flex.trade(1, accountId=None), flex.trade(2, accountId="U4711009")]
    [page] = flex.pages(flex.document(flex.statement(rows)))
    assert [booking.account_id for booking in page.bookings] == ["U4711001", "U4711009"]
    # the second account has no statement, so nothing is known of the rest of its days
    assert [account for account, *_ in covered([page])] == ["U4711001"]


def test_a_statement_also_covers_the_segment_with_a_letter_behind_the_account(flex: Any) -> None:
    rows = [flex.trade(1), flex.trade(2, accountId="U4711001F")]
    [page] = flex.pages(flex.document(flex.statement(rows)))
    assert [account for account, *_ in covered([page])] == ["U4711001", "U4711001F"]
    known = (BrokerAccount(account_id="U4711001F", environment="live"),)
    [page] = flex.pages(flex.document(flex.statement([flex.trade()])), accounts=known)
    assert [account for account, *_ in covered([page])] == ["U4711001", "U4711001F"]


def test_an_account_that_was_asked_for_and_is_not_in_the_answer_is_not_covered(flex: Any) -> None:
    asked = tuple(BrokerAccount(account_id=name, environment="live") for name in ("U4711001", "U4711002"))
    [page] = flex.pages(flex.document(flex.statement()), accounts=asked)
    assert [account for account, *_ in covered([page])] == ["U4711001"]


def test_a_row_without_any_account_is_quarantined_unless_the_user_names_it(flex: Any) -> None:
    body = flex.document(flex.statement([flex.trade(accountId=None)], account=""))
    [page] = flex.pages(body)
    assert [row.reason for row in page.quarantined] == ["the row names no account"]
    assert page.covered == ()
    [page] = flex.pages(body, account_id="U4711005", environment="live")
    assert [booking.account_id for booking in page.bookings] == ["U4711005"]
    assert covered([page]) == [("U4711005", WEEK, Finality.FINAL)]


@pytest.mark.parametrize("names", [("My Pot", "My Pot"), ("My Pot", None)])
def test_an_alias_in_place_of_the_account_would_count_its_trades_twice_and_is_refused(
    flex: Any, names: tuple[str, str | None]
) -> None:
    account, of_row = names
    with pytest.raises(BrokerConfigError) as caught:
        flex.pages(flex.document(flex.statement([flex.trade(accountId=of_row)], account=account)))
    assert "alias" in caught.value.message
    assert "set Display Account Alias in place of Account ID to No" in caught.value.remedy


def test_only_what_has_the_closing_day_s_column_says_whether_an_account_is_closed(flex: Any) -> None:
    told = [{"dateClosed": "20240305"}, {"dateClosed": ""}, {"currency": "CHF"}]
    bodies = [flex.document(flex.statement([flex.trade()], extra=flex.account(**one))) for one in told]
    closed = [page.accounts[0].closed for body in bodies for page in flex.pages(body)]
    assert closed == [True, False, None]


def test_what_is_said_of_an_account_is_passed_on(flex: Any) -> None:
    body = flex.document(flex.statement(extra=flex.account(**INFORMATION)), flex.statement())
    [page] = flex.pages(body)
    assert page.accounts == (
        BrokerAccount(
            account_id="U4711001",
            environment="live",
            name="Made Up",
            currency="CHF",
            kind="Individual",
            opened_at=datetime(2020, 3, 2, 5, tzinfo=UTC),
            closed=False,
            state={"alias": ""},
        ),
    )


def test_what_statements_of_a_document_say_of_an_account_is_told_with_when_each_was_made(flex: Any) -> None:
    later = flex.statement(extra=flex.account(acctAlias="New"), made="20240319;061500")
    earlier = flex.statement(extra=flex.account(acctAlias="Old"), made="20240318;061500")
    told = [(page.as_of, *(one.name for one in page.accounts)) for page in flex.pages(flex.document(later, earlier))]
    assert told == [
        (datetime(2024, 3, 19, 10, 15, tzinfo=UTC), "New"),
        (datetime(2024, 3, 18, 10, 15, tzinfo=UTC), "Old"),
    ]


def test_an_alias_beside_the_id_names_the_account_and_a_closing_date_closes_it(flex: Any) -> None:
    facts = INFORMATION | {"acctAlias": "Rainy days", "dateClosed": "20240301", "dateOpened": "", "currency": ""}
    [page] = flex.pages(flex.document(flex.statement(extra=flex.account(**facts))))
    [account] = page.accounts
    assert (account.name, account.closed, account.opened_at, account.currency) == ("Rainy days", True, None, None)


def test_an_account_is_told_with_its_first_page_and_again_only_with_news(flex: Any) -> None:
    rows = [flex.trade(number) for number in range(700)]
    body = flex.document(flex.statement(rows), flex.statement(extra=flex.account(**INFORMATION)))
    assert [[one.currency for one in page.accounts] for page in flex.pages(body)] == [[None], ["CHF"]]


@pytest.mark.parametrize("facts", [{"dateOpened": "long ago"}, {"accountId": ""}])
@pytest.mark.parametrize("account", ["U4711001", ""])
def test_unreadable_facts_of_an_account_stop_nothing(flex: Any, facts: dict[str, str], account: str) -> None:
    told = flex.account(**(INFORMATION | facts))
    [page] = flex.pages(flex.document(flex.statement([flex.trade()], extra=told, account=account)))
    assert len(page.bookings) == 1
    assert [one.account_id for one in page.accounts] == ["U4711001"]


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("", ""),
        ("20240315", "20240311"),
        ("soon", "20240315"),
        ("20240311", "99991231"),
        ("20240311", "99991231;000000"),
        ("00010101", "20240315"),
    ],
)
def test_a_statement_without_a_readable_period_covers_nothing(flex: Any, first: str, last: str) -> None:
    [page] = flex.pages(flex.document(flex.statement([flex.trade()], first=first, last=last)))
    assert len(page.bookings) == 1
    assert page.covered == ()
    assert page.unmapped == {"a statement without a readable period": 1}


def test_a_statement_of_a_segment_proves_nothing_of_the_whole_account(flex: Any) -> None:
    known = tuple(BrokerAccount(account_id=name, environment="live") for name in ("U4711001", "U4711001F"))
    for stated, proved in (("U4711001F", ["U4711001F"]), ("U4711001", ["U4711001", "U4711001F"])):
        pages = flex.pages(flex.document(flex.statement(account=stated)), accounts=known)
        assert [account for account, *_ in covered(pages)] == proved


def test_confirmations_are_provisional(flex: Any) -> None:
    body = flex.document(flex.statement([flex.confirm()], section="TradeConfirms"), kind="TCF")
    assert covered(flex.pages(body)) == [("U4711001", WEEK, Finality.PROVISIONAL)]
    untyped = flex.document(flex.statement([flex.confirm()], section="TradeConfirms"), kind=None)
    assert covered(flex.pages(untyped)) == [("U4711001", WEEK, Finality.PROVISIONAL)]


def test_a_day_that_was_not_over_when_the_statement_was_made_is_provisional(flex: Any) -> None:
    assert covered(flex.pages(flex.document(flex.statement(made="20240315;180000")))) == [
        ("U4711001", window(date(2024, 3, 11), date(2024, 3, 14)), Finality.FINAL),
        ("U4711001", window(date(2024, 3, 15), date(2024, 3, 15)), Finality.PROVISIONAL),
    ]
    assert covered(flex.pages(flex.document(flex.statement(first="20240315", made="20240315;180000")))) == [
        ("U4711001", window(date(2024, 3, 15), date(2024, 3, 15)), Finality.PROVISIONAL)
    ]


def test_only_asked_days_are_covered_and_closed_days_at_the_edges_count(flex: Any) -> None:
    asked = Days(date(2024, 3, 9), date(2024, 3, 14))  # from a Saturday
    assert covered(flex.pages(flex.document(flex.statement()), asked=asked)) == [
        ("U4711001", asked.window, Finality.FINAL)
    ]
    other = Days(date(2024, 2, 5), date(2024, 2, 9))
    assert covered(flex.pages(flex.document(flex.statement()), asked=other)) == []


def test_a_document_that_breaks_off_covers_nothing(flex: Any) -> None:
    body = flex.document(flex.statement(flex.trade(number) for number in range(1200)))[:-200]
    pages = flex.read(body)
    assert len(next(pages).bookings) == 500
    assert not next(pages).covered
    with pytest.raises(FlexSyntaxError):
        next(pages)


@settings(deadline=None)
@given(seed=st.integers(0, 1000), cancels=st.integers(0, 4))
def test_the_order_of_the_rows_changes_no_booking(flex: Any, seed: int, cancels: int) -> None:
    rows = [flex.trade(number) for number in range(8)]
    rows += [
        flex.trade(
            20 + number, transactionType="TradeCancel", tradeID="", origTradeID=str(500100 + number), quantity="-100"
        )
        for number in range(cancels)
    ]
    shuffled = random.Random(seed).sample(rows, len(rows))
    by_id = [{booking.booking_id: booking for booking in flex.bookings(*order)} for order in (rows, shuffled)]
    assert by_id[0] == by_id[1]


def slashed(flex: Any, pattern: str, days: list[str], **period: str) -> bytes:
    def written(text: str) -> str:
        return date.fromisoformat(text).strftime(pattern)

    rows = [
        flex.trade(number, dateTime=f"{written(day)};101500", tradeDate=written(day), reportDate=written(day))
        for number, day in enumerate(days)
    ]
    told = {"first": "20240401", "last": "20240430", "made": "20240502"} | period
    return flex.document(flex.statement(rows, **{name: written(text) for name, text in told.items()}))


@pytest.mark.parametrize("pattern", ["%d/%m/%Y", "%m/%d/%Y", "%d/%m/%y", "%m/%d/%y"])
def test_the_order_of_dates_with_slashes_is_found_in_the_document_itself(flex: Any, pattern: str) -> None:
    [page] = flex.pages(slashed(flex, pattern, ["20240402", "20240403", "20240424"]))
    assert [booking.trade.trade_date for booking in page.bookings] == [
        date(2024, 4, 2),
        date(2024, 4, 3),
        date(2024, 4, 24),
    ]
    assert covered([page]) == [("U4711001", window(date(2024, 4, 1), date(2024, 4, 30)), Finality.FINAL)]


def test_dates_that_can_be_read_in_two_ways_stop_the_import_with_the_setting_to_change(flex: Any) -> None:
    body = slashed(flex, "%d/%m/%Y", ["20240402"], first="20240401", last="20240405", made="20240406")
    with pytest.raises(BrokerConfigError) as caught:
        flex.pages(body)
    assert "yyyyMMdd" in caught.value.remedy


@pytest.mark.parametrize("rows", [1, PAGE_SIZE + 1])
def test_a_statement_without_a_column_of_ids_gives_no_page_and_says_what_to_tick(flex: Any, rows: int) -> None:
    told = [flex.trade(number, tradeID=None, transactionID=None) for number in range(rows)]
    with pytest.raises(BrokerConfigError) as refused:
        next(flex.read(flex.document(flex.statement(told))))
    assert "section Trades, tick Trade ID and Transaction ID" in (refused.value.remedy or "")
    with pytest.raises(BrokerConfigError) as refused:
        next(
            flex.read(flex.document(flex.statement([flex.confirm(ibExecID=None)], section="TradeConfirms"), kind="TCF"))
        )
    assert "section Trade Confirmations, tick Exec ID" in (refused.value.remedy or "")


def test_columns_that_a_trade_needs_and_the_query_does_not_tell_are_reported_with_the_first_one(flex: Any) -> None:
    rows = [flex.trade(number, multiplier=None, origTradeID=None) for number in range(3)]
    [page] = flex.pages(flex.document(flex.statement(rows)))
    assert page.unmapped == {"the query has no column Multiplier": 1, "the query has no column Orig Trade ID": 1}


def test_an_empty_column_of_ids_is_one(flex: Any) -> None:
    [page] = flex.pages(flex.document(flex.statement([flex.trade(tradeID="", transactionID="")])))
    assert len(page.bookings) == 1


@pytest.mark.parametrize("name", ["tradeID", "transactionID", "ibExecID"])
def test_a_row_with_an_id_without_end_is_held_alone(flex: Any, name: str) -> None:
    rows = [flex.trade(1), flex.trade(2, **{name: "9" * 600})]
    [page] = flex.pages(flex.document(flex.statement(rows)))
    assert (len(page.bookings), len(page.quarantined)) == (1, 1)
    assert "an id has 512 at most" in page.quarantined[0].reason


def test_a_document_with_an_account_without_end_is_refused(flex: Any) -> None:
    with pytest.raises(FlexSyntaxError, match="no account's id"):
        flex.pages(flex.document(flex.statement([flex.trade(1, accountId="U" + "9" * 600)])))


def test_a_cash_row_that_changes_the_cost_of_trades_is_counted_and_changes_none_of_them(flex: Any) -> None:
    kinds = (
        ("Commission Adjustments", ""),
        ("Dividends", ""),
        ("Other Fees", ""),
        ("Commission Adjustments", "500100"),
    )
    rows = "".join(
        flex.element("CashTransaction", {"accountId": "U4711001", "type": kind, "amount": "0.33", "tradeID": trade})
        for kind, trade in kinds
    )
    cash = f"<CashTransactions>{rows}</CashTransactions>"
    [page] = flex.pages(flex.document(flex.statement([flex.trade()], extra=cash)))
    assert page.skipped == {
        "Commission Adjustments: a cost of the account, as it names no trade": 1,
        "Other Fees: a cost of the account, as it names no trade": 1,
        "Commission Adjustments: a cost of the account, though it names a trade, as that may tell it too": 1,
    }
    assert page.rows == page.disposed == 4
    [plain] = flex.pages(flex.document(flex.statement([flex.trade()])))
    assert page.bookings == plain.bookings
    assert page.unmapped == plain.unmapped


def test_a_query_that_names_instruments_by_symbol_alone_is_told_of_conid(flex: Any) -> None:
    [page] = flex.pages(flex.document(flex.statement([flex.trade(conid=None)])))
    assert len(page.bookings) == 1
    assert page.unmapped == {"the query has no column Conid": 1}
