from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokersync.plugin import BookingEffect, FeeKind, IdQuality
from brokersync_ibkr.identity import split_execution_id

CANCEL = {
    "transactionType": "TradeCancel",
    "buySell": "BUY (Ca.)",
    "quantity": "-100",
    "tradeID": "",
    "origTradeID": "500100",
    "origTransactionID": "900100",
    "transactionID": "900200",
    "ibExecID": "",
    "exchange": "--",
    "notes": "Ca",
    "openCloseIndicator": "",
    "ibCommission": "0",
}
FRACTION = {
    "transactionType": "FracShare",
    "tradeID": "",
    "ibExecID": "",
    "exchange": "--",
    "quantity": "-0.25",
    "buySell": "SELL",
    "transactionID": "900300",
    "ibOrderID": "900300",
}
NO_IDS: dict[str, str | None] = {"transactionID": "", "ibExecID": "", "tradeID": ""}
_ROW_OF_TRADE = "tr:500100:100:12.5"


@pytest.mark.parametrize(
    ("changes", "booking_id", "trade_id", "aliases"),
    [
        ({}, "tx:900100", "exec:0000aa01.65000001.01", ("ex:0000aa01.65000001.01.01",)),
        ({"ibExecID": ""}, "tx:900100", "trade:500100", (_ROW_OF_TRADE,)),
        ({"ibExecID": "", "tradeID": ""}, "tx:900100", "tx:900100", ()),
        ({"transactionID": ""}, "ex:0000aa01.65000001.01.01", "exec:0000aa01.65000001.01", ()),
        ({"transactionID": "", "ibExecID": None}, _ROW_OF_TRADE, "trade:500100", ()),
        ({"transactionID": "N/A", "ibExecID": "--", "tradeID": "0", "ibOrderID": None}, None, None, ()),
    ],
)
def test_the_best_id_there_is_names_the_row_and_the_trade(
    flex: Any, changes: dict[str, str | None], booking_id: str | None, trade_id: str | None, aliases: tuple[str, ...]
) -> None:
    booking = flex.booking(**changes)
    if booking_id is None:
        assert booking.booking_id.startswith("row:")
        assert booking.trade.trade_id == booking.booking_id
        assert booking.id_quality is booking.trade.id_quality is IdQuality.SYNTHETIC
    else:
        assert (booking.booking_id, booking.trade.trade_id) == (booking_id, trade_id)
        assert booking.id_quality is booking.trade.id_quality is IdQuality.BROKER
    assert booking.aliases == aliases
    # two executions were seen under one trade id, so beside an execution id it joins nobody by itself
    loose = ("trade:500100", _ROW_OF_TRADE)
    if booking_id is None:
        [unnumbered] = booking.loose_refs
        assert unnumbered.startswith("row:")
        assert unnumbered != booking.booking_id
    else:
        assert booking.loose_refs == (loose if (trade_id or "").startswith("exec:") else ())


@pytest.mark.parametrize(
    "contract", [{"conid": None}, {"conid": ""}, {"conid": "", "symbol": "", "description": "QRX"}]
)
def test_a_row_without_any_id_is_quarantined_where_no_number_names_its_contract(
    flex: Any, contract: dict[str, str | None]
) -> None:
    assert "tick Conid in the query" in flex.reason(**(NO_IDS | contract))


def test_a_row_without_ids_that_was_booked_on_a_later_day_is_told_from_an_equal_one_by_that_day(flex: Any) -> None:
    nameless = {**NO_IDS, "tradeDate": "20240312"}
    at_once, unsaid, late = (
        flex.booking(**nameless, reportDate=day) for day in ("20240312", None, "20240314")
    )  # fmt: skip
    assert at_once.booking_id == unsaid.booking_id
    assert late.booking_id == late.trade.trade_id == f"{at_once.booking_id}@2024-03-14"
    assert late.id_quality is IdQuality.SYNTHETIC
    named = flex.booking(reportDate="20240314", tradeDate="20240312")
    assert named.booking_id == "tx:900100"


