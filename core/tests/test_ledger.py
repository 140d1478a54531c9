from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokersync.records import Span, SpanState
from brokersync.sync.ledger import cover, reopen, subtract, union
from brokersync.types import TimeWindow

START = datetime(2026, 3, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
FINAL, PROVISIONAL = SpanState.FINAL, SpanState.PROVISIONAL
LOST, UNAVAILABLE = SpanState.LOST, SpanState.UNAVAILABLE

# each hour of a small world is a cell; a model that keeps one state a cell is too simple to be wrong
Cells = dict[int, SpanState]


def window(start: int, end: int) -> TimeWindow:
    return TimeWindow(START + start * HOUR, START + end * HOUR)


def span(start: int, end: int, state: SpanState = FINAL) -> Span:
    return Span(window=window(start, end), state=state)


def hours(one: TimeWindow) -> range:
    return range((one.start - START) // HOUR, (one.end - START) // HOUR)


def cells_of(windows: Iterable[TimeWindow]) -> set[int]:
    return {cell for one in windows for cell in hours(one)}


def cells(spans: Iterable[Span]) -> Cells:
    return {cell: one.state for one in spans for cell in hours(one.window)}


windows = st.tuples(st.integers(0, 11), st.integers(1, 6)).map(lambda one: window(one[0], one[0] + one[1]))
spans = st.builds(lambda one, state: Span(window=one, state=state), windows, st.sampled_from(SpanState))


def after(statements: Iterable[Span]) -> tuple[Span, ...]:
    known: tuple[Span, ...] = ()
    for statement in statements:
        known = cover(known, statement)
    return known


def lay(known: Cells, new: Span) -> Cells:
    """A stronger or equal statement about a cell replaces what was said of it."""
    strength = {LOST: 0, UNAVAILABLE: 0, PROVISIONAL: 1, FINAL: 2}
    laid = dict.fromkeys(hours(new.window), new.state)
    return known | {
        cell: state for cell, state in laid.items() if cell not in known or strength[state] >= strength[known[cell]]
    }


@given(st.lists(spans, max_size=8))
def test_coverage_says_of_each_instant_the_strongest_and_latest_that_was_said(statements: list[Span]) -> None:
    model: Cells = {}
    for statement in statements:
        model = lay(model, statement)
    assert cells(after(statements)) == model


@given(st.lists(spans, max_size=8))
def test_coverage_is_ordered_without_overlap_and_joined(statements: list[Span]) -> None:
    for one, following in pairwise(after(statements)):
        assert one.window.end <= following.window.start
        assert one.window.end < following.window.start or one.state is not following.state


@given(st.lists(spans, max_size=8))
def test_what_was_ever_covered_stays_covered(statements: list[Span]) -> None:
    assert set(cells(after(statements))) == cells_of(statement.window for statement in statements)


@given(st.lists(spans, max_size=6), spans)
def test_no_statement_weakens_what_is_final(statements: list[Span], new: Span) -> None:
    final = {cell for cell, state in cells(after(statements)).items() if state is FINAL}
    still = {cell for cell, state in cells(after([*statements, new])).items() if state is FINAL}
    assert final <= still


@given(st.lists(spans, max_size=6), windows)
def test_what_is_opened_again_is_provisional_where_it_was_final_and_nothing_else_changes(
    statements: list[Span], opened: TimeWindow
) -> None:
    known = cells(after(statements))
    again = reopen(after(statements), opened)
    assert cells(again) == known | {cell: PROVISIONAL for cell in hours(opened) if known.get(cell) is FINAL}
    assert all(one.window.end <= following.window.start for one, following in pairwise(again))
    assert reopen(again, opened) == again


@given(st.lists(spans, max_size=6))
def test_saying_again_what_is_known_changes_nothing(statements: list[Span]) -> None:
    known = after(statements)
    for one in known:
        assert cover(known, one) == known


@pytest.mark.parametrize("order", [(FINAL, PROVISIONAL), (PROVISIONAL, FINAL)])
def test_final_and_provisional_about_one_stretch_are_final_in_either_order(order: tuple[SpanState, ...]) -> None:
    assert after(span(0, 4, state) for state in order) == (span(0, 4, FINAL),)


def test_a_provisional_statement_around_a_final_one_fills_the_rest() -> None:
    assert after([span(2, 4), span(0, 6, PROVISIONAL)]) == (
        span(0, 2, PROVISIONAL),
        span(2, 4),
        span(4, 6, PROVISIONAL),
    )


def test_a_final_statement_cuts_a_provisional_one_in_two() -> None:
    assert after([span(0, 6, PROVISIONAL), span(2, 4)]) == (
        span(0, 2, PROVISIONAL),
        span(2, 4),
        span(4, 6, PROVISIONAL),
    )


def test_a_final_statement_over_a_lost_stretch_holds_and_not_the_other_way_round() -> None:
    assert after([span(0, 4, LOST), span(2, 6)]) == (span(0, 2, LOST), span(2, 6))
    assert after([span(2, 6), span(0, 4, LOST)]) == (span(0, 2, LOST), span(2, 6))


def test_touching_statements_are_joined_to_the_microsecond() -> None:
    instant = timedelta(microseconds=1)
    first = Span(window=TimeWindow(START, START + instant), state=FINAL)
    second = Span(window=TimeWindow(START + instant, START + 2 * instant), state=FINAL)
    apart = Span(window=TimeWindow(START + 3 * instant, START + 4 * instant), state=FINAL)
    joined = Span(window=TimeWindow(START, START + 2 * instant), state=FINAL)
    assert after([second, first]) == (joined,)
    assert after([second, apart, first]) == (joined, apart)


@given(st.lists(windows, max_size=6), st.lists(windows, max_size=6))
def test_subtract_leaves_what_is_in_none_of_the_taken(one: list[TimeWindow], taken: list[TimeWindow]) -> None:
    left = subtract(union(one), taken)
    assert cells_of(left) == cells_of(one) - cells_of(taken)
    assert left == sorted(left)
    assert all(first.end <= second.start for first, second in pairwise(left))


@given(st.lists(windows, max_size=6))
def test_union_is_the_least_list_of_windows_that_holds_the_same_instants(one: list[TimeWindow]) -> None:
    joined = union(one)
    assert cells_of(joined) == cells_of(one)
    assert all(first.end < second.start for first, second in pairwise(joined))
