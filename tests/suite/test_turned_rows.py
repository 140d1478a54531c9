"""Rows are put in another order, but for the one that a cursor may be made of."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from xml.etree import ElementTree

import pytest

from brokersync.testing.answers import take_apart
from brokersync.testing.contract.alterations import turn_rows

DAYS = [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]


def as_json(days: list[list[int]]) -> bytes:
    return json.dumps({"days": [{"fills": [{"id": str(one)} for one in day]} for day in days]}).encode()


def as_xml(days: list[list[int]]) -> bytes:
    inside = "".join(f"<day at='{day[0]}'>" + "".join(f"<t id='{one}'/>" for one in day) + "</day>" for day in days)
    return f"<page>{inside}</page>".encode()


def turned(body: bytes) -> list[int]:
    found = take_apart(body)
    assert found is not None
    turn_rows(found, Random(7))
    told = found.dump()
    if told.startswith(b"<"):
        return [int(one.attrib["id"]) for one in ElementTree.fromstring(told).iter("t")]
    return [int(fill["id"]) for day in json.loads(told)["days"] for fill in day["fills"]]


@pytest.mark.parametrize("made", [as_json, as_xml])
def test_the_last_row_of_a_page_stays_where_its_rows_are_listed_by_the_day(
    made: Callable[[list[list[int]]], bytes],
) -> None:
    rows = turned(made(DAYS))
    assert sorted(rows) == list(range(1, 13))
    assert rows[-1] == 12
    assert rows[:4] != [1, 2, 3, 4]


@pytest.mark.parametrize("made", [as_json, as_xml])
def test_a_short_page_is_turned_round(made: Callable[[list[list[int]]], bytes]) -> None:
    assert turned(made([[1, 2], [3]])) == [3, 2, 1]


def test_the_last_row_of_one_long_list_stays() -> None:
    rows = turned(as_xml([list(range(1, 13))]))
    assert rows[-1] == 12
    assert rows[:-1] != list(range(1, 12))
