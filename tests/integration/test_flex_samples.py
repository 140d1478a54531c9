"""Other people's Flex statements: every execution gets one disposition, and agrees with what ibflex reads."""

from __future__ import annotations

import re
import sys
import warnings
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock, patch
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

import pytest

from brokersync.plugin import BookingEffect, BrokerConfigError, StatementHints, TradeBooking, TradePage
from brokersync_ibkr.statements import FlexStatementReader

from . import flex_plain
from .flex_plain import rows_of

SAMPLES = Path(__file__).parents[3] / "shared" / "samples" / "ibkr" / "flex"
NEW_YORK = ZoneInfo("America/New_York")
HINTS = StatementHints(account_id="U1")

pytestmark = pytest.mark.skipif(not SAMPLES.is_dir(), reason="other people's samples do not lie beside the project")

# ibflex imports requests for a client that is not used here
with patch.dict(sys.modules, {"requests": MagicMock()}):
    from ibflex import parser as ibflex_parser

# executions, cancels among them, source, and how many of them ibflex can read
EXPECTED = {
    "capgains-trades-rows.xml": (11, 3, "activity_file", 11),
    "conduit-trade-confirmations-TCF.xml": (39, 0, "confirmations_file", 0),  # it refuses a time with its zone
    "gabbersepp-TestForCoding.xml": (15, 0, "activity_file", 15),
    "goforce64-activity-subset.xml": (24, 1, "activity_file", 24),
    "goforce64-today-TCF.xml": (7, 0, "confirmations_file", 7),
    "ibflex-test-types-rows.xml": (2, 0, "activity_file", 2),
    "tradetally-ibkr-flex-report.xml": (4, 0, "activity_file", 4),
    "tradez-tradeconfirms-rows.xml": (4, 0, "confirmations_file", 4),
}
WITHOUT_TRADES = {
    "conduit-cash-transactions-breakout-by-day.xml",
    "conduit-cash-transactions-consolidated.xml",
    "gabbersepp-StatementOfFunds.xml",
}


def body_of(name: str) -> bytes:
    """The sample; a row that was typed for a test without any id or contract, which is quarantined, is given one."""
    body = (SAMPLES / name).read_bytes()
    if name != "ibflex-test-types-rows.xml":
        return body
    return re.sub(rb"<Trade (?![^>]*\bconid=)", b'<Trade conid="1" ', body)


def pages_of(name: str) -> list[TradePage]:
    return list(FlexStatementReader().read_statement(BytesIO(body_of(name)), HINTS))


def bookings_of(name: str) -> list[TradeBooking]:
    return [booking for page in pages_of(name) for booking in page.bookings]


def executions_of(name: str) -> list[ElementTree.Element]:
    """Found with another parser than ours."""
    rows = ElementTree.fromstring(body_of(name)).iter()
    return [
        row
        for row in rows
        if row.tag in ("Trade", "TradeConfirm") and row.get("levelOfDetail", "") in ("", "EXECUTION")
    ]


def test_the_samples_are_the_known_ones() -> None:
    assert {path.name for path in SAMPLES.glob("*.xml")} == set(EXPECTED) | WITHOUT_TRADES


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_every_execution_becomes_one_booking(name: str) -> None:
    executions, cancels, source, _ = EXPECTED[name]
    assert FlexStatementReader().source(BytesIO(body_of(name)), HINTS) == source
    pages = pages_of(name)
    bookings = bookings_of(name)
    assert [row.reason for page in pages for row in page.quarantined] == []
    assert len(executions_of(name)) == len(bookings) == executions
    assert sum(booking.effect is BookingEffect.CANCEL for booking in bookings) == cancels
    # a dot is in no name of IBKR's: such keys are what the row needs of its statement to be read again
    raw = Counter(tuple(sorted(item for item in booking.raw.items() if "." not in item[0])) for booking in bookings)
    told = Counter(
        tuple(sorted((key, value) for key, value in row.attrib.items() if value)) for row in executions_of(name)
    )
    assert raw == told
    assert len({booking.booking_id for booking in bookings}) == executions


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_plain_reading_of_each_row_agrees_in_every_field(name: str) -> None:
    rows = rows_of(body_of(name))
    # some are made nameless, with what is no account's id
    theirs = [flex_plain.read(row, account if account.startswith(("U", "DU")) else "U1") for row, account in rows]
    assert [flex_plain.as_told(booking) for booking in bookings_of(name)] == theirs
    assert len(theirs) == EXPECTED[name][0]


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_nothing_in_the_samples_is_new_to_us(name: str) -> None:
    known = {"a statement without a readable period"}
    new = {word for page in pages_of(name) for word in page.unmapped} - known
    assert {word for word in new if not word.startswith("the query has no column")} == set()


