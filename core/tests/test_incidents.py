"""When an incident opens, how it is probed, and how it closes: the rules alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokersync.converter import from_json, to_json
from brokersync.errors import (
    BrokerAuthError,
    BrokerError,
    BrokerMaintenanceError,
    BrokerRetryableError,
    BrokerTimeoutError,
    BrokerUnavailableError,
)
from brokersync.incidents import (
    BrokerHealth,
    Probes,
    Standing,
    after_answer,
    after_failure,
    after_refusal,
    in_own_words,
    in_vain_since,
    share,
    with_probe,
)

NOW = datetime(2030, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
PROBES = Probes(MINUTE, 15 * MINUTE, lambda: 0.0)
CLEAN = BrokerHealth(provider="toy", environment="live")


def failed(health: BrokerHealth, *names: str, of: int = 1000, now: datetime = NOW) -> BrokerHealth:
    for name in names:
        health = after_failure(health, name, connections=of, reason="HTTP 503", now=now, probes=PROBES)
    return health


@pytest.mark.parametrize(
    ("names", "of", "opens"),
    [
        ("abc", 1000, True),
        ("ab", 1000, False),
        ("aaaaaaa", 1000, False),
        ("aabb", 1000, False),
        ("ababc", 1000, True),
        ("aab", 2, True),
        ("aaa", 2, False),
        ("aaa", 1, True),
        ("aa", 1, False),
        ("aaa", 0, True),
    ],
)
def test_it_opens_when_so_many_connections_failed_in_a_row(names: str, of: int, *, opens: bool) -> None:
    assert (failed(CLEAN, *names, of=of).open is not None) is opens


def test_an_answer_in_between_starts_the_count_again() -> None:
    almost = failed(CLEAN, "a", "b")
    assert failed(after_answer(almost, waiting=0, now=NOW), "c", "d").open is None


HOUR = timedelta(hours=1)


def alone(*names: str, of: int) -> BrokerHealth:
    """Connections that had failed before others were answered, and fail again."""
    health = after_answer(failed(CLEAN, names[0], of=of), waiting=0, now=NOW + HOUR)
    for name in names:
        health = after_failure(
            health, name, failing_since=NOW, connections=of, reason="HTTP 503", now=NOW + 2 * HOUR, probes=PROBES
        )
    return health


def test_what_fails_on_while_others_are_answered_is_its_own_trouble_however_often_it_fails() -> None:
    health = alone(*"abcabcabc", of=30)
    assert health.open is None
    assert health.failed == {}
    assert failed(health, "d", "e", of=30).open is None
    assert failed(health, "d", "e", "f", of=30).open is not None
    assert "conn-" not in str(to_json(alone("conn-1", of=30)))


@pytest.mark.parametrize(("names", "opens"), [("ddd", True), ("dd", False)])
def test_where_all_others_have_their_own_trouble_the_last_one_speaks_for_the_broker(names: str, *, opens: bool) -> None:
    assert (failed(alone(*"abc", of=4), *names, of=4).open is not None) is opens


def test_one_that_has_failed_since_the_last_answer_only_speaks_for_the_broker_still() -> None:
    health = after_answer(failed(CLEAN, "x"), waiting=0, now=NOW)
    for _ in range(3):
        health = after_failure(
            health, "a", failing_since=NOW + MINUTE, connections=1, reason="HTTP 503", now=NOW + HOUR, probes=PROBES
        )
    assert health.open is not None


@pytest.mark.parametrize(("just_read", "enough"), [(0, 3), (2, 3), (3, 4), (5, 6), (500, 6)])
def test_those_that_were_just_read_answer_for_the_broker(just_read: int, enough: int) -> None:
    health, count = CLEAN, 0
    while health.open is None:
        count += 1
        health = after_failure(
            health, str(count), connections=99, just_read=just_read, reason="HTTP 503", now=NOW, probes=PROBES
        )
    assert count == enough


def test_failures_while_it_is_open_open_no_second_one() -> None:
    first = failed(CLEAN, "a", "b", "c")
    again = failed(first, *"defghi", now=NOW + MINUTE)
    assert again.open is not None
    assert first.open is not None
    assert again.open.opened_at == first.open.opened_at
    assert again.failed == {}


def test_one_asks_when_it_is_time_and_the_others_wait_for_the_next_time() -> None:
    health = failed(CLEAN, "a", "b", "c")
    assert with_probe(health, now=NOW, probes=PROBES) is None
    taken = with_probe(health, now=NOW + MINUTE, probes=PROBES)
    assert taken is not None
    assert with_probe(taken, now=NOW + MINUTE, probes=PROBES) is None
    assert with_probe(CLEAN, now=NOW, probes=PROBES) is None


def test_probes_come_ever_more_rarely() -> None:
    health, now, waits = failed(CLEAN, "a", "b", "c"), NOW, []
    for _ in range(7):
        assert health.open is not None
        waits.append((health.open.probe_at - now) // MINUTE)
        now = health.open.probe_at
        taken = with_probe(health, now=now, probes=PROBES)
        assert taken is not None
        health = failed(taken, "a", now=now)
    assert waits == [1, 2, 4, 8, 15, 15, 15]


@given(st.floats(0, 1, exclude_max=True), st.integers(0, 10_000))
def test_chance_makes_a_wait_shorter_by_a_fifth_at_most(chance: float, probes: int) -> None:
    whole = PROBES.wait(probes)
    assert whole * 0.8 <= Probes(MINUTE, 15 * MINUTE, lambda: chance).wait(probes) <= whole


def test_an_answer_closes_it_and_says_who_has_waited() -> None:
    closed = after_answer(failed(CLEAN, "a", "b", "c"), waiting=997, now=NOW + MINUTE)
    assert closed.open is None
    assert closed.incident is not None
    assert (closed.incident.closed_at, closed.incident.kept_waiting) == (NOW + MINUTE, 997)
    assert after_answer(closed, waiting=5, now=NOW + 2 * MINUTE) == closed


@given(st.text(min_size=1))
def test_a_connection_has_its_own_place_in_the_minute_after(name: str) -> None:
    assert timedelta(0) <= share(name) <= MINUTE
    assert share(name) == share(name)


def test_what_is_kept_names_no_connection_and_comes_back_from_the_store() -> None:
    for health in (failed(CLEAN, "conn-1", "conn-2"), failed(CLEAN, "conn-1", "conn-2", "conn-3")):
        assert "conn-" not in str(to_json(health))
        assert from_json(to_json(health), BrokerHealth) == health


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (BrokerUnavailableError("alice", status=503), "HTTP 503"),
        (BrokerUnavailableError("alice", status=200), "not reachable or failing"),
        (BrokerTimeoutError("alice"), "no answer in time"),
        (BrokerMaintenanceError("alice"), "closed for maintenance"),
        (BrokerAuthError("alice"), "the login is refused"),
        (BrokerRetryableError("alice"), "the broker fails"),
    ],
)
def test_an_incident_says_in_words_of_our_own_what_happened(error: BrokerError, words: str) -> None:
    health = CLEAN
    for name in "abc":
        health = after_failure(health, name, connections=3, reason=in_own_words(error), now=NOW, probes=PROBES)
    assert health.open is not None
    assert health.open.reason == words
    many = after_refusal(CLEAN, Standing(refused=5), reason=in_own_words(error), now=NOW, probes=PROBES)
    assert many.open is not None
    assert many.open.reason == f"Many logins are refused at once: {words}"


@given(st.text())
def test_whatever_else_is_given_as_a_reason_is_not_kept(text: str) -> None:
    health = CLEAN
    for name in "abc":
        health = after_failure(health, name, connections=3, reason=f"{text}?", now=NOW, probes=PROBES)
    assert health.open is not None
    assert health.open.reason == "the broker fails"


DAY = timedelta(days=1)


def refused(
    health: BrokerHealth,
    number: int = 1,
    read: int = 0,
    now: datetime = NOW,
    active: int = 50,
    *,
    certain: bool = False,
) -> BrokerHealth:
    standing = Standing(active=active, refused=number, read=read)
    return after_refusal(health, standing, certain=certain, reason="HTTP 401", now=now, probes=PROBES)


@pytest.mark.parametrize(
    ("active", "certain", "ends"), [(1, True, True), (2, True, False), (1, False, False), (5, False, False)]
)
def test_a_certain_refusal_of_the_last_connection_ends_the_outage(active: int, *, certain: bool, ends: bool) -> None:
    away = failed(CLEAN, "a", "b", "c")
    assert (refused(away, now=NOW + HOUR, active=active, certain=certain).open is None) is ends


@pytest.mark.parametrize(
    ("number", "read", "opens"),
    [(4, 0, False), (5, 0, True), (5, 4, True), (5, 5, False), (49, 1, True), (3, 300, False), (50, 300, False)],
)
def test_refusals_of_a_handful_open_one_when_they_are_most_of_what_was_tried(
    number: int, read: int, *, opens: bool
) -> None:
    health = refused(CLEAN, number, read)
    assert (health.open is not None) is opens
    if not opens:
        assert health == CLEAN


def test_a_broker_that_is_away_and_then_refuses_goes_on_being_one_incident() -> None:
    health = refused(failed(CLEAN, "a", "b", "c"), now=NOW + 2 * DAY)
    assert health.open is not None
    assert (health.open.what, health.open.refused_since) == ("refuses everybody", NOW + 2 * DAY)
    again = failed(health, "a", now=NOW + 2 * DAY + MINUTE).open
    assert again is not None
    assert (again.what, again.refused_since) == ("does not answer", None)


def test_what_refuses_everybody_for_a_day_means_it_until_it_answers() -> None:
    health = refused(CLEAN, 5)
    almost = refused(health, now=NOW + DAY - MINUTE)
    assert almost.open is not None
    meant = refused(almost, now=NOW + DAY)
    assert meant.open is None
    assert meant.incident is not None
    assert meant.incident.closed_at == NOW + DAY
    assert refused(meant, 50, now=NOW + DAY) == meant
    assert refused(after_answer(meant, waiting=0, now=NOW + DAY), 5, now=NOW + 2 * DAY).open is not None


def test_only_an_answer_proves_that_logins_were_doubted_in_vain() -> None:
    opened = refused(CLEAN, 5)
    meant = refused(opened, now=NOW + DAY)
    answered = after_answer(opened, waiting=0, now=NOW + MINUTE)
    assert [in_vain_since(*pair) for pair in ((CLEAN, opened), (opened, meant), (answered, answered))] == [None] * 3
    assert in_vain_since(opened, answered) == NOW - timedelta(hours=2)
    assert in_vain_since(meant, after_answer(meant, waiting=0, now=NOW + 2 * DAY)) == NOW - timedelta(hours=2)
    away = failed(CLEAN, "a", "b", "c")
    assert in_vain_since(away, after_answer(away, waiting=0, now=NOW + MINUTE)) == NOW - timedelta(hours=2)
