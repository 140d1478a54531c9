"""The short way past the XML parser tells what the parser tells, whatever the document."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO, RawIOBase
from typing import Any
from xml.sax.saxutils import quoteattr

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokersync_ibkr import rowscan
from brokersync_ibkr.documents import read_document
from brokersync_ibkr.payloads import FlexSyntaxError
from brokersync_ibkr.rowscan import RowScanner

Heard = list[tuple[Any, ...]]


@pytest.fixture(autouse=True)
def learn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rowscan, "_WORTH_LEARNING", 1)


class Told:
    def __init__(self) -> None:
        self.heard: Heard = []

    def document(self, attributes: Mapping[str, str]) -> None:
        self.heard.append(("document", dict(attributes)))

    def statement(self, attributes: Mapping[str, str]) -> None:
        self.heard.append(("statement", dict(attributes)))

    def section(self, name: str, attributes: Mapping[str, str]) -> None:
        self.heard.append(("section", name, dict(attributes)))

    def row(self, section: str, element: str, names: list[str], values: list[str]) -> None:
        self.heard.append(("row", section, element, tuple(names), tuple(values)))

    def statement_ends(self) -> None:
        self.heard.append(("end",))


class Trickle(RawIOBase):
    """Gives so many bytes at a time, in turn."""

    def __init__(self, body: bytes, sizes: list[int]) -> None:
        self.left, self.sizes, self.turn = BytesIO(body), sizes, 0

    def read(self, _: int = -1) -> bytes:
        self.turn += 1
        return self.left.read(self.sizes[self.turn % len(self.sizes)])


def told(body: bytes, *, scan: bool, sizes: list[int]) -> tuple[Heard, str]:
    sink = Told()
    try:
        for _ in read_document(Trickle(body, sizes), sink, scan=scan):  # type: ignore[arg-type]  # it can read
            pass
    except FlexSyntaxError as error:
        return sink.heard, error.message
    return sink.heard, ""


NAMES = st.lists(st.sampled_from(["accountId", "symbol", "notes", "quantity", "buySell"]), unique=True, max_size=4)
VALUES = st.text(st.sampled_from("aB7.,;/>'\"&<é\t\n -="), max_size=6)
GAPS = st.sampled_from(["", "\n", "  \n\t"])
ODD = st.sampled_from(
    [
        "<!-- <Trade symbol='x' /> <Trade symbol='y' /> -->",
        "<![CDATA[<Trade symbol='z' />]]>",
        "<?odd <Trade /> ?>",
        "text",
        "<Trade/>",
        "<Trade></Trade>",
        "<Trade a='1' ></Trade >",
        "<Deep><Trade a='1' /></Deep>",
        "<Trades></Trades>",
    ]
)
DAMAGE = st.tuples(st.floats(0, 1), st.sampled_from(["<", ">", '"', "'", "&", "/", "\x00", " ", "é", "", "<!--"]))


@st.composite
def rows(draw: st.DrawFn) -> str:
    shape = draw(NAMES)
    element = draw(st.sampled_from(["Trade", "Order", "TradeConfirm"]))
    made = []
    for _ in range(draw(st.integers(1, 4))):
        attributes = "".join(f" {name}={quoteattr(draw(VALUES))}" for name in shape)
        made.append(f"<{element}{attributes}{draw(st.sampled_from(['', ' ']))}/>{draw(GAPS)}")
    return "".join(made)


@st.composite
def bodies(draw: st.DrawFn) -> str:
    parts = []
    for _ in range(draw(st.integers(0, 3))):
        tag = draw(st.sampled_from(["Trades", "TradeConfirms", "CashTransactions"]))
        opened = draw(st.sampled_from([f"<{tag}>", f"<{tag} >", f"<!--<{tag}>--><{tag}>"]))
        inside = draw(st.lists(st.one_of(rows(), rows(), rows(), ODD), max_size=5))
        parts.append(opened + draw(GAPS) + draw(GAPS).join(inside) + f"</{tag}>")
    statement = f"<FlexStatement accountId='U1'>{''.join(parts)}</FlexStatement>"
    return (
        f"<FlexQueryResponse><FlexStatements>{statement * draw(st.integers(1, 2))}</FlexStatements></FlexQueryResponse>"
    )


SIZES = st.lists(st.integers(1, 300), min_size=1, max_size=5)


@settings(deadline=None)
@given(body=bodies(), sizes=SIZES)
def test_both_ways_tell_the_same_of_any_document(body: str, sizes: list[int]) -> None:
    data = body.encode()
    assert told(data, scan=True, sizes=sizes) == told(data, scan=False, sizes=[len(data)])


@settings(deadline=None)
@given(
    body=bodies(),
    sizes=SIZES,
    damage=st.lists(DAMAGE, min_size=1, max_size=3),
)
def test_both_ways_find_the_same_damage_at_the_same_place(
    body: str, sizes: list[int], damage: list[tuple[float, str]]
) -> None:
    for where, what in damage:
        at = int(where * (len(body) - 1))
        body = body[:at] + what + body[at + 1 :]
    data = body.encode()
    short, long = told(data, scan=True, sizes=sizes), told(data, scan=False, sizes=[len(data)])
    assert short[1] == long[1]
    if not short[1]:
        assert short[0] == long[0]
    else:
        assert short[0][: len(long[0])] == long[0][: len(short[0])]


def test_plain_rows_do_take_the_short_way(flex: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    matched = []
    match = RowScanner.match
    monkeypatch.setattr(RowScanner, "match", lambda self, row: matched.append(match(self, row)) or matched[-1])
    body = flex.document(flex.statement(flex.trade(number) + "\n" for number in range(50)))
    assert told(body, scan=True, sizes=[65536]) == told(body, scan=False, sizes=[65536])
    assert sum(found is not None for found in matched) == 49


@pytest.mark.parametrize("encoding", ["utf-7", "utf-16", "cp037"])
def test_where_bytes_may_mean_other_letters_the_parser_reads_alone(flex: Any, encoding: str) -> None:
    declared = encoding.upper()
    text = (
        f"<?xml version='1.0' encoding='{declared}'?>"
        + flex.document(flex.statement([flex.trade(), flex.trade(1)])).decode()
    )
    body = text.encode(encoding)
    assert told(body, scan=True, sizes=[len(body)]) == told(body, scan=False, sizes=[len(body)])


@pytest.mark.parametrize(
    "row",
    [
        b"",
        b"<Trade />",
        b"<Trade symbol='x' />",
        b'<Trade symbol="x" symbol="y" />',
        b'<Trade  symbol="x" />',
        b'<Trade symbol="x"/ >',
        b'<Trade symbol="x">',
        b'<Trade symbol="&lt;" />',
        b'<Trade symbol="<" />',
        b'<Trade symbol="\xc3\xa9" />',
        b'<Trade symbol="\t" />',
        b'<Trade symbol="\x7f" />',
        b'<Order symbol="x" />',
        b'<Trade symbol="x" /> text',
    ],
)
def test_whatever_is_not_plain_is_left_to_the_parser(row: bytes) -> None:
    scanner = RowScanner()
    scanner.learn("Trade", ["symbol"])
    assert scanner.match(b'<Trade symbol="x>/ y" />') == ("Trade", ["symbol"], ["x>/ y"])
    assert scanner.match(b'<Trade symbol=""/>') == ("Trade", ["symbol"], [""])
    assert scanner.match(row) is None


def test_a_name_that_is_no_plain_word_is_never_learnt() -> None:
    scanner = RowScanner()
    scanner.learn("Trade", ["sym.bol"])
    assert scanner.match(b'<Trade sym.bol="x" />') is None
    assert scanner.match(b'<Trade symxbol="x" />') is None