@pytest.mark.parametrize("name", sorted(WITHOUT_TRADES))
def test_a_statement_without_trades_section_is_refused_with_what_to_tick(name: str) -> None:
    with pytest.raises(BrokerConfigError, match="no Trades section"):
        FlexStatementReader().source(BytesIO(body_of(name)), HINTS)


def test_the_cancel_and_rebooking_share_the_originals_ids() -> None:
    bookings = bookings_of("goforce64-activity-subset.xml")
    [cancel] = [booking for booking in bookings if booking.effect is BookingEffect.CANCEL]
    chain = [booking for booking in bookings if {*booking.refs, *booking.loose_refs} & set(cancel.refs)]
    assert len(chain) == 3
    assert len({booking.trade.trade_id for booking in chain if booking.trade}) == 1
    assert sum(fee.amount for booking in chain for fee in booking.row_fees) == Decimal("1.0333")


def read_by_ibflex(row: ElementTree.Element) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of each attribute that it does not know
            return ibflex_parser.parse_data_element(row)
    except ibflex_parser.FlexParserError:
        return None


def utc_of(theirs: Any) -> datetime:
    moment = theirs.dateTime
    if moment is None:
        assert theirs.tradeDate is not None
        assert theirs.tradeTime is not None
        moment = datetime.combine(theirs.tradeDate, theirs.tradeTime)
    return moment.replace(tzinfo=NEW_YORK).astimezone(UTC)


def first_of(theirs: Any, *names: str) -> Any:
    return next((value for name in names if (value := getattr(theirs, name, None)) is not None), None)


def agrees(ours: TradeBooking, theirs: Any) -> None:
    commission = first_of(theirs, "ibCommission", "commission") or Decimal(0)
    taxes = first_of(theirs, "taxes", "tax") or Decimal(0)
    assert sum(fee.amount for fee in ours.row_fees) == -(commission + taxes)
    currencies = {fee.currency for fee in ours.row_fees}
    assert currencies <= {first_of(theirs, "ibCommissionCurrency", "commissionCurrency") or theirs.currency}
    if ours.trade is None:
        assert "CANCEL" in theirs.transactionType.name
        return
    trade = ours.trade
    assert trade.side.value == theirs.buySell.name.lower()
    assert trade.quantity == abs(theirs.quantity)
    assert trade.price == first_of(theirs, "tradePrice", "price")
    assert trade.executed_at == utc_of(theirs)
    assert trade.instrument.symbol == theirs.symbol
    assert trade.instrument.currency == theirs.currency
    assert trade.instrument.multiplier == theirs.multiplier
    assert trade.instrument.expiry == theirs.expiry
    assert trade.instrument.strike == theirs.strike
    assert trade.order_id in (str(first_of(theirs, "ibOrderID", "orderID")), None)


def key_of(transaction: str | None, execution: str | None) -> str:
    return f"tx:{transaction}" if transaction else f"ex:{execution}"


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_what_ibflex_reads_is_read_the_same_here(name: str) -> None:
    ours = {booking.booking_id: booking for booking in bookings_of(name)}
    compared = 0
    for row in executions_of(name):
        theirs = read_by_ibflex(row)
        if theirs is None:
            continue
        key = key_of(theirs.transactionID, first_of(theirs, "ibExecID", "execID"))
        if key == "ex:None":
            [key] = [name for name in ours if name.startswith("row:")]
        agrees(ours[key], theirs)
        compared += 1
    assert compared == EXPECTED[name][3]
