"""What is tried again, and the waits in between."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokersync.config import RetrySettings
from brokersync.errors import (
    BrokerAPIError,
    BrokerAuthError,
    BrokerMaintenanceError,
    BrokerNotReadyError,
    BrokerRateLimitError,
    BrokerResponseError,
    BrokerRetryableError,
    BrokerTimeoutError,
    BrokerTokenExpiredError,
    BrokerUnavailableError,
)
from brokersync.retry import Patience, draw, may_repeat


class Clock:
    seconds = 0.0

    def now(self) -> datetime:
        return datetime(2030, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.mark.parametrize(
    ("kind", "read", "write_sent", "write_not_sent"),
    [
        (BrokerRetryableError, True, False, True),
        (BrokerTimeoutError, True, False, True),
        (BrokerUnavailableError, True, False, True),
        (BrokerMaintenanceError, True, False, True),
        (BrokerRateLimitError, True, True, True),
        (BrokerNotReadyError, False, False, False),
        (BrokerAPIError, False, False, False),
        (BrokerResponseError, False, False, False),
        (BrokerAuthError, False, False, False),
        (BrokerTokenExpiredError, False, False, False),
    ],
)
def test_what_may_be_sent_again(kind, read, write_sent, write_not_sent):
    error = kind("It failed.")
    assert may_repeat(error, repeatable=True, sent=True) is read
    assert may_repeat(error, repeatable=False, sent=True) is write_sent
    assert may_repeat(error, repeatable=False, sent=False) is write_not_sent


@given(
    st.integers(1, 6),
    st.integers(0, 300),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.one_of(st.none(), st.integers(0, 100))), max_size=9),
)
def test_the_waits_keep_every_bound(attempts, within, failures):
    settings = RetrySettings(attempts=attempts, within=timedelta(seconds=within))
    clock = Clock()
    draws = iter([fraction for fraction, _ in failures])
    patience = Patience(settings, clock, lambda: next(draws))
    waits = []
    for number, (_, asked) in enumerate(failures):
        asked_wait = None if asked is None else timedelta(seconds=asked)
        growth = min(timedelta(seconds=60), timedelta(seconds=2**number))
        assert patience.growth == growth
        wait = patience.after(BrokerUnavailableError("Down.", retry_after=asked_wait))
        if wait is None:
            break
        assert wait >= (asked_wait or timedelta(0))
        assert wait <= max(growth, asked_wait or timedelta(0))
        waits.append(wait)
        clock.seconds += wait.total_seconds()
    assert len(waits) < attempts
    assert clock.seconds <= within


def test_one_attempt_means_no_second():
    patience = Patience(RetrySettings(attempts=1), Clock(), lambda: 0.0)
    assert patience.after(BrokerUnavailableError("Down.")) is None


def test_the_growth_does_not_overflow():
    patience = Patience(RetrySettings(attempts=10_000), Clock(), lambda: 0.0)
    for _ in range(2000):
        assert patience.after(BrokerUnavailableError("Down.")) == timedelta(0)
    assert patience.growth == timedelta(seconds=60)


def test_real_draws_differ_and_stay_below_one():
    draws = {draw() for _ in range(20)}
    assert len(draws) == 20
    assert all(0 <= value < 1 for value in draws)
