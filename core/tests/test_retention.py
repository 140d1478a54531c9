from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokersync.manifest import AuthKind, Calendar, CalendarUnit, Manifest, Retention, SourceSpec
from brokersync.records import Span, SpanState
from brokersync.sync.ledger import cover
from brokersync.sync.plan import plan_source, reach
from brokersync.sync.retention import given_by_none, gone, repair, way_to_read
from brokersync.types import BrokerAccount, TimeWindow

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
START = datetime(2026, 3, 2, tzinfo=UTC)
FINAL, PROVISIONAL = SpanState.FINAL, SpanState.PROVISIONAL
LOST, UNAVAILABLE = SpanState.LOST, SpanState.UNAVAILABLE
CHICAGO = Calendar(zone="America/Chicago", day_starts="17:00")
SESSION = SourceSpec(name="session", precedence=3, retention=Retention.SESSION)
LIMITED = SourceSpec(name="reports", precedence=2, retention=Retention.LIMITED, look_back=10 * DAY)
UNLIMITED = SourceSpec(name="history", precedence=1)
FILE = SourceSpec(name="file", precedence=0, files=True)
EXPORT = SourceSpec(name="export", precedence=0, files=True, covers=False)


def account(opened_at: datetime | None = None) -> BrokerAccount:
    return BrokerAccount(account_id="A", environment="live", opened_at=opened_at)


def span(start: float, end: float, state: SpanState) -> Span:
    return Span(window=window(start, end), state=state)


def window(start: float, end: float) -> TimeWindow:
    return TimeWindow(START + start * DAY, START + end * DAY)


def missing(
    source: SourceSpec, *spans: Span, now: float, connected: float = 0, opened: float | None = None, **facts: Any
) -> list[Span]:
    opened_at = None if opened is None else START + opened * DAY
    return list(
        gone(
            source, account(opened_at), spans,
            now=START + now * DAY, connected_at=START + connected * DAY, **facts,
        )
    )  # fmt: skip


def test_the_rest_of_a_session_that_is_over_is_lost_and_what_was_read_of_it_is_not() -> None:
    read = span(0, 0.5, PROVISIONAL)
    assert missing(SESSION, read, now=0.9) == []
    assert missing(SESSION, read, now=1) == [span(0.5, 1, LOST)]
    assert missing(SESSION, read, span(2, 2.5, PROVISIONAL), now=3.2) == [span(0.5, 2, LOST), span(2.5, 3, LOST)]


def test_sessions_before_the_one_in_which_the_connection_was_made_were_never_ours() -> None:
    assert missing(SESSION, now=5.5, connected=3.5, opened=-90) == [span(3, 5, LOST)]
    assert missing(SESSION, now=3.9, connected=3.5, opened=-90) == []


def test_a_session_is_a_day_of_the_sources_calendar() -> None:
    source = SourceSpec(name="session", precedence=3, retention=Retention.SESSION, calendar=CHICAGO)
    # in winter a session begins at 23:00 in UTC
    (lost,) = missing(source, now=1, connected=0.5)
    assert (lost.window, lost.state) == (TimeWindow(START - HOUR, START + 23 * HOUR), LOST)


def test_what_a_limited_source_has_forgotten_since_the_connection_was_made_is_lost() -> None:
    assert missing(LIMITED, span(-5, 0, FINAL), now=4.5, opened=-5) == []
    assert missing(LIMITED, span(-5, 0, FINAL), now=12.5, opened=-5) == [span(0, 2, LOST)]


def test_what_a_limited_source_had_forgotten_before_was_never_available() -> None:
    assert missing(LIMITED, now=0.5, opened=-30) == [span(-30, -10, UNAVAILABLE)]
    assert missing(LIMITED, now=3.5, opened=-30) == [span(-30, -10, UNAVAILABLE), span(-10, -7, LOST)]


def test_what_another_source_tells_for_good_is_not_lost_where_it_is_told_early() -> None:
    early = attrs.evolve(LIMITED, withdraws=True)
    assert missing(early, span(0, 1, PROVISIONAL), now=14.5, opened=-30) == [span(-30, -10, UNAVAILABLE)]


