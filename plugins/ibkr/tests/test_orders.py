from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokersync.plugin import BrokerCursorError
from brokersync_ibkr.coverage import Days
from brokersync_ibkr.orders import Order, order_of

ORDER = Order(
    query_id="11",
    days=Days(date(2024, 3, 11), date(2024, 3, 15)),
    reference="7701",
    ordered_at=datetime(2024, 3, 18, 10, 30, tzinfo=UTC),
    base="https://example.invalid/FlexWebService",
)


@settings(deadline=None)
@given(
    polls=st.integers(0, 99),
    orders=st.integers(1, 2),
    base=st.none() | st.text(),
    reference=st.from_regex(r"[0-9]{1,20}", fullmatch=True),
    ordered_at=st.datetimes(timezones=st.just(UTC)),
)
def test_a_cursor_gives_back_its_order(
    polls: int, orders: int, base: str | None, reference: str, ordered_at: datetime
) -> None:
    order = attrs.evolve(ORDER, polls=polls, orders=orders, base=base, reference=reference, ordered_at=ordered_at)
    assert order_of(order.cursor()) == order


def changed(**values: Any) -> str:
    told = json.loads(ORDER.cursor()) | values
    return json.dumps({name: value for name, value in told.items() if value != "gone"})


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "garbage",
        "null",
        "[]",
        '"text"',
        "{}",
        "[" * 100_000,
        changed(format="flex-0"),
        changed(query=11),
        changed(reference=None),
        changed(reference="7701&q=1"),
        changed(reference="gone"),
        changed(first="2024-03-16"),
        changed(first="soon"),
        changed(ordered_at="2024-03-18T10:30:00"),
        changed(polls=-1),
        changed(polls=True),
        changed(polls="1"),
        changed(base=5),
    ],
)
def test_a_foreign_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(BrokerCursorError):
        order_of(cursor)


@settings(deadline=None)
@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_no_text_at_all_gets_through_as_another_error(text: str) -> None:
    with pytest.raises(BrokerCursorError):
        order_of(text)


def test_the_pauses_grow_and_end_at_half_a_minute() -> None:
    waits = [attrs.evolve(ORDER, polls=polls).wait for polls in range(9)]
    assert waits == [timedelta(seconds=seconds) for seconds in (5, 10, 10, 15, 15, 20, 30, 30, 30)]
