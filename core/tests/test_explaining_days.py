"""A day is denied only when all was read in which a trade of it may lie, by any calendar."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokersync.explaining.explanation import Explanation, SourceAnswer, SourceState
from brokersync.explaining.known import Known, Login
from brokersync.explaining.sources import answers
from brokersync.explaining.verdict import verdict
from brokersync.manifest import AuthKind, Calendar, Manifest, Retention, SelectsBy, SourceSpec
from brokersync.records import AccountKey, Connection, Span, SpanState
from brokersync.types import BrokerAccount, TimeWindow

FINAL, PROVISIONAL, LOST = SpanState.FINAL, SpanState.PROVISIONAL, SpanState.LOST
NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)
FRIDAY = date(2026, 2, 27)
KEY = AccountKey(owner="o", provider="paper", environment="live", account_id="A")
CONNECTION = Connection(
    connection_id="c", owner="o", provider="paper", environment="live", label="", identity="i",
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
)  # fmt: skip
LOGIN = Login(
    connection=CONNECTION,
    account=BrokerAccount(account_id="A", environment="live"),
    begun=(),
    failing={},
    readable=None,
)
CHICAGO = Calendar(zone="America/Chicago", day_starts="17:00")
NEW_YORK = Calendar(zone="America/New_York")


def at(text: str, zone: str = "UTC") -> datetime:
    return datetime.fromisoformat(f"2026-{text}").replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def span(start: str, end: str, state: SpanState = FINAL, zone: str = "UTC") -> Span:
    return Span(window=TimeWindow(at(start, zone), at(end, zone)), state=state)


def asked(
    day: date, *spans: Span, now: datetime = NOW, others: tuple[SourceSpec, ...] = (), **source: Any
) -> SourceAnswer:
    spec = SourceSpec(**({"name": "fills", "precedence": 1} | source))
    manifest = Manifest(
        key="paper", display_name="Paper", contract=1, environments=("live",), auth=(AuthKind.NONE,),
        sources=(spec, *others), licence="", docs="", support="",
    )  # fmt: skip
    known = Known(manifest=manifest, spans={"fills": spans}, logins=(LOGIN,), readings={}, now=now)
    return answers(known, day)[0]


def said(answer: SourceAnswer, day: date) -> str:
    return verdict(Explanation(verdict="", account=KEY, symbol="AAPL", day=day, trade_id=None, sources=(answer,)))


def test_a_session_that_began_on_the_evening_before_and_is_not_read_keeps_a_trade_from_being_denied() -> None:
    before = span("02-18 17:00", "02-26 17:00", zone="America/Chicago")
    after = span("02-27 17:00", "02-28 17:00", zone="America/Chicago")
    answer = asked(FRIDAY, before, after, calendar=CHICAGO)
    assert answer.state is SourceState.PARTLY
    assert said(answer, FRIDAY) == (
        "2026-02-27 was read in part only from fills: a part of it was read; the rest: "
        "2026-02-27 00:00 to 17:00 America/Chicago: not read yet; the next sync reads it."
    )
    whole = span("02-18 17:00", "02-28 17:00", zone="America/Chicago")
    assert said(asked(FRIDAY, whole, calendar=CHICAGO), FRIDAY).startswith("There is no such trade: 2026-02-27 was")


def test_a_running_session_is_read_of_the_day_on_whose_evening_before_it_began() -> None:
    running = span("02-20 17:00", "02-27 05:40", PROVISIONAL, zone="America/Chicago")
    answer = asked(FRIDAY, running, now=at("02-27 05:49", "America/Chicago"), calendar=CHICAGO)
    assert (answer.state, answer.unread_beside) == (SourceState.PROVISIONAL, ())


def test_the_evening_of_the_last_working_day_belongs_to_the_exchanges_next_day() -> None:
    monday = date(2026, 3, 2)
    assert said(asked(monday, span("02-28 00:00", "03-05 00:00")), monday) == (
        "There is no such trade so far: 2026-03-02 was read completely from fills and held no row for AAPL, but by "
        "another calendar a trade of that day may lie in hours that are not read completely: 2026-02-27 17:00 to "
        "2026-02-28 00:00 UTC (not read yet; the next sync reads it)."
    )
    assert said(asked(monday, span("02-27 17:00", "03-05 00:00")), monday).startswith("There is no such trade: 2026")


def test_the_evening_is_that_of_the_exchange_and_not_of_utc_beside_it() -> None:
    session = SourceSpec(name="session", precedence=2, calendar=CHICAGO)
    evening = span("03-04 17:00", "03-06 00:00", zone="America/Chicago")
    thursday = date(2026, 3, 5)
    assert said(asked(thursday, evening, others=(session,)), thursday).startswith("There is no such trade: 2026-03-05")
    later = span("03-04 17:30", "03-06 00:00", zone="America/Chicago")
    assert asked(thursday, later, others=(session,)).unread_beside == (
        "2026-03-04 23:00 to 23:30 UTC (not read yet; the next sync reads it)",
    )


def test_of_days_of_booking_those_count_that_are_the_day_in_utc_and_no_weekend() -> None:
    read = span("03-03 00:00", "03-10 00:00", zone="America/New_York")
    facts: dict[str, Any] = {"selects_by": SelectsBy.BOOKED, "calendar": NEW_YORK}
    tuesday = asked(date(2026, 3, 3), read, **facts)
    assert tuesday.unread_beside == ("2026-03-02 (not read yet; the next sync reads it)",)
    assert said(tuesday, date(2026, 3, 3)).startswith("There is no such trade so far: 2026-03-03 was read completely")
    assert asked(date(2026, 3, 4), read, **facts).unread_beside == ()
    from_monday = span("03-02 00:00", "03-10 00:00", zone="America/New_York")
    assert asked(date(2026, 3, 2), from_monday, **facts).unread_beside == ()


def test_what_is_not_settled_beside_a_settled_day_keeps_a_trade_from_being_denied() -> None:
    tokyo = Calendar(zone="Asia/Tokyo")
    settled = span("03-01 00:00", "03-06 00:00", zone="Asia/Tokyo")
    open_still = span("03-06 00:00", "03-07 00:00", PROVISIONAL, zone="Asia/Tokyo")
    thursday = asked(date(2026, 3, 5), settled, open_still, calendar=tokyo)
    assert thursday.unread_beside == ("2026-03-06 00:00 to 09:00 Asia/Tokyo (still provisional)",)


def test_a_hole_in_a_running_day_is_not_taken_for_read() -> None:
    today = NOW.date()
    read = (span("03-01 00:00", "03-20 05:00", PROVISIONAL), span("03-20 08:00", "03-20 11:50", PROVISIONAL))
    holed = asked(today, *read)
    assert holed.state is SourceState.PARTLY
    assert "2026-03-20 05:00 to 08:00 UTC: not read yet" in holed.words


def test_a_running_day_is_never_read_completely() -> None:
    answer = asked(NOW.date(), span("03-01 00:00", "03-20 11:50"))
    assert answer.state is SourceState.PROVISIONAL
    tomorrow = asked(date(2026, 3, 21), span("03-01 00:00", "03-20 11:50"), now=at("03-20 18:00"))
    assert tomorrow.state is SourceState.UNREAD


def test_a_loss_is_told_of_a_day_that_was_read_in_part_and_how_it_can_be_had() -> None:
    day = date(2026, 3, 5)
    half = (span("03-01 00:00", "03-05 09:00", PROVISIONAL), span("03-05 09:00", "03-06 00:00", LOST))
    answer = asked(day, *half, retention=Retention.SESSION)
    assert answer.state is SourceState.PARTLY
    assert said(answer, day) == (
        "2026-03-05 was read in part only from fills: a part of it was read; the rest: 2026-03-05 09:00 to "
        "2026-03-06 00:00 UTC: lost before it was read. Nothing else of Paper reaches back so far."
    )


def test_a_part_that_never_was_at_the_broker_is_called_so() -> None:
    day = date(2026, 3, 5)
    never = span("03-01 00:00", "03-05 09:00", SpanState.UNAVAILABLE)
    assert asked(day, never, span("03-05 09:00", "03-20 00:00")).words == (
        "a part of it was read; the rest: 2026-03-05 00:00 to 09:00 UTC: Paper has never had it there"
    )


@given(
    moment=st.datetimes(datetime(2026, 1, 5), datetime(2026, 12, 20)),
    zone=st.sampled_from(["UTC", "America/Chicago", "Asia/Tokyo", "America/New_York", "Pacific/Auckland"]),
    starts=st.sampled_from(["00:00", "17:00", "09:15", "12:00"]),
    by=st.sampled_from(["UTC", "zone", "session"]),
)
def test_no_trade_is_denied_that_lies_in_an_unread_hour(moment: datetime, zone: str, starts: str, by: str) -> None:
    executed = moment.replace(tzinfo=UTC)
    local = executed.astimezone(ZoneInfo(zone))
    if by == "session" and not (starts == "17:00" and local.hour >= 17 and local.weekday() < 4):
        by = "zone"
    day = {"UTC": executed, "zone": local, "session": local + timedelta(days=1)}[by].date()
    hour = TimeWindow(executed - timedelta(minutes=30), executed + timedelta(minutes=30))
    year = TimeWindow(datetime(2025, 1, 1, tzinfo=UTC), datetime(2027, 6, 1, tzinfo=UTC))
    spans = (
        Span(window=TimeWindow(year.start, hour.start), state=FINAL),
        Span(window=TimeWindow(hour.end, year.end), state=FINAL),
    )
    answer = asked(day, *spans, now=year.end, calendar=Calendar(zone=zone, day_starts=starts))
    assert not said(answer, day).startswith("There is no such trade:")


@pytest.mark.parametrize("starts", ["00:00", "12:00", "17:00"])
def test_a_day_of_booking_is_found_over_the_change_of_the_clocks(starts: str) -> None:
    calendar = Calendar(zone="America/New_York", day_starts=starts)
    for number in range(6, 12):
        answer = asked(date(2026, 3, number), calendar=calendar, selects_by=SelectsBy.BOOKED)
        ends = answer.day.end.astimezone(ZoneInfo("America/New_York"))
        assert f"{ends:%d %H:%M}" == f"{number + (starts == '00:00'):02} {starts}"


def test_another_source_that_read_the_day_is_not_kept_silent_by_one_that_read_a_part() -> None:
    day = date(2026, 3, 5)
    part = asked(day, span("03-05 09:00", "03-20 00:00"))
    whole = attrs.evolve(asked(day, span("03-01 00:00", "03-20 00:00", PROVISIONAL)), source="orders")
    found = Explanation(verdict="", account=KEY, symbol="AAPL", day=day, trade_id=None, sources=(part, whole))
    assert verdict(found).startswith("There is no such trade so far: 2026-03-05 was read from orders and held no row")
