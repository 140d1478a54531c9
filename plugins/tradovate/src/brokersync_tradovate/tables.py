"""CSV as Tradovate writes it, in reports and in exports: a header, and columns that are known by their names."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import attrs

Columns: TypeAlias = Mapping[str, tuple[str, ...]]
"""Our names, and the broker's columns that may hold each, the best one first, in lower case."""

_MARK = "\ufeff"
_CELLS = "cells"


class TableError(ValueError):
    """A text that can not be read as a table; the message goes on after "The file" and shows nothing of it."""


class DamagedTableError(TableError):
    """One that is no table at all, as no program writes it: it may be whole when it is asked for again."""


@attrs.frozen
class TableRow:
    """One row: what it tells by our names, an empty text where it tells nothing, and all of it as it was written.

    `problem` says why nothing can be told of a row whose cells do not fit the header.
    """

    told: Mapping[str, str]
    written: Mapping[str, Any]
    problem: str | None = None


class Table:
    """The rows below one header, read as they are reached, once. Raises `TableError`, the constructor and `rows`."""

    def __init__(self, lines: Iterable[str], columns: Columns) -> None:
        self._last_line = ""
        self._lines = _cells(self._clean(lines))
        self._columns = columns
        self.header = tuple(name.strip() for name in next(self._lines, ()))
        self._places = _places(self.header, columns)

    def has(self, name: str) -> bool:
        """Whether one of the columns for our name is there."""
        return bool(self._places[name])

    def require(self, names: Iterable[str]) -> None:
        """Raises `TableError` for a header without these; a table without any header has no rows either."""
        missing = [self._columns[name][0] for name in names if not self.has(name)]
        if self.header and missing:
            raise TableError(f"lacks the columns {', '.join(missing)}")

    def absent(self) -> Sequence[str]:
        """The broker's names of the columns that are not there."""
        return [columns[0] for name, columns in self._columns.items() if self.header and not self.has(name)]

    def rows(self) -> Iterator[TableRow]:
        for cells in self._lines:
            if len(cells) < len(self.header) and not self._last_line.endswith(("\n", "\r")):
                raise DamagedTableError("is cut off")
            yield _row(self.header, cells, self._places)

    def _clean(self, lines: Iterable[str]) -> Iterator[str]:
        """The lines without the byte order mark that some programs put before the first."""
        for place, line in enumerate(lines):
            if "\0" in line:
                raise DamagedTableError("holds a NUL character, so it is damaged")
            self._last_line = line
            yield line.removeprefix(_MARK) if place == 0 else line


def kept_row(written: Mapping[str, Any], columns: Columns) -> TableRow:
    """A row as it was written, read again."""
    if _CELLS in written:
        return _misfit(written, len(written[_CELLS]), len(written) - 1)
    header = tuple(written)
    return _row(header, list(written.values()), _places(header, columns))


def _row(header: Sequence[str], cells: Sequence[str], places: Mapping[str, Sequence[int]]) -> TableRow:
    written = dict(zip(header, cells, strict=False))
    if len(cells) != len(header):
        return _misfit({**written, _CELLS: list(cells)}, len(cells), len(header))
    return TableRow({name: _first(cells, where) for name, where in places.items()}, written)


def _misfit(written: Mapping[str, Any], cells: int, columns: int) -> TableRow:
    return TableRow({}, written, f"the row has {cells} cells under {columns} columns")


def _places(header: Sequence[str], columns: Columns) -> dict[str, list[int]]:
    place_of = {name.lower(): place for place, name in enumerate(header)}
    return {name: [place_of[one] for one in known if one in place_of] for name, known in columns.items()}


def _first(cells: Sequence[str], places: Iterable[int]) -> str:
    """What the best of these columns says that says anything."""
    return next((cells[place].strip() for place in places if cells[place].strip()), "")


def _cells(lines: Iterable[str]) -> Iterator[list[str]]:
    """The lines that hold anything. A quote that never ends is an error, else it would swallow the rest in silence."""
    try:
        for cells in csv.reader(lines, strict=True):
            if any(cell.strip() for cell in cells):
                yield cells
    except csv.Error as error:
        raise DamagedTableError(f"is no proper CSV: {error}") from None
