from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokersync.manifest import Calendar, CalendarUnit, Retention, SourceScope, SourceSpec
from brokersync.records import Span, SpanState
from brokersync.sync.days import day_called, day_floor, next_day
from brokersync.sync.ledger import union
from brokersync.sync.plan import Ask, asked_from, cut, perishable_first, plan_source
from brokersync.types import BrokerAccount, TimeWindow

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
NEW_YORK = Calendar(zone="America/New_York")
CHICAGO = Calendar(zone="America/Chicago", day_starts="17:00")
UTC_DAYS = Calendar()
INSTANTS = Calendar(unit=CalendarUnit.INSTANT)
# in 2026 the clocks of the United States go forward on 8 March and back on 1 November
SPRING, AUTUMN = date(2026, 3, 8), date(2026, 11, 1)
FINAL, PROVISIONAL, LOST, UNAVAILABLE = (
    SpanState.FINAL,
    SpanState.PROVISIONAL,
    SpanState.LOST,
    SpanState.UNAVAILABLE,
)


def source(**facts: Any) -> SourceSpec:
    return SourceSpec(**({"name": "history", "precedence": 1, "calendar": NEW_YORK} | facts))


def account(name: str = "A", opened_at: datetime | None = None) -> BrokerAccount:
    return BrokerAccount(account_id=name, environment="live", opened_at=opened_at)


def begin(day: date, calendar: Calendar = NEW_YORK) -> datetime:
    """When a day begins, told without the code under test."""
    return datetime.combine(day, time.fromisoformat(calendar.day_starts), ZoneInfo(calendar.zone)).astimezone(UTC)


def days(first: date, end: date, calendar: Calendar = NEW_YORK) -> TimeWindow:
    return TimeWindow(begin(first, calendar), begin(end, calendar))


def day_set(windows: Sequence[TimeWindow], calendar: Calendar) -> set[date]:
    """The days that the windows hold; each window must begin and end where a day does."""
    found: set[date] = set()
    for window in windows:
        day = window.start.astimezone(ZoneInfo(calendar.zone)).date()
        while begin(day, calendar) < window.end:
            assert begin(day, calendar) >= window.start
            found.add(day)
            day += DAY
        assert begin(day, calendar) == window.end
    return found


def windows(asks: Sequence[Ask]) -> list[TimeWindow]:
    return [ask.window for ask in asks]


# in the last three, days begin at times of day that the clocks skip or repeat
calendars = st.sampled_from(
    [
        NEW_YORK,
        CHICAGO,
        UTC_DAYS,
        Calendar(zone="Asia/Kolkata", day_starts="09:15"),
        Calendar(zone="America/New_York", day_starts="02:30"),
        Calendar(zone="America/New_York", day_starts="01:30"),
        Calendar(zone="America/Havana"),
    ]
)
dates = st.one_of(
    st.dates(date(2025, 1, 1), date(2026, 12, 31)),
    st.sampled_from([SPRING, AUTUMN]).flatmap(lambda day: st.dates(day - 3 * DAY, day + 3 * DAY)),
)


@st.composite
def moments(draw: st.DrawFn) -> datetime:
    return datetime.combine(draw(dates), time(), UTC) + draw(st.integers(0, 86399)) * timedelta(seconds=1)


@pytest.mark.parametrize(
    ("day", "hours"), [(SPRING, 23), (AUTUMN, 25), (date(2026, 6, 1), 24)], ids=["spring", "autumn", "summer"]
)
@pytest.mark.parametrize("calendar", [NEW_YORK, CHICAGO], ids=["New York", "Chicago from 17:00"])
def test_a_day_is_as_long_as_its_zone_says(day: date, hours: int, calendar: Calendar) -> None:
    starts = day if calendar is NEW_YORK else day - DAY  # the session that holds the change begins the evening before
    noon = begin(starts, calendar) + 12 * HOUR
    assert (day_floor(noon, calendar), next_day(noon, calendar)) == (
        begin(starts, calendar),
        begin(starts + DAY, calendar),
    )
    assert next_day(noon, calendar) - day_floor(noon, calendar) == hours * HOUR


