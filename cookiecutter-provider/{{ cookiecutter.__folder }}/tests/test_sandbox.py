"""The sandbox keeps the broker's rules, so that a plugin that breaks them is seen."""

from __future__ import annotations

from datetime import timedelta

import aiohttp
import pytest

from brokersync.plugin import CONTROL_PATH, SandboxSettings
from brokersync.testing import RunningSandbox, run_sandbox
from {{ cookiecutter.__package }}.sandbox_facts import LIMITS
from {{ cookiecutter.__package }}.sandbox_wire import Meter, RefusedError

from .logins import KEY
from .stage import Clock, Stage


async def test_the_same_seed_and_clock_give_the_same_history(stage: Stage, clock: Clock) -> None:
    settings = SandboxSettings(now=clock.now, days=90)
    async with run_sandbox(KEY, settings=settings) as other, aiohttp.ClientSession() as session:
        answer = await session.get(f"{other.base_url}{CONTROL_PATH}/ledger")
        books = (await answer.json())["accounts"]

    assert books == await stage.ledger()


# FILL IN: how the broker says when to come back (seconds here), and limits of single operations where it has some
def test_more_calls_than_a_limit_are_refused_until_its_time_has_passed(clock: Clock) -> None:
    meter = Meter(SandboxSettings(now=clock.now))
    most, _ = min(LIMITS)
    for _ in range(most):
        meter.count("a login")

    with pytest.raises(RefusedError) as caught:
        meter.count("a login")
    meter.count("another login")
    answer = caught.value.answer()
    assert answer.status == 429

    clock.advance(timedelta(seconds=int(answer.headers["Retry-After"])))
    meter.count("a login")


async def test_a_fault_that_it_does_not_have_is_refused(sandbox: RunningSandbox) -> None:
    async with aiohttp.ClientSession() as session:
        answer = await session.post(f"{sandbox.base_url}{CONTROL_PATH}/faults", json={"fault": "unheard"})

    assert answer.status == 400
