"""Ids and private texts are replaced by others of their shape, one by one and in their order."""

from __future__ import annotations

import re
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokersync.testing.recording.substitutes import Substitutes, tokens_of

# a row of zeros is no id
_DIGITS = st.text("0123456789", min_size=4, max_size=20).filter(lambda text: text.strip("0"))
_HEX = st.text("0123456789abcdef", min_size=8, max_size=32)
_NAMES = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=4, max_size=12)
_IDS = st.lists(_DIGITS | _HEX | _NAMES | st.uuids().map(str), min_size=1, max_size=30)


def made(*texts: str, seed: int = 1) -> Substitutes:
    found = Substitutes(Random(seed))
    for text in texts:
        found.learn(text)
    found.settle()
    return found


def shape(text: str) -> str:
    return re.sub(r"[A-Z]", "A", re.sub(r"[a-z]", "a", re.sub(r"[0-9]", "0", text)))


@given(_IDS, st.integers())
def test_the_same_gets_the_same_and_others_get_others(ids: list[str], seed: int) -> None:
    substitutes = made(*ids, seed=seed)
    found = {one: substitutes.of(one) for one in ids}
    assert len({*found.values()}) == len(found)
    assert all(substitutes.of(f"/accounts/{one}").endswith(new) for one, new in found.items())


@given(_IDS, st.integers())
def test_none_of_them_is_left(ids: list[str], seed: int) -> None:
    substitutes = made(*ids, seed=seed)
    left = {token for one in ids for token in tokens_of(substitutes.of(one))}
    long = {token for one in ids for token in tokens_of(one) if len(token) > 4}
    assert not left & long


@given(_IDS, st.integers())
def test_the_shape_stays(ids: list[str], seed: int) -> None:
    substitutes = made(*ids, seed=seed)
    assert [shape(substitutes.of(one)) for one in ids] == [shape(one) for one in ids]


@given(st.lists(_HEX, min_size=1), st.integers())
def test_hexadecimal_digits_stay_such(ids: list[str], seed: int) -> None:
    substitutes = made(*ids, seed=seed)
    assert all(
        re.fullmatch("[0-9a-f]+", substitutes.of(one))
        for one in ids
        if re.search("[0-9]", one) and re.search("[a-f]", one)
    )


@given(st.lists(_DIGITS, unique=True, min_size=2, max_size=40), st.integers())
def test_ids_that_ascend_still_do(ids: list[str], seed: int) -> None:
    substitutes = made(*ids, seed=seed)
    ordered = sorted(ids, key=lambda one: (len(one), one))
    new = [substitutes.of(one) for one in ordered]
    assert new == sorted(new, key=lambda one: (len(one), one))


def test_ids_above_2_to_the_53_keep_their_digits() -> None:
    substitutes = made("9007199254740993", "9007199254740992")
    one, other = substitutes.of("9007199254740992"), substitutes.of("9007199254740993")
    assert len(one) == 16
    assert int(one) < int(other)


def test_zeros_in_front_stay() -> None:
    assert made("0001234").of("0001234")[:3] == "000"


@pytest.mark.parametrize(("text", "kept"), [("U7000001", "U"), ("DU7000001", "DU")])
def test_a_letter_or_two_before_digits_say_what_an_account_is_and_stay(text: str, kept: str) -> None:
    substitutes = made(text, "7000001")
    assert substitutes.of(text) == kept + substitutes.of("7000001")


def test_all_numbers_of_a_length_are_still_replaced_in_order() -> None:
    ids = [str(number) for number in range(100, 1000)]
    substitutes = made(*ids)
    assert [substitutes.of(one) for one in ids] == ids
