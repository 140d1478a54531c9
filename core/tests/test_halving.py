from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokersync.manifest import Calendar, CalendarUnit, SourceSpec
from brokersync.records import FailedWindow, Span, SpanState
from brokersync.sync.days import day_floor
from brokersync.sync.halving import failed, forgotten, halved, middle
from brokersync.sync.ledger import union
from brokersync.sync.plan import plan_source
from brokersync.types import BrokerAccount, TimeWindow

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
START = datetime(2026, 3, 2, tzinfo=UTC)
UTC_DAYS = Calendar()
INSTANTS = Calendar(unit=CalendarUnit.INSTANT)
NEW_YORK = Calendar(zone="America/New_York")


def window(start: float, end: float) -> TimeWindow:
    return TimeWindow(START + start * DAY, START + end * DAY)


def failing(*syncs: Sequence[TimeWindow]) -> tuple[FailedWindow, ...]:
    """What is known after these windows failed, sync for sync."""
    known: tuple[FailedWindow, ...] = ()
    for windows in syncs:
        for one in windows:
            known = failed(known, one, reason="BrokerTimeoutError", at=START)
    return known


def counts(known: Sequence[FailedWindow]) -> dict[TimeWindow, int]:
    return {one.window: one.failures for one in known}


def test_a_window_that_failed_once_is_asked_for_as_it_was() -> None:
    known = failing([window(0, 8)])
    assert halved([window(0, 8)], known, UTC_DAYS) == [window(0, 8)]
    assert halved([window(-2, 9)], known, UTC_DAYS) == [window(-2, 0), window(0, 8), window(8, 9)]


def test_a_window_that_failed_in_two_syncs_is_asked_for_in_halves_and_so_on() -> None:
    known = failing([window(0, 8)], [window(0, 8)])
    assert halved([window(0, 8)], known, UTC_DAYS) == [window(0, 4), window(4, 8)]
    known = failed(known, window(4, 8), reason="BrokerTimeoutError", at=START)
    assert halved([window(0, 8)], known, UTC_DAYS) == [window(0, 4), window(4, 6), window(6, 8)]
    known = failed(known, window(4, 6), reason="BrokerTimeoutError", at=START)
    assert halved([window(0, 8)], known, UTC_DAYS) == [window(0, 4), *(window(n, n + 1) for n in (4, 5)), window(6, 8)]
    known = failed(known, window(4, 5), reason="BrokerTimeoutError", at=START)
    assert window(4, 5) in halved([window(0, 8)], known, UTC_DAYS), "a day is never cut"


def test_what_was_read_is_forgotten_and_what_is_left_has_to_fail_on_its_own() -> None:
    known = failing([window(0, 8)], [window(0, 8)])
    known = forgotten(known, window(4, 8))
    assert counts(known) == {window(0, 4): 2}
    assert forgotten(known, window(-1, 9)) == ()
    known = failing([window(0, 8)], [window(0, 8)], [window(4, 8)])
    assert counts(known) == {window(0, 4): 1, window(4, 8): 3}


def test_a_failure_elsewhere_leaves_the_count_of_others_alone() -> None:
    known = failing([window(0, 4)], [window(0, 4)], [window(6, 8)])
    assert counts(known) == {window(0, 4): 2, window(6, 8): 1}


def test_the_last_reason_is_kept() -> None:
    known = failed(failing([window(0, 4)]), window(0, 4), reason="BrokerAPIError", at=START + DAY)
    assert [(one.reason, one.at, one.failures) for one in known] == [("BrokerAPIError", START + DAY, 2)]


@pytest.mark.parametrize(
    ("calendar", "whole", "half"),
    [
        (UTC_DAYS, window(0, 1), None),
        (UTC_DAYS, window(0, 2), START + DAY),
        (UTC_DAYS, window(0, 3), START + DAY),
        (INSTANTS, TimeWindow(START, START + 2 * HOUR), START + HOUR),
        (INSTANTS, TimeWindow(START, START + 119 * HOUR / 60), None),
    ],
)
def test_a_half_is_no_shorter_than_a_day_or_an_hour(
    calendar: Calendar, whole: TimeWindow, half: datetime | None
) -> None:
    assert middle(whole, calendar) == half


@pytest.mark.parametrize("day", [date(2026, 3, 8), date(2026, 11, 1)])
def test_a_day_on_which_the_clocks_change_is_not_cut(day: date) -> None:
    first = day_floor(datetime(day.year, day.month, day.day, 12, tzinfo=UTC), NEW_YORK)
    whole = TimeWindow(first, day_floor(first + 36 * HOUR, NEW_YORK))
    assert whole.length in (23 * HOUR, 25 * HOUR)
    assert middle(whole, NEW_YORK) is None


windows = st.tuples(st.integers(0, 40), st.integers(1, 20)).map(lambda one: window(one[0], sum(one)))


@given(st.lists(st.tuples(st.booleans(), windows), max_size=12), st.lists(windows, max_size=3))
def test_failing_windows_never_overlap_and_halving_loses_no_day(
    story: list[tuple[bool, TimeWindow]], asked: list[TimeWindow]
) -> None:
    known: tuple[FailedWindow, ...] = ()
    for fails, one in story:
        known = failed(known, one, reason="x", at=START) if fails else forgotten(known, one)
        assert all(first.window.end <= second.window.start for first, second in pairwise(known))
    asked = union(asked)
    pieces = halved(asked, known, UTC_DAYS)
    assert union(pieces) == asked
    assert all(first.end <= second.start for first, second in pairwise(pieces))
    assert all(day_floor(piece.start, UTC_DAYS) == piece.start for piece in pieces)


@given(st.integers(1, 400), st.data())
def test_a_day_that_always_fails_is_alone_after_few_syncs_and_all_others_are_read(
    days: int, data: st.DataObject
) -> None:
    bad = START + data.draw(st.integers(0, days - 1)) * DAY
    known: tuple[FailedWindow, ...] = ()
    left, syncs = [window(0, days)], 0
    while left != [TimeWindow(bad, bad + DAY)]:
        syncs += 1
        asked, left = halved(left, known, UTC_DAYS), []
        for one in asked:
            if bad in one:
                known = failed(known, one, reason="x", at=START)
                left.append(one)
            else:
                known = forgotten(known, one)
        left = union(left)
    assert syncs <= 2 + days.bit_length()


def test_the_planner_asks_for_what_fails_in_halves_and_last() -> None:
    source = SourceSpec(name="history", precedence=1, longest_window=8 * DAY, open_day=False)
    one = BrokerAccount(account_id="A", environment="live", opened_at=START)
    known = {"live/A": failing([window(8, 16)], [window(8, 16)])}
    asks = plan_source(source, [one], {}, now=START + 16.5 * DAY, failing=known)
    assert [ask.window for ask in asks] == [window(0, 8), window(12, 16), window(8, 12)]


def test_a_failing_window_does_not_shift_with_the_days_that_pass() -> None:
    source = SourceSpec(name="history", precedence=1, longest_window=8 * DAY, open_day=False)
    one = BrokerAccount(account_id="A", environment="live", opened_at=START)
    known = {"live/A": failing([window(8, 16)])}
    read = {("live", "A"): [Span(window=window(0, 8), state=SpanState.FINAL)]}
    asks = plan_source(source, [one], read, now=START + 18.5 * DAY, failing=known)
    assert [ask.window for ask in asks] == [window(16, 18), window(8, 16)]
