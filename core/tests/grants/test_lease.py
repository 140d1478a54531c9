"""Keepers of several processes: one asks the broker, the others take what it got."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from brokersync.config import GrantSettings, Settings
from brokersync.errors import BrokerAuthError, BrokerNotReadyError
from brokersync.records import Lease
from brokersync.types import AuthResult
from brokersync.underway import Underway

from .desk import FRESH, NOW, Desk, login

NAME = "grant|o|paper|live|me"


async def lease(desk: Desk, holder: str, lasts: timedelta = timedelta(seconds=5)) -> Lease:
    now = desk.clock.now()
    return await desk.store.take_lease(NAME, owner="o", holder=holder, now=now, until=now + lasts)


async def test_fifty_tasks_in_four_processes_make_one_renewal(desk: Desk) -> None:
    desk.broker.refreshes = [FRESH]
    processes = [desk.keeper(Underway()) for _ in range(4)]
    found = await asyncio.gather(*(processes[number % 4].renew(login()) for number in range(50)))
    assert found == [FRESH] * 50
    assert desk.broker.asked == ["refresh with hidden-refresh-0"]
    assert await desk.kept() == (FRESH, 2)


async def test_who_waits_for_another_process_takes_its_token_without_asking(desk: Desk) -> None:
    await lease(desk, "another")

    async def renewed_meanwhile() -> None:
        if len(desk.clock.slept) == 4:
            await desk.store.replace_grant(await desk.sealed(FRESH, 2))

    desk.clock.on_sleep = renewed_meanwhile
    assert await desk.keeper().renew(login()) == FRESH
    assert desk.broker.asked == []
    assert desk.clock.slept == [0.05, 0.1, 0.2, 0.4]


async def test_who_gets_the_lease_reads_again_before_asking(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    take = desk.store.take_lease

    async def just_after_another(*args: object, **facts: object) -> Lease:
        await desk.store.replace_grant(await desk.sealed(FRESH, 2))
        return await take(*args, **facts)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(desk.store, "take_lease", just_after_another)
    assert await desk.keeper().renew(login()) == FRESH
    assert desk.broker.asked == []


async def test_the_lease_of_a_dead_process_ends_and_its_grant_is_renewed(desk: Desk) -> None:
    await lease(desk, "another that was killed")
    desk.broker.refreshes = [FRESH]
    assert await desk.keeper().renew(login()) == FRESH
    assert desk.clock.now() - NOW > timedelta(seconds=5)


async def test_another_process_is_not_waited_for_without_end(desk: Desk) -> None:
    desk.settings = Settings(grants=GrantSettings(longest_wait=timedelta(seconds=3)))
    await lease(desk, "another", timedelta(seconds=60))
    with pytest.raises(BrokerNotReadyError, match="Another worker") as caught:
        await desk.keeper().renew(login())
    assert 3 <= sum(desk.clock.slept) <= 5
    assert caught.value.retry_after is not None
    assert timedelta(seconds=55) <= caught.value.retry_after <= timedelta(seconds=57)
    assert desk.broker.asked == []


async def test_the_lease_lasts_longer_than_renewal_and_login_may_take(desk: Desk) -> None:
    lasting: list[timedelta] = []

    async def look() -> AuthResult:
        held = await lease(desk, "a look")
        lasting.append(held.expires_at - desk.clock.now())
        return FRESH

    desk.broker.refreshes = [look]
    await desk.keeper().renew(login())
    assert lasting[0] > 2 * desk.settings.grants.longest_renewal


@pytest.mark.parametrize("answer", [FRESH, BrokerAuthError("Revoked.")])
async def test_the_lease_is_given_back(desk: Desk, answer: AuthResult | BrokerAuthError) -> None:
    desk.broker.refreshes = [answer]
    await asyncio.gather(desk.keeper().renew(login()), return_exceptions=True)
    assert (await lease(desk, "another")).holder == "another"
