from __future__ import annotations

import io
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brokersync.plugin import (
    BrokerAccount,
    BrokerConfigError,
    BrokerError,
    BrokerInputNeededError,
    BrokerResponseError,
    Fault,
    FeesState,
    RawRow,
    Side,
    StatementHints,
    StatementReader,
    TradePage,
)
from brokersync_tradovate.renormalise import renormalise
from brokersync_tradovate.statements import TradovateStatementReader

KNOWN = BrokerAccount(account_id="11", environment="demo", name="DEMO77001")
HINTS = StatementHints(accounts=(KNOWN,))
AGAIN = "import the file as it was downloaded"
ORDERS = "orderId,Account,Order ID,B/S,Contract,avgPrice,filledQty,Fill Time,Status,Version ID,Timestamp,Quantity\r\n"
PERFORMANCE = "symbol,_priceFormat,buyFillId,sellFillId,qty,buyPrice,sellPrice,pnl,boughtTimestamp,soldTimestamp\r\n"
POSITIONS = "Position ID,Timestamp,Account,Contract,Pair ID,Buy Fill ID,Sell Fill ID,Paired Qty,P/L,Currency\r\n"
BALANCES = "Account ID,Account Name,Trade Date,Total Amount,Total Realized PNL\r\n"
CASH = "Account,Transaction ID,Timestamp,Date,Delta,Amount,Cash Change Type,Currency,Contract\r\n"


def read(text: str | bytes, hints: StatementHints = HINTS) -> list[TradePage]:
    """The pages of a file, on the way that core takes."""
    file = io.BytesIO(text.encode() if isinstance(text, str) else text)
    reader = TradovateStatementReader()
    assert reader.recognises(file.read(65536))
    file.seek(0)
    assert reader.source(file, hints) == "fills_file"
    file.seek(0)
    return list(reader.read_statement(file, hints))


def refusal(text: str | bytes, hints: StatementHints = HINTS) -> BrokerError:
    with pytest.raises(BrokerError) as caught:
        TradovateStatementReader().source(io.BytesIO(text.encode() if isinstance(text, str) else text), hints)
    return caught.value


def without(exports: Any, *names: str) -> list[str]:
    return [name for name in exports.columns if name not in names]


def test_it_is_a_statement_reader() -> None:
    assert isinstance(TradovateStatementReader(), StatementReader)


def test_a_row_is_the_same_booking_as_the_services(exports: Any) -> None:
    [page] = read(exports.text(exports.fill()))
    [booking] = page.bookings
    trade = booking.trade

    assert trade is not None
    assert (booking.booking_id, booking.refs, trade.trade_id) == ("fill:21", ("fill:21",), "fill:21")
    assert (booking.environment, booking.account_id, trade.order_id) == ("demo", "11", "200")
    assert (trade.side, trade.quantity, trade.price) == (Side.SELL, Decimal(2), Decimal("110.515625"))
    assert trade.executed_at == datetime(2026, 3, 9, 14, 31, 2, 125_000, tzinfo=UTC)
    assert trade.trade_date == date(2026, 3, 9)
    assert (trade.instrument.symbol, trade.instrument.broker_id) == ("ZNM6", "301")


def test_what_a_file_does_not_tell_is_not_guessed(exports: Any) -> None:
    [page] = read(exports.text(exports.fill()))
    trade = page.bookings[0].trade

    assert trade is not None
    assert not trade.instrument.complete
    assert (trade.fees, trade.fees_state) == ((), FeesState.PENDING), "the commission's currency is not told"
    assert trade.raw["commission"] == "1.58"


def test_a_file_proves_no_day(exports: Any) -> None:
    pages = read(exports.text(*(exports.fill(number) for number in range(1, 1202))))

    assert [len(page.bookings) for page in pages] == [500, 500, 201]
    assert [page.covered for page in pages] == [(), (), ()]
    assert [page.rows for page in pages] == [500, 500, 201]


def test_a_file_without_rows_is_read(exports: Any) -> None:
    assert read(exports.text()) == []


@pytest.mark.parametrize("start", ["", "\ufeff", "\r\n", "\ufeff\r\n"])
@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_the_header_is_read_by_name(exports: Any, start: str, end: str) -> None:
    header = [f" {name.upper()} " for name in reversed(exports.columns)] + ["Venue"]
    row = {f" {name.upper()} ": value for name, value in exports.fill().items()} | {"Venue": "X"}

    odd = read(exports.text(row, header=header, start=start, end=end))

    plain = read(exports.text(exports.fill()))
    assert _content(odd) == _content(plain)


def _content(pages: list[TradePage]) -> Any:
    return [attrs.evolve(one.trade, raw={}) for page in pages for one in page.bookings if one.trade]


