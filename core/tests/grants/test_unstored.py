"""What the broker gave and the store did not take: this process holds it, and nothing is sent before it is stored."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import attrs
import pytest

from brokersync.errors import BrokerNotReadyError, StoreError
from brokersync.store import SealedGrant
from brokersync.underway import Underway

from .desk import CONNECTION, FRESH, HIDDEN, MINUTE, NOW, Desk, login

THEIRS = login("hidden-access-9", "hidden-refresh-9")
REFRESH = ["refresh with hidden-refresh-0"]


@attrs.define
class Away:
    """The store takes nothing while it is `on`; `tries` counts what it was to keep."""

    on: bool = True
    tries: int = 0


@pytest.fixture
async def away(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Away:
    """A store that goes away as soon as the broker has replaced the refresh token."""
    made, replace = Away(), desk.store.replace_grant

    async def call(grant: SealedGrant) -> bool:
        if made.on:
            made.tries += 1
            raise StoreError("The disk is full.")
        return await replace(grant)

    monkeypatch.setattr(desk.store, "replace_grant", call)
    desk.broker.refreshes = [FRESH]
    with pytest.raises(StoreError):
        await desk.keeper().renew(login())
    return made


async def test_the_next_who_wants_the_login_gets_the_new_token_after_one_refresh_in_all(desk: Desk, away: Away) -> None:
    for _ in range(30):
        desk.clock.moment += MINUTE
        for keeper in (desk.keeper(), desk.keeper(logs_in=False)):
            with pytest.raises(StoreError):
                await keeper.current(login())
            with pytest.raises(StoreError):
                await keeper.renew(login())
    away.on = False
    assert await desk.keeper().current(login()) == FRESH
    assert await desk.keeper(Underway()).renew(login()) == FRESH
    assert desk.broker.asked == REFRESH
    assert await desk.kept() == (FRESH, 2)
    assert await desk.in_doubt() is None


async def test_it_is_stored_with_the_time_it_was_made_at(desk: Desk, away: Away) -> None:
    desk.clock.moment += 30 * MINUTE
    away.on = False
    await desk.keeper().renew(login())
    assert (await desk.vault.load(CONNECTION))[0].made_at == NOW


@pytest.mark.parametrize("call", ["current", "renew"])
async def test_what_another_process_has_stored_meanwhile_wins(desk: Desk, away: Away, call: str) -> None:
    away.on = False
    assert await desk.store.replace_grant(await desk.sealed(THEIRS, 2))
    assert await getattr(desk.keeper(), call)(login()) == THEIRS
    assert not desk.vault.holds_newer((await desk.vault.load(CONNECTION))[0])
    assert await desk.kept() == (THEIRS, 2)
    assert desk.broker.asked == REFRESH
    await desk.vault.catch_up_all()
    assert await desk.kept() == (THEIRS, 2)


async def test_another_process_that_is_renewing_is_waited_for_and_not_overtaken(desk: Desk, away: Away) -> None:
    away.on = False
    desk.clock.moment += 5 * MINUTE
    now = desk.clock.now()
    await desk.store.take_lease("grant|o|paper|live|me", owner="o", holder="another", now=now, until=now + MINUTE)

    async def renewed_meanwhile() -> None:
        if len(desk.clock.slept) == 7:
            assert await desk.kept() == (login(), 1)
            assert await desk.store.replace_grant(await desk.sealed(THEIRS, 2))

    desk.clock.on_sleep = renewed_meanwhile
    assert await desk.keeper().current(login()) == THEIRS
    assert await desk.kept() == (THEIRS, 2)
    assert desk.broker.asked == REFRESH


async def test_no_other_process_sends_the_spent_token_while_the_lease_lasts(desk: Desk, away: Away) -> None:
    away.on = False
    with pytest.raises(BrokerNotReadyError, match="Another worker"):
        await desk.keeper(Underway()).renew(login())
    assert await desk.keeper().renew(login()) == FRESH
    assert await desk.keeper(Underway()).renew(login()) == FRESH
    assert desk.broker.asked == REFRESH
    desk.broker.refreshes = [THEIRS]
    assert await desk.keeper(Underway()).renew(FRESH) == THEIRS


async def test_a_login_of_the_user_wins(desk: Desk, away: Away) -> None:
    await desk.store.log_in_again(CONNECTION, await desk.sealed(THEIRS, 1))
    away.on = False
    assert await desk.keeper().current(login()) == THEIRS
    await desk.vault.catch_up_all()
    assert await desk.kept() == (THEIRS, 2)


async def test_a_login_that_was_ended_does_not_come_back(desk: Desk, away: Away) -> None:
    await desk.store.forget("o")
    away.on = False
    await desk.vault.catch_up_all()
    assert await desk.store.grant("o", "paper", "live", "me") is None
    await desk.connect(login())
    assert await desk.keeper().current(login()) == login()


async def test_a_lease_that_could_not_be_given_back_keeps_this_process_from_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def down(*_: object) -> None:
        raise StoreError("The server is away.")

    with monkeypatch.context() as patch:
        patch.setattr(desk.store, "replace_grant", down)
        patch.setattr(desk.store, "release_lease", down)
        desk.broker.refreshes = [FRESH]
        with pytest.raises(StoreError):
            await desk.keeper().renew(login())
    waited = len(desk.clock.slept)
    assert await desk.keeper().current(login()) == FRESH
    assert (len(desk.clock.slept), desk.broker.asked) == (waited, REFRESH)


async def test_storing_that_is_broken_off_loses_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    hangs = asyncio.Event()

    async def hanging(_: SealedGrant) -> bool:
        hangs.set()
        await asyncio.Event().wait()
        raise AssertionError

    desk.broker.refreshes = [FRESH]
    with monkeypatch.context() as patch:
        patch.setattr(desk.store, "replace_grant", hanging)
        waiting = asyncio.create_task(desk.keeper().renew(login()))
        await asyncio.wait_for(hangs.wait(), 10)
        await desk.underway.end(timedelta(0))
    await asyncio.gather(waiting, return_exceptions=True)
    await desk.vault.catch_up_all()
    assert await desk.kept() == (FRESH, 2)


async def test_what_is_held_shows_no_secret(desk: Desk, away: Away) -> None:
    for shown in (repr(desk.vault), repr(desk.vault._unstored)):
        assert not any(secret in shown for secret in HIDDEN)
