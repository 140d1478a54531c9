"""Flex statements as a stream: what stands in their trades and account sections is told, row by row."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import BinaryIO, Final, Protocol

from brokersync_ibkr.payloads import FlexSyntaxError, new_parser, parse
from brokersync_ibkr.rowscan import RowScanner
from brokersync_ibkr.vocabulary import TRADE_SECTIONS

CHUNK: Final = 1 << 16
_LARGEST_ELEMENT = 1 << 23
# far beyond what any statement has, and little enough to be kept: a year of a thousand accounts, told day by day
_DEEPEST = 32
_MOST_NAMES = 10_000
_MOST_STATEMENTS = 400_000
_BLANKS = b" \t\r\n"
_DECLARED = re.compile(rb"<\?xml[^>]*?encoding\s*=\s*[\"']([\w.-]+)")
_ASCII_INSIDE = frozenset({b"utf-8", b"us-ascii", b"ascii", b"iso-8859-1", b"windows-1252"})


class FlexSink(Protocol):
    """Who is told what a statement's file holds, in its order."""

    def document(self, attributes: Mapping[str, str]) -> None: ...

    def statement(self, attributes: Mapping[str, str]) -> None: ...

    def section(self, name: str, attributes: Mapping[str, str]) -> None: ...

    def row(self, section: str, element: str, names: list[str], values: list[str]) -> None:
        """An element of a section that is read: the names and the values of its attributes, side by side.

        Rows with the same names may share the list of them, which is not to be changed.
        """

    def statement_ends(self) -> None: ...


def read_document(
    file: BinaryIO, sink: FlexSink, *, sections: frozenset[str] = TRADE_SECTIONS, scan: bool = True
) -> Iterator[None]:
    """Read the file from where it stands to its end, telling `sink`, of rows those of `sections`; pauses after each
    chunk of it.

    Without `scan` every byte goes through the XML parser, which tells the same and takes longer. Raises
    `FlexSyntaxError` for anything but one complete `FlexQueryResponse` without a document type.
    """
    reader = _Reader(sink, sections)
    chunk = _first_chunk(file)
    reader.scans = scan and _is_ascii_inside(chunk)
    rest = b""
    while chunk:
        rest = reader.take(rest + chunk)
        yield
        chunk = file.read(CHUNK)
    reader.end(rest)
    yield


def _first_chunk(file: BinaryIO) -> bytes:
    """Saved files may begin with blanks, which XML allows only without its declaration."""
    while chunk := file.read(CHUNK):
        if not chunk.isspace():
            return chunk.lstrip()
    return b""


def _is_ascii_inside(head: bytes) -> bool:
    declared = _DECLARED.search(head[:200])
    return declared is None or declared[1].lower() in _ASCII_INSIDE


class _Path:
    """Where in the document the parser is; tells the sink what it meets."""

    def __init__(self, sink: FlexSink, sections: frozenset[str]) -> None:
        self._sink, self._sections = sink, sections
        self._path: list[str] = []
        self._statements = 0
        self.section = ""
        self.rows = 0
        self.last_row: tuple[str, list[str]] = ("", [])

    @property
    def between_rows(self) -> bool:
        return bool(self.section) and self._path[-1] == self.section

    def begin(self, name: str, flat: list[str]) -> None:
        path = self._path
        path.append(name)
        if self.section and path[-2] == self.section:
            names = flat[::2]
            self.rows += 1
            self.last_row = (name, names)
            self._sink.row(self.section, name, names, flat[1::2])
        elif len(path) == 1:
            if name != "FlexQueryResponse":
                raise FlexSyntaxError("The XML is not a Flex statement: its first element is not FlexQueryResponse.")
            self._sink.document(_mapping(flat))
        elif len(path) > _DEEPEST:
            raise FlexSyntaxError(f"The XML has elements in each other {_DEEPEST} times; no Flex statement does.")
        elif name == "FlexStatement":
            self._statements += 1
            if self._statements > _MOST_STATEMENTS:
                raise FlexSyntaxError(f"The XML has more than {_MOST_STATEMENTS:,} statements.")
            self._sink.statement(_mapping(flat))
        elif path[-2] == "FlexStatement":
            self.section = name if name in self._sections else ""
            self._sink.section(name, _mapping(flat))

    def end(self, name: str) -> None:
        self._path.pop()
        if name == "FlexStatement":
            self._sink.statement_ends()
        elif name == self.section and self._path[-1] == "FlexStatement":
            self.section = ""