@pytest.mark.parametrize("absent", ["_orderId", "_contractId", "_action", "_qty", "_price", "_id"])
def test_columns_that_are_missing_are_named(exports: Any, absent: str) -> None:
    substitutes = {"_id": "Fill ID", "_orderId": "Order ID", "_action": "B/S", "_qty": "Quantity"}
    header = without(exports, absent, substitutes.get(absent, absent))
    needed = {"_timestamp", "_id"} if absent != "_id" else {"_timestamp"}
    assert needed.issubset(header)

    error = refusal(exports.text(exports.fill(), header=header))

    assert (type(error), error.fault) == (BrokerResponseError, Fault.USER)


def test_times_without_a_zone_are_asked_about_and_never_guessed(exports: Any) -> None:
    error = refusal(exports.text(exports.fill(), header=without(exports, "_timestamp")))

    assert isinstance(error, BrokerInputNeededError)
    assert list(error.fields) == ["zone"]
    assert "_timestamp" in error.message


def test_times_are_read_in_the_zone_that_the_user_states(exports: Any) -> None:
    file = exports.text(exports.fill(), header=without(exports, "_timestamp"))
    hints = attrs.evolve(HINTS, zone="America/Chicago")

    [page] = read(file, hints)

    assert page.bookings[0].trade is not None
    assert page.bookings[0].trade.executed_at == datetime(2026, 3, 9, 19, 31, 2, tzinfo=UTC)


def test_a_stated_zone_changes_nothing_where_the_file_tells_its_times(exports: Any) -> None:
    file = exports.text(exports.fill())

    assert read(file, attrs.evolve(HINTS, zone="Asia/Tokyo")) == read(file)


@pytest.mark.parametrize(
    ("shown", "reason"),
    [
        ("11/01/2026 01:30:00", "twice"),
        ("03/08/2026 02:30:00", "never"),
        ("2026-03-09 14:31:02", "no time like"),
        ("31/03/2026 14:31:02", "no time like"),
        ("", "no time like"),
    ],
)
def test_a_time_that_may_be_two_is_held(exports: Any, shown: str, reason: str) -> None:
    rows = [exports.fill(21), exports.fill(22, Timestamp=shown)]
    hints = attrs.evolve(HINTS, zone="America/Chicago")

    [page] = read(exports.text(*rows, header=without(exports, "_timestamp")), hints)

    assert [one.booking_id for one in page.bookings] == ["fill:21"]
    assert [(one.row_id, reason in one.reason) for one in page.quarantined] == [("fill:22", True)]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (ORDERS, "export of Orders: one row for an order"),
        (PERFORMANCE, "export of Performance: one row for two fills"),
        (POSITIONS, "export of Position History: one row for two fills"),
        (CASH, "export of Cash History: the movements of cash"),
        (BALANCES, "export of Account Balance History: one row for a day"),
        (PERFORMANCE.replace("buyFillId", "_buyFillId"), "export of Performance"),
        (ORDERS.lower().replace("version id", "_VERSION ID"), "export of Orders"),
    ],
)
def test_another_export_is_named_and_the_right_one_asked_for(text: str, what: str) -> None:
    assert TradovateStatementReader().recognises(text.encode())
    error = refusal(text)
    assert (type(error), error.fault) == (BrokerConfigError, Fault.USER)
    assert what in error.message
    assert "Export Fills" in error.remedy


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"", "The file is empty."),
        (b"  \r\n", "The file is empty."),
        (b"<!DOCTYPE html>", "a web page or XML"),
        (b"PK\x03\x04zipped", "a workbook"),
        ("_id,_orderId".encode("utf-16"), "in UTF-16"),
        (b"_id;_orderId;_action;_qty\r\n", "not separated by commas"),
        (b"_id\t_orderId\t_action\t_qty\r\n", "not separated by commas"),
        (b"Date,Symbol,Quantity\r\n", "none of Tradovate's exports"),
        (b"{}", "none of Tradovate's exports"),
    ],
)  # fmt: skip  # one case a line
def test_what_is_no_export_is_told_apart(body: bytes, what: str) -> None:
    assert not TradovateStatementReader().recognises(body)
    error = refusal(body)
    assert (type(error), error.fault) == (BrokerResponseError, Fault.USER)
    assert what in error.message
    assert AGAIN in error.remedy


def test_a_file_that_another_program_has_saved_is_refused_as_a_whole(exports: Any) -> None:
    shortened = exports.text(exports.fill(21), exports.fill(22, _id="5.37862E+11"))
    assert "shortened its ids" in refusal(shortened).message
    latin = exports.text(exports.fill(**{"Product Description": "Schätze"})).encode("latin-1")
    assert "not in UTF-8" in refusal(latin).message


