from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokersync.config import Settings, parse_settings
from brokersync.errors import BrokerConfigError
from brokersync.maintenance import MaintenanceWindow
from brokersync.manifest import AuthKind, Calendar, CalendarUnit, Manifest, Retention, SourceScope, SourceSpec
from brokersync.records import Span, SpanState
from brokersync.sync.deadline import Urgency, last_safe_moment, next_sync, urgency
from brokersync.types import BrokerAccount, TimeWindow

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
START = datetime(2026, 3, 2, tzinfo=UTC)
NOW = START + 5 * DAY + 12 * HOUR
CHICAGO = Calendar(zone="America/Chicago", day_starts="17:00")
SESSION = SourceSpec(
    name="session", precedence=3, retention=Retention.SESSION, scope=SourceScope.LOGIN, calendar=CHICAGO
)
LIMITED = SourceSpec(name="reports", precedence=2, retention=Retention.LIMITED, look_back=10 * DAY)
UNLIMITED = SourceSpec(name="history", precedence=1)
FILE = SourceSpec(name="file", precedence=0, files=True, retention=Retention.SESSION)
A, B = (BrokerAccount(account_id=name, environment="live", opened_at=START) for name in "AB")
EVERY, MARGIN = 6 * HOUR, 30 * MINUTE


def manifest(*sources: SourceSpec) -> Manifest:
    return Manifest(
        key="paper", display_name="Paper", contract=1, environments=("live",), auth=(AuthKind.NONE,),
        sources=sources, licence="", docs="", support="",
    )  # fmt: skip


def read(source: str, start: float, end: float, *accounts: BrokerAccount, **facts: Any) -> dict[str, Any]:
    window = TimeWindow(START + start * DAY, START + end * DAY)
    state = facts.get("state", SpanState.FINAL)
    return {source: {("live", one.account_id): (Span(window=window, state=state),) for one in accounts or (A,)}}


def test_a_session_is_to_be_read_before_it_ends() -> None:
    assert last_safe_moment(manifest(UNLIMITED, SESSION), [A], {}, now=NOW) == START + 5 * DAY + 23 * HOUR
    late = START + 5 * DAY + 23 * HOUR
    # the clocks go forward in the night of the session that begins then
    assert last_safe_moment(manifest(SESSION), [], {}, now=late) == late + 23 * HOUR


def test_a_session_of_accounts_that_nobody_knows_ends_for_nobody() -> None:
    by_account = SourceSpec(name="session", precedence=3, retention=Retention.SESSION)
    assert last_safe_moment(manifest(by_account), [], {}, now=NOW) is None
    assert last_safe_moment(manifest(by_account), [A], {}, now=NOW) == START + 6 * DAY


def test_the_oldest_gap_of_a_limited_source_is_to_be_read_before_it_is_forgotten() -> None:
    assert last_safe_moment(manifest(LIMITED), [A], {}, now=NOW) == START + 10 * DAY
    assert last_safe_moment(manifest(LIMITED), [A], read("reports", 0, 3), now=NOW) == START + 13 * DAY


def test_what_another_source_tells_for_good_later_perishes_for_nobody() -> None:
    early = attrs.evolve(LIMITED, withdraws=True)
    assert last_safe_moment(manifest(early, UNLIMITED), [A], {}, now=NOW) is None


def test_the_account_that_is_furthest_behind_sets_the_moment() -> None:
    spans = {"reports": read("reports", 0, 4, A)["reports"] | read("reports", 0, 2, B)["reports"]}
    assert last_safe_moment(manifest(LIMITED), [A, B], spans, now=NOW) == START + 12 * DAY


def test_what_is_provisional_is_still_to_be_read_and_what_is_lost_is_not() -> None:
    provisional = read("reports", 0, 3, state=SpanState.PROVISIONAL)
    assert last_safe_moment(manifest(LIMITED), [A], provisional, now=NOW) == START + 10 * DAY
    lost = read("reports", 0, 3, state=SpanState.LOST)
    assert last_safe_moment(manifest(LIMITED), [A], lost, now=NOW) == START + 13 * DAY


def test_a_day_that_is_just_being_forgotten_is_worth_asking_for_until_it_is_over() -> None:
    now = START + 10 * DAY + 7 * HOUR
    assert last_safe_moment(manifest(LIMITED), [A], {}, now=now) == START + 11 * DAY


def test_instants_are_forgotten_at_once() -> None:
    source = SourceSpec(
        name="reports", precedence=2, retention=Retention.LIMITED, look_back=DAY,
        calendar=Calendar(unit=CalendarUnit.INSTANT),
    )  # fmt: skip
    assert last_safe_moment(manifest(source), [A], {}, now=NOW) == NOW


@pytest.mark.parametrize("sources", [(UNLIMITED,), (FILE,), (UNLIMITED, FILE)])
def test_nothing_perishes_of_sources_that_keep_all_and_of_files(sources: tuple[SourceSpec, ...]) -> None:
    assert last_safe_moment(manifest(*sources), [A], {}, now=NOW) is None


def test_a_source_that_the_login_may_not_read_sets_no_moment() -> None:
    assert last_safe_moment(manifest(SESSION, LIMITED), [A], {}, now=NOW, readable=("reports",)) == START + 10 * DAY