@pytest.mark.parametrize(
    ("calendar", "start", "end"),
    [
        (NEW_YORK, datetime(2026, 6, 2, 4, tzinfo=UTC), datetime(2026, 6, 3, 4, tzinfo=UTC)),
        # a session that begins on the evening before is called by the day on which it ends
        (CHICAGO, datetime(2026, 6, 1, 22, tzinfo=UTC), datetime(2026, 6, 2, 22, tzinfo=UTC)),
        (
            Calendar(zone="Asia/Kolkata"),
            datetime(2026, 6, 1, 18, 30, tzinfo=UTC),
            datetime(2026, 6, 2, 18, 30, tzinfo=UTC),
        ),
    ],
)
def test_a_day_is_found_by_the_date_that_it_is_called_by(calendar: Calendar, start: datetime, end: datetime) -> None:
    assert day_called(date(2026, 6, 2), calendar) == TimeWindow(start, end)


@given(moments(), calendars)
def test_every_moment_is_in_the_day_that_its_floor_begins(moment: datetime, calendar: Calendar) -> None:
    floor, end = day_floor(moment, calendar), next_day(moment, calendar)
    assert floor <= moment < end
    assert day_floor(floor, calendar) == floor
    assert day_floor(end - timedelta(microseconds=1), calendar) == floor
    assert day_floor(end, calendar) == end
    assert 23 * HOUR <= end - floor <= 25 * HOUR


@pytest.mark.parametrize(
    ("day_starts", "moment"),
    [
        # 02:30 does not exist on the day in spring: the day begins with the first moment that does, 03:30
        ("02:30", datetime(2026, 3, 8, 7, 10, tzinfo=UTC)),
        # 01:30 comes twice on the day in autumn: the day begins with the first
        ("01:30", datetime(2026, 11, 1, 6, 10, tzinfo=UTC)),
    ],
)
def test_a_day_whose_start_the_clocks_skip_or_repeat_holds_its_moments(day_starts: str, moment: datetime) -> None:
    calendar = Calendar(zone="America/New_York", day_starts=day_starts)
    assert day_floor(moment, calendar) <= moment < next_day(moment, calendar)


@given(dates, st.integers(1, 400), calendars, st.integers(1, 70), st.booleans())
def test_windows_are_cut_on_days_newest_first_and_are_together_the_whole(
    first: date, length: int, calendar: Calendar, longest: int, halves: bool
) -> None:
    whole = days(first, first + length * DAY, calendar)
    limit = longest * DAY - (HOUR if halves else 0 * HOUR)
    pieces = cut([whole], source(calendar=calendar, longest_window=limit))
    assert pieces == sorted(pieces, reverse=True)
    assert all(newer.start == older.end for newer, older in pairwise(pieces))
    assert union(pieces) == [whole]
    assert len(day_set(pieces, calendar)) == length
    for piece in pieces:
        assert piece.length <= limit or len(day_set([piece], calendar)) == 1


@given(moments(), st.integers(1, 3000), st.integers(1, 500))
def test_instants_are_cut_at_exactly_the_longest_window(start: datetime, minutes: int, longest: int) -> None:
    whole = TimeWindow(start, start + minutes * timedelta(minutes=1))
    pieces = cut([whole], source(calendar=INSTANTS, longest_window=longest * timedelta(minutes=1)))
    assert union(pieces) == [whole]
    assert [piece.length for piece in pieces[:-1]] == [longest * timedelta(minutes=1)] * (len(pieces) - 1)


def test_a_day_of_25_hours_is_one_window_of_a_source_that_answers_one_day() -> None:
    asked = cut([days(AUTUMN - DAY, AUTUMN + 2 * DAY)], source(longest_window=DAY))
    assert asked == [days(AUTUMN + number * DAY, AUTUMN + (number + 1) * DAY) for number in (1, 0, -1)]


@st.composite
def coverages(draw: st.DrawFn, calendar: Calendar, around: date) -> tuple[Span, ...]:
    """Spans of whole days near `around`, in order and apart."""
    edges = sorted(draw(st.lists(st.integers(-40, 2), max_size=8, unique=True)))
    pairs = list(zip(edges[::2], edges[1::2], strict=False))
    return tuple(
        Span(window=days(around + first * DAY, around + end * DAY, calendar), state=draw(st.sampled_from(SpanState)))
        for first, end in pairs
    )


