"""Every value of a body, to be looked at or replaced where it stands: JSON, XML, CSV, forms, also within each other.

XML and CSV are changed in their text, so that quoting, order and declarations stay as the broker writes them.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from html import escape, unescape
from io import StringIO
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl, urlencode

import attrs


class Number(str):
    """A number of JSON as it was written."""

    __slots__ = ()


@attrs.frozen
class Place:
    """Where a value stands: `name` is its field, `inside` what holds it, such as an element or a request's path."""

    name: str
    inside: tuple[str, ...] = ()
    is_key: bool = False

    def __str__(self) -> str:
        return f"{self.inside[-1]}.{self.name}" if self.inside else self.name

    def under(self, holder: str) -> tuple[str, ...]:
        """What holds the values below `holder`."""
        return (*self.inside, holder)


Visit: TypeAlias = Callable[[Place, str], str]
"""Is told where a value stands, and gives what is to stand there; a `Number` for a `Number`."""

_TAG: Final = re.compile(r"<!--.*?-->|<!\[CDATA\[(.*?)\]\]>|<[!?][^>]*>|<(/?)([^\s/>]+)([^>]*)>|([^<]+)", re.DOTALL)
_ATTRIBUTE: Final = re.compile(r"""([^\s=]+)(\s*=\s*)("[^"]*"|'[^']*')""")
_FEWEST_COLUMNS: Final = 3
_FORM: Final = "application/x-www-form-urlencoded"


def rewritten(text: str, visit: Visit, inside: tuple[str, ...] = (), content_type: str = "") -> str | None:
    """The text with each value replaced; `None` for one that is neither JSON, XML, CSV nor a form."""
    head = text.lstrip("\ufeff \t\r\n")[:1]
    if not head:
        return text
    if head in '{["' or (head in "-0123456789tfn" and "json" in content_type):
        return _json(text, visit, inside)
    if head == "<" and "html" not in text[:200].lower():
        return _xml(text, visit, inside)
    if _FORM in content_type:
        return form(text, visit, inside)
    return _csv(text, visit, inside)


def form(text: str, visit: Visit, inside: tuple[str, ...] = ()) -> str:
    """A form or the query of an address."""
    pairs = parse_qsl(text, keep_blank_values=True)
    return urlencode([(name, visit(Place(name, inside), value)) for name, value in pairs])


def value_within(place: Place, value: str, visit: Visit) -> str | None:
    """A text that is itself JSON, XML or CSV of some lines, replaced value by value; `None` for any other."""
    head = value.lstrip()[:1]
    if (head in ("{", "[", "<") and len(value) > 1) or ("\n" in value and "," in value.partition("\n")[0]):
        return rewritten(value, visit, place.under(place.name))
    return None


def _json(text: str, visit: Visit, inside: tuple[str, ...]) -> str | None:
    try:
        told = json.loads(text.lstrip("\ufeff"), parse_float=Number, parse_int=Number)
    except (ValueError, RecursionError):
        return None
    return _written(_walked(told, Place("", inside), visit))


def _walked(value: Any, place: Place, visit: Visit) -> Any:
    if isinstance(value, dict):
        within = place.under(place.name) if place.name else place.inside
        return {
            visit(Place(name, within, is_key=True), name): _walked(one, Place(name, within), visit)
            for name, one in value.items()
        }
    if isinstance(value, list):
        return [_walked(one, place, visit) for one in value]
    return visit(place, value) if isinstance(value, str) else value


def _written(value: Any) -> str:
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)}: {_written(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_written, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _xml(text: str, visit: Visit, inside: tuple[str, ...]) -> str:
    open_elements: list[str] = []

    def piece(found: re.Match[str]) -> str:
        cdata, closing, tag, rest, plain = found.groups()
        if plain is not None or cdata is not None:
            return _xml_text(plain if cdata is None else escape(cdata), open_elements, visit, inside)
        if tag is None:
            return "" if found[0].startswith("<!--") else found[0]
        if closing:
            del open_elements[-1:]
            return found[0]
        changed = _ATTRIBUTE.sub(lambda one: _attribute(one, Place(one[1], (*inside, tag)), visit), rest)
        if not rest.rstrip().endswith("/"):
            open_elements.append(tag)
        return f"<{tag}{changed}>"

    return _TAG.sub(piece, text)


def _xml_text(text: str, open_elements: list[str], visit: Visit, inside: tuple[str, ...]) -> str:
    bare = text.strip()
    if not bare:
        return text
    name = open_elements[-1] if open_elements else ""
    return text.replace(bare, escape(visit(Place(name, (*inside, *open_elements[-2:-1])), unescape(bare)), quote=False))


def _attribute(found: re.Match[str], place: Place, visit: Visit) -> str:
    quote, value = found[3][0], unescape(found[3][1:-1])
    return f"{found[1]}{found[2]}{quote}{escape(visit(place, value))}{quote}"


def _csv(text: str, visit: Visit, inside: tuple[str, ...]) -> str | None:
    first = text.lstrip("\ufeff").partition("\n")[0]
    delimiter = max(",;\t|", key=first.count)
    if first.count(delimiter) + 1 < _FEWEST_COLUMNS:
        return None
    names: list[str] = []
    lines = []
    for cells in _cells(text.lstrip("\ufeff"), delimiter):
        bare = [_unquoted(cell) for cell in cells]
        if not names or _is_header(bare, names):
            names = bare
            lines.append(delimiter.join(cells))
            continue
        changed = []
        for number, (cell, value) in enumerate(zip(cells, bare, strict=True)):
            name = names[number] if number < len(names) else f"column {number + 1}"
            stripped = value.strip()
            new = value.replace(stripped, visit(Place(name.strip(), inside), stripped)) if stripped else value
            changed.append(_quoted(new, delimiter, like=cell))
        lines.append(delimiter.join(changed))
    ending = "\r\n" if "\r\n" in text else "\n"
    return ending.join(lines) + (ending if text.endswith("\n") else "")


def _cells(text: str, delimiter: str) -> Iterator[list[str]]:
    """The cells of each row as they are written, with their quotes."""
    pattern = re.compile(rf'(?:"(?:[^"]|"")*"|[^{re.escape(delimiter)}\r\n"])*')
    for line in _lines(text):
        cells, at = [], 0
        while at <= len(line):
            found = pattern.match(line, at)
            end = found.end() if found else at
            end = line.find(delimiter, end) if end < len(line) and line[end] != delimiter else end
            end = len(line) if end == -1 else end
            cells.append(line[at:end])
            at = end + 1
        yield cells


def _lines(text: str) -> Iterator[str]:
    """Rows; a line break inside of quotes ends none."""
    held = ""
    for line in text.splitlines(keepends=True):
        held += line
        if held.count('"') % 2 == 0:
            yield held.rstrip("\r\n")
            held = ""
    if held:
        yield held.rstrip("\r\n")


def _is_header(cells: list[str], names: list[str]) -> bool:
    """Whether a later line names the columns anew, as files of several sections do."""
    named = [cell for cell in cells if cell]
    return len(cells) != len(names) and bool(named) and not any(re.search(r"\d", cell) for cell in named)


def _unquoted(cell: str) -> str:
    if len(cell) > 1 and cell[0] == cell[-1] == '"':
        return cell[1:-1].replace('""', '"')
    return cell


def _quoted(value: str, delimiter: str, *, like: str) -> str:
    if like[:1] == '"':
        return '"' + value.replace('"', '""') + '"'
    if any(one in value for one in (delimiter, '"', "\n")):
        into = StringIO()
        csv.writer(into, delimiter=delimiter, lineterminator="").writerow([value])
        return into.getvalue()
    return value
