from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import attrs
from hypothesis import given
from hypothesis import strategies as st

from brokersync.cli.bars import cells
from brokersync.manifest import AuthKind, Manifest, Retention, SourceSpec
from brokersync.records import Span, SpanState
from brokersync.sync.history import SourceHistory, Stretch, readable_until, source_histories, stretches, with_holes
from brokersync.types import BrokerAccount, TimeWindow

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
START = datetime(2026, 3, 2, tzinfo=UTC)
NOW = START + 10 * DAY + 12 * HOUR
FINAL, PROVISIONAL, LOST, UNAVAILABLE = (
    SpanState.FINAL,
    SpanState.PROVISIONAL,
    SpanState.LOST,
    SpanState.UNAVAILABLE,
)
A = BrokerAccount(account_id="A", environment="live", opened_at=START)
SESSION = SourceSpec(name="session", precedence=3, retention=Retention.SESSION)
REPORTS = SourceSpec(name="reports", precedence=2, open_day=False)
FILE = SourceSpec(name="file", precedence=1, files=True)
MANIFEST = Manifest(
    key="paper", display_name="Paper", contract=1, environments=("live",), auth=(AuthKind.NONE,),
    sources=(SESSION, REPORTS, FILE), licence="", docs="", support="",
)  # fmt: skip


def window(start: float, end: float) -> TimeWindow:
    return TimeWindow(START + start * DAY, START + end * DAY)


def span(start: float, end: float, state: SpanState = FINAL) -> Span:
    return Span(window=window(start, end), state=state)


def known(account: BrokerAccount | None = A, **spans: Sequence[Span]) -> tuple[SourceHistory, ...]:
    return source_histories(MANIFEST, account, spans, now=NOW)


def said(histories: Iterable[SourceHistory]) -> list[tuple[TimeWindow, SpanState | None, tuple[str, ...], bool]]:
    return [(one.window, one.state, one.sources, one.due) for one in stretches(histories)]


def test_what_one_source_has_lost_and_another_will_read_is_not_read_yet() -> None:
    lost = [span(0, 10, LOST)]
    assert said(known(session=lost)) == [
        (window(0, 10), None, ("reports",), True),
        (window(10, 10.5), None, ("session",), True),
    ]


def test_what_one_source_has_lost_and_another_has_read_is_read() -> None:
    assert said(known(session=[span(0, 10, LOST)], reports=[span(0, 10)])) == [
        (window(0, 10), FINAL, ("reports",), False),
        (window(10, 10.5), None, ("session",), True),
    ]


def test_what_no_source_has_is_lost() -> None:
    assert said(known(session=[span(0, 10, LOST)], reports=[span(0, 2, LOST), span(2, 10)]))[0] == (
        window(0, 2), LOST, ("reports", "session"), False,
    )  # fmt: skip


def test_a_file_fills_what_was_lost() -> None:
    assert said(known(None, session=[span(0, 4, LOST)], file=[span(1, 2)])) == [
        (window(0, 1), LOST, ("session",), False),
        (window(1, 2), FINAL, ("file",), False),
        (window(2, 4), LOST, ("session",), False),
    ]


def test_a_session_that_was_read_stays_provisional_and_the_source_that_makes_it_final_is_due() -> None:
    (first, *_) = said(known(session=[span(0, 0.5, PROVISIONAL)]))
    assert first == (window(0, 0.5), PROVISIONAL, ("session",), True)
    (first, *_) = said(known(None, session=[span(0, 0.5, PROVISIONAL)]))
    assert first == (window(0, 0.5), PROVISIONAL, ("session",), False)


def test_nothing_is_said_of_the_future() -> None:
    assert said(known(session=[span(10, 11, PROVISIONAL)], reports=[span(0, 12)]))[-1][0].end == NOW


def test_an_account_that_no_connection_reads_is_due_for_nothing() -> None:
    assert known(None) == tuple(SourceHistory(source=name, spans=()) for name in ("session", "reports", "file"))
    assert stretches(known(None)) == ()


def holes(histories: Iterable[SourceHistory], **facts: datetime) -> list[tuple[TimeWindow, bool]]:
    found = with_holes(histories, **facts)
    assert all(one.window.end == two.window.start for one, two in pairwise(found))
    assert tuple(one for one in found if one.sources) == stretches(histories)
    return [(one.window, one.due) for one in found if not one.sources and one.state is None]


def test_what_nobody_speaks_of_between_two_files_is_not_read_yet() -> None:
    assert holes(known(None, file=[span(0, 2), span(5, 7)])) == [(window(2, 5), False)]


def test_what_nobody_speaks_of_reaches_from_where_history_begins_to_what_can_be_known() -> None:
    files = known(None, file=[span(1, 2)])
    assert holes(files, begins=START, until=START + 9 * DAY) == [(window(0, 1), False), (window(2, 9), False)]
    assert holes(files, begins=START + DAY, until=START + 2 * DAY) == []
    assert holes(known(None), begins=START, until=NOW) == [(window(0, 10.5), False)]
    assert with_holes(known(None), until=NOW) == ()


