from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokersync.secret import Secret
from brokersync.typed import WrongTypeError
from brokersync.types import (
    AssetClass,
    AuthResult,
    BookingEffect,
    BrokerAccount,
    BrokerTrade,
    Challenge,
    CoveredSpan,
    Fee,
    FeeKind,
    IdQuality,
    Instrument,
    QuarantinedRow,
    Side,
    TimeWindow,
    TradeBooking,
    TradePage,
    utc,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def trade(**changes: Any) -> BrokerTrade:
    facts: dict[str, Any] = {
        "provider": "broker",
        "environment": "live",
        "account_id": "A1",
        "trade_id": "T1",
        "instrument": Instrument(symbol="X", asset_class=AssetClass.STOCK),
        "side": Side.BUY,
        "quantity": Decimal(2),
        "price": Decimal("1.25"),
        "executed_at": NOON,
    }
    return BrokerTrade(**(facts | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"quantity": 2},
        {"quantity": 2.0},
        {"quantity": Decimal(0)},
        {"quantity": Decimal(-1)},
        {"quantity": Decimal("NaN")},
        {"quantity": Decimal("1e61")},
        {"price": 1.25},
        {"price": Decimal("Infinity")},
        {"price": Decimal("1e-999999999")},
        {"net_cash": 1},
        {"accrued_interest": 0.5},
        {"executed_at": datetime(2026, 3, 1)},
        {"executed_at": NOON.astimezone(timezone(timedelta(hours=1)))},
        {"executed_at": date(2026, 3, 1)},
        {"trade_id": ""},
        {"account_id": 17},
        {"environment": ""},
    ],
)
def test_a_trade_refuses_floats_naive_times_and_nameless_things(changes: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        trade(**changes)


@pytest.mark.parametrize("price", [Decimal(0), Decimal("-37.63"), Decimal("0.000000001"), Decimal("1e60")])
def test_a_price_may_be_anything_that_was_paid(price: Decimal) -> None:
    assert trade(price=price).price == price


def test_a_trade_can_not_be_changed() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        trade().price = Decimal(1)  # type: ignore[misc]  # what is refused


def test_a_rebate_is_a_negative_cost() -> None:
    assert Fee(kind=FeeKind.EXCHANGE, amount=Decimal("-0.20"), currency="USD").amount < 0
    with pytest.raises(TypeError):
        Fee(kind=FeeKind.EXCHANGE, amount=-0.2, currency="USD")  # type: ignore[arg-type]  # what is refused


def test_an_instrument_without_multiplier_or_currency_is_incomplete() -> None:
    known = Instrument(symbol="X", asset_class=AssetClass.FUTURE, currency="USD", multiplier=Decimal(50))
    assert known.complete
    assert not attrs.evolve(known, multiplier=None).complete
    assert not attrs.evolve(known, currency=None).complete


def test_an_ordinary_booking_takes_its_names_from_the_trade() -> None:
    booked = TradeBooking.of(trade(id_quality=IdQuality.SYNTHETIC), refs=("exec:1",))
    assert (booked.booking_id, booked.environment, booked.account_id) == ("T1", "live", "A1")
    assert booked.refs == ("exec:1",)
    assert booked.id_quality is IdQuality.SYNTHETIC
    assert TradeBooking.of(trade()).refs == ("T1",)


def test_only_a_cancel_goes_without_a_trade() -> None:
    fee = Fee(kind=FeeKind.COMMISSION, amount=Decimal(1), currency="USD")
    names: dict[str, Any] = {"booking_id": "B", "environment": "live", "account_id": "A1"}
    bare = TradeBooking(**names, effect=BookingEffect.CANCEL, fees=(fee,))
    assert bare.row_fees == (fee,)
    for effect in set(BookingEffect) - {BookingEffect.CANCEL}:
        with pytest.raises(ValueError, match="needs its trade"):
            TradeBooking(**names, effect=effect)
    with pytest.raises(ValueError, match="stand in the trade"):
        TradeBooking.of(trade(), fees=(fee,))
    assert TradeBooking.of(trade(fees=(fee,))).row_fees == (fee,)


def test_a_login_shows_no_secret_and_has_absolute_expiries() -> None:
    with pytest.raises(ValueError, match="aware datetime in UTC"):
        AuthResult(identity="me", expires_at=datetime(2026, 1, 1))
    with pytest.raises(ValueError, match="must not be empty"):
        AuthResult(identity="")


def test_an_account_id_is_text() -> None:
    with pytest.raises(TypeError, match=r"BrokerAccount\.account_id must be str, not int"):
        BrokerAccount(account_id=12345, environment="live")  # type: ignore[arg-type]  # what is refused


_INSTANTS = st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC))


@st.composite
def _windows(draw: st.DrawFn) -> TimeWindow:
    start = draw(_INSTANTS)
    return TimeWindow(start, start + timedelta(microseconds=draw(st.integers(1, 10**15))))


@given(_windows(), _windows(), _INSTANTS)
def test_what_two_windows_share_is_what_lies_in_both(one: TimeWindow, other: TimeWindow, moment: datetime) -> None:
    shared = one.overlap(other)
    assert shared == other.overlap(one)
    for instant in (moment, one.start, one.end, other.start, other.end):
        assert (shared is not None and instant in shared) is (instant in one and instant in other)


