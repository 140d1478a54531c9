"""The rows in an answer's body, to be read and changed without knowing the broker: JSON, XML and CSV.

A body holds tables. A table is a list of JSON objects, the rows of a CSV text, or the elements of one name below one
element of XML; a row maps names to values, which are text but for JSON. Those of an element are its attributes and the
texts of the elements right below it.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from copy import deepcopy
from io import StringIO
from typing import Any, Final, Literal, TypeAlias
from xml.etree import ElementTree

import attrs

from brokersync.testing.leaves import Leaves, leaves_of

Row: TypeAlias = MutableMapping[str, Any]

# a number with a fraction or an exponent, kept as it was written
_NUMBER: Final = "\x00number:"
_WRITTEN: Final = re.compile(r'"\\u0000number:([^"]+)"')
_SURELY_CSV: Final = 3


@attrs.define(eq=False)
class Table:
    """The rows of one list in a body; `path` says where it stands, the same in every answer of a kind.

    `holds_others` says that there are rows inside of its rows. `element_of` gives the element that a row of XML is.
    """

    path: str
    rows: list[Row]
    _put_back: Callable[[list[Row]], None]
    holds_others: bool = False
    element_of: Callable[[Row], ElementTree.Element | None] = lambda _: None

    def names(self) -> list[str]:
        """The names of all columns, in the order in which rows have them."""
        return list(dict.fromkeys(name for row in self.rows for name in row))


@attrs.define
class Body:
    """A body taken apart; `dump()` is what its tables make of it. `objects` are all objects of JSON, rows or not."""

    tables: list[Table]
    _dump: Callable[[], bytes]
    objects: list[Row] = attrs.field(factory=list)
    _shown: dict[str, list[int]] | None = attrs.field(default=None, init=False, repr=False)

    def dump(self) -> bytes:
        for table in self.tables:
            table._put_back(table.rows)  # noqa: SLF001  a body puts its own tables back
        return self._dump()

    def everything(self) -> list[Row]:
        """All rows and all objects, each once."""
        found = {id(row): row for row in self.objects}
        found |= {id(row): row for _, row in self.rows()}
        return list(found.values())

    def rows(self) -> Iterator[tuple[Table, Row]]:
        for table in self.tables:
            for row in table.rows:
                yield table, row

    def rows_showing(self, texts: Iterable[str]) -> list[tuple[Table, Row]]:
        """The rows with a cell that shows one of them; for a body that nobody changes, which is looked through once."""
        rows = list(self.rows())
        if self._shown is None:
            self._shown = {}
            for number, (_, row) in enumerate(rows):
                for text in values_of(row):
                    self._shown.setdefault(text, []).append(number)
        return [rows[number] for number in sorted({one for text in texts for one in self._shown.get(text, ())})]


def take_apart(body: bytes) -> Body | None:
    """The tables of a body; `None` for one that is neither JSON, XML nor CSV."""
    text = body.decode("utf-8", "replace").lstrip("\ufeff")
    head = text.lstrip()[:1]
    if head in ("{", "["):
        return _json(text)
    if head == "<":
        return _xml(body)
    return _csv_body(text)


def shown_number(value: Any) -> str:
    """The digits of a number as the broker wrote them; other values as text."""
    return value.removeprefix(_NUMBER) if isinstance(value, str) else str(value)


def values_of(row: Row) -> list[str]:
    """What its cells show; text is taken as it is where it is one, since this is asked for each row again and again."""
    return [
        (shown_number(value) if value[:1] == "\x00" else value) if type(value) is str else str(value)
        for value in row.values()
        if isinstance(value, str | int)
    ]


def like(value: Any, text: str) -> Any:
    """`text` as a value of the same kind as `value`: a number of JSON stays one."""
    if isinstance(value, str) and value.startswith(_NUMBER):
        return _NUMBER + text
    return int(text) if isinstance(value, int) and not isinstance(value, bool) and text.lstrip("-").isdigit() else text


def _json(text: str) -> Body | None:
    try:
        told = json.loads(text, parse_float=lambda number: _NUMBER + number)
    except ValueError:
        return None
    held = {"": told}
    tables = list(_lists(held, "", ""))

    def dump() -> bytes:
        return _WRITTEN.sub(r"\1", json.dumps(held[""])).encode()

    return Body(tables, dump, list(_objects(told)))


def _objects(value: Any) -> Iterator[Row]:
    if isinstance(value, dict):
        yield value
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _objects(one)


def _lists(holder: Any, key: Any, path: str) -> Iterator[Table]:
    value = holder[key]
    if isinstance(value, list):
        if value and all(isinstance(one, dict) for one in value):
            yield Table(path + "[]", value, lambda rows: holder.__setitem__(key, rows))
        for number in range(len(value)):
            yield from _lists(value, number, path + "[]")
    elif isinstance(value, dict):
        for name in value:
            yield from _lists(value, name, f"{path}.{name}")
    elif isinstance(value, str) and (found := _csv_table(value, path)) is not None:
        table, written = found
        yield attrs.evolve(table, put_back=lambda rows: holder.__setitem__(key, written(rows)))


def _csv_body(text: str) -> Body | None:
    found = _csv_table(text, "csv")
    if found is None:
        return None
    table, written = found
    return Body([table], lambda: written(table.rows).encode())


def _csv_table(text: str, path: str) -> tuple[Table, Callable[[list[Row]], str]] | None:
    """A text as the rows of a CSV, if it is one: a line of distinct names, and lines with as many values."""
    reader = csv.DictReader(StringIO(text, newline=""))
    if "," not in text.partition("\n")[0]:
        return None
    try:
        rows: list[Row] = list(reader)
    except csv.Error:
        return None
    columns = list(reader.fieldnames or ())
    named = all(columns) and len({*columns}) == len(columns)
    if not rows or not named or any(None in row or None in row.values() for row in rows):
        return None
    ending = "\r\n" if "\r\n" in text else "\n"

    def written(rows: list[Row], quoting: Literal[0, 1] = csv.QUOTE_MINIMAL) -> str:
        names = list(dict.fromkeys(name for row in rows for name in row)) or columns
        into = StringIO(newline="")
        writer = csv.DictWriter(into, names, restval="", lineterminator=ending, quoting=quoting)
        writer.writeheader()
        writer.writerows(rows)
        return into.getvalue() if text.endswith("\n") else into.getvalue().removesuffix(ending)

    if written(rows) != text and written(rows, csv.QUOTE_ALL) != text and len(columns) < _SURELY_CSV:
        return None  # any text may hold a comma and lines
    return Table(path + " (CSV)", rows, lambda _: None), written


def _xml(body: bytes) -> Body | None:
    try:
        root = ElementTree.fromstring(body)  # noqa: S314  the answers are a sandbox's own
    except ElementTree.ParseError:
        return None
    return Body(list(_elements(root, root.tag)), lambda: ElementTree.tostring(root, encoding="unicode").encode())


def _elements(parent: ElementTree.Element, path: str) -> Iterator[Table]:
    by_tag: dict[str, list[ElementTree.Element]] = {}
    for child in parent:
        by_tag.setdefault(child.tag, []).append(child)
    for tag, children in by_tag.items():
        where = f"{path}/{tag}"
        if rows := leaves_of(children):
            yield _element_table(parent, tag, where, [*rows])
        elif any(child.attrib for child in children):
            yield _element_table(parent, tag, where, [child.attrib for child in children])
        for child in children:
            yield from _elements(child, where)


def _element_table(parent: ElementTree.Element, tag: str, path: str, own: list[Row]) -> Table:
    first = next(number for number, child in enumerate(parent) if child.tag == tag)
    mine = [child for child in parent if child.tag == tag]
    inside = {id(row): child for row, child in zip(own, mine, strict=True)}

    def put_back(rows: list[Row]) -> None:
        for child in mine:
            parent.remove(child)
        for number, row in enumerate(rows):
            element = inside.get(id(row))
            if element is None:
                element = deepcopy(mine[0])  # what is inside of it beside its cells belongs to a row, too
                cells = own[0].as_in(element) if isinstance(own[0], Leaves) else element.attrib
                cells.clear()
                cells.update({name: str(value) for name, value in row.items()})
            elif not isinstance(row, Leaves):
                element.attrib.update({name: str(value) for name, value in row.items()})
            parent.insert(first + number, element)

    return Table(
        path,
        [*own],
        put_back,
        holds_others=any(row.has_others if isinstance(row, Leaves) else len(inside[id(row)]) for row in own),
        element_of=lambda row: inside.get(id(row)),
    )
