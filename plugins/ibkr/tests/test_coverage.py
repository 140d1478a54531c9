from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokersync.plugin import TimeWindow
from brokersync_ibkr.coverage import Days, is_closed, joined, proved

MONDAY = date(2024, 3, 11)


def days(first: int, last: int) -> Days:
    """Days counted from a Monday."""
    return Days(MONDAY + timedelta(days=first), MONDAY + timedelta(days=last))


def test_days_are_new_yorks_and_23_hours_long_when_the_clocks_change() -> None:
    assert Days(date(2024, 3, 10), date(2024, 3, 10)).window == TimeWindow(
        datetime(2024, 3, 10, 5, tzinfo=UTC), datetime(2024, 3, 11, 4, tzinfo=UTC)
    )


@settings(deadline=None)
@given(st.dates(date(2000, 1, 1), date(2060, 1, 1)), st.integers(0, 400))
def test_days_and_windows_are_the_same_told_twice(first: date, more: int) -> None:
    told = Days(first, first + timedelta(days=more))
    assert Days.of(told.window) == told


@pytest.mark.parametrize(
    ("day", "closed"),
    [
        (date(2024, 3, 15), False),
        (date(2024, 3, 16), True),
        (date(2024, 3, 17), True),
        (date(2024, 1, 1), True),
        (date(2024, 12, 25), True),
        (date(2024, 7, 4), False),
    ],
)
def test_only_weekends_and_two_holidays_are_closed_everywhere(day: date, closed: bool) -> None:
    assert is_closed(day) is closed


@pytest.mark.parametrize(
    ("spans", "result"),
    [
        ([days(0, 0), days(1, 1)], [days(0, 1)]),
        ([days(4, 4), days(7, 7)], [days(4, 7)]),  # Friday and Monday
        ([days(0, 0), days(2, 2)], [days(0, 0), days(2, 2)]),  # a Tuesday is missing
        ([days(2, 5), days(0, 3)], [days(0, 5)]),
        ([days(0, 9), days(1, 2)], [days(0, 9)]),
        ([days(1, 1), days(1, 1)], [days(1, 1)]),
        ([], []),
    ],
)
def test_daily_statements_join_over_closed_days_only(spans: list[Days], result: list[Days]) -> None:
    assert joined(spans) == result


@pytest.mark.parametrize(
    ("stated", "asked", "result"),
    [
        (days(0, 4), days(0, 4), [days(0, 4)]),
        (days(0, 4), days(-2, 6), [days(-2, 6)]),  # asked from Saturday to Sunday
        (days(1, 4), days(0, 4), [days(1, 4)]),  # Monday is missing
        (days(0, 3), days(0, 6), [days(0, 3)]),  # Friday is missing
        (days(-10, 20), days(0, 4), [days(0, 4)]),
        (days(20, 30), days(0, 4), []),  # a period nobody asked for
        (days(-30, -20), days(0, 4), []),
    ],
)
def test_edges_may_lie_on_closed_days_and_nothing_else_is_taken_for_read(
    stated: Days, asked: Days, result: list[Days]
) -> None:
    assert proved([stated], asked) == result


def test_a_year_that_begins_with_a_holiday_is_proved_whole() -> None:
    asked = Days(date(2022, 1, 1), date(2022, 12, 25))  # a Saturday and a Sunday
    assert proved([Days(date(2022, 1, 3), date(2022, 12, 23))], asked) == [asked]


def test_a_weekend_without_any_open_day_is_not_proved_by_a_statement_far_away() -> None:
    assert proved([days(14, 18)], days(5, 6)) == []


def test_without_a_request_a_file_proves_what_it_states() -> None:
    assert proved([days(0, 0), days(1, 1), days(7, 8)], None) == [days(0, 1), days(7, 8)]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 10)), max_size=6),
    st.tuples(st.integers(0, 30), st.integers(0, 15)),
)
def test_what_is_proved_was_asked_for_and_lies_in_a_statement_or_on_closed_days(
    spans: list[tuple[int, int]], wanted: tuple[int, int]
) -> None:
    stated = [days(first, first + more) for first, more in spans]
    asked = days(wanted[0], wanted[0] + wanted[1])
    for span in proved(stated, asked):
        day = span.first
        while day <= span.last:
            assert asked.first <= day <= asked.last
            assert is_closed(day) or any(one.first <= day <= one.last for one in stated)
            day += timedelta(days=1)