def test_a_file_with_a_character_that_no_text_has_is_refused(exports: Any) -> None:
    assert "NUL character" in refusal(exports.text(exports.fill(21), exports.fill(22, Contract="ZN\0M6"))).message


@pytest.mark.parametrize("number", ["11x", "9" * 600, "-11", "1.1E1"])
def test_an_account_that_is_no_number_is_nobodys(exports: Any, number: str) -> None:
    [page] = read(exports.text(exports.fill(21), exports.fill(22, _accountId=number)))

    assert [one.booking_id for one in page.bookings] == ["fill:21"]
    assert [(one.row_id, "accountId" in one.reason) for one in page.quarantined] == [("fill:22", True)]


@pytest.mark.parametrize("cut", [1, 2, 3, 40, 300])
def test_a_file_that_was_cut_off_is_refused_before_any_page(exports: Any, cut: int) -> None:
    whole = exports.text(exports.fill(21), exports.fill(22), end="\n")
    assert "cut off" in refusal(whole[:-cut]).message


def test_a_quote_that_never_ends_is_refused_before_any_page(exports: Any) -> None:
    broken = exports.text(exports.fill(21)) + '22,200,"301\r\n' + exports.text(exports.fill(23))
    assert "no proper CSV" in refusal(broken).message


def test_a_row_that_is_not_understood_is_held_alone(exports: Any) -> None:
    rows = [
        exports.fill(21),
        exports.fill(22, _action="2"),
        exports.fill(23, commission="n/a", _accountId="", Account=""),
    ]

    [page] = read(exports.text(*rows) + "24,200\r\n")

    assert [one.booking_id for one in page.bookings] == ["fill:21"]
    held = [(one.row_id, one.account_id, one.environment) for one in page.quarantined]
    assert held == [("fill:22", "11", "demo"), ("fill:23", None, None), (None, None, None)]
    assert page.rows == 4


def test_numbers_that_another_program_wrote_with_a_decimal_comma_are_held(exports: Any) -> None:
    [page] = read(exports.text(exports.fill(21), exports.fill(22, _price="110,515625", commission="1,58")))

    assert [one.booking_id for one in page.bookings] == ["fill:21"]
    assert [(one.row_id, one.reason) for one in page.quarantined] == [("fill:22", "'110,515625' is no number")]


def test_an_account_is_known_by_its_number_whatever_it_was_called_then(exports: Any) -> None:
    [page] = read(exports.text(exports.fill(Account="an-old-name")))

    assert [(one.environment, one.account_id) for one in page.bookings] == [("demo", "11")]
    assert page.accounts == (), "an old file does not rename an account"


def test_an_account_is_known_by_its_name_where_its_number_is_not_told(exports: Any) -> None:
    file = exports.text(exports.fill(Account="DEMO77001"), header=without(exports, "_accountId"))

    assert [one.account_id for one in read(file)[0].bookings] == ["11"]


def test_a_number_that_is_not_told_is_asked_for(exports: Any) -> None:
    file = exports.text(exports.fill(Account="unheard-of"), header=without(exports, "_accountId"))

    error = refusal(file)
    [page] = read(file, StatementHints(account_id="12", environment="live"))

    assert isinstance(error, BrokerInputNeededError)
    assert list(error.fields) == ["account_id"]
    assert page.accounts == (BrokerAccount(account_id="12", environment="live", name="unheard-of"),)
    assert [(one.environment, one.account_id) for one in page.bookings] == [("live", "12")]


def test_whether_an_account_is_live_or_demo_is_asked_and_never_guessed(exports: Any) -> None:
    file = exports.text(exports.fill())

    error = refusal(file, StatementHints())
    [page] = read(file, StatementHints(environment="live"))

    assert isinstance(error, BrokerInputNeededError)
    assert list(error.fields) == ["environment"]
    assert [(one.environment, one.account_id) for one in page.bookings] == [("live", "11")]


def test_an_account_with_one_number_on_both_sides_is_asked_about(exports: Any) -> None:
    both = StatementHints(accounts=(KNOWN, attrs.evolve(KNOWN, environment="live")))
    file = exports.text(exports.fill())

    assert isinstance(refusal(file, both), BrokerInputNeededError)
    [page] = read(file, attrs.evolve(both, environment="live"))
    assert page.bookings[0].environment == "live"


def test_an_environment_that_the_account_is_not_in_is_refused(exports: Any) -> None:
    file = exports.text(exports.fill(Account="DEMO77001"))

    error = refusal(file, attrs.evolve(HINTS, environment="live"))

    assert isinstance(error, BrokerConfigError)
    assert "11 is a demo one" in error.message