END = NOW + 2 * HOUR


@pytest.mark.parametrize(
    ("synced", "deadline", "due"),
    [
        (None, None, NOW),
        (NOW, None, NOW + EVERY),
        (NOW - HOUR, None, NOW + EVERY - HOUR),
        (NOW - 9 * DAY, None, NOW),
        (NOW, END, END - MARGIN),
        (NOW - 9 * HOUR, END, NOW),
        (END - MARGIN, END, END - 3 * MINUTE),
        (END - MARGIN + MINUTE, END, END - 3 * MINUTE),
        (END - 3 * MINUTE, END, END - 3 * MINUTE + EVERY),
        (NOW, NOW + 30 * DAY, NOW + EVERY),
        (NOW, NOW - DAY, NOW + EVERY),
    ],
)
def test_a_sync_is_due_ever_so_often_and_twice_before_the_deadline(
    synced: datetime | None, deadline: datetime | None, due: datetime
) -> None:
    assert next_sync(now=NOW, synced_at=synced, deadline=deadline, every=EVERY, margin=MARGIN) == due


spans_of_time = st.integers(-3 * 86400, 3 * 86400).map(lambda seconds: timedelta(seconds=seconds))
positive = st.integers(1, 2 * 86400).map(lambda seconds: timedelta(seconds=seconds))


@given(st.none() | spans_of_time, st.none() | spans_of_time, positive, positive)
def test_the_next_sync_is_never_in_the_past_nor_later_than_the_usual_distance(
    synced: timedelta | None, deadline: timedelta | None, every: timedelta, margin: timedelta
) -> None:
    synced_at = None if synced is None else NOW + synced
    due = next_sync(
        now=NOW, synced_at=synced_at, deadline=None if deadline is None else NOW + deadline, every=every, margin=margin
    )
    assert due >= NOW
    assert due <= max(NOW, (synced_at or NOW) + every)


@given(positive, st.integers(1, 48), positive)
def test_whoever_syncs_when_it_is_due_syncs_within_the_last_margin_and_its_last_tenth(
    ahead: timedelta, hours: int, margin: timedelta
) -> None:
    deadline, moment, taken = NOW + ahead, NOW, []
    while moment < deadline:
        due = next_sync(now=moment, synced_at=moment, deadline=deadline, every=hours * HOUR, margin=margin)
        assert due > moment
        moment = due
        taken.append(moment)
    for distance in (margin, margin / 10):
        if ahead > distance:
            assert any(deadline - distance <= one < deadline for one in taken)


@given(positive, positive, st.lists(positive, min_size=2, max_size=6))
def test_urgency_never_falls_as_the_deadline_nears(every: timedelta, margin: timedelta, left: list[timedelta]) -> None:
    levels = [
        urgency(now=NOW - distance, deadline=NOW, every=every, margin=margin) for distance in sorted(left, reverse=True)
    ]
    assert levels == sorted(levels)


@pytest.mark.parametrize(
    ("left", "level"),
    [
        (7 * HOUR, Urgency.NONE),
        (6 * HOUR, Urgency.NEAR),
        (31 * MINUTE, Urgency.NEAR),
        (30 * MINUTE, Urgency.CLOSE),
        (4 * MINUTE, Urgency.CLOSE),
        (3 * MINUTE, Urgency.LAST),
        (0 * MINUTE, Urgency.LAST),
        (-MINUTE, Urgency.NONE),
    ],
)
def test_urgency_goes_by_what_is_left(left: timedelta, level: Urgency) -> None:
    assert urgency(now=NOW, deadline=NOW + left, every=EVERY, margin=MARGIN) is level
    assert urgency(now=NOW, deadline=None, every=EVERY, margin=MARGIN) is Urgency.NONE


def test_the_operator_says_how_often_and_how_early() -> None:
    chosen = parse_settings('sync_every = "12h"\nperishable_margin = "45m"')
    assert (chosen.sync_every, chosen.perishable_margin) == (12 * HOUR, 45 * MINUTE)
    assert (Settings().sync_every, Settings().perishable_margin) == (EVERY, MARGIN)


@pytest.mark.parametrize("name", ["sync_every", "perishable_margin"])
def test_no_time_at_all_is_refused_by_name(name: str) -> None:
    with pytest.raises(BrokerConfigError, match=f"{name} must be longer than nothing"):
        parse_settings(f'{name} = "0s"')


def test_what_would_be_lost_while_the_broker_is_closed_is_also_read_before_it_closes() -> None:
    deadline = START + 5 * DAY + 23 * HOUR  # 17:00 in Chicago
    hour = MaintenanceWindow(start="16:00", end="17:00", zone="America/Chicago")
    facts: dict[str, Any] = {"deadline": deadline, "every": EVERY, "margin": MARGIN, "maintenance": (hour,)}
    planned, synced = [], deadline - 3 * HOUR
    while synced < deadline - 10 * MINUTE:
        synced = next_sync(now=synced, synced_at=synced, **facts)
        planned.append(deadline - synced)
    assert planned == [90 * MINUTE, 30 * MINUTE, 3 * MINUTE]
