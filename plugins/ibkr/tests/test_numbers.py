from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokersync_ibkr.numbers import number


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12", "12"),
        ("-1143.28313142", "-1143.28313142"),
        ("+3.5", "3.5"),
        (".5", "0.5"),
        ("5.", "5"),
        ("1,234.5", "1234.5"),
        ("-1,234,567", "-1234567"),
        ("1E-7", "0.0000001"),
        (" 7 ", "7"),
        ("0.10", "0.10"),
    ],
)
def test_numbers_are_exact(text: str, expected: str) -> None:
    assert number(text) == Decimal(expected)


@pytest.mark.parametrize("text", [None, "", "-", "--", "N/A", " "])
def test_nothing_is_no_number(text: str | None) -> None:
    assert number(text) is None


@pytest.mark.parametrize(
    "text", ["1,5", "1,23", "12,34.5", "1.234,5", "NaN", "Infinity", "1_000", "0x10", "1e999", "١٢", "abc"]
)
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        number(text)


def test_a_negative_zero_is_zero() -> None:
    assert str(number("-0")) == str(number("-0.00")) == "0"


@settings(deadline=None)
@given(st.decimals(allow_nan=False, allow_infinity=False, places=8, min_value=-(10**12), max_value=10**12))
def test_thousands_separators_change_nothing(value: Decimal) -> None:
    assert number(f"{value:,f}") == value == number(f"{value:f}")
