"""What commissions are made of: from a confirmation's own row, and from the details behind the trades of Activity."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from brokersync.plugin import FeeKind, FeesState, TradeBooking

DETAIL = {
    "accountId": "U4711001",
    "tradeID": "500100",
    "totalCommission": "-1.000720223",
    "brokerExecutionCharge": "-0.6",
    "brokerClearingCharge": "-0.1",
    "thirdPartyExecutionCharge": "0.2",
    "thirdPartyClearingCharge": "-0.5",
    "thirdPartyRegulatoryCharge": "-0.00072",
    "regFINRATradingActivityFee": "-0.00013",
    "regSection31TransactionFee": "-0.00059",
    "regOther": "0",
    "other": "",
}
PARTS = {
    FeeKind.COMMISSION: Decimal("0.700000223"),
    FeeKind.EXCHANGE: Decimal("-0.2"),
    FeeKind.CLEARING: Decimal("0.5"),
    FeeKind.REGULATORY: Decimal("0.00072"),
}
WHOLE = {FeeKind.COMMISSION: Decimal("1.000720223")}


def detailed(flex: Any, *details: dict[str, str]) -> str:
    inside = "".join(flex.element("UnbundledCommissionDetail", detail) for detail in details)
    return f"<UnbundledCommissionDetails>{inside}</UnbundledCommissionDetails>"


def costs(booking: TradeBooking) -> dict[FeeKind, Decimal]:
    assert {fee.currency for fee in booking.row_fees} <= {"USD"}
    return {fee.kind: fee.amount for fee in booking.row_fees}


def read(flex: Any, *rows: str, details: tuple[dict[str, str], ...], encoding: str = "utf-8") -> list[TradeBooking]:
    statement = flex.statement(rows).replace("</FlexStatement>", detailed(flex, *details) + "</FlexStatement>")
    prolog = "" if encoding == "utf-8" else f'<?xml version="1.0" encoding="{encoding[:6]}"?>'
    mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
    body = mark + flex.document(statement, prolog=prolog).decode().encode(encoding)
    return [booking for page in flex.pages(body) for booking in page.bookings]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-be"])
def test_the_details_behind_the_trades_say_what_a_commission_is_made_of_to_its_last_digit(
    flex: Any, encoding: str
) -> None:
    rows = [flex.trade(ibCommission="-1.000720223"), flex.trade(1, ibCommission="-1.000720223")]
    [told, other] = read(flex, *rows, details=(DETAIL,), encoding=encoding)
    assert costs(told) == PARTS
    assert sum(costs(told).values()) == Decimal("1.000720223")
    assert costs(other) == WHOLE


def test_each_row_of_a_trade_that_was_booked_anew_has_its_own_details(flex: Any) -> None:
    anew = flex.trade(transactionID="900101", ibExecID="0000aa01.65000001.01.02", ibCommission="0.33")
    rebate = DETAIL | {"totalCommission": "0.33", "brokerExecutionCharge": "0.93007"}
    rebate |= {"thirdPartyExecutionCharge": "0", "brokerClearingCharge": "-0.09935"}
    [first, second] = read(flex, flex.trade(ibCommission="-1.000720223"), anew, details=(rebate, DETAIL))
    assert costs(first) == PARTS
    assert sum(costs(second).values()) == Decimal("-0.33")
    assert costs(second)[FeeKind.CLEARING] == Decimal("0.5")


@pytest.mark.parametrize(
    "changes",
    [
        {"totalCommission": "-2"},
        {"brokerExecutionCharge": "-0.4"},
        {"tradeID": ""},
        {"totalCommission": "much"},
        {"accountId": "U4711002"},
        {name: "0" for name in DETAIL if name.startswith("thirdParty")} | {"brokerExecutionCharge": "-1.00072"},
    ],
)
def test_details_that_do_not_fit_leave_the_commission_whole(flex: Any, changes: dict[str, str]) -> None:
    [told] = read(flex, flex.trade(ibCommission="-1.000720223"), details=(DETAIL | changes,))
    assert costs(told) == WHOLE


@pytest.mark.parametrize("part", ["thirdPartyClearingCharge", "brokerClearingCharge", "other"])
def test_a_part_that_is_no_number_leaves_the_trade_and_its_commission_whole_and_is_counted(
    flex: Any, part: str
) -> None:
    rows = [flex.trade(ibCommission="-1.000720223"), flex.trade(1)]
    statement = flex.statement(rows).replace(
        "</FlexStatement>", detailed(flex, DETAIL | {part: "n.a. (EUR)"}) + "</FlexStatement>"
    )
    [page] = flex.pages(flex.document(statement))
    assert not page.quarantined
    told, _ = page.bookings
    assert costs(told) == WHOLE
    assert told.trade is not None
    assert told.trade.fees_state is FeesState.FINAL
    assert page.unmapped == {f"a part of a commission that is no number: {part}": 1}


def test_a_part_in_a_confirmation_s_row_that_is_no_number_leaves_its_commission_whole(flex: Any) -> None:
    parts = {"brokerExecutionCommission": "-0.7", "thirdPartyExecutionCommission": "0.2", "otherCommission": "?"}
    [told] = flex.bookings(flex.confirm(ibCommission="-1.000720223", **parts), section="TradeConfirms", kind="TCF")
    assert costs(told) == WHOLE


def test_details_without_an_account_are_those_of_their_statement(flex: Any) -> None:
    bare = {name: value for name, value in DETAIL.items() if name != "accountId"}
    [told] = read(flex, flex.trade(ibCommission="-1.000720223"), details=(bare,))
    assert costs(told) == PARTS


def test_a_confirmation_tells_the_parts_in_its_own_row(flex: Any) -> None:
    parts = {
        "brokerExecutionCommission": "-0.7",
        "brokerClearingCommission": "",
        "thirdPartyExecutionCommission": "0.2",
        "thirdPartyClearingCommission": "-0.5",
        "thirdPartyRegulatoryCommission": "-0.00072",
        "otherCommission": "0",
    }
    [told] = flex.bookings(flex.confirm(ibCommission="-1.000720223", **parts), section="TradeConfirms", kind="TCF")
    assert costs(told) == PARTS


def test_a_kept_row_is_read_again_with_its_parts(flex: Any) -> None:
    from brokersync.plugin import RawRow
    from brokersync_ibkr.renormalise import renormalise

    [told] = read(flex, flex.trade(ibCommission="-1.000720223"), details=(DETAIL,))
    row = RawRow(raw=told.raw, account_id=told.account_id, environment=told.environment)
    [again] = [booking for page in renormalise("activity", [row]) for booking in page.bookings]
    assert costs(again) == PARTS