def test_a_window_holds_its_start_and_not_its_end() -> None:
    window = TimeWindow(NOON, NOON + timedelta(hours=1))
    assert NOON in window
    assert NOON + timedelta(hours=1) not in window
    assert window.length == timedelta(hours=1)


@pytest.mark.parametrize("end", [NOON, NOON - timedelta(seconds=1)])
def test_a_window_that_does_not_end_after_its_start_is_refused(end: datetime) -> None:
    with pytest.raises(ValueError, match="ends after it starts"):
        TimeWindow(NOON, end)


def test_utc_refuses_a_time_without_a_zone() -> None:
    assert utc(NOON.astimezone(timezone(timedelta(hours=5)))) == NOON
    with pytest.raises(ValueError, match="no time zone"):
        utc(datetime(2026, 1, 1))


@pytest.mark.parametrize("name", ["aliases", "refs", "loose_refs"])
def test_an_id_with_a_nul_character_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="NUL"):
        trade(trade_id="a\x00")
    with pytest.raises(ValueError, match="NUL"):
        TradeBooking.of(trade(), **{name: ("a\x00",)})


STOCK: dict[str, Any] = {"symbol": "X", "asset_class": AssetClass.STOCK}
NAMES: dict[str, Any] = {"account_id": "A1", "environment": "live"}
WINDOW = TimeWindow(NOON, NOON + timedelta(hours=1))
VALUES: dict[str, Any] = {
    "text": "text", "enum": Side.BUY, "int": 7, "bool": True, "float": 2.5, "bytes": b"hidden", "none": None,
    "decimal": Decimal(1), "moment": NOON, "day": NOON.date(), "secret": Secret("hidden"), "window": WINDOW,
    "list": ["hidden"], "texts": ("text",), "ints": (7,), "named texts": {"a": "text"}, "named ints": {"a": 7},
    "named secrets": {"a": Secret("hidden")}, "numbered": {7: "hidden"}, "named bytes": {"a": {"b": [b"hidden"]}},
    "named moments": {"a": NOON, "b": [Decimal(1), None, True, 2.5, {"c": NOON.date()}]},
    "without zone": {"a": NOON.replace(tzinfo=None)}, "object": object(),
}  # fmt: skip
FITS: dict[str, set[str]] = {
    "str": {"text", "enum"},
    "int": {"int"},
    "bool": {"bool"},
    "date": {"day"},
    "datetime": {"moment"},
    "Decimal": {"decimal"},
    "Side": {"enum"},
    "Secret": {"secret"},
    "TimeWindow": {"window"},
    "tuple[str, ...]": {"texts"},
    "tuple[int, ...]": {"ints"},
    "Mapping[str, str]": {"named texts"},
    "Mapping[str, int]": {"named ints"},
    "Mapping[str, Secret]": {"named secrets"},
    "Mapping[str, Any]": {"named texts", "named ints", "named moments"},
}
MADE: tuple[tuple[type, dict[str, Any]], ...] = (
    (BrokerTrade, {field.name: getattr(trade(), field.name) for field in attrs.fields(BrokerTrade)}),
    (Instrument, STOCK),
    (Fee, {"kind": FeeKind.COMMISSION, "amount": Decimal(1), "currency": "USD"}),
    (TradeBooking, {"booking_id": "B", "trade": trade(), **NAMES}),
    (TradePage, {}),
    (CoveredSpan, {"window": WINDOW, **NAMES}),
    (QuarantinedRow, {"reason": "odd", "raw": {}}),
    (BrokerAccount, NAMES),
    (AuthResult, {"identity": "me"}),
    (Challenge, {"kind": "browser", "message": "Go there."}),
)


@pytest.mark.parametrize(("kind", "facts"), MADE, ids=[kind.__name__ for kind, _ in MADE])
def test_each_field_takes_only_what_its_annotation_says_and_no_error_shows_a_value(
    kind: type[Any], facts: dict[str, Any]
) -> None:
    good = kind(**facts)
    for field in attrs.fields(kind):
        hint, _, optional = kind.__annotations__[field.name].partition(" | ")
        fitting = FITS.get(hint, set()) | ({"none"} if optional else set())
        said = rf"^{kind.__name__}\.{field.name} must be .*, (not|but holds) "
        for name, value in VALUES.items():
            if (kind, field.name, name) == (TradeBooking, "trade", "none"):
                continue  # only a cancel goes without
            if name in fitting:
                assert getattr(attrs.evolve(good, **{field.name: value}), field.name) == value
                continue
            with pytest.raises(WrongTypeError, match=said) as told:
                attrs.evolve(good, **{field.name: value})
            assert "hidden" not in str(told.value)


def test_a_wrong_type_is_told_with_what_is_wanted_and_given() -> None:
    with pytest.raises(WrongTypeError, match=r"^BrokerTrade\.order_id must be str or None, not int$"):
        trade(order_id=7)
    with pytest.raises(WrongTypeError, match=r"^BrokerTrade\.fees must be a tuple of Fee, but holds str$"):
        trade(fees=("1.20",))
    with pytest.raises(WrongTypeError, match=r"\.raw must be a mapping of str to JSON values, but holds bytes$"):
        TradeBooking.of(trade(), raw={"a": [b"1"]})
    with pytest.raises(WrongTypeError, match=r"^AuthResult\.access_token must be Secret or None, not str$"):
        AuthResult(identity="me", access_token="hidden")  # type: ignore[arg-type]  # what is refused
