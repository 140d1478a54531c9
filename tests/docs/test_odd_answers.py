"""The page of pages by offset, XML and wall times: its code does what it says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from brokersync.plugin import BrokerCursorError, BrokerResponseError

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "read-odd-answers.md").read_text(encoding="utf-8")
MADE: dict[str, Any] = {}
for _block in re.findall(r"```py\n(.*?)```", PAGE, re.DOTALL):
    exec(compile(_block, "docs/how-to/read-odd-answers.md", "exec", dont_inherit=True), MADE)
_PAGE = 5
BERLIN = ZoneInfo("Europe/Berlin")


class Broker:
    """A list that begins with its newest row, of which a page has five."""

    def __init__(self, count: int) -> None:
        self.rows = [{"id": f"E{number}"} for number in range(count, 0, -1)]

    def add(self, count: int) -> None:
        newest = int(self.rows[0]["id"][1:])
        self.rows = [{"id": f"E{number}"} for number in range(newest + count, newest, -1)] + self.rows

    async def ask(self, offset: int) -> tuple[Sequence[dict[str, str]], int]:
        return self.rows[offset : offset + _PAGE], len(self.rows)


async def read(broker: Broker, added: int) -> list[str]:
    found: list[str] = []
    cursor = None
    for turn in range(50):
        rows, cursor = await MADE["page_behind"](cursor, broker.ask)
        found += [row["id"] for row in rows]
        if cursor is None:
            return found
        if turn < 3:
            broker.add(added)
    raise AssertionError("it never ends")


@pytest.mark.parametrize("count", [1, 5, 6, 9, 23])
@pytest.mark.parametrize("added", [0, 1, 4, 5, 40])
async def test_rows_that_are_added_in_front_lose_and_double_none(count: int, added: int) -> None:
    assert await read(Broker(count), added) == [f"E{number}" for number in range(count, 0, -1)]


async def test_a_row_that_went_away_begins_the_window_anew() -> None:
    broker = Broker(23)
    _, cursor = await MADE["page_behind"](None, broker.ask)
    del broker.rows[4]
    with pytest.raises(BrokerCursorError):
        await MADE["page_behind"](cursor, broker.ask)
    with pytest.raises(BrokerCursorError):
        await MADE["page_behind"]("7", broker.ask)


def test_rows_of_xml_are_plain_values() -> None:
    body = b'<a><day><t ref="1"><px>1.50</px><fee>1</fee><fee cur="X">2</fee></t></day><t><px/></t></a>'
    assert MADE["rows_of"](body, "t") == [
        {"ref": "1", "px": "1.50", "fee": ["1", {"cur": "X", "text()": "2"}]},
        {"px": ""},
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"<a><t>1</t>",
        b"",
        b"<html><p>",
        b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE a><a/>'.encode("utf-16"),
    ],
)
def test_xml_that_is_cut_off_or_has_a_document_type_is_an_error(body: bytes) -> None:
    with pytest.raises(BrokerResponseError):
        MADE["rows_of"](body, "t")


def test_an_hour_that_comes_twice_is_no_guess() -> None:
    twice, never = datetime(2026, 10, 25, 2, 30), datetime(2026, 3, 29, 2, 30)
    assert MADE["instant"](datetime(2026, 7, 1, 12), BERLIN) == datetime(2026, 7, 1, 10, tzinfo=UTC)
    assert MADE["instant"](twice, BERLIN, 0) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert MADE["instant"](twice, BERLIN, 1) == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    for wall, why in ((twice, "was twice"), (never, "never was")):
        with pytest.raises(ValueError, match=why):
            MADE["instant"](wall, BERLIN)
