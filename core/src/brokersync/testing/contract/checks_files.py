"""Checks of statements that a user downloads: recognised, read whole or refused whole, and read alike."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from io import BytesIO
from typing import Final

from brokersync.errors import BrokerConfigError, BrokerError, BrokerInputNeededError
from brokersync.provider import StatementReader
from brokersync.testing.answers import Body, take_apart
from brokersync.testing.contract.base import ContractBase
from brokersync.testing.contract.expecting import BrokenContract, content, expect, raw_of, told
from brokersync.testing.contract.showing import expect_for_the_user
from brokersync.testing.contract.values import as_json, walked
from brokersync.types import StatementHints, TradeBooking, TradePage

_HEAD: Final = 64 * 1024
_NO_STATEMENTS: Final = {
    "nothing": b"",
    "a page of HTML": b"<!DOCTYPE html><html><body><h1>Log in</h1></body></html>",
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(64),
    "a letter": b"Dear customer, thank you for your order.\n" * 20,
}
_Statement = tuple[bytes, StatementHints]


class FileChecks(ContractBase):
    """Of files that a user downloads."""

    async def test_a_statement_is_recognised_and_names_its_source(self) -> None:
        """By its first 64 KiB, as one of the manifest's sources of files."""
        files = {source.name for source in self.manifest.sources if source.files}
        found = set()
        for body, hints in self._statements():
            expect(self._reader().recognises(body[:_HEAD]), "a statement is not recognised by its first 64 KiB")
            found.add(self._source(body, hints))
        expect(found <= files, f"statements name the sources {sorted(found - files)}, which are no sources of files")
        expect(files <= found, f"no statement is of {sorted(files - found)}: give one in `statements`")

    async def test_what_is_no_statement_is_refused(self) -> None:
        """Not recognised, or told to the user in words."""
        self._statements()
        for what, body in _NO_STATEMENTS.items():
            if not self._reader().recognises(body[:_HEAD]):
                continue
            try:
                self._source(body, StatementHints())
            except BrokerError as error:
                expect(not isinstance(error, BrokerConfigError), f"{what} is told as {told(error)}")
                expect_for_the_user(error, what)
            except Exception as error:
                raise BrokenContract(f"{what} is told as {told(error)}, not as a BrokerError") from error
            else:
                expect(False, f"{what} is taken for a statement")

    async def test_a_statement_that_broke_off_is_refused_whole(self) -> None:
        """Where its format has an end: a `BrokerError` of `source`, before any page is given."""
        tried = False
        for body, hints in self._statements():
            for part in self._broken(body, hints):
                tried = True
                try:
                    self._source(part, hints)
                except BrokerError as error:
                    expect_for_the_user(error, "a statement that broke off")
                except Exception as error:
                    raise BrokenContract(f"a statement that broke off is told as {told(error)}") from error
                else:
                    expect(False, "`source` accepts a statement that broke off: check the whole file in it")
        if not tried:
            self.cannot_try(
                "no statement has an end that could be missed, since each is accepted without its last line: where the"
                " format has one, such as a count of rows, say statements_end = True in the suite's class"
            )

    async def test_a_statement_is_read_alike_each_time(self) -> None:
        """Twice, and with fields that are new or in another order."""
        for body, hints in self._statements():
            before = self._read(body, hints)
            expect(before, "a statement gives no row, so nothing can be tried")
            self._alike(before, self._read(body, hints), "read again")
            for what, change in (("with a field that is new", _with_more), ("with its fields turned round", _turned)):
                whole = take_apart(body)
                if whole is not None and change(whole):
                    self._alike(before, self._read(whole.dump(), hints), what)

    async def test_rows_of_statements_are_as_exact_as_others(self) -> None:
        """No float, and a raw row for each."""
        for body, hints in self._statements():
            for page in self._pages(body, hints):
                for path, value in walked(page, "page"):
                    expect(not isinstance(value, float), f"{path} is the float {value!r}: read numbers as Decimal")
                for booking in page.bookings:
                    expect(raw_of(booking), f"{booking.booking_id} has no raw row: TradeBooking.of(trade, raw=row)")
                    json.dumps(raw_of(booking), default=as_json)

    def _statements(self) -> list[_Statement]:
        files = [source.name for source in self.manifest.sources if source.files]
        self.needs(files, "sources of files")
        found = list(self.statements())
        expect(found, f"provider.toml has the sources of files {files}: give some, made up, in `statements`")
        return found

    def _broken(self, body: bytes, hints: StatementHints) -> list[bytes]:
        """Parts of a statement that are not whole; none where nothing says that its format has an end."""
        text = body.rstrip()
        parts = [body[: len(body) // 2], text[:-3]]
        if take_apart(body) is not None and text.lstrip()[:1] in (b"<", b"{", b"["):
            return parts
        shorter = text.rpartition(b"\n")[0] + b"\n"
        if self.statements_end:
            return [*parts, shorter]
        try:
            self._source(shorter, hints)
        except BrokerError:
            return [*parts, shorter]  # it misses what the last line says
        return []

    def _reader(self) -> StatementReader:
        make = self.loaded.spec.statements
        if make is None:
            raise BrokenContract("provider.toml has sources of files, and the spec no `statements`")
        return make(self.key)

    def _source(self, body: bytes, hints: StatementHints) -> str:
        try:
            return self._reader().source(BytesIO(body), hints)
        except BrokerInputNeededError as error:
            raise BrokenContract(f"a statement needs {sorted(error.fields)}: give hints with it") from error

    def _pages(self, body: bytes, hints: StatementHints) -> Iterator[TradePage]:
        self._source(body, hints)
        return self._reader().read_statement(BytesIO(body), hints)

    def _read(self, body: bytes, hints: StatementHints) -> list[TradeBooking]:
        rows = [content(booking) for page in self._pages(body, hints) for booking in page.bookings]
        return sorted(rows, key=lambda one: (one.booking_id, repr(one)))

    def _alike(self, before: Iterable[TradeBooking], after: Iterable[TradeBooking], what: str) -> None:
        one, other = list(before), list(after)
        expect(
            [row.booking_id for row in one] == [row.booking_id for row in other], f"a statement {what} gives other rows"
        )
        for mine, theirs in zip(one, other, strict=True):
            expect(mine == theirs, f"a statement {what} gives another booking {mine.booking_id}")


def _with_more(body: Body) -> int:
    for row in (rows := [row for _, row in body.rows()]):
        row["unheardOf"] = "x"
    return len(rows)


def _turned(body: Body) -> int:
    for row in (rows := body.everything()):
        turned = list(row.items())[::-1]
        row.clear()
        row.update(turned)
    return len(rows)
