"""Cells inside of a row are found and changed in place, in JSON and in XML."""

from __future__ import annotations

from decimal import Decimal
from xml.etree import ElementTree

import pytest

from brokersync.testing.answers import Row, Table, take_apart
from brokersync.testing.contract.changing import cell_is
from brokersync.testing.contract.nested import cells, everywhere, put_inside

TRADE = b'<T><Trade id="E-700123" price="2"><Fees><Fee kind="c" amount="0.35"/><Tax>0.10</Tax></Fees> </Trade></T>'
OTHER = b'<T><Trade id="E-700123"><Tax>0.10</Tax></Trade><Trade id="E-700124"><Tax>0.10</Tax></Trade></T>'


def rows(body: bytes) -> list[tuple[Table, Row]]:
    found = take_apart(body)
    assert found is not None
    return list(found.rows())


def test_attributes_and_texts_of_elements_inside_of_an_element_are_its_cells() -> None:
    table, row = rows(TRADE)[0]
    assert {(place, holder[place[-1]]) for place, holder in cells(table, row)} == {
        (("id",), "E-700123"),
        (("price",), "2"),
        (("Fees", "Fee", "kind"), "c"),
        (("Fees", "Fee", "amount"), "0.35"),
        (("Fees", "Tax", "text()"), "0.10"),
    }


def test_objects_and_lists_inside_of_an_object_are_its_cells() -> None:
    table, row = rows(b'[{"id": "7", "fees": [{"amount": "0.35"}], "of": {"leg": 1}}]')[0]
    assert {place for place, _ in cells(table, row)} == {("id",), ("fees", "[]", "amount"), ("of", "leg")}


@pytest.mark.parametrize(
    ("body", "place", "changed"),
    [
        (TRADE, ("Fees", "Fee", "amount"), TRADE.replace(b"0.35", b"-9")),
        (TRADE, ("Fees", "Tax", "text()"), TRADE.replace(b"0.10", b"-9")),
        (OTHER, ("Tax", "text()"), OTHER.replace(b"0.10", b"-9", 1)),
    ],
)
def test_a_cell_inside_of_an_element_is_changed_in_the_rows_of_one_booking(
    body: bytes, place: tuple[str, ...], changed: bytes
) -> None:
    found = take_apart(body)
    assert found is not None
    (path,) = {table.path for table, row in found.rows() if "id" in row}
    number = Decimal("0.35") if "Fee" in place else Decimal("0.10")
    change = put_inside(path, place, frozenset({"E-700123"}), lambda cell: cell_is(cell, number), lambda _: "-9")
    assert change(found) == 1
    assert ElementTree.canonicalize(found.dump()) == ElementTree.canonicalize(changed)


@pytest.mark.parametrize(
    "body",
    [
        b'<T><Instrument id="ES"><Multiplier>50</Multiplier></Instrument></T>',
        b'<T><Trade id="E-700123"><Instrument><Terms><Multiplier>50</Multiplier></Terms></Instrument></Trade></T>',
        b"<T><Instrument><Id>ES</Id><Multiplier>50</Multiplier></Instrument></T>",
    ],
)
def test_a_multiplier_in_the_text_of_an_element_is_found_and_changed(body: bytes) -> None:
    found = take_apart(body)
    assert found is not None
    for name, holder in list(everywhere(found)):
        if cell_is(holder[name], Decimal(50)):
            assert name == "Multiplier"
            holder[name] = "150"
    assert b"<Multiplier>150</Multiplier>" in found.dump()
