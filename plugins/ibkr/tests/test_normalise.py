from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from brokersync.plugin import (
    AssetClass,
    BookingEffect,
    Fee,
    FeeKind,
    FeesMode,
    FeesState,
    IdQuality,
    PositionEffect,
    PriceUnit,
    Right,
    Side,
    TimePrecision,
    TradeEvent,
)

OPTION = {
    "assetCategory": "OPT",
    "symbol": "QRX   240621C00015000",
    "conid": "70010002",
    "underlyingConid": "70010001",
    "underlyingSymbol": "QRX",
    "multiplier": "100",
    "strike": "15",
    "expiry": "20240621",
    "putCall": "C",
    "quantity": "2",
}
AT, DAY = datetime(2024, 3, 12, 14, 15), date(2024, 3, 12)
BOOKED = {"transactionType": "BookTrade", "ibExecID": "", "exchange": "--", "tradePrice": "0", "ibCommission": "0"}


def cost(amount: str, currency: str = "USD", kind: FeeKind = FeeKind.COMMISSION) -> Fee:
    return Fee(kind=kind, amount=Decimal(amount), currency=currency)


def test_a_plain_purchase_is_told_in_full(flex: Any) -> None:
    booking = flex.booking()
    trade = booking.trade
    assert booking.effect is BookingEffect.NEW
    assert booking.fees_mode is FeesMode.PART
    assert booking.fees == ()
    assert (trade.provider, trade.environment, trade.account_id) == ("ibkr", "live", "U4711001")
    assert (trade.side, trade.quantity, trade.price) == (Side.BUY, Decimal(100), Decimal("12.5"))
    assert (trade.price_unit, trade.position_effect) == (PriceUnit.MONEY, PositionEffect.OPEN)
    assert trade.executed_at == datetime(2024, 3, 12, 14, 15, tzinfo=UTC)
    assert (trade.time_precision, trade.trade_date) == (TimePrecision.SECOND, date(2024, 3, 12))
    assert (trade.fees, trade.fees_state) == ((cost("1"),), FeesState.FINAL)
    assert (trade.net_cash, trade.accrued_interest) == (Decimal(-1251), None)
    assert (trade.order_id, trade.event, trade.tags) == ("300100", TradeEvent.EXECUTION, ())
    assert trade.id_quality is IdQuality.BROKER


def test_the_instrument_is_the_contract_with_all_the_row_says(flex: Any) -> None:
    told = {"isin": "XX0000000001", "figi": "BBG00MADEUP1", "cusip": "000000001"}
    instrument = flex.booking(**OPTION, **told).trade.instrument
    assert (instrument.symbol, instrument.broker_id) == ("QRX   240621C00015000", "70010002")
    assert (instrument.asset_class, instrument.currency, instrument.exchange) == (AssetClass.OPTION, "USD", "NYSE")
    assert (instrument.multiplier, instrument.strike, instrument.right) == (Decimal(100), Decimal(15), Right.CALL)
    assert (instrument.expiry, instrument.underlying) == (date(2024, 6, 21), "QRX")
    assert (instrument.isin, instrument.figi, instrument.cusip) == ("XX0000000001", "BBG00MADEUP1", "000000001")
    assert instrument.complete


def test_a_multiplier_is_never_guessed(flex: Any) -> None:
    assert flex.booking(multiplier=None).trade.instrument.multiplier is None
    assert flex.booking(multiplier="0").trade.instrument.multiplier is None
    assert flex.booking(**(OPTION | {"multiplier": ""})).trade.instrument.multiplier is None
    assert flex.booking(**(OPTION | {"multiplier": "0.1"})).trade.instrument.multiplier == Decimal("0.1")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"securityIDType": "ISIN", "securityID": "XX0000000002"}, ("XX0000000002", None, None)),
        ({"securityIDType": "CUSIP", "securityID": "000000002"}, (None, "000000002", None)),
        ({"securityIDType": "FIGI", "securityID": "BBG00MADEUP2"}, (None, None, "BBG00MADEUP2")),
        ({"securityIDType": "ISIN", "securityID": "XX2", "isin": "XX1"}, ("XX1", None, None)),
    ],
)
def test_security_ids_come_from_their_own_or_the_general_attribute(
    flex: Any, changes: dict[str, str], expected: tuple[str | None, ...]
) -> None:
    instrument = flex.booking(**changes).trade.instrument
    assert (instrument.isin, instrument.cusip, instrument.figi) == expected


