"""What a plugin says of a fresh login is waited for, as the login itself is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from brokersync.errors import BrokerAuthError, BrokerError, BrokerNotReadyError, BrokerRateLimitError
from brokersync.login import OpenLogin
from brokersync.types import AuthResult

AUTH = AuthResult(identity="ann")


class Clock:
    def __init__(self) -> None:
        self.time = datetime(2026, 3, 4, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


class Provider:
    """Says what is wrong once its errors are used up; where it `stays`, the first of them is never."""

    def __init__(self, *errors: BrokerError, stays: bool = False) -> None:
        self.errors, self.stays = list(errors), stays

    async def diagnose(self, auth: AuthResult) -> Sequence[str]:
        if self.errors:
            raise self.errors[0] if self.stays else self.errors.pop(0)
        return ["Tick it."]


def login(provider: Provider, clock: Clock) -> OpenLogin:
    parts: Any = (None, provider, clock, None)
    return OpenLogin(*parts)


async def test_a_report_that_is_still_being_made_is_waited_for() -> None:
    clock = Clock()
    began = clock.now()
    later = BrokerNotReadyError("Soon.", retry_after=timedelta(seconds=5))
    provider = Provider(later, BrokerRateLimitError("Slowly.", retry_after=timedelta(seconds=60)), later)
    assert await login(provider, clock).diagnose(AUTH) == ["Tick it."]
    assert clock.now() - began == timedelta(seconds=70)


async def test_it_is_waited_for_three_minutes_and_no_longer() -> None:
    clock = Clock()
    began = clock.now()
    with pytest.raises(BrokerNotReadyError):
        await login(Provider(BrokerNotReadyError("Soon."), stays=True), clock).diagnose(AUTH)
    assert timedelta(minutes=2) < clock.now() - began <= timedelta(minutes=3)


async def test_a_refusal_is_told_at_once() -> None:
    clock = Clock()
    began = clock.now()
    with pytest.raises(BrokerAuthError):
        await login(Provider(BrokerAuthError("No."), stays=True), clock).diagnose(AUTH)
    assert clock.now() == began
