from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st

from brokersync.records import NumberedRow
from brokersync.sync.occurrences import Occurrences
from brokersync.types import (
    AssetClass,
    BookingEffect,
    BrokerTrade,
    IdQuality,
    Instrument,
    QuarantinedRow,
    Side,
    TradeBooking,
)

START = datetime(2026, 3, 2, tzinfo=UTC)


def booking(
    name: str, *, synthetic: bool = False, account: str = "A", at: datetime = START, **facts: Any
) -> TradeBooking:
    trade = BrokerTrade(
        provider="paper", environment="live", account_id=account, trade_id=name, side=Side.BUY,
        instrument=Instrument(symbol="EUR", asset_class=AssetClass.STOCK), quantity=Decimal(1), price=Decimal(2),
        executed_at=at, id_quality=IdQuality.SYNTHETIC if synthetic else IdQuality.BROKER,
    )  # fmt: skip
    return TradeBooking.of(trade, **facts)


def test_equal_rows_without_an_id_get_a_number_each() -> None:
    numbers = Occurrences()
    named = [numbers.number(booking("content", synthetic=True)) for _ in range(3)]
    assert [one.booking_id for one in named] == ["content", "content#2", "content#3"]
    assert [one.trade.trade_id for one in named if one.trade] == ["content", "content#2", "content#3"]
    assert [one.refs for one in named] == [("content",), ("content#2",), ("content#3",)]
    assert numbers.seen


def test_a_numbered_row_keeps_the_refs_and_the_key_that_are_not_its_own_name() -> None:
    numbers = Occurrences()
    row = attrs.evolve(booking("key", synthetic=True), booking_id="content", refs=("key", "content", "other"))
    numbers.number(row)
    again = numbers.number(row)
    assert (again.booking_id, again.refs) == ("content#2", ("key", "content#2", "other"))
    assert again.trade is not None
    assert again.trade.trade_id == "key"


def test_a_bare_cancel_without_an_id_is_numbered_too() -> None:
    numbers = Occurrences()
    cancel = TradeBooking(
        booking_id="content", environment="live", account_id="A", effect=BookingEffect.CANCEL,
        loose_refs=("content",), id_quality=IdQuality.SYNTHETIC,
    )  # fmt: skip
    assert [numbers.number(cancel).booking_id for _ in range(2)] == ["content", "content#2"]
    assert numbers.number(cancel).loose_refs == ("content",)


def test_rows_with_an_id_and_rows_of_other_accounts_are_not_numbered() -> None:
    numbers = Occurrences()
    assert numbers.number(booking("a")) == numbers.number(booking("a")) == booking("a")
    assert not numbers.seen
    first, other = booking("content", synthetic=True), booking("content", synthetic=True, account="B")
    assert [numbers.number(first), numbers.number(other)] == [first, other]


@given(st.lists(st.sampled_from("abc")))
def test_numbering_gives_each_row_an_id_of_its_own_and_a_second_reading_the_same(contents: list[str]) -> None:
    def read() -> list[str]:
        numbers = Occurrences()
        return [numbers.number(booking(content, synthetic=True)).booking_id for content in contents]

    assert len(set(read())) == len(contents)
    assert read() == read()
    assert [one.partition("#")[0] for one in read()] == contents


@given(contents=st.lists(st.sampled_from("abc")), breaks=st.sets(st.integers(0, 12)))
def test_a_reading_that_was_broken_off_gives_the_numbers_of_a_whole_one(contents: list[str], breaks: set[int]) -> None:
    def read(breaks: set[int]) -> list[str]:
        numbers, found = Occurrences(), []
        for place, content in enumerate(contents):
            if place in breaks:
                numbers = Occurrences(json.loads(json.dumps(numbers.kept())))
            found.append(numbers.number(booking(content, synthetic=True)).booking_id)
        return found

    assert read(breaks) == read(set())


def test_what_is_kept_of_a_reading_is_small_and_holds_none_of_its_rows() -> None:
    numbers = Occurrences()
    for number in range(1000):
        numbers.number(booking(f"{number}|ACME|buy|{'content' * 20}", synthetic=True))
    kept = json.dumps(numbers.kept(), separators=(",", ":"))
    assert len(kept) < 12 * 1000
    assert "ACME" not in kept


def test_rows_of_a_reading_that_goes_on_are_known_to_be_there() -> None:
    numbers = Occurrences()
    assert not Occurrences(numbers.kept()).seen
    numbers.number(booking("content", synthetic=True))
    assert Occurrences(numbers.kept()).seen


def _ids(rows: Sequence[tuple[int, str]], *, by: str) -> list[str]:
    """The ids that one reading gives to rows that stand at a place of the source and were traded at some time."""
    numbers = Occurrences()
    return [
        numbers.number(
            booking(f"{content}{place if by == 'place' else ''}", synthetic=True, at=START + timedelta(hours=place))
        ).booking_id
        for place, content in rows
    ]


_rows = st.lists(st.tuples(st.integers(0, 5), st.sampled_from("ab")), max_size=12).map(sorted)


@given(rows=_rows, cuts=st.sets(st.integers(0, 6)), beyond=st.lists(st.integers(0, 3), min_size=8, max_size=8))
def test_any_cut_of_windows_gives_the_same_ids_even_where_an_answer_begins_to_tell_what_follows(
    rows: list[tuple[int, str]], cuts: set[int], beyond: list[int]
) -> None:
    """`place` is what the source selects by and stands in the id: the time of the trade, or the day of booking."""
    found: set[str] = set()
    edges = [0, *sorted(cuts), 7]
    for number, (start, end) in enumerate(itertools.pairwise(edges)):
        inside = [row for row in rows if start <= row[0] < end]
        following = [row for row in rows if row[0] >= end][: beyond[number]]
        found.update(_ids([*inside, *following], by="place"))
    assert found == set(_ids(rows, by="place"))


@given(rows=_rows)
def test_rows_of_different_times_under_one_id_are_noticed(rows: list[tuple[int, str]]) -> None:
    numbers = Occurrences()
    for place, content in rows:
        numbers.number(booking(content, synthetic=True, at=START + timedelta(hours=place)))
    told_apart = len(set(rows)) == len({content for _, content in rows})
    assert numbers.takes_confused() is not told_apart
    assert not numbers.takes_confused(), "once is enough"


def test_equal_rows_that_are_not_understood_are_numbered_across_a_break_but_for_those_with_an_id() -> None:
    row = QuarantinedRow(reason="odd", raw={"x": 1}, account_id="A", environment="live")
    numbers = Occurrences()
    assert numbers.number_row(row) == row
    later = Occurrences(json.loads(json.dumps(numbers.kept())))
    again = later.number_row(row)
    assert isinstance(again, NumberedRow)
    assert again.number == 2
    for other in (attrs.evolve(row, account_id="B"), attrs.evolve(row, raw={"x": 2}), attrs.evolve(row, row_id="r")):
        assert later.number_row(other) == other
        assert later.number_row(attrs.evolve(row, row_id="r")) == attrs.evolve(row, row_id="r")