def test_days_without_a_connection_to_a_broker_that_keeps_a_session_are_not_read() -> None:
    manifest = attrs.evolve(MANIFEST, sources=(SESSION,))
    spans = {"session": [span(1, 2), span(2, 3, PROVISIONAL), span(9, 10, LOST)]}
    assert holes(source_histories(manifest, A, spans, now=NOW)) == [(window(3, 9), False)]


def test_what_a_later_sync_reads_is_due_before_it_can_be_asked_for() -> None:
    late = attrs.evolve(REPORTS, finality_lag=DAY)
    manifest = attrs.evolve(MANIFEST, sources=(SESSION, late))
    spans = {"session": [span(9, 9.5, PROVISIONAL)], "reports": [span(0, 9)]}
    found = source_histories(manifest, A, spans, now=NOW)
    assert holes(found) == [(window(9.5, 10), True)]
    assert [one.due_from for one in with_holes(found) if not one.sources] == [START + 11 * DAY]


def test_a_hole_is_due_from_when_the_first_of_it_can_be_asked_for() -> None:
    manifest = attrs.evolve(MANIFEST, sources=(attrs.evolve(REPORTS, finality_lag=2 * DAY),))
    read = source_histories(manifest, A, {"reports": [span(0, 8)]}, now=NOW)
    (*_, hole) = with_holes(read)
    assert (hole.window, hole.due, hole.due_from) == (window(8, 10.5), True, START + 11 * DAY)
    (due, _) = with_holes(source_histories(manifest, A, {}, now=NOW))
    assert (due.window, due.due, due.due_from) == (window(0, 8), True, None)


def test_what_the_login_may_not_read_is_not_due() -> None:
    found = source_histories(MANIFEST, A, {}, now=NOW, readable=("reports",))
    assert said(found) == [(window(0, 10), None, ("reports",), True)]


def test_the_running_day_and_what_no_source_can_tell_yet_are_no_holes() -> None:
    assert readable_until(MANIFEST, NOW) == START + 10 * DAY
    late = attrs.evolve(FILE, finality_lag=DAY)
    assert readable_until(attrs.evolve(MANIFEST, sources=(SESSION, late)), NOW) == START + 9 * DAY


states = st.sampled_from(SpanState)
hours = st.tuples(st.integers(0, 40), st.integers(1, 9)).map(lambda one: (one[0], sum(one)))


@st.composite
def histories(draw: st.DrawFn) -> list[SourceHistory]:
    found = []
    for name in ("a", "b", "c"):
        cuts = sorted(draw(st.sets(st.integers(0, 40), max_size=8)))
        spans = tuple(
            Span(window=TimeWindow(START + one * HOUR, START + two * HOUR), state=draw(states))
            for one, two in pairwise(cuts)
            if draw(st.booleans())
        )
        due = tuple(
            TimeWindow(START + one * HOUR, START + two * HOUR) for one, two in draw(st.lists(hours, max_size=2))
        )
        found.append(SourceHistory(source=name, spans=spans, due=due))
    return found


@given(histories())
def test_each_instant_has_the_best_that_any_source_says(found: list[SourceHistory]) -> None:
    rank = {FINAL: 4, PROVISIONAL: 3, LOST: 1, UNAVAILABLE: 0}
    joined = stretches(found)
    assert all(one.window.end <= two.window.start for one, two in pairwise(joined))
    for hour in range(45):
        moment = START + hour * HOUR
        said = {one.source: span.state for one in found for span in one.spans if moment in span.window}
        here = [one for one in joined if moment in one.window]
        assert len(here) == bool(said)
        for one in here:
            assert one.state is max(said.values(), key=lambda state: rank[state])
            assert one.sources == tuple(sorted(name for name, state in said.items() if state is one.state))
            assert one.due == any(moment in due for each in found for due in each.due)


def stretch(start: float, end: float, state: SpanState | None) -> Stretch:
    return Stretch(window=window(start, end), state=state, sources=("a",))


def test_a_bar_shows_a_day_that_is_lost_among_years_that_are_not() -> None:
    whole = window(0, 2000)
    bar = cells([stretch(0, 700, FINAL), stretch(700, 701, LOST), stretch(701, 2000, FINAL)], whole, 80)
    assert bar.count("lost") == 1
    assert set(bar) == {"lost", "final"}
    assert bar.index("lost") == 28


def test_a_bar_is_as_wide_as_it_is_asked_to_be_and_in_proportion() -> None:
    parts = [stretch(0, 25, UNAVAILABLE), stretch(25, 50, FINAL), stretch(75, 100, None)]
    for width in (20, 80, 120):
        bar = cells(parts, window(0, 100), width)
        quarter = width // 4
        assert bar == ["unavailable"] * quarter + ["final"] * quarter + [""] * quarter + ["unread"] * quarter
