"""The cells of a row and of what lies inside of it: brokers write costs as objects, lists or elements of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias
from xml.etree import ElementTree

from brokersync.testing.answers import Body, Row, Table
from brokersync.testing.contract.changing import Change, belongs

# the names on the way to a cell, the same for each item of a list and for each element of one name
Place: TypeAlias = tuple[str, ...]
# what holds a cell: its value by the last name of the place, and another one put there
Cell: TypeAlias = tuple[Place, Any]


class _Text:
    """The text of an element, held as a row holds a cell."""

    def __init__(self, element: ElementTree.Element) -> None:
        self._element = element

    def __getitem__(self, name: str) -> str:
        return self._element.text or ""

    def __setitem__(self, name: str, value: str) -> None:
        self._element.text = value


def cells(table: Table, row: Row) -> Iterator[Cell]:
    """Each cell of a row and of what lies inside of it, with what holds it."""
    yield from _cells(row, ())
    if (element := table.element_of(row)) is not None:
        yield from _below(element, ())


def everywhere(body: Body) -> Iterator[tuple[str, Any]]:
    """The name of each cell of a body, and what holds it: of rows, of objects, and of elements inside of rows."""
    for row in body.everything():
        yield from ((name, row) for name in list(row))
    for table, row in body.rows():
        if (element := table.element_of(row)) is not None:
            yield from ((place[-2], holder) for place, holder in _below(element, ()) if isinstance(holder, _Text))


def _cells(value: Any, place: Place) -> Iterator[Cell]:
    if isinstance(value, list):
        for one in value:
            yield from _cells(one, (*place, "[]"))
        return
    for name, one in value.items() if hasattr(value, "items") else ():
        if isinstance(one, dict | list):
            yield from _cells(one, (*place, name))
        else:
            yield (*place, name), value


def _below(element: ElementTree.Element, place: Place) -> Iterator[Cell]:
    for child in element:
        inside = (*place, child.tag)
        yield from _cells(child.attrib, inside)
        if not len(child) and (child.text or "").strip():
            yield (*inside, "text()"), _Text(child)
        yield from _below(child, inside)


def put_inside(
    path: str, place: Place, ids: frozenset[str], fits: Callable[[Any], bool], value: Callable[[Any], Any]
) -> Change:
    """A change of the cells at one place of the rows of one booking, where they fit."""

    def change(body: Body) -> int:
        rows = [(table, row) for table, row in body.rows() if table.path == path and belongs(row, ids)]
        holders = [
            holder
            for table, row in rows
            for where, holder in cells(table, row)
            if where == place and fits(holder[place[-1]])
        ]
        for holder in holders:
            holder[place[-1]] = value(holder[place[-1]])
        return len(holders)

    return change