@settings(max_examples=200)
@given(st.data(), calendars, moments())
def test_what_is_asked_is_exactly_what_is_not_settled(data: st.DataObject, calendar: Calendar, now: datetime) -> None:
    today = day_floor(now, calendar).astimezone(ZoneInfo(calendar.zone)).date()
    spans = data.draw(coverages(calendar, today))
    since = today - data.draw(st.integers(0, 45)) * DAY
    reread, lag, open_day = data.draw(st.tuples(st.integers(0, 6), st.integers(0, 60), st.booleans()))
    again = data.draw(st.one_of(st.none(), st.integers(0, 45)))
    spec = source(
        calendar=calendar, reread=reread * DAY, finality_lag=lag * HOUR, open_day=open_day, longest_window=9 * DAY
    )
    asks = plan_source(
        spec, [account()], {("live", "A"): spans}, now=now,
        since=begin(since, calendar) + HOUR,
        again_from=None if again is None else begin(today - again * DAY, calendar) + HOUR,
    )  # fmt: skip

    end = begin(today + DAY, calendar) if open_day else day_floor(now - lag * HOUR, calendar)
    settled = min(
        day_floor(end - reread * DAY, calendar), end if again is None else begin(today - again * DAY, calendar)
    )
    closed = [span.window for span in spans if span.state is not PROVISIONAL]
    due, day = set(), since
    while begin(day, calendar) < end:
        start = begin(day, calendar)
        if start >= settled or not any(start in window for window in closed):
            due.add(day)
        day += DAY
    assert day_set(windows(asks), calendar) == due
    assert windows(asks) == sorted(windows(asks), reverse=True)
    assert sum(len(day_set([one], calendar)) for one in windows(asks)) == len(due), "a day was asked twice"


NOW = begin(date(2026, 6, 10)) + 15 * HOUR
TODAY = date(2026, 6, 10)


def planned(spec: SourceSpec, *spans: Span, opened: datetime | None = None, **facts: Any) -> list[TimeWindow]:
    return windows(plan_source(spec, [account(opened_at=opened)], {("live", "A"): spans}, now=NOW, **facts))


def test_history_begins_with_the_account_but_not_before_since() -> None:
    opened = begin(TODAY - 20 * DAY) + HOUR
    since = begin(TODAY - 5 * DAY) + HOUR
    end = TODAY + DAY
    assert planned(source(), opened=opened) == [days(TODAY - 20 * DAY, end)]
    assert planned(source(), opened=opened, since=since) == [days(TODAY - 5 * DAY, end)]
    assert planned(source(), opened=since, since=opened) == [days(TODAY - 5 * DAY, end)]
    assert planned(source(), since=since) == [days(TODAY - 5 * DAY, end)]


def test_history_of_an_account_of_unknown_age_begins_as_far_back_as_the_source_looks() -> None:
    assert planned(source(look_back=30 * DAY)) == [days(TODAY - 30 * DAY, TODAY + DAY)]
    assert planned(source()) == [days(TODAY - 365 * DAY, TODAY + DAY)]


def test_what_was_left_unread_does_not_move_out_of_sight_with_time() -> None:
    begins = TODAY - 40 * DAY
    connected = begin(begins + 10 * DAY)
    spec = source(look_back=10 * DAY)
    assert planned(spec, connected_at=connected) == [days(begins, TODAY + DAY)]
    read = [
        Span(window=days(begins, begins + 3 * DAY), state=FINAL),
        Span(window=days(TODAY, TODAY + DAY), state=FINAL),
    ]
    assert planned(spec, *read, connected_at=connected) == [days(begins + 3 * DAY, TODAY)]
    # the ledger outlives the connection
    assert planned(spec, *read, connected_at=NOW) == [days(begins + 3 * DAY, TODAY)]


def test_a_source_that_forgets_is_not_asked_for_what_it_has_forgotten() -> None:
    spec = source(retention=Retention.LIMITED, look_back=30 * DAY)
    assert planned(spec, opened=begin(TODAY - 900 * DAY)) == [days(TODAY - 30 * DAY, TODAY + DAY)]
    assert planned(spec, since=begin(TODAY - 3 * DAY)) == [days(TODAY - 3 * DAY, TODAY + DAY)]
    unlimited = attrs.evolve(spec, retention=Retention.UNLIMITED)
    assert planned(unlimited, opened=begin(TODAY - 900 * DAY)) == [days(TODAY - 900 * DAY, TODAY + DAY)]


def test_a_session_source_is_asked_for_the_running_session_alone() -> None:
    spec = source(retention=Retention.SESSION, calendar=CHICAGO)
    before, after = begin(TODAY, CHICAGO) - HOUR, begin(TODAY, CHICAGO) + HOUR
    for now, first in ((before, TODAY - DAY), (after, TODAY)):
        asks = plan_source(spec, [account()], {}, now=now, since=begin(TODAY - 50 * DAY))
        assert windows(asks) == [days(first, first + DAY, CHICAGO)]


