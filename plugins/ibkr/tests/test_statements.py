from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest

from brokersync.plugin import (
    BrokerConfigError,
    BrokerError,
    BrokerInputNeededError,
    BrokerResponseError,
    Fault,
    StatementHints,
    StatementReader,
)
from brokersync_ibkr.statements import FlexStatementReader

NO_HINTS = StatementHints()
AGAIN = "save its XML output"


def source(body: bytes, hints: StatementHints = NO_HINTS) -> str:
    return FlexStatementReader().source(BytesIO(body), hints)


def refusal(body: bytes) -> BrokerError:
    with pytest.raises(BrokerError) as caught:
        source(body)
    return caught.value


def test_it_is_a_statement_reader() -> None:
    assert isinstance(FlexStatementReader(), StatementReader)


def test_the_source_of_a_file_is_told_by_its_type_or_its_sections(flex: Any) -> None:
    activity, confirmations = flex.statement([flex.trade()]), flex.statement([flex.confirm()], section="TradeConfirms")
    assert source(flex.document(activity)) == "activity_file"
    assert source(flex.document(activity, kind=None)) == "activity_file"
    assert source(flex.document(confirmations, kind="TCF")) == "confirmations_file"
    assert source(flex.document(confirmations, kind=None)) == "confirmations_file"
    assert source(flex.document(flex.statement(section=None), kind="TCF")) == "confirmations_file"


def test_a_file_is_read_in_pages_and_the_last_covers_its_days(flex: Any) -> None:
    file = BytesIO(flex.document(flex.statement(flex.trade(number) for number in range(600))))
    reader = FlexStatementReader()
    assert reader.recognises(file.read(65536))
    file.seek(0)
    assert reader.source(file, NO_HINTS) == "activity_file"
    file.seek(0)
    pages = list(reader.read_statement(file, NO_HINTS))
    assert [len(page.bookings) for page in pages] == [500, 100]
    assert [len(page.covered) for page in pages] == [0, 1]


def test_a_statement_inside_a_larger_file_is_read_from_where_the_file_stands(flex: Any) -> None:
    days = {"first": "01/03/2024", "last": "30/04/2024", "made": "02/05/2024"}
    row = flex.trade(dateTime="05/04/2024;101500", tradeDate="05/04/2024", reportDate="05/04/2024")
    file = BytesIO(b"ignored" + flex.document(flex.statement([row], **days)))
    file.seek(7)
    assert FlexStatementReader().source(file, NO_HINTS) == "activity_file"
    file.seek(7)
    [page] = FlexStatementReader().read_statement(file, NO_HINTS)
    assert page.bookings[0].trade.trade_date.isoformat() == "2024-04-05"


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"<FlexQueryResponse", True),
        (b"<FlexStatementResponse>", True),
        (b'"ClientAccountID","AssetClass"\n', True),
        (b"<html>", False),
        (b"<OFX>", False),
        (b"", False),
        (b"Date,Symbol,Quantity\n", False),
    ],
)
def test_only_what_this_plugin_has_an_answer_to_is_recognised(head: bytes, expected: bool) -> None:
    assert FlexStatementReader().recognises(head) is expected


@pytest.mark.parametrize(
    ("body", "kind", "message", "remedy"),
    [
        (b"", BrokerResponseError, "The file is empty.", AGAIN),
        (b"PK\x03\x04zipped", BrokerResponseError, "The file is not XML.", AGAIN),
        (b"<!DOCTYPE html><html>U4711001</html>", BrokerResponseError, "a web page", AGAIN),
        (b"<OFX><A/></OFX>", BrokerResponseError, "XML, but not a Flex statement", AGAIN),
        (b'"ClientAccountID"\t"Symbol"\n"U4711001"', BrokerConfigError, "a statement as CSV", "set Format to XML"),
        (b"Statement,Header,Field Name,Field Value\n", BrokerConfigError, "a statement as CSV", "Flex Queries"),
        (b"<FlexQueryResponse><FlexStatements><Flex", BrokerResponseError, "it ends at line 1, column 36", AGAIN),
        (b"<FlexQueryResponse>\n<a></b></FlexQueryResponse>", BrokerResponseError, "damaged at line 2, column", AGAIN),
        (b"<FlexQueryResponse a='\xe4x'/>", BrokerResponseError, "not in the character encoding", AGAIN),
        (b"<FlexQueryResponse></FlexQueryResponse>", BrokerResponseError, "no statement", ""),
        (b"<FlexStatementResponse><Status>", BrokerResponseError, "an answer of the Flex Web Service", AGAIN),
    ],
)  # fmt: skip  # one case a line
def test_each_wrong_file_has_its_own_sentence_without_its_content(
    body: bytes, kind: type[BrokerError], message: str, remedy: str
) -> None:
    error = refusal(body)
    assert type(error) is kind
    assert message in error.message
    assert remedy in error.remedy
    assert "U4711001" not in str(error)


