"""The cells of a row and of what lies inside of it: brokers write costs as an object or a list of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from brokersync.testing.answers import Body, Row
from brokersync.testing.contract.changing import Change, belongs

# the names on the way to a cell, the same for each item of a list
Place: TypeAlias = tuple[str, ...]


def cells(row: Row) -> Iterator[tuple[Place, Row]]:
    """Each cell, with what holds it."""
    yield from _cells(row, ())


def _cells(value: Any, place: Place) -> Iterator[tuple[Place, Row]]:
    if isinstance(value, list):
        for one in value:
            yield from _cells(one, (*place, "[]"))
        return
    for name, one in value.items() if hasattr(value, "items") else ():
        if isinstance(one, dict | list):
            yield from _cells(one, (*place, name))
        else:
            yield (*place, name), value


def put_inside(
    path: str, place: Place, ids: frozenset[str], fits: Callable[[Any], bool], value: Callable[[Any], Any]
) -> Change:
    """A change of the cells at one place of the rows of one booking, where they fit."""

    def change(body: Body) -> int:
        rows = [row for table, row in body.rows() if table.path == path and belongs(row, ids)]
        holders = [holder for row in rows for where, holder in cells(row) if where == place and fits(holder[place[-1]])]
        for holder in holders:
            holder[place[-1]] = value(holder[place[-1]])
        return len(holders)

    return change
