from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from brokersync.sync.places import Places
from brokersync.types import QuarantinedRow, TradePage

START = datetime(2026, 3, 2, tzinfo=UTC)


def told(what: str, cursor: str | None, at: int = 0) -> TradePage:
    rows = (QuarantinedRow(reason=what, raw={}),) if what else ()
    return TradePage(quarantined=rows, cursor=cursor, as_of=START + timedelta(seconds=at))


def leads_on(pages: Sequence[TradePage], cursor: str | None = None) -> list[bool]:
    places = Places(cursor)
    return [places.lead_on(page) for page in pages]


@pytest.mark.parametrize(
    "pages",
    [
        [told("x", "a"), told("x", "b"), told("x", "c")],
        [told("x", None), told("x", None)],
        [told("x", "a"), told("y", "a"), told("x", "a"), told("x", None)],
        [told("", "a")] * 1000,
    ],
)
def test_an_answer_leads_on_as_long_as_it_tells_or_comes_to_something_else(pages: list[TradePage]) -> None:
    assert leads_on(pages) == [True] * len(pages)


@pytest.mark.parametrize(
    "pages",
    [
        [told("x", "a"), told("x", "a", at=1)],
        [told("x", "a"), told("y", "b"), told("z", "a")],
        [told("x", "a"), told("y", "b"), told("z", "begin")],
        [told("", "a")] * 1001,
    ],
)
def test_an_answer_does_not_lead_on_where_it_says_the_same_or_comes_back(pages: list[TradePage]) -> None:
    assert leads_on(pages, cursor="begin") == [True] * (len(pages) - 1) + [False]


def test_who_asks_for_patience_is_not_held_to_be_in_a_circle() -> None:
    page = TradePage(cursor="ticket", resume_at=START)
    assert leads_on([page, page], cursor="ticket") == [True, True]