def test_a_saved_answer_of_the_service_is_explained_by_its_code(flex: Any) -> None:
    error = refusal(flex.refused(1019, status="Warn"))
    assert "not a statement: code 1019, the statement is being generated" in error.message
    assert (error.code, error.fault) == ("1019", Fault.USER)
    assert "generate a new token" in refusal(flex.refused(1012)).remedy
    assert "unknown" in refusal(flex.refused(1999)).message
    assert "the order was accepted" in refusal(flex.accepted()).message


def test_a_file_with_a_document_type_is_refused(flex: Any) -> None:
    body = flex.document(flex.statement(), prolog='<!DOCTYPE FlexQueryResponse [<!ENTITY a "b">]>')
    assert "XML, but not a Flex statement" in refusal(body).message
    body = flex.document(flex.statement(), prolog="<!--x--><?y z?><!DOCTYPE z>")
    assert isinstance(refusal(body), BrokerResponseError)


def test_damage_at_the_very_end_is_found_before_any_page_is_given(flex: Any) -> None:
    body = flex.document(flex.statement(flex.trade(number) for number in range(2000)))
    assert "cut off" in refusal(body[:-1]).message


def test_the_query_to_be_changed_is_told_before_any_page_is_given(flex: Any) -> None:
    assert "tick Execution" in refusal(flex.document(flex.statement([flex.trade(element="Order")]))).remedy
    no_trades = flex.document(flex.statement(section=None, extra="<OpenPositions></OpenPositions>"))
    assert "no Trades section" in refusal(no_trades).message
    days = {"first": "01/02/2024", "last": "02/02/2024", "made": "03/02/2024"}
    row = flex.trade(dateTime="01/02/2024;101500", tradeDate="01/02/2024", reportDate="01/02/2024")
    assert "yyyyMMdd" in refusal(flex.document(flex.statement([row], **days))).remedy


def test_a_file_that_does_not_tell_its_account_asks_for_it(flex: Any) -> None:
    body = flex.document(flex.statement([flex.trade(accountId=None)], account=""))
    with pytest.raises(BrokerInputNeededError) as caught:
        source(body)
    assert list(caught.value.fields) == ["account_id"]
    hints = StatementHints(account_id="DU4711009", environment="live")
    assert source(body, hints) == "activity_file"
    [page] = FlexStatementReader().read_statement(BytesIO(body), hints)
    assert [(booking.account_id, booking.environment) for booking in page.bookings] == [("DU4711009", "paper")]


def test_the_user_says_which_account_an_alias_is(flex: Any) -> None:
    body = flex.document(flex.statement([flex.trade(accountId="My Pot")], account="My Pot"))
    with pytest.raises(BrokerInputNeededError) as caught:
        source(body)
    assert list(caught.value.fields) == ["account_id"]
    assert "Display Account Alias" in caught.value.remedy
    hints = StatementHints(account_id="DUM4711009")
    assert source(body, hints) == "activity_file"
    [page] = FlexStatementReader().read_statement(BytesIO(body), hints)
    assert [(booking.account_id, booking.environment) for booking in page.bookings] == [("DUM4711009", "paper")]
    assert {span.account_id for span in page.covered} == {"DUM4711009"}


def test_of_two_aliases_in_one_file_nobody_knows_which_account_is_meant(flex: Any) -> None:
    body = flex.document(*(flex.statement([flex.trade(accountId=pot)], account=pot) for pot in ("Pot A", "Pot B")))
    with pytest.raises(BrokerConfigError, match="alias"):
        source(body, StatementHints(account_id="U1"))
    with pytest.raises(BrokerConfigError, match="alias"):
        list(FlexStatementReader().read_statement(BytesIO(body), StatementHints(account_id="U1")))


def test_reading_a_damaged_file_without_the_check_still_ends_in_an_error(flex: Any) -> None:
    pages = FlexStatementReader().read_statement(BytesIO(flex.document(flex.statement())[:-9]), NO_HINTS)
    with pytest.raises(BrokerResponseError, match="cut off"):
        list(pages)


@pytest.mark.parametrize(("odd", "booked"), [("N/A", 2), ("45/45/2024", 1), ("9" * 20 + "/1/2024", 1)])
@pytest.mark.parametrize("dates", ["20240313", "03/13/2024"])
def test_an_odd_date_refuses_its_own_row_and_not_the_file(flex: Any, odd: str, booked: int, dates: str) -> None:
    told = {"dateTime": f"{dates};101500", "tradeDate": dates, "reportDate": dates}
    body = flex.document(flex.statement([flex.trade(1, **told), flex.trade(2, **told, expiry=odd)]))
    assert source(body) == "activity_file"
    pages = list(FlexStatementReader().read_statement(BytesIO(body), NO_HINTS))
    assert sum(len(page.bookings) for page in pages) == booked
    assert [row.reason for page in pages for row in page.quarantined] == ["the expiry is no date"] * (2 - booked)