def test_a_row_and_its_confirmation_know_each_other(flex: Any) -> None:
    [confirmation] = flex.bookings(flex.confirm(), section="TradeConfirms", kind="TCF")
    activity = flex.booking()
    assert confirmation.booking_id in activity.aliases
    assert confirmation.refs == activity.refs == ("exec:0000aa01.65000001.01",)
    assert confirmation.loose_refs == activity.loose_refs == ("trade:500100", _ROW_OF_TRADE)
    assert confirmation.trade.trade_id == activity.trade.trade_id


def test_an_original_its_cancel_and_its_replacement_share_ids_and_have_an_order(flex: Any) -> None:
    original, cancel, replacement = (
        flex.booking(),
        flex.booking(**CANCEL),
        flex.booking(transactionID="900201", ibExecID="0000aa01.65000001.01.02", quantity="60", ibCommission="0.4"),
    )
    assert cancel.effect is BookingEffect.CANCEL
    assert cancel.trade is None
    assert cancel.refs == ("trade:500100", "tx:900100", "tr:500100:100:12.5")
    assert original.booking_id in cancel.refs
    assert set(cancel.refs) & set(replacement.loose_refs) == {"trade:500100"}
    assert replacement.trade.trade_id == original.trade.trade_id
    assert original.order == (1, 900100)
    assert replacement.order == (2, 900201)
    assert original.order < replacement.order


def test_a_cancel_carries_what_it_costs_or_gives_back(flex: Any) -> None:
    [fee] = flex.booking(**(CANCEL | {"ibCommission": "0.75"})).fees
    assert (fee.kind, fee.amount, fee.currency) == (FeeKind.COMMISSION, Decimal("-0.75"), "USD")
    assert flex.booking(**CANCEL).fees == ()


@pytest.mark.parametrize(
    "changes",
    [
        CANCEL,
        CANCEL | {"transactionType": "ExchTrade"},
        CANCEL | {"transactionType": None},
        CANCEL | {"buySell": "", "quantity": "", "tradePrice": ""},
        CANCEL | {"buySell": "SELL (Ca.)", "quantity": "100"},
    ],
)
def test_a_cancel_is_known_by_its_type_or_by_its_side_and_needs_no_amounts(
    flex: Any, changes: dict[str, str | None]
) -> None:
    assert flex.booking(**changes).effect is BookingEffect.CANCEL


def test_an_old_cancel_without_the_originals_number_still_names_its_trade(flex: Any) -> None:
    assert flex.booking(**(CANCEL | {"origTransactionID": None})).refs == (
        "trade:500100",
        "tr:500100:100:12.5",
    )
    told = CANCEL | {"origTransactionID": "0", "origTradeID": "0"}
    assert "tick Orig Trade ID" in flex.reason(**told)


@pytest.mark.parametrize(
    ("changes", "booking_id", "aliases"),
    [
        ({}, "tx:900200", ("ca:tx:900100",)),
        ({"transactionID": ""}, "ca:tx:900100", ()),
        ({"transactionID": "", "origTransactionID": "0"}, "ca:tr:500100:-100:12.5", ()),
        # it may repeat the execution id of what it takes back
        ({"transactionID": "", "origTransactionID": "", "ibExecID": "a.b.01.01"}, "ca:ex:a.b.01.01", ()),
    ],
)
def test_a_cancel_is_known_by_its_own_id_or_by_what_it_takes_back(
    flex: Any, changes: dict[str, str | None], booking_id: str, aliases: tuple[str, ...]
) -> None:
    booking = flex.booking(**(CANCEL | changes))
    assert (booking.booking_id, booking.aliases) == (booking_id, aliases)
    counted = booking_id.startswith("ca:tr:")
    assert booking.id_quality is (IdQuality.SYNTHETIC if counted else IdQuality.BROKER)


def test_cancels_of_equal_trades_are_told_apart_by_what_they_take_back(flex: Any) -> None:
    bare = CANCEL | {"transactionID": "", "origTransactionID": None}
    one, other = (flex.booking(**(bare | {"origTradeID": trade})) for trade in ("500100", "500101"))
    assert one.booking_id != other.booking_id


