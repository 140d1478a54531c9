"""The sandbox keeps the broker's rules, so that a plugin that breaks them is seen."""

from __future__ import annotations

from datetime import timedelta

import aiohttp

from brokersync.plugin import CONTROL_PATH, SandboxSettings
from brokersync.testing import RunningSandbox, run_sandbox

from .logins import KEY, NOBODY
from .stage import Clock, Stage


async def test_the_same_seed_and_clock_give_the_same_history(stage: Stage, clock: Clock) -> None:
    settings = SandboxSettings(now=clock.now, days=90)
    async with run_sandbox(KEY, settings=settings) as other, aiohttp.ClientSession() as session:
        answer = await session.get(f"{other.base_url}{CONTROL_PATH}/ledger")
        books = (await answer.json())["accounts"]

    assert books == await stage.ledger()


async def test_more_calls_than_the_limit_are_refused_until_a_minute_has_passed(
    sandbox: RunningSandbox, clock: Clock
) -> None:
    async with aiohttp.ClientSession(headers=NOBODY) as session:

        async def call() -> tuple[int, str | None]:
            async with session.get(f"{sandbox.hosts['live']}/accounts") as answer:
                return answer.status, answer.headers.get("Retry-After")

        assert {await call() for _ in range(60)} == {(401, None)}
        assert await call() == (429, "61")
        clock.advance(timedelta(seconds=61))
        assert await call() == (401, None)


async def test_a_fault_that_it_does_not_have_is_refused(sandbox: RunningSandbox) -> None:
    async with aiohttp.ClientSession() as session:
        answer = await session.post(f"{sandbox.base_url}{CONTROL_PATH}/faults", json={"fault": "unheard"})

    assert answer.status == 400