def test_what_has_no_symbol_is_named_by_description_or_contract(flex: Any) -> None:
    assert flex.booking(symbol=None).trade.instrument.symbol == "QUARTZ RIVER EXPLORATION"
    assert flex.booking(symbol="", description="").trade.instrument.symbol == "70010001"
    assert flex.reason(symbol="", description="", conid="") == "the row names no instrument"


@pytest.mark.parametrize(
    ("listing", "exchange", "expected"),
    [("NYSE", "ARCA", "NYSE"), ("", "ARCA", "ARCA"), ("--", "IBIS", "IBIS"), ("", "--", None)],
)
def test_the_exchange_is_the_listing_one_and_never_dashes(
    flex: Any, listing: str, exchange: str, expected: str | None
) -> None:
    assert flex.booking(listingExchange=listing, exchange=exchange).trade.instrument.exchange == expected


@pytest.mark.parametrize(
    ("category", "sub", "expected"),
    [
        ("STK", "COMMON", AssetClass.STOCK),
        ("STK", "ETF", AssetClass.ETF),
        ("STK", None, AssetClass.STOCK),
        ("OPT", "C", AssetClass.OPTION),
        ("FSOPT", None, AssetClass.OPTION),
        ("FOP", None, AssetClass.FUTURE_OPTION),
        ("FSFOP", None, AssetClass.FUTURE_OPTION),
        ("FUT", None, AssetClass.FUTURE),
        ("CASH", None, AssetClass.FOREX),
        ("FXCFD", None, AssetClass.FOREX),
        ("BOND", None, AssetClass.BOND),
        ("BILL", None, AssetClass.BOND),
        ("CFD", None, AssetClass.CFD),
        ("FUND", None, AssetClass.FUND),
        ("WAR", None, AssetClass.WARRANT),
        ("IOPT", None, AssetClass.WARRANT),
        ("CRYPTO", None, AssetClass.CRYPTO),
        ("CMDTY", None, AssetClass.METAL),
        ("BAG", None, AssetClass.OTHER),
        ("", None, AssetClass.OTHER),
    ],
)
def test_each_category_has_its_class(flex: Any, category: str, sub: str | None, expected: AssetClass) -> None:
    assert flex.booking(assetCategory=category, subCategory=sub).trade.instrument.asset_class is expected