def test_nothing_is_lost_before_the_account_was_opened_nor_before_since() -> None:
    since = START + 2 * DAY + HOUR
    assert missing(SESSION, now=5, opened=3) == [span(3, 5, LOST)]
    assert missing(LIMITED, now=15, since=since) == [span(2, 5, LOST)]
    assert missing(LIMITED, now=15, since=since, opened=-9) == [span(2, 5, LOST)]
    assert missing(LIMITED, now=15, since=START - 30 * DAY, opened=4) == [span(4, 5, LOST)]


def test_history_of_an_account_of_unknown_age_begins_with_what_could_be_had_when_it_was_connected() -> None:
    assert missing(LIMITED, now=1) == [span(-10, -9, LOST)]


def test_a_source_that_keeps_all_loses_nothing_and_neither_does_a_file() -> None:
    assert missing(UNLIMITED, now=500, opened=0) == []
    assert missing(FILE, now=500, opened=0) == []


def test_a_window_that_is_being_read_is_not_lost_yet() -> None:
    assert missing(LIMITED, now=15, opened=0, begun=[window(2, 4)]) == [span(0, 2, LOST), span(4, 5, LOST)]


@pytest.mark.parametrize("state", SpanState)
def test_nothing_is_said_of_what_is_known_already(state: SpanState) -> None:
    assert missing(LIMITED, span(0, 5, state), now=15, opened=0) == []


def test_instants_are_forgotten_by_the_instant() -> None:
    source = SourceSpec(
        name="reports", precedence=2, retention=Retention.LIMITED, look_back=DAY,
        calendar=Calendar(unit=CalendarUnit.INSTANT),
    )  # fmt: skip
    assert missing(source, now=1.3, opened=0) == [span(0, 0.3, LOST)]


states = st.sampled_from(SpanState)


@st.composite
def coverages(draw: st.DrawFn) -> tuple[Span, ...]:
    known: tuple[Span, ...] = ()
    for start, length, state in draw(st.lists(st.tuples(st.integers(-40, 20), st.integers(1, 9), states), max_size=6)):
        known = cover(known, span(start, start + length, state))
    return known


