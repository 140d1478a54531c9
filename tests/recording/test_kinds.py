"""What becomes of a value, by the name of its field and its form."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokersync.testing.recording.amounts import draw_factor, number_in, scaled
from brokersync.testing.recording.bodies import Number, Place
from brokersync.testing.recording.kinds import Kind, Kinds, vocabulary_of

KINDS = Kinds(
    harmless=["symbol", "contract/items:name", "Product:valuePerPoint"],
    amounts=["Delta"],
    vocabulary={"Buy", "Filled", "main"},
)


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("accountId", "1870301", Kind.ID),
        ("id", Number("396790000042"), Kind.ID),
        ("ReferenceCode", "1000007919", Kind.ID),
        ("ibExecID", "0000e0d5.65a1b2c3.01.01", Kind.ID),
        ("unheard", Number("123456"), Kind.ID),
        ("price", Number("5912.50"), Kind.AMOUNT),
        ("lastPrice", "5912", Kind.AMOUNT),
        ("closePrice", Number("21005"), Kind.AMOUNT),
        ("openBalance", "1,234.50", Kind.AMOUNT),
        ("netCash", "(1314.5068)", Kind.AMOUNT),
        ("totalCommission", Number("12"), Kind.AMOUNT),
        ("unheard", Number("1.25"), Kind.AMOUNT),
        ("Delta", Number("-2500"), Kind.AMOUNT),
        ("qty", Number("2"), Kind.KEPT),
        ("Quantity", "1500", Kind.KEPT),
        ("multiplier", "50", Kind.KEPT),
        ("fxRateToBase", "1.09095", Kind.KEPT),
        ("priceFormat", Number("-2"), Kind.KEPT),
        ("timestamp", "2026-03-04T05:42:59.679Z", Kind.KEPT),
        ("timestamp", "04 March, 2026 10:00 AM EST", Kind.KEPT),
        ("fromDate", "20260223", Kind.KEPT),
        ("when", "02/13/2026 09:31:27", Kind.KEPT),
        ("fromAccount", "20260223", Kind.ID),
        ("fromAccount", "123456", Kind.ID),
        ("accessToken", "abc", Kind.SECRET),
        ("tokenType", "Bearer", Kind.PRIVATE),
        ("action", "Buy", Kind.KEPT),
        ("nickname", "main", Kind.PRIVATE),
        ("unheard", "Jane Doe", Kind.PRIVATE),
        ("email", "jane@doe.example", Kind.PRIVATE),
        ("phone", "0301234567", Kind.ID),
        ("currency", "USD", Kind.KEPT),
        ("symbol", "MESZ6", Kind.KEPT),
        ("isAPIOrder", "N", Kind.KEPT),
        ("note", "", Kind.KEPT),
        ("expires_in", Number("3600"), Kind.KEPT),
        ("refresh_token_expires_in", Number("93600"), Kind.KEPT),
        ("refresh_token_expires_in", Number("93600000012345"), Kind.SECRET),
    ],
)
def test_the_kind_of_a_value(name: str, value: str, kind: Kind) -> None:
    assert KINDS.of(Place(name), value) is kind


def test_a_field_may_be_harmless_in_one_place_only() -> None:
    assert KINDS.of(Place("name", ("/v1/contract/items",)), "MESZ6") is Kind.KEPT
    assert KINDS.of(Place("name", ("/v1/account/list",)), "MESZ6") is Kind.PRIVATE
    assert KINDS.of(Place("valuePerPoint", ("/v1/list", "Product")), Number("50")) is Kind.KEPT


def test_names_of_fields_stay_and_ids_as_names_do_not() -> None:
    assert KINDS.of(Place("rows", is_key=True), "rows") is Kind.KEPT
    assert KINDS.of(Place("1870301", is_key=True), "1870301") is Kind.ID


@given(st.text(), st.text(min_size=1).filter(lambda text: text.strip()))
def test_a_text_of_an_unknown_field_never_stays(name: str, value: str) -> None:
    kind = Kinds().of(Place(f"zz{name}"), f"Jane {value} Doe")
    assert kind in (Kind.PRIVATE, Kind.ID, Kind.SECRET)


def test_the_words_of_a_plugin_are_those_of_its_code_without_its_sandbox(tmp_path: Path) -> None:
    (tmp_path / "client.py").write_text('SIDES = {"Buy": 1}\n')
    (tmp_path / "sandbox_people.py").write_text('NAME = "Jane Doe"\n')
    assert vocabulary_of(sorted(tmp_path.glob("*.py"))) == {"Buy", "1"}


@pytest.mark.parametrize(
    ("text", "twice"),
    [
        ("5912.50", "11825.00"),
        ("-0.046", "-0.092"),
        ("(1,234.50)", "(2,469.00)"),
        ("$12", "$24"),
        ("+7", "+14"),
        ("0.00", "0.00"),
        (".5", "1.0"),
    ],
)
def test_an_amount_keeps_its_form(text: str, twice: str) -> None:
    assert scaled(text, 2) == twice


_AMOUNTS = st.decimals(min_value=-10_000, max_value=10_000, places=2)


@given(_AMOUNTS, _AMOUNTS, st.integers(1, 50), st.integers(101, 997))
def test_sums_and_products_still_agree(one: object, other: object, quantity: int, factor: int) -> None:
    first, second = number_in(str(one)), number_in(str(other))
    assert number_in(scaled(f"{first + second}", factor)) == number_in(scaled(f"{first}", factor)) + number_in(
        scaled(f"{second}", factor)
    )
    assert number_in(scaled(f"{first * quantity}", factor)) == number_in(scaled(f"{first}", factor)) * quantity


@given(st.lists(_AMOUNTS.map(str), min_size=1, max_size=20), st.randoms(use_true_random=False))
def test_no_amount_becomes_another_one(amounts: list[str], random: Random) -> None:
    factor = draw_factor(amounts, random)
    sizes = {number_in(text) for text in amounts} - {0}
    assert not sizes & {size * factor for size in sizes}