@pytest.mark.parametrize(
    ("changes", "side"),
    [
        ({"buySell": "BUY", "quantity": "5"}, Side.BUY),
        ({"buySell": "SELL", "quantity": "-5"}, Side.SELL),
        ({"buySell": None, "quantity": "5"}, Side.BUY),
        ({"buySell": "", "quantity": "-1,005.25"}, Side.SELL),
    ],
)
def test_the_side_is_the_word_else_the_sign_and_the_quantity_is_positive(
    flex: Any, changes: dict[str, str | None], side: Side
) -> None:
    trade = flex.booking(**changes).trade
    assert trade.side is side
    assert trade.quantity > 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"buySell": "SHORT"}, "the side 'SHORT' is unknown"),
        ({"buySell": "SELL"}, "contradict"),
        ({"buySell": "BUY", "quantity": "-1"}, "contradict"),
        ({"quantity": "0"}, "the quantity is zero"),
        ({"quantity": ""}, "quantity is missing"),
        ({"quantity": "1,5"}, "quantity is no number"),
        ({"tradePrice": None}, "tradePrice is missing"),
        ({"tradePrice": "--"}, "tradePrice is missing"),
        ({"tradePrice": "twelve"}, "tradePrice is no number"),
        ({"ibCommission": "free"}, "ibCommission is no number"),
        ({"taxes": "none"}, "taxes is no number"),
        ({"netCash": "lots"}, "netCash is no number"),
        ({"accruedInt": "some"}, "accruedInt is no number"),
        ({"multiplier": "x"}, "multiplier is no number"),
        ({"strike": "at the money"}, "strike is no number"),
        ({"expiry": "June"}, "the expiry is no date"),
        ({"tradeDate": "yesterday"}, "tradeDate is no date"),
        ({"dateTime": "MULTI"}, "time of the execution is not readable"),
        ({"dateTime": "", "tradeDate": ""}, "time of the execution is not readable"),
        ({"transactionType": "Surprise"}, "the transactionType 'Surprise' is unknown"),
        ({"ibCommissionCurrency": ""}, "the commission has no currency"),
        ({"currency": "", "taxes": "-1"}, "taxes has no currency"),
    ],
)
def test_a_row_that_is_not_understood_is_quarantined_alone(
    flex: Any, changes: dict[str, str | None], words: str
) -> None:
    assert words in flex.reason(**changes)
    pages = flex.pages(flex.document(flex.statement([flex.trade(1), flex.trade(**changes), flex.trade(2)])))
    assert sum(len(page.bookings) for page in pages) == 2
    [row] = [row for page in pages for row in page.quarantined]
    assert (row.account_id, row.environment, row.row_id) == ("U4711001", "live", "tx:900100")
    assert row.raw == {name: value for name, value in flex.values(**changes).items() if value}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("O", PositionEffect.OPEN),
        ("C", PositionEffect.CLOSE),
        ("C;O", PositionEffect.BOTH),
        ("O;C", PositionEffect.BOTH),
        ("-", PositionEffect.UNKNOWN),
        ("", PositionEffect.UNKNOWN),
        ("X", PositionEffect.UNKNOWN),
    ],
)
def test_opening_and_closing_is_told_and_never_inferred(flex: Any, text: str, expected: PositionEffect) -> None:
    assert flex.booking(openCloseIndicator=text).trade.position_effect is expected


@pytest.mark.parametrize(
    ("notes", "expected"),
    [
        ("O;P", PositionEffect.OPEN),
        ("C", PositionEffect.CLOSE),
        ("C;O;P", PositionEffect.BOTH),
        ("P", PositionEffect.UNKNOWN),
    ],
)
def test_where_there_is_no_indicator_the_codes_tell_it(flex: Any, notes: str, expected: PositionEffect) -> None:
    assert flex.booking(openCloseIndicator=None, notes=notes).trade.position_effect is expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"ibCommission": "-1.25"}, (cost("1.25"),)),
        ({"ibCommission": "0.3333"}, (cost("-0.3333"),)),  # a rebate
        ({"ibCommission": "0"}, ()),
        ({"ibCommission": "-0"}, ()),
        ({"ibCommission": "-2", "ibCommissionCurrency": "chf"}, (cost("2", "CHF"),)),
        ({"taxes": "-3.5", "currency": "GBP"}, (cost("1"), cost("3.5", "GBP", FeeKind.TAX))),
        ({"ibCommission": "0", "taxes": "-3.5"}, (cost("3.5", kind=FeeKind.TAX),)),
        ({"ibCommission": "-1,234.50"}, (cost("1234.50"),)),
    ],
)
def test_costs_are_positive_rebates_negative_each_in_its_currency(
    flex: Any, changes: dict[str, str], expected: tuple[Fee, ...]
) -> None:
    assert flex.booking(**changes).trade.fees == expected


def test_a_commission_without_a_currency_column_is_in_the_rows_currency_and_not_final(flex: Any) -> None:
    trade = flex.booking(ibCommissionCurrency=None, currency="EUR").trade
    assert (trade.fees, trade.fees_state) == ((cost("1", "EUR"),), FeesState.ESTIMATED)


def test_an_unknown_commission_is_pending_and_not_zero(flex: Any) -> None:
    assert flex.booking(ibCommission=None).trade.fees_state is FeesState.PENDING
    assert flex.booking(ibCommission="").trade.fees_state is FeesState.PENDING
    assert flex.booking(ibCommission="0").trade.fees_state is FeesState.FINAL


