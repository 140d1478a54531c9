"""What is said of windows that could not be read, one or many."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from brokersync.explaining.failing import failed, failed_parts, worst
from brokersync.records import FailedWindow
from brokersync.types import TimeWindow

AT = datetime(2026, 6, 13, 4, tzinfo=UTC)


def window(hours: int, failures: int, reason: str = "Refused") -> FailedWindow:
    whole = TimeWindow(AT + timedelta(days=hours), AT + timedelta(days=hours + 1))
    return FailedWindow(window=whole, failures=failures, reason=reason, at=AT + timedelta(hours=hours))


def test_of_many_parts_the_number_the_most_failures_and_the_last_moment_are_told() -> None:
    many = [window(0, 1), window(6, 2, "BrokerAuthError"), window(2, 6)]
    assert failed_parts(many) == (
        "3 parts could not be read, one of them in 6 syncs, last on 2026-06-13 10:00 UTC: the broker refused the login"
    )
    assert failed_parts([window(0, 1), window(1, 1)]) == (
        "2 parts could not be read, once each, last on 2026-06-13 05:00 UTC: the broker refused so much at once"
    )
    assert worst(many) is many[2]


def test_one_part_that_fails_is_told_beside_those_that_only_wait() -> None:
    alone = window(1, 3)
    waiting = window(0, 0, "BrokerRateLimitError")
    assert failed_parts([waiting, alone]) == f"a part {failed(alone)}"
    assert failed_parts([waiting, window(2, 0, "BrokerRateLimitError")]) == (
        "2 parts wait: the last of them was put off, last on 2026-06-13 06:00 UTC: a limit of the broker was reached"
    )


def test_what_a_login_was_not_told_of_an_account_is_named_where_nothing_failed() -> None:
    not_told = [window(0, 0, "NotTold"), window(3, 0, "NotTold")]
    words = "the login's answers tell of its other accounts and not of this one, last on 2026-06-13 07:00 UTC"
    assert failed_parts(not_told) == words
    assert failed_parts([*not_told, window(1, 2)]) == f"a part {failed(window(1, 2))}"
    assert failed_parts([not_told[0], window(2, 0, "BrokerRateLimitError")]).startswith("a part was put off")


def test_what_a_broker_had_nothing_for_once_is_said_to_be_asked_for_again() -> None:
    nothing, said = window(0, 0, "NothingThere"), "had no trades at the broker, as it said on 2026-06-13 04:00 UTC"
    assert failed_parts([nothing]) == f"{said}, and are asked for once more before that counts"
    assert failed_parts([nothing, window(1, 0, "NotTold")]) == failed(window(1, 0, "NotTold"))