def test_a_source_that_gives_no_running_day_is_asked_up_to_the_last_final_one() -> None:
    spec = source(open_day=False, finality_lag=6 * HOUR)
    since = begin(TODAY - 3 * DAY)
    at = {"since": since, "spans": {}, "accounts": [account()]}
    early, late = begin(TODAY) + 5 * HOUR, begin(TODAY) + 6 * HOUR
    assert windows(plan_source(spec, now=early, **at)) == [days(TODAY - 3 * DAY, TODAY - DAY)]
    assert windows(plan_source(spec, now=late, **at)) == [days(TODAY - 3 * DAY, TODAY)]


def test_what_is_final_is_read_again_within_reread_and_from_again_from() -> None:
    final = Span(window=days(TODAY - 30 * DAY, TODAY + DAY), state=FINAL)
    since = begin(TODAY - 30 * DAY)
    assert planned(source(), final, since=since) == []
    assert planned(source(reread=3 * DAY), final, since=since) == [days(TODAY - 2 * DAY, TODAY + DAY)]
    again = begin(TODAY - 9 * DAY) + HOUR
    assert planned(source(reread=3 * DAY), final, since=since, again_from=again) == [days(TODAY - 9 * DAY, TODAY + DAY)]
    assert planned(source(), final, since=since, again_from=NOW + 9 * DAY) == []
    usual = planned(source(reread=3 * DAY), final, since=since)
    assert planned(source(reread=3 * DAY), final, since=since, again_from=NOW) == usual


def test_what_is_left_of_a_day_is_asked_as_the_day_it_is() -> None:
    since = begin(TODAY - 5 * DAY)
    lost = Span(window=TimeWindow(since, begin(TODAY - 2 * DAY) + 7 * HOUR), state=LOST)
    assert planned(source(), lost, since=since) == [days(TODAY - 2 * DAY, TODAY + DAY)]
    late = Span(window=TimeWindow(since + 7 * HOUR, begin(TODAY + DAY)), state=FINAL)
    assert planned(source(), late, since=since) == [days(TODAY - 5 * DAY, TODAY - 4 * DAY)]


def test_a_session_source_that_counts_instants_is_asked_from_the_sessions_start() -> None:
    spec = source(retention=Retention.SESSION, calendar=INSTANTS)
    assert planned(spec) == [TimeWindow(NOW.replace(hour=0), NOW)]


@pytest.mark.parametrize(("state", "asked"), [(FINAL, False), (LOST, False), (UNAVAILABLE, False), (PROVISIONAL, True)])
def test_only_what_is_provisional_is_asked_again(state: SpanState, asked: bool) -> None:
    known = Span(window=days(TODAY - 5 * DAY, TODAY + DAY), state=state)
    assert bool(planned(source(), known, since=begin(TODAY - 5 * DAY))) is asked


def test_days_of_an_instant_source_reach_to_now() -> None:
    since = NOW - 5 * HOUR
    assert planned(source(calendar=INSTANTS), since=since) == [TimeWindow(since, NOW)]
    final = Span(window=TimeWindow(since, NOW - HOUR), state=FINAL)
    assert planned(source(calendar=INSTANTS), final, since=since) == [TimeWindow(NOW - HOUR, NOW)]
    assert planned(source(calendar=INSTANTS, reread=2 * HOUR), final, since=since) == [TimeWindow(NOW - 2 * HOUR, NOW)]


def test_nothing_is_asked_of_an_account_whose_history_has_not_begun() -> None:
    assert planned(source(), since=begin(TODAY + 5 * DAY)) == []


def test_one_request_of_a_login_source_holds_all_accounts_and_all_their_gaps() -> None:
    spec = source(scope=SourceScope.LOGIN, longest_window=100 * DAY)
    both = [account("A"), account("B", begin(TODAY - 4 * DAY))]
    spans = {
        ("live", "A"): [Span(window=days(TODAY - 30 * DAY, TODAY - DAY), state=FINAL)],
        ("live", "B"): [Span(window=days(TODAY - 3 * DAY, TODAY + DAY), state=FINAL)],
    }
    asks = plan_source(spec, both, spans, now=NOW, since=begin(TODAY - 30 * DAY))
    assert windows(asks) == [days(TODAY - DAY, TODAY + DAY), days(TODAY - 4 * DAY, TODAY - 3 * DAY)]
    assert [(ask.accounts, ask.account) for ask in asks] == [(tuple(both), "")] * 2


