"""Bodies are taken apart and put together again without a digit lost, and their rows are changed in place."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from brokersync.testing.answers import Body, like, shown_number, take_apart

_LEAVES = st.none() | st.booleans() | st.integers() | st.text() | st.decimals(allow_nan=False, allow_infinity=False)
_VALUES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
)
_WORDS = st.text("abcXYZ 019,;\"'<>&", max_size=8)
_ROWS = st.lists(st.fixed_dictionaries({"id": _WORDS, "price": _WORDS}), min_size=1, max_size=5)


def apart(body: bytes) -> Body:
    found = take_apart(body)
    assert found is not None
    return found


def as_json(value: Any) -> str:
    """JSON in which decimals are numbers, digit by digit."""
    if isinstance(value, Decimal):
        return format(value, "f") if value != value.to_integral_value() else f"{value:f}.0"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)}: {as_json(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_json, value)) + "]"
    return json.dumps(value)


@example([",\x1e0"])
@given(st.lists(_VALUES) | st.dictionaries(st.text(max_size=5), _VALUES))
def test_json_comes_back_with_every_digit(value: Any) -> None:
    text = as_json(value)
    again = apart(text.encode()).dump()
    assert json.loads(again, parse_float=Decimal) == json.loads(text, parse_float=Decimal)


@given(_ROWS)
def test_xml_comes_back_as_it_was(rows: list[dict[str, str]]) -> None:
    root = ElementTree.Element("Answer")
    for row in rows:
        ElementTree.SubElement(root, "Trade", row)
    body = ElementTree.tostring(root)
    found = apart(body)
    assert [dict(row) for _, row in found.rows()] == rows
    assert ElementTree.canonicalize(found.dump()) == ElementTree.canonicalize(body)


def test_rows_inside_of_rows_are_tables_of_their_own() -> None:
    found = apart(b'{"accounts": [{"id": 1, "fills": [{"id": 7}, {"id": 8}]}], "next": null}')
    assert [(table.path, len(table.rows)) for table in found.tables] == [
        (".accounts[]", 1),
        (".accounts[].fills[]", 2),
    ]
    assert len(found.everything()) == 4


@pytest.mark.parametrize(
    ("body", "changed"),
    [
        (b'{"rows": [{"id": 1, "price": 1.10}]}', b'{"rows": [{"id": 2, "price": 2.50}]}'),
        (b"id,price\r\n1,1.10\r\n", b"id,price\r\n2,2.50\r\n"),
        (b'{"data": "id,price\\n1,1.10\\n"}', b'{"data": "id,price\\n2,2.50\\n"}'),
        (b'<a><t id="1" price="1.10" /></a>', b'<a><t id="2" price="2.50" /></a>'),
    ],
    ids=["JSON", "CSV", "CSV in JSON", "XML"],
)
def test_a_cell_is_changed_where_it_stands(body: bytes, changed: bytes) -> None:
    found = apart(body)
    ((_, row),) = found.rows()
    assert shown_number(row["price"]) == "1.10"
    row["id"], row["price"] = like(row["id"], "2"), like(row["price"], "2.50")
    assert found.dump() == changed


@pytest.mark.parametrize(
    "body",
    [b'[{"id": 1}, {"id": 2}]', b"id,price\n1,a\n2,b\n", b'<a><x /><t id="1" /><t id="2" /><y /></a>'],
    ids=["JSON", "CSV", "XML"],
)
def test_rows_are_added_turned_round_and_taken_away(body: bytes) -> None:
    found = apart(body)
    (table,) = found.tables
    table.rows.append({**table.rows[0], "id": "9"})
    table.rows.reverse()
    again = apart(found.dump())
    assert [str(row["id"]) for _, row in again.rows()] == ["9", "2", "1"]
    again.tables[0].rows.clear()
    emptied = take_apart(again.dump())
    assert emptied is None or [*emptied.rows()] == []


@pytest.mark.parametrize("body", [b"", b"plain text", b"<html><p>no end", b'{"cut": ', b"\xff\xfe\x00"])
def test_what_has_no_rows_is_told_as_none(body: bytes) -> None:
    assert take_apart(body) is None


@given(_ROWS, st.lists(_WORDS, max_size=3))
def test_rows_are_found_by_what_their_cells_show(rows: list[dict[str, str]], wanted: list[str]) -> None:
    body = apart(json.dumps({"items": rows, "others": [{"id": 7}]}).encode())
    found = [dict(row) for _, row in body.rows_showing(wanted)]
    assert found == [dict(row) for _, row in body.rows() if {*map(str, row.values())} & {*wanted}]
    assert [dict(row) for _, row in body.rows_showing(["7"])][-1:] == [{"id": 7}]


FILLS = (
    b"<A><Fills><Fill><Id>7</Id><Px>1.5</Px><Fee><Amt>1</Amt></Fee></Fill><Fill><Id>8</Id><Px>2</Px></Fill></Fills></A>"
)


def test_texts_of_elements_without_attributes_are_the_cells_of_a_row() -> None:
    (table,) = (one for one in apart(FILLS).tables if one.path == "A/Fills/Fill")
    assert [dict(row) for row in table.rows] == [{"Id": "7", "Px": "1.5"}, {"Id": "8", "Px": "2"}]
    assert table.holds_others


def test_such_rows_are_changed_turned_and_added_in_place() -> None:
    body = apart(FILLS)
    (table,) = (one for one in body.tables if one.path == "A/Fills/Fill")
    table.rows[0]["Px"] = "-9"
    table.rows[1]["unheardOf"] = "x"
    table.rows.reverse()
    table.rows.append({"Id": "9"})
    assert ElementTree.canonicalize(body.dump()) == (
        "<A><Fills><Fill><Id>8</Id><Px>2</Px><unheardOf>x</unheardOf></Fill>"
        "<Fill><Id>7</Id><Px>-9</Px><Fee><Amt>1</Amt></Fee></Fill><Fill><Fee><Amt>1</Amt></Fee><Id>9</Id></Fill></Fills></A>"
    )


def test_fields_of_such_a_row_may_be_put_in_another_order() -> None:
    body = apart(b"<A><Fill><Id>7</Id><Px>1</Px></Fill></A>")
    for _, row in body.rows():
        turned = list(row.items())[::-1]
        row.clear()
        row.update(turned)
    assert body.dump() == b"<A><Fill><Px>1</Px><Id>7</Id></Fill></A>"


MIXED = (
    b'<A><T ref="1" no="a"><Px>1.5</Px><Legs /><Fee cur="USD">1</Fee></T><T ref="2"><Px>2</Px><At>10:00</At></T>'
    b'<T ref="3"><Px /></T></A>'
)


def test_attributes_and_texts_of_elements_are_both_cells_of_a_row() -> None:
    (table,) = (one for one in apart(MIXED).tables if one.path == "A/T")
    assert [dict(row) for row in table.rows] == [
        {"ref": "1", "no": "a", "Px": "1.5"},
        {"ref": "2", "Px": "2", "At": "10:00"},
        {"ref": "3", "Px": ""},
    ]
    assert table.holds_others


def test_rows_of_both_are_changed_turned_and_added_in_place() -> None:
    body = apart(MIXED)
    (table,) = (one for one in body.tables if one.path == "A/T")
    first, second, _ = table.rows
    first["Px"], first["ref"], second["unheardOf"] = "-9", "7", "x"
    turned = list(second.items())[::-1]
    second.clear()
    second.update(turned)
    table.rows[:] = [second, first, {**second, "ref": "9"}]
    assert ElementTree.canonicalize(body.dump()) == ElementTree.canonicalize(
        '<A><T unheardOf="x" ref="2"><At>10:00</At><Px>2</Px></T>'
        '<T ref="7" no="a"><Px>-9</Px><Legs /><Fee cur="USD">1</Fee></T>'
        '<T unheardOf="x" ref="9"><Legs /><Fee cur="USD">1</Fee><At>10:00</At><Px>2</Px></T></A>'
    )


def test_a_name_of_an_attribute_and_of_an_element_is_the_attribute() -> None:
    ((_, row),) = apart(b'<A><T id="1" px="2"><px>3</px><at>4</at></T></A>').rows()
    assert dict(row) == {"id": "1", "px": "2", "at": "4"}
