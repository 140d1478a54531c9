"""What a row becomes, by table."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from brokersync.plugin import (
    AssetClass,
    BrokerTrade,
    Fee,
    FeeKind,
    FeesState,
    QuarantinedRow,
    RawRow,
    Side,
    TradeBooking,
    loads_exact,
)
from {{ cookiecutter.__package }}.normalise import outcome_of, unknown_type
from {{ cookiecutter.__package }}.renormalise import renormalise

from .stage import ROW


# FILL IN: the tables below, in the words and fields of the broker's rows; they import what `normalise.py` has by name
def outcome(**changed: Any) -> TradeBooking | QuarantinedRow:
    return outcome_of(ROW | changed, "101", "live")


def trade(**changed: Any) -> BrokerTrade:
    booking = outcome(**changed)
    assert isinstance(booking, TradeBooking), booking
    assert booking.trade is not None
    return booking.trade


def test_a_row_is_booked_with_all_that_it_tells() -> None:
    booked = trade()

    assert (booked.trade_id, booked.order_id) == (f"execution:{2**60 + 1}", str(2**60))
    assert (booked.account_id, booked.environment) == ("101", "live")
    assert (booked.side, booked.quantity, booked.price) == (Side.BUY, Decimal("1.5"), Decimal("10.125"))
    assert booked.executed_at == datetime(2026, 3, 2, 14, 30, 0, 250_000, UTC)
    assert booked.instrument.symbol == "ACME"
    assert (booked.instrument.currency, booked.instrument.multiplier) == ("USD", Decimal(1))
    assert booked.fees == (Fee(kind=FeeKind.COMMISSION, amount=Decimal("0.35"), currency="USD"),)
    assert booked.fees_state is FeesState.FINAL


@pytest.mark.parametrize(("word", "side"), [("BUY", Side.BUY), ("SELL", Side.SELL)])
def test_each_side_is_known(word: str, side: Side) -> None:
    assert trade(side=word).side is side


@pytest.mark.parametrize(("word", "kind"), [("STOCK", AssetClass.STOCK), ("ETF", AssetClass.ETF)])
def test_each_type_has_its_class(word: str, kind: AssetClass) -> None:
    assert trade(type=word).instrument.asset_class is kind
    assert unknown_type(ROW | {"type": word}) is None


def test_a_type_that_is_new_is_booked_as_other_counted_and_its_multiplier_not_guessed() -> None:
    instrument = trade(type="SWAPTION").instrument

    assert (instrument.asset_class, instrument.multiplier) == (AssetClass.OTHER, None)
    assert unknown_type(ROW | {"type": "SWAPTION"}) == "type SWAPTION"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"side": "SHORT"}, "the side 'SHORT' is unknown"),
        ({"side": None}, "side is missing"),
        ({"quantity": "0"}, "quantity must be positive"),
        ({"quantity": "-1"}, "quantity must be positive"),
        ({"quantity": True}, "quantity is no number"),
        ({"price": "ten"}, "price is no number"),
        ({"price": "NaN"}, "price is no number"),
        ({"price": 10.125}, "price is no number"),
        ({"commission": ""}, "commission is missing"),
        ({"time": "2026-03-02T14:30:00"}, "time has no time zone"),
        ({"time": "yesterday"}, "time is no time"),
        ({"orderId": 1.5}, "orderId is no text"),
        ({"symbol": " "}, "symbol is no text"),
        ({"id": 7, "currency": None}, "currency is missing"),
    ],
)
def test_what_is_not_understood_waits_in_quarantine_under_its_name(changed: dict[str, Any], reason: str) -> None:
    row = outcome(**changed)

    assert isinstance(row, QuarantinedRow)
    assert reason in row.reason
    assert row.row_id == f"execution:{changed.get('id', 2**60 + 1)}"
    assert (row.account_id, row.environment) == ("101", "live")


def test_a_row_without_an_id_waits_without_a_name() -> None:
    row = outcome(id=None)

    assert isinstance(row, QuarantinedRow)
    assert row.row_id is None


def test_a_field_that_is_new_changes_nothing() -> None:
    assert trade(venue={"name": "new"}) == trade()


@pytest.mark.parametrize("number", [2**53 + 1, 2**63 + 1, 10**30 + 1])
def test_an_id_keeps_every_digit_as_a_number_and_as_text(number: int) -> None:
    assert trade(id=number).trade_id == trade(id=str(number)).trade_id == f"execution:{number}"


@pytest.mark.parametrize("digits", ["0.1", "12345678901234567.000000001", "1E-7"])
def test_a_number_keeps_every_digit_as_text_and_as_json(digits: str) -> None:
    told = loads_exact('{"price": ' + digits + "}")["price"]

    assert trade(price=digits).price == trade(price=told).price == Decimal(digits)
    assert type(trade(price=told).price) is Decimal


@pytest.mark.parametrize(
    ("commission", "amounts", "state"),
    [
        ("0.35", [Decimal("0.35")], FeesState.FINAL),
        ("-0.20", [Decimal("-0.20")], FeesState.FINAL),
        ("0", [Decimal(0)], FeesState.FINAL),
        (None, [], FeesState.PENDING),
    ],
)
def test_a_cost_is_positive_a_rebate_negative_and_what_is_not_told_is_pending(
    commission: str | None, amounts: list[Decimal], state: FeesState
) -> None:
    booked = trade(commission=commission)

    assert [fee.amount for fee in booked.fees] == amounts
    assert booked.fees_state is state


@pytest.mark.parametrize("changed", [{}, {"side": "SHORT"}])
def test_a_kept_row_is_read_again_as_a_fresh_one(changed: dict[str, Any]) -> None:
    kept = RawRow(raw=ROW | changed, account_id="101", environment="live")

{% if cookiecutter.history_kind == "session" %}
    (page,) = renormalise("session", [kept])
{% elif cookiecutter.history_kind == "files" %}
    (page,) = renormalise("statement", [kept])
{% else %}
    (page,) = renormalise("executions", [kept])
{% endif %}

    assert [*page.bookings, *page.quarantined] == [outcome(**changed)]
