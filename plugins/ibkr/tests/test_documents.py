from __future__ import annotations

import tracemalloc
from collections.abc import Mapping
from io import BytesIO, RawIOBase
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokersync_ibkr import documents
from brokersync_ibkr.documents import read_document
from brokersync_ibkr.payloads import FlexSyntaxError

BIG = 8_000_000  # bytes of the statement that is read in bounded memory; the promise is made for 200 MB
MOST_KEPT = 6_000_000


class Told:
    """Writes down what a document tells."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def document(self, attributes: Mapping[str, str]) -> None:
        self.heard.append(("document", dict(attributes)))

    def statement(self, attributes: Mapping[str, str]) -> None:
        self.heard.append(("statement", attributes["accountId"]))

    def section(self, name: str, attributes: Mapping[str, str]) -> None:
        self.heard.append(("section", name, dict(attributes)))

    def row(self, section: str, element: str, names: list[str], values: list[str]) -> None:
        self.heard.append(("row", section, element, dict(zip(names, values, strict=True))))

    def statement_ends(self) -> None:
        self.heard.append("end")


def read(body: bytes) -> list[Any]:
    told = Told()
    for _ in read_document(BytesIO(body), told):
        pass
    return told.heard


def refusal(body: bytes) -> str:
    with pytest.raises(FlexSyntaxError) as caught:
        read(body)
    return caught.value.message


def test_rows_are_told_with_their_section_and_other_sections_only_by_name(flex: Any) -> None:
    body = flex.document(
        flex.statement(
            [flex.trade(), flex.trade(element="Order")],
            extra="<CashTransactions><CashTransaction /></CashTransactions><OptionEAE><OptionEAE /></OptionEAE>",
        )
    )
    assert [heard if heard == "end" else heard[:3] for heard in read(body)] == [
        ("document", {"queryName": "made up", "type": "AF"}),
        ("statement", "U4711001"),
        ("section", "CashTransactions", {}),
        ("section", "OptionEAE", {}),
        ("section", "Trades", {}),
        ("row", "Trades", "Trade"),
        ("row", "Trades", "Order"),
        "end",
    ]


def test_only_children_of_a_trades_section_are_rows(flex: Any) -> None:
    row = flex.trade()
    body = flex.document(flex.statement(["<Group>" + row + "</Group>"], extra=f"<Adjustments>{row}</Adjustments>"))
    assert [heard[2] for heard in read(body) if heard[0] == "row"] == ["Group"]


@settings(deadline=None)
@given(sizes=st.lists(st.integers(1, 400), min_size=1, max_size=20))
def test_any_cutting_of_the_bytes_tells_the_same(flex: Any, sizes: list[int]) -> None:
    body = flex.document(
        flex.statement([flex.trade(number, description="Ärger & <Söhne>") for number in range(3)]),
        flex.statement([flex.confirm()], section="TradeConfirms"),
        prolog="<?xml version='1.0' encoding='UTF-8'?>\n",
    )

    class Trickle(RawIOBase):
        def __init__(self) -> None:
            self.left, self.turn = BytesIO(body), 0

        def read(self, _: int = -1) -> bytes:
            self.turn += 1
            return self.left.read(sizes[self.turn % len(sizes)])

    told = Told()
    for _ in read_document(Trickle(), told):  # type: ignore[arg-type]  # only read() is needed
        pass
    assert told.heard == read(body)


@pytest.mark.parametrize(
    "prolog",
    [
        '<!DOCTYPE FlexQueryResponse [<!ENTITY a "bbbb">]>',
        '<!DOCTYPE FlexQueryResponse SYSTEM "file:///etc/hostname">',
        '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY % p SYSTEM "http://example.invalid/x.dtd"> %p;]>',
    ],
)
def test_a_document_type_is_refused_before_anything_is_read(flex: Any, prolog: str) -> None:
    told = Told()
    with pytest.raises(FlexSyntaxError, match="document type"):
        for _ in read_document(BytesIO(flex.document(flex.statement(), prolog=prolog)), told):
            pass
    assert not told.heard


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.9, 0.999])
def test_a_cut_off_document_says_so_with_the_place_and_none_of_the_content(flex: Any, keep: float) -> None:
    body = flex.document(flex.statement([flex.trade()]))
    message = refusal(body[: int(len(body) * keep)])
    assert "cut off: it ends at line 1, column" in message
    assert "U4711001" not in message


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<FlexQueryResponse><a></b></FlexQueryResponse>", "damaged at line 1, column"),
        (b"<FlexQueryResponse a='1' a='2' />", "damaged"),
        (b"<FlexQueryResponse>&unknown;</FlexQueryResponse>", "damaged"),
        (b"<FlexQueryResponse></FlexQueryResponse><x/>", "damaged"),
        (b"<FlexQueryResponse a='\xe4\xf6' />", "not in the character encoding"),
        (b"<?xml version='1.0' encoding='made-up-9'?><FlexQueryResponse />", "encoding that is not known"),
        (b"<?xml version='1.0' encoding='shift_jis'?><FlexQueryResponse />", "encoding that is not known"),
        (b"<Something />", "first element is not FlexQueryResponse"),
    ],
)
def test_damage_is_told_apart(body: bytes, words: str) -> None:
    assert words in refusal(body)


def test_another_declared_encoding_is_read(flex: Any) -> None:
    text = flex.document(flex.statement([flex.trade(description="Käse")])).decode()
    body = ("<?xml version='1.0' encoding='ISO-8859-1'?>" + text).encode("latin-1")
    assert [heard[3]["description"] for heard in read(body) if heard[0] == "row"] == ["Käse"]
    assert len(read(text.encode("utf-16"))) == len(read(body))


def test_blanks_before_the_declaration_are_passed_over(flex: Any) -> None:
    body = b"<?xml version='1.0'?>" + flex.document(flex.statement([flex.trade()]))
    assert read(b" \r\n" * 50_000 + body) == read(body)


def test_one_endless_element_is_refused_before_it_fills_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "_LARGEST_ELEMENT", 200_000)
    body = b"<FlexQueryResponse><a b='" + b"x" * 1_000_000 + b"' /></FlexQueryResponse>"
    assert "more than 8 MiB" in refusal(body)


def test_a_row_that_never_ends_is_refused_as_well(flex: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "_LARGEST_ELEMENT", 200_000)
    rows = [flex.trade(number) for number in range(60)]
    body = flex.document(flex.statement([*rows, "x" * 1_000_000]))
    assert "more than 8 MiB" in refusal(body)


def test_what_a_listener_raises_is_not_taken_for_damage(flex: Any) -> None:
    class Angry(Told):
        def section(self, name: str, attributes: Mapping[str, str]) -> None:
            raise ValueError("a mistake of our own")

    reading = read_document(BytesIO(flex.document(flex.statement())), Angry())
    with pytest.raises(ValueError, match="a mistake of our own"):
        next(reading)


def test_a_file_of_blanks_is_cut_off() -> None:
    assert "cut off" in refusal(b" \n ")


class Endless(RawIOBase):
    """A statement of some size that never stands in the memory."""

    def __init__(self, flex: Any, size: int) -> None:
        self.head, self.tail = flex.document(flex.statement([b"@".decode()])).split(b"@")
        self.rows = "".join(flex.trade(number) for number in range(1000)).encode()
        self.size = size
        self.seek(0)

    def tell(self) -> int:
        return self.place

    def seek(self, place: int, whence: int = 0) -> int:
        assert whence == 0
        self.place, self.given, self.waiting, self.count = 0, 0, self.head, 0
        while self.place < place:
            self.read(min(place - self.place, 1 << 20))
        return self.place

    def read(self, amount: int = -1) -> bytes:
        while len(self.waiting) < amount and self.given < self.size:
            self.waiting += self.rows
            self.given += len(self.rows)
            self.count += 1000
            if self.given >= self.size:
                self.waiting += self.tail
        chunk, self.waiting = self.waiting[:amount], self.waiting[amount:]
        self.place += len(chunk)
        return chunk


def test_a_big_statement_is_read_in_bounded_memory(flex: Any) -> None:
    from brokersync_ibkr.pages import Reading, read_pages

    file, bookings, largest = Endless(flex, BIG), 0, 0
    tracemalloc.start()
    try:
        for page in read_pages(file, Reading()):  # type: ignore[arg-type]  # only read(), seek() and tell() are needed
            bookings += len(page.bookings)
            largest = max(largest, len(page.bookings))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert file.given >= BIG
    assert bookings == file.count
    assert largest <= 500
    assert peak < MOST_KEPT