def test_a_correction_replaces_what_it_names(flex: Any) -> None:
    booking = flex.booking(
        transactionType="TradeCorrect", tradeID="500777", origTradeID="500100", origTransactionID="900100"
    )
    assert booking.effect is BookingEffect.REPLACE
    assert {"trade:500100", "tx:900100"} <= set(booking.refs)
    assert "trade:500777" in booking.loose_refs


def test_an_ordinary_trade_does_not_join_what_its_orig_ids_name(flex: Any) -> None:
    assert "trade:1" not in flex.booking(origTradeID="1", origTransactionID="2").refs


def test_a_fraction_and_its_cancel_share_nothing_but_what_they_say(flex: Any) -> None:
    paid = flex.booking(**FRACTION)
    reversal = {"transactionType": "FracShareCancel", "buySell": "SELL (Ca.)", "quantity": "0.250"}
    cancelled = flex.booking(**(FRACTION | reversal | {"transactionID": "900301"}))
    again = flex.booking(**(FRACTION | {"tradePrice": "13", "transactionID": "900302"}))
    assert cancelled.effect is BookingEffect.CANCEL
    assert paid.refs == cancelled.refs == ()
    assert paid.loose_refs == cancelled.loose_refs != again.loose_refs
    assert len(paid.loose_refs) == 2
    assert paid.trade.trade_id == "tx:900300"


@pytest.mark.parametrize("left_out", [{"conid": None}, {"symbol": None}])
@pytest.mark.parametrize("number", [0, 1])
def test_a_fraction_is_known_to_its_cancel_from_a_query_that_names_the_contract_otherwise(
    flex: Any, left_out: dict[str, None], number: int
) -> None:
    reversal = {"transactionType": "FracShareCancel", "buySell": "SELL (Ca.)", "quantity": "0.250"}
    both = [FRACTION, FRACTION | reversal | {"transactionID": "900301"}]
    both[number] = both[number] | left_out
    paid, cancelled = (flex.booking(**one) for one in both)
    assert set(paid.loose_refs) & set(cancelled.loose_refs)


@pytest.mark.parametrize(
    ("execution", "base", "revision"),
    [
        ("0001aa22.65f00001.01.01", "0001aa22.65f00001.01", 1),
        ("0001aa22.65f00001.01.12", "0001aa22.65f00001.01", 12),
        ("CUSTHSFX.20240312.01", "CUSTHSFX.20240312", 1),
        ("made.up", "made.up", 0),
        ("plain", "plain", 0),
        ("0001aa22.65f00001.01.0000ab12", "0001aa22.65f00001.01.0000ab12", 0),
        ("0001aa22.65f00001.20240312", "0001aa22.65f00001.20240312", 0),
    ],
)
def test_the_last_part_of_an_execution_id_counts_its_revisions(execution: str, base: str, revision: int) -> None:
    assert split_execution_id(execution) == (base, revision)


def test_a_content_key_does_not_depend_on_how_the_query_writes_things(flex: Any) -> None:
    plain = flex.booking(**NO_IDS).booking_id
    assert (
        flex.booking(**NO_IDS, dateTime="2024-03-12 10:15:00", quantity="100.00", tradePrice="12.50").booking_id
        == plain
    )
    assert flex.booking(**NO_IDS, ibCommission="-7", notes="P", symbol="RENAMED").booking_id == plain


@settings(deadline=None)
@given(
    changed=st.sampled_from(
        [
            {"quantity": "101"},
            {"quantity": "-100", "buySell": "SELL"},
            {"tradePrice": "12.51"},
            {"dateTime": "20240312;101501"},
            {"conid": "70010009"},
            {"accountId": "U4711002"},
        ]
    )
)
def test_a_content_key_changes_with_what_makes_another_trade(flex: Any, changed: dict[str, str]) -> None:
    assert flex.booking(**NO_IDS).booking_id != flex.booking(**(NO_IDS | changed)).booking_id