class _Reader:
    """Hands plain rows to the sink itself and everything else to the parser, which gets blanks in the rows' place.

    So the parser still checks the whole, and knows the place of every mistake. A row is plain when nothing but rows
    stood before it in its section and it looks like one that the parser has read, with printable ASCII in its values.
    """

    def __init__(self, sink: FlexSink, sections: frozenset[str]) -> None:
        self._sink = sink
        self._path = _Path(sink, sections)
        self._begins = re.compile(b"<(?:%s)>" % b"|".join(sorted(name.encode() for name in sections)))
        self._longest_tag = max(map(len, sections)) + 2
        self._parser = new_parser()
        self._parser.ordered_attributes = True
        self._parser.StartElementHandler = self._path.begin
        self._parser.EndElementHandler = self._path.end
        self._scanner = RowScanner()
        self._done = 0
        self._blanks: list[bytes] = []
        self._in_rows = False
        self.scans = True

    def take(self, data: bytes) -> bytes:
        """Read what can be read of `data`; gives the rest back, to be put before what follows."""
        at = 0
        while at < len(data):
            end = self._next_row(data, at) if self._in_rows else self._up_to_rows(data, at)
            if end == at:
                break
            at = end
        self._feed(b"")
        if len(data) - at > _LARGEST_ELEMENT:
            raise self._too_large()
        return data[at:]

    def end(self, rest: bytes) -> None:
        """Read the rest, after which nothing follows."""
        self._feed(rest)
        parse(self._parser, b"", self._done, last=True)

    def _up_to_rows(self, data: bytes, at: int) -> int:
        """Read up to the first row of a section; where no section begins, all but what may be half of its tag."""
        found = self._begins.search(data, at) if self.scans else None
        if found is not None:
            self._feed(data[at : found.end()])
            self._in_rows = self._path.between_rows
            return found.end()
        end = max(at, len(data) - self._longest_tag) if self.scans else len(data)
        self._feed(data[at:end])
        return end

    def _next_row(self, data: bytes, at: int) -> int:
        """Read up to the next markup but one; where there is none yet, nothing."""
        start = data.find(b"<", at)
        end = data.find(b"<", start + 1) if start >= 0 else -1
        if end < 0:
            return at
        row = data[start:end].rstrip(_BLANKS)
        found = self._scanner.match(row) if at == start or data[at:start].isspace() else None
        if found is not None:
            self._sink.row(self._path.section, *found)
            self._blanks += (data[at:start], b" " * len(row), data[start + len(row) : end])
            return end
        rows = self._path.rows
        self._feed(data[at:end])
        if self._path.between_rows and self._path.rows == rows + 1:
            self._scanner.learn(*self._path.last_row)
        else:
            self._in_rows = False
        return end

    def _feed(self, data: bytes) -> None:
        if self._blanks:
            data = b"".join(self._blanks) + data
            self._blanks.clear()
        if not data:
            return
        parse(self._parser, data, self._done, last=False)
        self._done += len(data)
        if self._done - self._parser.CurrentByteIndex > _LARGEST_ELEMENT:
            raise self._too_large()
        if len(self._parser.intern) > _MOST_NAMES:
            raise FlexSyntaxError(f"The XML has more than {_MOST_NAMES:,} names of elements and attributes.")

    def _too_large(self) -> FlexSyntaxError:
        return FlexSyntaxError(f"The XML has an element of more than 8 MiB at line {self._parser.CurrentLineNumber}.")


def _mapping(flat: list[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))