def hours(windows: Iterable[TimeWindow]) -> set[int]:
    return {hour for one in windows for hour in range((one.start - START) // HOUR, (one.end - START) // HOUR)}


@given(
    coverages(), st.sampled_from([SESSION, LIMITED]), st.integers(0, 480), st.integers(0, 240),
    st.none() | st.integers(-40, 10),
)  # fmt: skip
def test_each_instant_of_history_is_known_or_asked_for_or_gone_and_only_once(
    known: tuple[Span, ...], source: SourceSpec, now: int, before: int, opened: int | None
) -> None:
    moment, connected_at = START + now * HOUR, START + (now - before) * HOUR
    one = account(None if opened is None else START + opened * DAY)
    new = gone(source, one, known, now=moment, connected_at=connected_at)
    asked = hours(ask.window for ask in plan_source(source, [one], {("live", "A"): known}, now=moment))
    said, told = hours(each.window for each in known), hours(each.window for each in new)
    assert not told & said
    assert not told & asked
    edge = reach(source, moment)
    assert edge is not None
    first = reach(source, connected_at)
    assert first is not None
    begins = first if one.opened_at is None else one.opened_at
    if source is SESSION:
        begins = max(begins, first)
    if begins < edge:
        assert hours([TimeWindow(begins, edge)]) <= told | said
    for each in new:
        assert each.window.end <= edge
        assert (each.state is UNAVAILABLE) == (each.window.end <= first)


@given(coverages(), st.sampled_from([SESSION, LIMITED]), st.integers(0, 480))
def test_what_is_gone_is_said_once(known: tuple[Span, ...], source: SourceSpec, now: int) -> None:
    facts = {"now": START + now * HOUR, "connected_at": START, "since": START - 30 * DAY}
    after = known
    for each in gone(source, account(), known, **facts):
        after = cover(after, each)
    assert gone(source, account(), after, **facts) == ()


def manifest(*sources: SourceSpec) -> Manifest:
    return Manifest(
        key="paper", display_name="Paper", contract=1, environments=("live",), auth=(AuthKind.NONE,),
        sources=sources, licence="", docs="", support="",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("sources", "readable", "words"),
    [
        ((SESSION, LIMITED, FILE), None, "It is still in reports, read at each sync."),
        ((SESSION, LIMITED, UNLIMITED), None, "It is still in reports and history, read at each sync."),
        (
            (SESSION, LIMITED, FILE),
            ("session",),
            "Download a statement of these days from Paper and import it: brokersync import paper FILE.",
        ),
        ((SESSION,), None, "Nothing else of Paper reaches back so far."),
        ((SESSION, LIMITED), ("session",), "Nothing else of Paper reaches back so far."),
    ],
)
def test_the_way_to_repair_is_another_source_then_a_file(
    sources: tuple[SourceSpec, ...], readable: tuple[str, ...] | None, words: str
) -> None:
    assert repair(manifest(*sources), SESSION, window(0.5, 1), START + DAY, readable) == words


@pytest.mark.parametrize(
    ("others", "told"),
    [
        ([], [(2, 4)]),
        ([(UNLIMITED, ())], []),
        ([(UNLIMITED, (span(0, 3, LOST),))], [(2, 3)]),
        ([(UNLIMITED, (span(3, 9, UNAVAILABLE),))], [(3, 4)]),
        ([(UNLIMITED, (span(0, 3, FINAL), span(3, 9, PROVISIONAL)))], []),
        ([(LIMITED, ())], [(2, 3)]),
        ([(SESSION, ())], [(2, 4)]),
        ([(FILE, (span(3.5, 9, FINAL),))], [(2, 3.5)]),
        ([(FILE, (span(2, 3, FINAL),)), (LIMITED, ())], []),
    ],
)
def test_lost_for_good_is_what_no_other_source_has_given_or_will(
    others: list[tuple[SourceSpec, tuple[Span, ...]]], told: list[tuple[float, float]]
) -> None:
    found = given_by_none(
        window(2, 4), account(), others, lambda one: not one.files, now=START + 13.2 * DAY, since=START - 90 * DAY
    )
    assert found == [window(*one) for one in told]


def test_a_source_that_the_login_may_not_read_gives_what_it_has_given() -> None:
    others = [(UNLIMITED, (span(2, 3, FINAL),))]
    assert given_by_none(window(2, 4), account(), others, lambda _: False, now=START + 9 * DAY) == [window(3, 4)]


def test_a_source_that_has_forgotten_too_repairs_nothing() -> None:
    words = repair(manifest(SESSION, LIMITED), SESSION, window(0.5, 1), START + 40 * DAY)
    assert words == "Nothing else of Paper reaches back so far."


def test_what_the_source_forgot_before_it_was_final_is_lost_where_a_lag_ends_that() -> None:
    lagging = attrs.evolve(LIMITED, finality_lag=DAY)
    known = (span(0, 3, FINAL), span(3, 4.5, PROVISIONAL))
    assert missing(lagging, *known, now=12, opened=0) == []
    assert missing(lagging, *known, now=15, opened=0) == [span(3, 5, LOST)]
    # these may be provisional for as long as they are kept
    assert missing(LIMITED, *known, now=15, opened=0) == [span(4.5, 5, LOST)]
    never_final = attrs.evolve(LIMITED, finality_lag=10 * DAY - HOUR)
    assert missing(never_final, *known, now=15, opened=0) == [span(4.5, 5, LOST)]


@pytest.mark.parametrize(
    ("sources", "connected", "words"),
    [
        ((LIMITED, FILE), False, "Download a statement of these days"),
        ((LIMITED, EXPORT), False, "No connection reads this account: connect it"),
        ((LIMITED, EXPORT), True, "does not prove that there were no others"),
        ((EXPORT,), False, "does not prove that there were no others"),
        ((LIMITED,), True, "Nothing of"),
    ],
)
def test_a_file_that_proves_nothing_is_asked_for_where_nothing_else_reads_the_days(
    sources: tuple[SourceSpec, ...], connected: bool, words: str
) -> None:
    assert words in way_to_read(manifest(*sources), window(0.5, 1), START + DAY, connected=connected)