def test_a_live_account_with_the_number_of_a_demo_one_is_the_users_to_name(exports: Any) -> None:
    [page] = read(exports.text(exports.fill(Account="77001")), attrs.evolve(HINTS, environment="live"))

    assert page.accounts == (BrokerAccount(account_id="11", environment="live", name="77001"),)
    assert [one.environment for one in page.bookings] == ["live"]


def test_a_name_is_no_number_of_an_account(exports: Any) -> None:
    error = refusal(exports.text(exports.fill()), StatementHints(account_id="DEMO77001"))

    assert isinstance(error, BrokerConfigError)
    assert "number" in error.remedy


def test_a_new_account_is_told_once_and_by_its_name(exports: Any) -> None:
    rows = [exports.fill(21, _action="9"), exports.fill(22), exports.fill(23, _price="x")]

    [page] = read(exports.text(*rows), StatementHints(environment="live"))

    assert page.accounts == (BrokerAccount(account_id="11", environment="live", name="77001"),)


def test_several_accounts_come_from_one_file(exports: Any) -> None:
    hints = attrs.evolve(HINTS, accounts=(KNOWN, BrokerAccount(account_id="12", environment="live", name="77002")))

    [page] = read(exports.text(exports.fill(21), exports.fill(22, _accountId="12", Account="77002")), hints)

    assert [(one.environment, one.account_id) for one in page.bookings] == [("demo", "11"), ("live", "12")]


@pytest.mark.parametrize(
    "hints", [StatementHints(account_id="12", environment="live"), attrs.evolve(HINTS, account_id="11")]
)
def test_several_accounts_without_numbers_are_not_taken_for_one(exports: Any, hints: StatementHints) -> None:
    rows = [exports.fill(21, Account="one"), exports.fill(22, Account="other")]

    error = refusal(exports.text(*rows, header=without(exports, "_accountId")), hints)

    assert isinstance(error, BrokerConfigError)
    assert "several accounts" in error.message


@pytest.mark.parametrize("zone", [None, "America/Chicago"])
def test_a_kept_row_is_read_again_as_it_was(exports: Any, zone: str | None) -> None:
    header = without(exports, "_timestamp") if zone else list(exports.columns)
    [page] = read(
        exports.text(exports.fill(21), exports.fill(22, _qty="0"), header=header), attrs.evolve(HINTS, zone=zone)
    )
    raws = [*(one.trade.raw for one in page.bookings if one.trade), *(one.raw for one in page.quarantined)]

    [again] = renormalise("fills_file", [RawRow(raw=raw, account_id="11", environment="demo") for raw in raws])

    assert [one.trade for one in again.bookings] == [one.trade for one in page.bookings] != []
    assert again.quarantined == page.quarantined != ()


def test_no_error_shows_what_the_file_holds(exports: Any) -> None:
    for text in (exports.text(exports.fill(), header=without(exports, "_price")), exports.text(exports.fill())[:-9]):
        assert "77001" not in str(refusal(text))


_edits = st.lists(
    st.tuples(
        st.floats(0, 1),
        st.integers(0, 40),
        st.one_of(
            st.binary(max_size=6),
            st.sampled_from([b",", b'"', b"\r", b"\n", b"\0", b"\xff", b"E+11", b"1E+9999999999", b"-", b"9" * 40]),
        ),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(edits=_edits, zone=st.sampled_from([None, "America/Chicago"]))
def test_whatever_a_file_holds_it_is_read_or_refused_with_a_reason(exports: Any, edits: Any, zone: str | None) -> None:
    body = exports.text(*(exports.fill(number) for number in (21, 22, 23))).encode()
    for place, length, new in edits:
        start = int(place * len(body))
        body = body[:start] + new + body[start + length :]
    reader, hints = TradovateStatementReader(), attrs.evolve(HINTS, zone=zone, environment="demo")
    reader.recognises(body)
    try:
        reader.source(io.BytesIO(body), hints)
    except BrokerError:
        return
    pages = list(reader.read_statement(io.BytesIO(body), hints))

    assert all(page.rows == page.disposed and not page.covered for page in pages)
    assert all(one.reason for page in pages for one in page.quarantined)


def test_a_price_without_end_says_nothing_of_the_ids_of_its_file(exports: Any) -> None:
    [page] = read(exports.text(exports.fill(21, _price="1E+400"), exports.fill(22)))

    assert [one.booking_id for one in page.bookings] == ["fill:22"]
    assert [one.row_id for one in page.quarantined] == ["fill:21"]
