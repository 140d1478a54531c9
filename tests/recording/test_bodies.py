"""Every value of a body is looked at once, and a body in which nothing is replaced says what it said."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlencode
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokersync.testing.recording.bodies import Number, Place, rewritten, value_within

_LEAVES = st.none() | st.booleans() | st.integers() | st.text() | st.decimals(allow_nan=False, allow_infinity=False)
_VALUES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
)
_WORDS = st.text("abcXYZ 019,;\"'<>&", max_size=8)
_CELLS = st.text("abcXYZ 019,;'", max_size=8).map(str.strip)


def same(_: Place, value: str) -> str:
    return value


def seen(text: str, content_type: str = "") -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()

    def look(place: Place, value: str) -> str:
        if not place.is_key:
            found[str(place), value] += 1
        return value

    assert rewritten(text, look, (), content_type) is not None
    return found


def _as_json(value: Any) -> str:
    if isinstance(value, Decimal):
        return format(value, "f") if value != value.to_integral_value() else f"{value:f}.0"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)}: {_as_json(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_as_json, value)) + "]"
    return json.dumps(value)


@given(st.lists(_VALUES) | st.dictionaries(st.text(max_size=5), _VALUES))
def test_json_keeps_every_digit(value: Any) -> None:
    text = _as_json(value)
    again = rewritten(text, same)
    assert again is not None
    assert json.loads(again, parse_float=Decimal) == json.loads(text, parse_float=Decimal)


@given(st.lists(st.fixed_dictionaries({"id": _WORDS, "price": _WORDS}), min_size=1, max_size=5))
def test_xml_keeps_every_attribute(rows: list[dict[str, str]]) -> None:
    root = ElementTree.Element("Answer")
    for row in rows:
        ElementTree.SubElement(root, "Trade", row).text = "a < b"
    text = ElementTree.tostring(root, encoding="unicode")
    again = rewritten(text, same)
    assert again is not None
    assert ElementTree.canonicalize(again) == ElementTree.canonicalize(text)


@given(st.lists(st.tuples(_CELLS, _CELLS, _CELLS), min_size=1, max_size=5), st.sampled_from([",", ";"]))
def test_csv_stays_as_it_is_written(rows: list[tuple[str, str, str]], delimiter: str) -> None:
    lines = [delimiter.join(("Id", "Price", "Note"))]
    lines += [delimiter.join(f'"{cell}"' if delimiter in cell else cell for cell in row) for row in rows]
    text = "\r\n".join(lines) + "\r\n"
    assert rewritten(text, same) == text


@given(st.dictionaries(st.text(min_size=1, max_size=5), st.text(max_size=5), min_size=1))
def test_a_form_keeps_its_pairs(pairs: dict[str, str]) -> None:
    text = urlencode(pairs)
    again = rewritten(text, same, (), "application/x-www-form-urlencoded")
    assert parse_qsl(again or "", keep_blank_values=True) == list(pairs.items())


def test_a_value_is_known_by_its_field_and_by_what_holds_it() -> None:
    assert seen('{"rows": [{"id": 12, "of": {"name": "x"}}]}') == {("rows.id", "12"): 1, ("of.name", "x"): 1}
    assert seen("<A><B id=\"1\" name='x &amp; y'>text</B></A>") == {
        ("B.id", "1"): 1,
        ("B.name", "x & y"): 1,
        ("A.B", "text"): 1,
    }
    assert seen("Id,Price,Note\n1,2.5,\n") == {("Id", "1"): 1, ("Price", "2.5"): 1}


def test_sections_of_one_file_have_columns_of_their_own() -> None:
    assert seen("Id,Price,Note\n1,2.5,x\nAccount,Name\n7,Somebody\n") == {
        ("Id", "1"): 1,
        ("Price", "2.5"): 1,
        ("Note", "x"): 1,
        ("Account", "7"): 1,
        ("Name", "Somebody"): 1,
    }


def test_a_report_inside_of_json_is_looked_into() -> None:
    text = json.dumps({"data": "Id,Price,Note\r\n1,2.5,x\r\n"})
    found: list[str] = []

    def look(place: Place, value: str) -> str:
        nested = value_within(place, value, look)
        if nested is None and not place.is_key:
            found.append(f"{place}={value}")
        return nested or value

    assert json.loads(rewritten(text, look) or "") == json.loads(text)
    assert found == ["data.Id=1", "data.Price=2.5", "data.Note=x"]


def test_numbers_stay_numbers_of_json() -> None:
    assert rewritten('{"id": 12, "name": "12"}', lambda _, value: Number("7") if value == "12" else value) == (
        '{"id": 7, "name": 7}'
    )


@pytest.mark.parametrize("text", ["<!DOCTYPE html><html></html>", "Dear customer, thank you.", "{broken", "\x00\x01"])
def test_what_is_none_of_them_is_said(text: str) -> None:
    assert rewritten(text, same) is None


def test_comments_are_left_out() -> None:
    assert rewritten("<A><!-- made for Jane --><B/></A>", same) == "<A><B/></A>"