@pytest.mark.parametrize("category", ["BOND", "BILL"])
def test_bonds_are_quoted_in_percent_with_their_interest_apart(flex: Any, category: str) -> None:
    trade = flex.booking(assetCategory=category, tradePrice="99.125", quantity="10000", accruedInt="-42.5").trade
    assert (trade.price, trade.price_unit) == (Decimal("99.125"), PriceUnit.PERCENT_OF_PAR)
    assert trade.accrued_interest == Decimal("-42.5")
    assert flex.booking(assetCategory=category, accruedInt="0").trade.accrued_interest == Decimal(0)
    assert flex.booking(accruedInt="0").trade.accrued_interest is None


@pytest.mark.parametrize("category", ["CASH", "FUT", "CFD", "FSOPT", "CRYPTO", "NEW"])
def test_net_cash_is_left_out_where_it_is_not_the_cash_of_the_trade(flex: Any, category: str) -> None:
    booking = flex.booking(assetCategory=category, netCash="17")
    assert booking.trade.net_cash is None
    assert booking.raw["netCash"] == "17"


@pytest.mark.parametrize(
    ("changes", "at", "precision", "trade_date"),
    [
        ({"tradeDate": "20240313"}, AT, TimePrecision.SECOND, date(2024, 3, 13)),
        ({"tradeDate": None}, AT, TimePrecision.SECOND, None),
        ({"dateTime": None, "tradeTime": "101500"}, AT, TimePrecision.SECOND, DAY),
        ({"dateTime": "20240312", "tradeTime": "10:15:00"}, AT, TimePrecision.SECOND, DAY),
        ({"dateTime": None}, datetime(2024, 3, 12, 4), TimePrecision.DAY, DAY),
        ({"dateTime": "20240311"}, datetime(2024, 3, 12, 4), TimePrecision.DAY, DAY),
        ({"dateTime": "20240311", "tradeDate": None}, datetime(2024, 3, 11, 4), TimePrecision.DAY, date(2024, 3, 11)),
    ],
)
def test_a_time_is_joined_from_what_is_there_and_never_made_up(
    flex: Any, changes: dict[str, str | None], at: datetime, precision: TimePrecision, trade_date: date | None
) -> None:
    trade = flex.booking(**changes).trade
    assert trade.executed_at == at.replace(tzinfo=UTC)
    assert (trade.time_precision, trade.trade_date) == (precision, trade_date)