def test_a_login_without_known_accounts_is_asked_all_the_same() -> None:
    since = begin(TODAY - 4 * DAY)
    (ask,) = plan_source(source(scope=SourceScope.LOGIN), [], {}, now=NOW, since=since)
    assert (ask.accounts, ask.window) == ((), days(TODAY - 4 * DAY, TODAY + DAY))
    assert plan_source(source(), [], {}, now=NOW, since=since) == []


def test_accounts_of_an_account_source_are_asked_one_by_one() -> None:
    both = [account("A"), attrs.evolve(account("A"), environment="demo")]
    spans = {("live", "A"): [Span(window=days(TODAY - 4 * DAY, TODAY), state=FINAL)]}
    asks = plan_source(source(), both, spans, now=NOW, since=begin(TODAY - 4 * DAY))
    assert [(ask.account, ask.window) for ask in asks] == [
        ("live/A", days(TODAY, TODAY + DAY)),
        ("demo/A", days(TODAY - 4 * DAY, TODAY + DAY)),
    ]


def test_what_vanishes_first_is_read_first_then_the_better_source() -> None:
    names = [
        one.name
        for one in perishable_first(
            [
                source(name="weak", precedence=1),
                source(name="session", precedence=2, retention=Retention.SESSION),
                source(name="strong", precedence=3),
            ]
        )
    ]
    assert names == ["session", "strong", "weak"]


@pytest.mark.parametrize("calendar", [NEW_YORK, CHICAGO, UTC_DAYS])
@pytest.mark.parametrize("day", [date(2026, 3, 2), SPRING, AUTUMN])
@pytest.mark.parametrize(
    "facts", [{"open_day": True}, {"open_day": False}, {"open_day": False, "finality_lag": 6 * HOUR}]
)
def test_a_day_is_asked_for_from_the_moment_on_that_is_told(
    calendar: Calendar, day: date, facts: dict[str, Any]
) -> None:
    spec, window = source(calendar=calendar, **facts), days(day, day + DAY, calendar)
    moment = asked_from(spec, window)
    assert moment is not None

    def asked(now: datetime) -> bool:
        asks = plan_source(spec, [account()], {}, now=now, since=begin(date(2026, 2, 1), calendar))
        return any(ask.window.overlap(window) for ask in asks)

    assert (asked(moment - timedelta(microseconds=1)), asked(moment)) == (False, True)


def test_a_day_that_is_forgotten_before_it_can_be_asked_for_never_is() -> None:
    window = days(SPRING, SPRING + DAY)
    assert asked_from(source(open_day=False, retention=Retention.SESSION), window) is None
    short = source(open_day=False, retention=Retention.LIMITED, look_back=DAY, finality_lag=3 * DAY)
    assert asked_from(short, window) is None


@pytest.mark.parametrize(
    ("state", "facts", "rests"),
    [
        (PROVISIONAL, {}, True),
        (None, {}, False),
        (PROVISIONAL, {"again_from": datetime(2026, 6, 1, tzinfo=UTC)}, False),
    ],
    ids=["provisional", "never read", "wanted by the user"],
)
def test_only_what_is_provisional_and_wanted_by_nobody_may_rest(
    state: SpanState | None, facts: dict[str, Any], rests: bool
) -> None:
    now, day = datetime(2026, 6, 30, 12, tzinfo=UTC), days(date(2026, 6, 10), date(2026, 6, 11), UTC_DAYS)
    read = days(date(2026, 6, 1), date(2026, 6, 30), UTC_DAYS)
    spans = [
        Span(window=one, state=FINAL) for one in (TimeWindow(read.start, day.start), TimeWindow(day.end, read.end))
    ]
    spans += [Span(window=day, state=state)] if state else []
    asks = plan_source(
        source(calendar=UTC_DAYS, reread=3 * DAY, longest_window=30 * DAY),
        [account()],
        {("live", "A"): spans},
        now=now,
        since=read.start,
        **facts,
    )
    (of_the_day,) = (ask for ask in asks if ask.window.overlap(day))
    assert of_the_day.may_rest is rests
    assert not any(ask.may_rest for ask in asks if ask is not of_the_day)
