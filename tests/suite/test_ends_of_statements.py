"""A CSV whose last line shows that it is whole is tried without it; one that has no such line is not."""

from __future__ import annotations

from typing import Any

import pytest

from brokersync.errors import BrokerResponseError, Fault
from brokersync.testing.contract.checks_files import FileChecks
from brokersync.testing.contract.expecting import BrokenContract
from brokersync.types import StatementHints

_COUNTED = b"Export;Acme\r\nid;price\r\n1;10\r\n2;11\r\nRows;2\r\n"


class Looking(FileChecks):
    """Of a reader that compares the count in the last line."""

    def _statements(self) -> list[tuple[bytes, StatementHints]]:
        return [(_COUNTED, StatementHints())]

    def _source(self, body: bytes, hints: StatementHints) -> str:
        lines = body.decode().splitlines()
        if lines[-1:] != [f"Rows;{len(lines) - 3}"]:
            raise BrokerResponseError("The file is cut off.", remedy="Download it again.", fault=Fault.USER)
        return "statements"


class Blind(Looking):
    """Of one that does not."""

    def _source(self, body: bytes, hints: StatementHints) -> str:
        return "statements"


class Crashing(Looking):
    """Of one that falls over a file of half a line."""

    def _source(self, body: bytes, hints: StatementHints) -> str:
        if body != _COUNTED and body.endswith(b"\n"):
            super()._source(body, hints)
        return {_COUNTED: "statements"}[body]


async def tried(suite: Any) -> None:
    await suite.test_a_statement_that_broke_off_is_refused_whole()


async def test_a_reader_that_looks_at_the_last_line_is_tried_and_holds() -> None:
    await tried(Looking())


async def test_a_reader_that_misses_the_last_line_and_no_other_end_is_found() -> None:
    with pytest.raises(BrokenContract, match="is told as KeyError"):
        await tried(Crashing())


async def test_an_end_that_is_declared_must_be_looked_at() -> None:
    class Declared(Blind):
        statements_end = True

    with pytest.raises(BrokenContract, match="accepts a statement that broke off"):
        await tried(Declared())


async def test_without_a_declaration_it_is_said_how_to_make_one() -> None:
    with pytest.raises(pytest.skip.Exception, match="say statements_end = True in the suite's class"):
        await tried(Blind())