@pytest.mark.parametrize(
    ("changes", "event", "tags"),
    [
        (BOOKED | {"notes": "Ep"}, TradeEvent.EXPIRATION, ("book_entry",)),
        (BOOKED | {"notes": "Ex"}, TradeEvent.EXERCISE, ("book_entry",)),
        (BOOKED | {"notes": "AEx"}, TradeEvent.EXERCISE, ("book_entry",)),
        (BOOKED | {"notes": "MEx"}, TradeEvent.EXERCISE, ("book_entry",)),
        (BOOKED | {"notes": "A"}, TradeEvent.ASSIGNMENT, ("book_entry",)),
        (BOOKED | {"notes": "GEA;Ep"}, TradeEvent.EXPIRATION, ("offsetting_positions", "book_entry")),
        (BOOKED | {"notes": "GEA"}, TradeEvent.EXECUTION, ("offsetting_positions", "book_entry")),
        (BOOKED | {"notes": "T"}, TradeEvent.TRANSFER, ("book_entry",)),
        (BOOKED, TradeEvent.EXECUTION, ("book_entry",)),
        ({"notes": "T"}, TradeEvent.EXECUTION, ()),
        ({"notes": "L;P"}, TradeEvent.LIQUIDATION, ("margin_liquidation", "partial")),
        ({"notes": "LF"}, TradeEvent.LIQUIDATION, ("loss_flattening",)),
        ({"notes": "P, AFx"}, TradeEvent.EXECUTION, ("partial", "auto_fx")),
        ({"ibExecID": "CUSTHSFX.0000aa01.01.01"}, TradeEvent.EXECUTION, ("auto_fx",)),
        ({"ibExecID": "FXSMLCUS.0000aa01.01.01"}, TradeEvent.EXECUTION, ("auto_fx",)),
        ({"notes": "R"}, TradeEvent.EXECUTION, ("dividend_reinvestment",)),
        ({"notes": "RI"}, TradeEvent.EXECUTION, ("recurring_investment",)),
        ({"notes": "Ri"}, TradeEvent.EXECUTION, ()),
        ({"notes": "FP;RP"}, TradeEvent.EXECUTION, ("fractional",)),
        ({"isAPIOrder": "Y"}, TradeEvent.EXECUTION, ("api_order",)),
        ({"isAPIOrder": "N"}, TradeEvent.EXECUTION, ()),
        ({"notes": "ep;ex;a"}, TradeEvent.EXECUTION, ()),
        ({"transactionType": "FracShare", "exchange": "--"}, TradeEvent.CASH_IN_LIEU, ()),
        ({"transactionType": "DvpTrade"}, TradeEvent.EXECUTION, ()),
        ({"transactionType": None}, TradeEvent.EXECUTION, ()),
    ],
)
def test_codes_tell_why_an_execution_happened_and_case_counts(
    flex: Any, changes: dict[str, str | None], event: TradeEvent, tags: tuple[str, ...]
) -> None:
    trade = flex.booking(**changes).trade
    assert (trade.event, trade.tags) == (event, tags)


def test_a_price_of_zero_is_a_price(flex: Any) -> None:
    assert flex.booking(**OPTION, **BOOKED, notes="Ep").trade.price == 0


def test_a_book_entry_has_no_order_though_it_repeats_its_own_number(flex: Any) -> None:
    assert flex.booking(ibOrderID="900100").trade.order_id is None
    assert flex.booking(ibOrderID="0").trade.order_id is None


def test_the_raw_row_is_kept_once_without_its_empty_attributes(flex: Any) -> None:
    booking = flex.booking(surprise="kept too")
    assert booking.raw == {name: value for name, value in flex.values(surprise="kept too").items() if value}
    assert booking.trade.raw == {}


def test_a_confirmation_is_the_same_trade_under_other_names(flex: Any) -> None:
    [booking] = flex.bookings(flex.confirm(notes="O;P"), section="TradeConfirms", kind="TCF")
    activity = flex.booking()
    same = ("trade_id", "instrument", "side", "quantity", "price", "executed_at", "fees", "order_id", "position_effect")
    assert [getattr(booking.trade, name) for name in same] == [getattr(activity.trade, name) for name in same]
    assert (booking.trade.fees_state, booking.trade.tags) == (FeesState.ESTIMATED, ("partial",))
    assert booking.raw["execID"] == activity.raw["ibExecID"]


def test_a_confirmations_charges_beside_the_commission_are_costs_too(flex: Any) -> None:
    row = flex.confirm(taxes="-1", salesTax="-0.2", otherTax="-0.3", tradeCharge="-0.4", otherCommission="-9")
    [booking] = flex.bookings(row, section="TradeConfirms", kind="TCF")
    assert [(fee.kind, fee.amount) for fee in booking.trade.fees] == [
        (FeeKind.COMMISSION, Decimal(1)),
        (FeeKind.TAX, Decimal(1)),
        (FeeKind.TAX, Decimal("0.2")),
        (FeeKind.TAX, Decimal("0.3")),
        (FeeKind.OTHER, Decimal("0.4")),
    ]


@pytest.mark.parametrize(
    ("account", "expected"),
    [
        *[(account, "live") for account in ("U1", "U1F", "F1", "I1")],
        *[(account, "paper") for account in ("DU1", "DF1", "DI1F", "DUM123456")],
    ],
)
def test_paper_accounts_are_known_by_their_id(flex: Any, account: str, expected: str) -> None:
    booking = flex.booking(accountId=account)
    assert booking.environment == booking.trade.environment == expected
