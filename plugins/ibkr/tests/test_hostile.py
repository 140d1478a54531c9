"""Files made to do harm: each ends in one clear error, soon, in little memory, and shows none of its content."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from io import BytesIO, RawIOBase
from typing import Any, BinaryIO

import pytest

from brokersync.plugin import BrokerError, BrokerResponseError, Fault, StatementHints
from brokersync_ibkr import accountbook, documents
from brokersync_ibkr.pages import Reading, read_pages
from brokersync_ibkr.statements import FlexStatementReader

SECRET = "MARK77"
HEAD = b'<FlexQueryResponse type="AF"><FlexStatements><FlexStatement accountId="U1" fromDate="20240311"'
HEAD += b' toDate="20240315" whenGenerated="20240318;061500">'
TAIL = b"</FlexStatement></FlexStatements></FlexQueryResponse>"
ROW = b'<Trade accountId="U1" symbol="MARK77" transactionID="1" tradeID="1" quantity="1" tradePrice="1" />'
MOST_KEPT = 40_000_000


def refusal(file: BinaryIO) -> BrokerError:
    """What the user is told of a file that is checked and then read."""
    with pytest.raises(BrokerError) as caught:
        read(file)
    return caught.value


def read(file: BinaryIO) -> None:
    reader = FlexStatementReader()
    reader.source(file, StatementHints())
    file.seek(0)
    for _ in reader.read_statement(file, StatementHints()):
        pass


ENTITIES = {
    "a billion laughs": (
        b'<!DOCTYPE x [<!ENTITY a "MARK77"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">'
        b'<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;"><!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;">]>'
    ),
    "a long entity many times": b'<!DOCTYPE x [<!ENTITY a "' + b"MARK77" * 10_000 + b'">]>',
    "a file of this machine": b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
    "an address": b'<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd">',
    "a parameter entity": b'<!DOCTYPE x [<!ENTITY % p SYSTEM "http://127.0.0.1:9/x.dtd"> %p;]>',
    "an attribute by default": b'<!DOCTYPE x [<!ATTLIST Trade quantity CDATA "1000000">]>',
    "an empty document type": b"<!DOCTYPE FlexQueryResponse>",
}


@pytest.mark.parametrize("prolog", ENTITIES.values(), ids=list(ENTITIES))
def test_document_types_and_entities_are_refused(prolog: bytes) -> None:
    error = refusal(BytesIO(prolog + HEAD + b"<Trades>" + ROW + b"&a;" * 50 + b"</Trades>" + TAIL))
    assert isinstance(error, BrokerResponseError)
    assert error.remedy
    assert SECRET not in str(error)


DAMAGED = {
    "an entity that nobody declared": HEAD + b"<Trades>&laughs;</Trades>" + TAIL,
    "bytes that are no utf-8": HEAD + b'<Trades><Trade symbol="\xff\xfe MARK77" /></Trades>' + TAIL,
    "half a letter": HEAD + b'<Trades><Trade symbol="MARK77\xc3" /></Trades>' + TAIL,
    "a letter in too many bytes": HEAD + b'<Trades><Trade symbol="\xc0\xaf" /></Trades>' + TAIL,
    "half of a pair": HEAD + b'<Trades><Trade symbol="\xed\xa0\x80" /></Trades>' + TAIL,
    "a control character": HEAD + b'<Trades><Trade symbol="\x01" /></Trades>' + TAIL,
    "a control character by number": HEAD + b'<Trades><Trade symbol="&#1;" /></Trades>' + TAIL,
    "a letter beyond all letters": HEAD + b'<Trades><Trade symbol="&#x110000;" /></Trades>' + TAIL,
    "NUL bytes": HEAD + b"<Trades>\x00\x00</Trades>" + TAIL,
    "utf-16 without its mark": b"\x00".join((HEAD + TAIL)[i : i + 1] for i in range(len(HEAD + TAIL))),
    "utf-16 that says utf-8": '<?xml version="1.0" encoding="UTF-8"?>'.encode("utf-16-le") + HEAD + TAIL,
    "an encoding of seven bits": b'<?xml version="1.0" encoding="UTF-7"?>' + HEAD + b"+ADw-Trades+AD4-" + TAIL,
    "an attribute twice": HEAD + b'<Trades><Trade symbol="MARK77" symbol="b" /></Trades>' + TAIL,
    "two documents": (HEAD + b"<Trades>" + ROW + b"</Trades>" + TAIL) * 2,
    "a tag that is never closed": HEAD + b"<Trades>" + ROW,
    "an unbound prefix's end": HEAD + b"<Trades><a:b></Trades>" + TAIL,
    "another root": b"<FlexQueryResponses>" + HEAD + TAIL + b"</FlexQueryResponses>",
}


@pytest.mark.parametrize("body", DAMAGED.values(), ids=list(DAMAGED))
def test_broken_xml_and_broken_encodings_are_one_error_that_says_what_to_do(body: bytes) -> None:
    error = refusal(BytesIO(body))
    assert isinstance(error, BrokerResponseError)
    assert error.fault is Fault.USER
    assert error.remedy
    assert SECRET not in str(error)


class Endless(RawIOBase):
    """A file of any size that never stands in the memory: `parts` between a head and a tail."""

    def __init__(self, head: bytes, parts: Callable[[int], bytes], tail: bytes, size: int) -> None:
        self._of = (head, parts, tail, size)
        self.seek(0)

    def _made(self) -> Iterator[bytes]:
        head, parts, tail, size = self._of
        yield head
        number = given = 0
        while given < size:
            block = b"".join(map(parts, range(number, number + 1000)))
            number, given = number + 1000, given + len(block)
            yield block
        yield tail

    def seek(self, offset: int, whence: int = 0, /) -> int:
        assert whence == 0
        self._left, self._waiting, self._place = self._made(), b"", 0
        while self._place < offset:
            self.read(min(offset - self._place, 1 << 16))
        return self._place

    def tell(self) -> int:
        return self._place

    def read(self, amount: int = -1, /) -> bytes:
        while len(self._waiting) < amount and (more := next(self._left, b"")):
            self._waiting += more
        given, self._waiting = self._waiting[:amount], self._waiting[amount:]
        self._place += len(given)
        return given


LARGE = 20_000_000
HUGE = {
    "depth": (Endless(HEAD, lambda _: b"<a>", b"", LARGE), "in each other"),
    "names of elements": (
        Endless(HEAD + b"<Trades>", lambda n: b"<r%d />" % n, b"</Trades>" + TAIL, LARGE),
        "names of elements",
    ),
    "names of attributes": (
        Endless(HEAD + b"<Trades>", lambda n: b"<Trade a%d='' />" % n, b"</Trades>" + TAIL, LARGE),
        "names of elements",
    ),
    "attributes of one element": (
        Endless(HEAD + b"<Trades><Trade ", lambda n: b"a%d='' " % n, b"/></Trades>" + TAIL, LARGE),
        "more than 8 MiB",
    ),
    "one value": (Endless(HEAD + b"<Trades><Trade a='", lambda _: b"x" * 100, b"", LARGE), "more than 8 MiB"),
    "one comment": (Endless(HEAD + b"<!--", lambda _: b"x" * 100, b"-->" + TAIL, LARGE), "more than 8 MiB"),
    "text": (Endless(HEAD + b"<Trades>", lambda _: b"x" * 100, b"", LARGE), "more than 8 MiB"),
    "accounts": (
        Endless(HEAD + b"<Trades>", lambda n: ROW.replace(b"U1", b"U%d" % n), b"</Trades>" + TAIL, LARGE),
        "accounts",
    ),
    "aliases": (
        Endless(HEAD + b"<Trades>", lambda n: ROW.replace(b"U1", b"Pot %d" % n), b"</Trades>" + TAIL, LARGE),
        "accounts",
    ),
    "aliases of an account": (
        Endless(
            HEAD + b"<Trades>", lambda n: ROW.replace(b"U1", b"U1' acctAlias='P%d" % n), b"</Trades>" + TAIL, LARGE
        ),
        "accounts",
    ),
    "statements": (
        Endless(HEAD + b"</FlexStatement>", lambda _: b"<FlexStatement/>", b"", LARGE),
        "statements",
    ),
}


@pytest.mark.parametrize(("file", "words"), HUGE.values(), ids=list(HUGE))
def test_more_of_anything_than_a_statement_has_is_refused_in_little_memory(
    file: Any, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the limits are for 200 MB, which would take minutes here
    monkeypatch.setattr(documents, "_MOST_STATEMENTS", 40_000)
    monkeypatch.setattr(accountbook, "_MOST_ACCOUNTS", 5_000)
    file.seek(0)
    tracemalloc.start()
    try:
        error = refusal(file)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert words in error.message
    assert error.remedy
    assert peak < MOST_KEPT


CHARGES = b"totalCommission='-1' brokerExecutionCharge='-0.5' thirdPartyExecutionCharge='-0.5'"


def test_details_of_commissions_are_looked_up_in_little_memory_however_many_there_are() -> None:
    numbers = range(6_000)
    rows = b"".join(b"<Trade accountId='U1' tradeID='%d' transactionID='%d'/>" % (n, n) for n in numbers)
    details = b"".join(b"<UnbundledCommissionDetail tradeID='%d' %b/>" % (n, CHARGES) for n in numbers)
    section = b"<UnbundledCommissionDetails>%b</UnbundledCommissionDetails>" % details
    file = BytesIO(HEAD + b"<Trades>%b</Trades>" % rows + section + TAIL)
    tracemalloc.start()
    try:
        rows_read = sum(page.rows or 0 for page in read_pages(file, Reading()))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert rows_read == len(numbers)
    assert peak < 2_500_000
