"""What a source says of a day, and the sentence that follows: from values alone."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs
import pytest

from brokersync.errors import BrokerConfigError
from brokersync.explaining.explanation import Explanation, SourceAnswer, SourceState
from brokersync.explaining.known import Known, Login
from brokersync.explaining.quarantine import suspects
from brokersync.explaining.question import Question
from brokersync.explaining.readings import Reading
from brokersync.explaining.sources import answers
from brokersync.explaining.verdict import verdict
from brokersync.manifest import AuthKind, Calendar, Field, Manifest, Retention, SelectsBy, SourceScope, SourceSpec
from brokersync.records import (
    AccountKey,
    Connection,
    ConnectionState,
    FailedWindow,
    OpenRequest,
    Span,
    SpanState,
)
from brokersync.types import AssetClass, BrokerAccount, BrokerTrade, Instrument, Side, TimeWindow, TradeStatus

NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)
DAY = date(2026, 3, 5)
WINDOW = TimeWindow(datetime(2026, 3, 5, tzinfo=UTC), datetime(2026, 3, 6, tzinfo=UTC))
LONG = TimeWindow(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 15, tzinfo=UTC))
ACCOUNT = BrokerAccount(account_id="A", environment="live")
KEY = AccountKey(owner="o", provider="paper", environment="live", account_id="A")
CONNECTION = Connection(
    connection_id="c", owner="o", provider="paper", environment="live", label="", identity="i", created_at=NOW
)
LOGIN = Login(connection=CONNECTION, account=ACCOUNT, begun=(), failing={}, readable=None)


def asked(
    *spans: Span, logins: tuple[Login, ...] = (LOGIN,), day: date = DAY, now: datetime = NOW,
    fields: tuple[Field, ...] = (), **source: Any,
) -> SourceAnswer:  # fmt: skip
    spec = SourceSpec(**({"name": "fills", "precedence": 1} | source))
    manifest = Manifest(
        key="paper", display_name="Paper", contract=1, environments=("live",), auth=(AuthKind.NONE,),
        sources=(spec,), user_fields=fields, licence="", docs="", support="",
    )  # fmt: skip
    known = Known(manifest=manifest, spans={"fills": spans}, logins=logins, readings={}, now=now)
    (answer,) = answers(known, day)
    return answer


def said(answer: SourceAnswer) -> str:
    found = Explanation(verdict="", account=KEY, symbol="AAPL", day=DAY, trade_id=None, sources=(answer,))
    return verdict(found)


def span(state: SpanState, window: TimeWindow = LONG) -> Span:
    return Span(window=window, state=state)


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (
            SpanState.FINAL,
            "There is no such trade: 2026-03-05 was read completely from fills and held no row for AAPL.",
        ),
        (SpanState.PROVISIONAL, "There is no such trade so far: 2026-03-05 was read from fills"),
        (SpanState.LOST, "2026-03-05 can not be had any more from fills: lost before it was read."),
        (SpanState.UNAVAILABLE, "Nobody has read 2026-03-05: Paper has never had it there."),
    ],
)
def test_each_state_of_a_day_has_its_sentence(state: SpanState, sentence: str) -> None:
    answer = asked(span(state))
    assert answer.state.value == state.value
    assert said(answer).startswith(sentence)


def booked(*days: tuple[int, SpanState], day: date = DAY, now: datetime = NOW) -> SourceAnswer:
    """What a source says whose days are those of booking, of these days of March."""
    starts = [(datetime(2026, 3, number, tzinfo=UTC), state) for number, state in days]
    spans = [span(state, TimeWindow(start, start + timedelta(days=1))) for start, state in starts]
    return asked(*spans, day=day, now=now, selects_by=SelectsBy.BOOKED)


@pytest.mark.parametrize(
    ("read", "unread"),
    [
        ([], 6),
        ([6], 9),  # over a weekend, on which nothing is booked
        ([6, 9], None),
    ],
)
def test_a_day_of_booking_is_no_proof_while_a_trade_may_be_booked_on_a_later_one(
    read: list[int], unread: int | None
) -> None:
    answer = booked(*((number, SpanState.FINAL) for number in (5, *read)))
    assert (answer.state, answer.unread_after) == (SourceState.FINAL, unread and date(2026, 3, unread))
    if unread is None:
        assert said(answer).startswith("There is no such trade: 2026-03-05 was read completely from fills")
    else:
        assert said(answer) == (
            "There is no such trade so far: 2026-03-05 was read completely from fills and held no row for AAPL, but a "
            f"trade of that day may be booked on a later one, and 2026-03-{unread:02} is not read yet."
        )


def test_a_later_day_of_booking_counts_when_it_is_over_and_not_when_it_is_lost() -> None:
    days = [(5, SpanState.FINAL), (6, SpanState.FINAL), (9, SpanState.PROVISIONAL)]
    assert booked(*days, now=datetime(2026, 3, 9, 12, tzinfo=UTC)).unread_after == date(2026, 3, 9)
    assert booked(*days[:2], (9, SpanState.LOST)).unread_after == date(2026, 3, 9)
    assert booked(*days[:2], (9, SpanState.UNAVAILABLE)).unread_after is None


def test_a_source_that_goes_by_execution_is_proof_beside_one_that_goes_by_booking() -> None:
    other = attrs.evolve(asked(span(SpanState.FINAL)), source="orders")
    found = Explanation(
        verdict="", account=KEY, symbol="AAPL", day=DAY, trade_id=None, sources=(booked((5, SpanState.FINAL)), other)
    )
    assert verdict(found).startswith("There is no such trade: 2026-03-05 was read completely from orders and held")


def test_a_provisional_day_of_a_file_may_be_corrected_by_a_later_statement() -> None:
    answer = asked(span(SpanState.PROVISIONAL), files=True)
    assert answer.words == "read, and still provisional: a later statement may correct it"


def test_a_day_that_was_read_in_part_says_why_the_rest_was_not() -> None:
    half = TimeWindow(WINDOW.start, WINDOW.start + timedelta(hours=12))
    answer = asked(span(SpanState.FINAL, half))
    assert answer.state is SourceState.PARTLY
    assert said(answer).startswith(
        "2026-03-05 was read in part only from fills: a part of it was read; the rest: 2026-03-05 12:00 to "
        "2026-03-06 00:00 UTC: not read yet"
    )


def test_a_running_day_is_as_good_as_its_last_read() -> None:
    today = TimeWindow(datetime(2026, 3, 20, tzinfo=UTC), NOW - timedelta(hours=1))
    assert asked(span(SpanState.PROVISIONAL, today), day=NOW.date()).state is SourceState.PROVISIONAL
    assert asked(day=date(2026, 3, 21)).state is SourceState.FUTURE


def test_what_stands_in_the_way_of_a_day_is_named() -> None:
    failed = FailedWindow(window=LONG, failures=3, reason="Paper answered nonsense.", at=NOW)
    login = attrs.evolve(LOGIN, failing={"fills": {"live/A": (failed,)}})
    assert said(asked(logins=(login,))) == (
        "2026-03-05 could not be read so far from fills: could not be read in 3 syncs, last on 2026-03-20 12:00 UTC: "
        "Paper answered nonsense."
    )
    put_off = attrs.evolve(failed, failures=0, reason="BrokerRateLimitError")
    limited = attrs.evolve(LOGIN, failing={"fills": {"live/A": (put_off,)}})
    assert said(asked(logins=(limited,))).endswith(
        "was put off, last on 2026-03-20 12:00 UTC: a limit of the broker was reached."
    )
    not_ready = attrs.evolve(put_off, reason="BrokerNotReadyError")
    late = attrs.evolve(LOGIN, failing={"fills": {"live/A": (not_ready,)}})
    assert said(asked(logins=(late,))).endswith("is not ready at the broker, as it said on 2026-03-20 12:00 UTC.")
    waiting = attrs.evolve(CONNECTION, state=ConnectionState.NEEDS_USER, reason="Log in again.")
    assert "(needs user): Log in again." in said(asked(logins=(attrs.evolve(limited, connection=waiting),)))
    begun = OpenRequest(
        connection_id="c", source="fills", account="live/A", window=LONG, cursor="x", resume_at=NOW + timedelta(hours=1)
    )
    waits = asked(logins=(attrs.evolve(login, begun=(begun,)),))
    assert (waits.state, "ready after 2026-03-20 13:00 UTC" in waits.words) == (SourceState.WAITS, True)
    other = asked(logins=(attrs.evolve(LOGIN, begun=(attrs.evolve(begun, account="live/B"),)),))
    assert (other.state, other.words) == (SourceState.UNREAD, "not read yet; the next sync reads it")


def test_a_day_of_which_the_login_told_others_alone_says_so() -> None:
    note = FailedWindow(window=LONG, failures=0, reason="NotTold", at=NOW)
    login = attrs.evolve(LOGIN, failing={"fills": {"live/A": (note,)}})
    answer = asked(logins=(login,), scope=SourceScope.LOGIN)
    assert answer.state is SourceState.FAILED
    assert "the login's answers tell of its other accounts and not of this one, last on 2026-03-20 12:00 UTC" in said(
        answer
    )


def test_an_unread_day_says_when_it_will_be_read_or_why_not() -> None:
    planned = attrs.evolve(CONNECTION, next_at=NOW + timedelta(hours=2))
    assert asked(logins=(attrs.evolve(LOGIN, connection=planned),)).words.endswith("due 2026-03-20 14:00 UTC")
    idle = attrs.evolve(CONNECTION, state=ConnectionState.NEEDS_USER, reason="Log in again.")
    assert "not synced (needs user): Log in again." in asked(logins=(attrs.evolve(LOGIN, connection=idle),)).words
    late = attrs.evolve(CONNECTION, since=datetime(2026, 3, 10, tzinfo=UTC))
    assert asked(logins=(attrs.evolve(LOGIN, connection=late),)).words.endswith("reads from 2026-03-10 on")
    assert asked(logins=(attrs.evolve(LOGIN, readable=("other",)),)).words == "the login has no right to it"
    field = Field(name="report", label="Report number", help="")
    answer = asked(logins=(attrs.evolve(LOGIN, readable=("other",)),), needs_field="report", fields=(field,))
    assert answer.words == "the login has no Report number; connect it again and give report as well"
    assert asked(logins=()).state is SourceState.NOT_ASKED
    assert asked(files=True).state is SourceState.NO_FILE
    assert "do not tell which days" in asked(files=True, covers=False).words
    assert asked(retention=Retention.SESSION).state is SourceState.NOT_ASKED


NEW_YORK = Calendar(zone="America/New_York")


@pytest.mark.parametrize(
    ("day", "source", "moment"),
    [
        (20, {"open_day": False}, "2026-03-21 00:00"),
        (19, {"open_day": False, "finality_lag": timedelta(hours=18)}, "2026-03-20 18:00"),
        (20, {"open_day": False, "finality_lag": timedelta(hours=6), "calendar": NEW_YORK}, "2026-03-21 10:00"),
    ],
)
def test_a_day_that_can_not_be_asked_for_yet_says_from_when_on_it_can(
    day: int, source: dict[str, Any], moment: str
) -> None:
    answer = asked(day=date(2026, 3, day), **source)
    assert (answer.state, answer.words) == (SourceState.LATER, f"it can be read from {moment} UTC on")
    assert said(answer) == f"2026-03-05 has not been read yet from fills: it can be read from {moment} UTC on."
    idle = attrs.evolve(CONNECTION, state=ConnectionState.NEEDS_USER, reason="Log in again.")
    waits = asked(day=date(2026, 3, day), logins=(attrs.evolve(LOGIN, connection=idle),), **source)
    assert waits.words.endswith("UTC on, and the connection is not synced (needs user): Log in again.")


def test_a_day_that_was_never_to_be_read_is_not_told_to_come_later() -> None:
    late = attrs.evolve(LOGIN, connection=attrs.evolve(CONNECTION, since=datetime(2026, 3, 21, tzinfo=UTC)))
    lag: dict[str, Any] = {"open_day": False, "finality_lag": timedelta(days=2)}
    assert asked(day=date(2026, 3, 19), logins=(late,), **lag).state is SourceState.NOT_ASKED
    assert asked(day=date(2010, 3, 19), **lag).words.endswith("it lies outside of what this source is read for")
    forgets: dict[str, Any] = lag | {"retention": Retention.SESSION}
    assert asked(day=NOW.date(), **forgets).words.endswith("it lies outside of what this source is read for")


def test_a_day_that_one_source_gives_later_and_another_has_read_is_there_so_far() -> None:
    later = attrs.evolve(asked(day=NOW.date(), open_day=False), source="reports")
    read = asked(span(SpanState.PROVISIONAL))
    found = Explanation(verdict="", account=KEY, symbol="AAPL", day=DAY, trade_id=None, sources=(later, read))
    assert verdict(found).startswith("There is no such trade so far: 2026-03-05 was read from fills and held no row")


def test_of_two_trades_of_a_set_the_one_that_was_asked_for_is_the_answer() -> None:
    stock = Instrument(symbol="X", asset_class=AssetClass.STOCK)
    trades = tuple(
        BrokerTrade(
            provider="paper", environment="live", account_id="A", trade_id=name, side=Side.BUY, quantity=Decimal(1),
            price=Decimal(10), executed_at=NOW, status=status, instrument=stock,
        )
        for name, status in (("e2", TradeStatus.ACTIVE), ("e9", TradeStatus.ACTIVE), ("e3", TradeStatus.CANCELLED))
    )  # fmt: skip
    found = Explanation(verdict="", account=KEY, symbol="X", day=DAY, trade_id="e9", trades=trades)
    assert verdict(found) == "It is there: buy 1 X at 10 on 2026-03-20 12:00:00 UTC, as e9."
    assert verdict(attrs.evolve(found, trade_id="e3")).startswith("The broker cancelled it")
    assert verdict(attrs.evolve(found, trade_id="a row's")).startswith("2 such trades are there; the first is")


def test_when_a_day_was_read_is_told_with_what_was_asked() -> None:
    answer = attrs.evolve(asked(span(SpanState.FINAL)), read_at=NOW)
    assert "from fills on 2026-03-20 12:00 UTC and held" in said(answer)
    assert Reading(at=NOW, asked=LONG, skipped={}).asked == LONG


@pytest.mark.parametrize("text", ["2026-03-05", "20260305;101500", "03/05/2026", "05/03/26", "2026-03-05T10:00:00Z"])
def test_rows_in_quarantine_are_found_by_symbol_and_day_in_any_format(text: str) -> None:
    row = {
        "provider": "paper",
        "environment": None,
        "account_id": None,
        "raw": {"when": text, "deep": [{"what": "aapl"}]},
    }
    (found,) = suspects([row], KEY, "AAPL", DAY)
    assert found["sure"]
    assert suspects([row | {"account_id": "B"}], KEY, "AAPL", DAY) == ()
    assert suspects([row | {"provider": "other"}], KEY, "AAPL", DAY) == ()
    assert suspects([row | {"environment": "demo"}], KEY, "AAPL", DAY) == ()
    assert [one["sure"] for one in suspects([row], KEY, "MSFT", DAY)] == [False]
    assert suspects([row], KEY, "MSFT", date(2026, 4, 7)) == ()


def test_a_row_in_quarantine_whose_day_can_not_be_told_may_be_the_one_in_question() -> None:
    raw = {"contract": 4711, "at": 1772704800, "expires": "2026-06-19"}
    row = {"provider": "paper", "environment": None, "account_id": None, "raw": raw}
    assert [(one["sure"], one["may_be"]) for one in suspects([row], KEY, "AAPL", DAY)] == [(False, True)]


@pytest.mark.parametrize("asked_of", [{"symbol": " ", "day": DAY}, {"symbol": "A"}, {"trade_id": ""}])
def test_a_question_that_names_no_trade_is_refused(asked_of: dict[str, Any]) -> None:
    with pytest.raises(BrokerConfigError, match="names no trade"):
        Question(account="A", **asked_of)


@pytest.mark.parametrize("day", [date.min, date.max, NOW, "2026-03-05"])
def test_a_day_that_is_none_or_out_of_reach_is_refused(day: Any) -> None:
    with pytest.raises(BrokerConfigError):
        Question(account="A", symbol="ACME", day=day)
