from __future__ import annotations

import asyncio
import gc
from datetime import timedelta
from types import MappingProxyType
from typing import Any

import attrs
import pytest

from brokersync.config import GrantSettings, Settings
from brokersync.errors import (
    BrokerAuthError,
    BrokerConfigError,
    BrokerError,
    BrokerNotReadyError,
    BrokerRateLimitError,
    BrokerRetryableError,
    BrokerTokenExpiredError,
    BrokerUnavailableError,
    ClosedError,
    StoreError,
)
from brokersync.events import TokenRefreshed
from brokersync.masterkeys import MasterKeys
from brokersync.sealing import Sealer
from brokersync.secret import Secret
from brokersync.store import SealedGrant
from brokersync.types import AuthResult
from brokersync.underway import Underway
from brokersync.vault import GrantVault

from .desk import CONNECTION, FRESH, HIDDEN, MINUTE, NOW, Desk, login


async def test_a_login_comes_back_from_the_vault_as_it_was(desk: Desk) -> None:
    whole = login(
        grant_expires_at=NOW + timedelta(days=9), state=MappingProxyType({"user": "7"}), hosts={"api": "https://x.test"},
        sources=("fills",), expires_at=NOW + timedelta(microseconds=1),
    )  # fmt: skip
    await desk.connect(whole)
    assert await desk.kept() == (whole, 2)


async def test_a_connection_without_a_grant_asks_for_a_login(desk: Desk) -> None:
    with pytest.raises(BrokerAuthError, match="no login"):
        await desk.vault.load(attrs.evolve(CONNECTION, identity="nobody"))


async def test_fifty_who_ask_at_once_make_one_refresh(desk: Desk) -> None:
    desk.broker.refreshes = [FRESH]
    keeper = desk.keeper()
    assert await asyncio.gather(*(keeper.renew(login()) for _ in range(50))) == [FRESH] * 50
    assert desk.broker.asked == ["refresh with hidden-refresh-0"]
    assert await desk.kept() == (FRESH, 2)
    assert desk.events == [TokenRefreshed(provider="paper", connection_id="c", how="refresh")]


async def test_fifty_who_find_the_token_about_to_expire_make_one_refresh(desk: Desk) -> None:
    desk.broker.refreshes = [attrs.evolve(FRESH, expires_at=NOW + 120 * MINUTE)]
    desk.clock.moment = NOW + 59 * MINUTE
    keepers = [desk.keeper() for _ in range(5)]
    found = await asyncio.gather(*(keeper.current(login()) for keeper in keepers for _ in range(10)))
    assert {one.access_token for one in found} == {FRESH.access_token}
    assert len(desk.broker.asked) == 1


async def test_keepers_of_one_grant_take_each_others_renewal(desk: Desk) -> None:
    desk.broker.refreshes = [FRESH]
    keepers = [desk.keeper(), desk.keeper()]
    assert [await keeper.current(login()) for keeper in keepers] == [login()] * 2
    assert [await keeper.renew(login()) for keeper in keepers] == [FRESH] * 2
    assert [await keeper.current(login()) for keeper in keepers] == [FRESH] * 2
    assert len(desk.broker.asked) == 1


async def test_a_login_whose_token_stands_among_its_secrets_is_renewed_once_too(desk: Desk) -> None:
    old = login(access_token=None, secrets={"session": Secret("hidden-device-0")})
    new = login(access_token=None, secrets={"session": Secret("hidden-device-1")})
    await desk.connect(old)
    desk.broker.refreshes = [new]
    keeper = desk.keeper()
    assert await asyncio.gather(*(keeper.renew(old) for _ in range(5))) == [new] * 5


@pytest.mark.parametrize(("left", "renewed"), [(timedelta(minutes=2), False), (timedelta(seconds=119), True)])
async def test_a_token_about_to_expire_is_renewed_before_it_is_used(desk: Desk, left: timedelta, renewed: bool) -> None:
    desk.broker.refreshes = [attrs.evolve(FRESH, expires_at=NOW + 120 * MINUTE)]
    desk.clock.moment = NOW + 60 * MINUTE - left
    token = (await desk.keeper().current(login())).access_token
    assert (token == FRESH.access_token) is renewed


@pytest.mark.parametrize(("seconds", "renewals"), [(0, 1), (44, 1), (46, 2)])
async def test_a_token_that_lives_shorter_than_the_margin_is_fresh_for_all_until_half_of_its_life(
    desk: Desk, seconds: int, renewals: int
) -> None:
    end = NOW + 60 * MINUTE
    made = [login(f"hidden-access-{one}", expires_at=end + timedelta(seconds=one * 90)) for one in (1, 2)]
    desk.broker.refreshes = list(made)
    desk.clock.moment = end
    assert await desk.keeper().current(login()) == made[0]
    desk.clock.moment = end + timedelta(seconds=seconds)
    found = [await desk.keeper(Underway()).current(login()) for _ in range(5)]
    assert found == [made[renewals - 1]] * 5
    assert len(desk.broker.asked) == renewals


async def test_a_clock_that_is_ahead_by_more_than_a_token_lives_has_it_renewed_once(
    desk: Desk,
) -> None:
    ahead = NOW + timedelta(hours=5)
    made = login("hidden-access-1", expires_at=NOW + 60 * MINUTE)
    desk.broker.refreshes = [made]
    desk.clock.moment = ahead
    for _ in range(3):
        assert await desk.keeper(Underway()).current(login()) == made
    assert len(desk.broker.asked) == 1


async def test_a_token_without_an_end_is_not_renewed_by_the_clock(desk: Desk) -> None:
    await desk.connect(login(expires_at=None))
    desk.clock.moment = NOW + timedelta(days=900)
    assert (await desk.keeper().current(login())).access_token == Secret("hidden-access-0")


async def test_the_store_knows_a_newer_token_than_the_one_at_hand(desk: Desk) -> None:
    await desk.store.replace_grant(await desk.sealed(FRESH, 2))
    assert await desk.keeper().current(login()) == FRESH
    assert await desk.keeper().renew(login()) == FRESH
    assert desk.broker.asked == []


async def test_a_refresh_without_a_refresh_token_keeps_the_old_one(desk: Desk) -> None:
    desk.broker.refreshes = [login("hidden-access-1", None)]
    renewed = await desk.keeper().renew(login())
    assert (renewed.access_token, renewed.refresh_token) == (Secret("hidden-access-1"), Secret("hidden-refresh-0"))
    assert await desk.kept() == (renewed, 2)


async def test_a_new_login_without_a_refresh_token_does_not_take_over_the_dead_one(desk: Desk) -> None:
    desk.broker.refreshes = [BrokerTokenExpiredError("Dead.")]
    desk.broker.logins = [login("hidden-access-1", None)]
    assert (await desk.keeper().renew(login())).refresh_token is None


async def test_a_dead_refresh_token_is_answered_by_one_login_with_the_stored_fields(desk: Desk) -> None:
    desk.broker.refreshes = [BrokerTokenExpiredError("Dead.")]
    desk.broker.logins = [FRESH]
    assert await desk.keeper().renew(login()) == FRESH
    assert desk.broker.asked == ["refresh with hidden-refresh-0", "login"]
    assert await desk.kept() == (FRESH, 2)
    assert desk.events == [TokenRefreshed(provider="paper", connection_id="c", how="login")]


@pytest.mark.parametrize("error", [BrokerAuthError("Wrong password."), BrokerTokenExpiredError("Dead again.")])
async def test_a_login_that_is_refused_is_not_tried_again_and_leaves_the_grant(desk: Desk, error: BrokerError) -> None:
    desk.broker.refreshes = [BrokerTokenExpiredError("Dead.")]
    desk.broker.logins = [error]
    with pytest.raises(type(error)) as caught:
        await desk.keeper().renew(login())
    assert caught.value is error
    assert desk.broker.asked.count("login") == 1
    assert await desk.kept() == (login(), 1)
    assert desk.events == []


@pytest.mark.parametrize("step", ["refreshes", "logins"])
async def test_another_identity_is_refused_and_not_stored(desk: Desk, step: str) -> None:
    desk.broker.refreshes = [BrokerTokenExpiredError("Dead.")]
    setattr(desk.broker, step, [attrs.evolve(FRESH, identity="somebody else")])
    with pytest.raises(BrokerAuthError, match="another login") as caught:
        await desk.keeper().renew(login())
    assert caught.value.remedy
    assert await desk.kept() == (login(), 1)


async def test_a_refresh_that_may_work_later_leaves_the_grant_untouched(desk: Desk) -> None:
    desk.broker.refreshes = [*[BrokerUnavailableError("Down.")] * 3, FRESH]
    keeper = desk.keeper()
    with pytest.raises(BrokerUnavailableError):
        await keeper.renew(login())
    assert await desk.kept() == (login(), 1)
    assert await keeper.current(login()) == login()
    assert await keeper.renew(login()) == FRESH


async def test_a_new_token_is_stored_before_anybody_has_it(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.broker.refreshes = [FRESH]
    keeper = desk.keeper()
    replace = desk.store.replace_grant

    async def full(_: SealedGrant) -> bool:
        raise StoreError("The disk is full.")

    monkeypatch.setattr(desk.store, "replace_grant", full)
    with pytest.raises(StoreError):
        await keeper.renew(login())
    with pytest.raises(StoreError):
        await keeper.current(login())
    assert await desk.kept() == (login(), 1)
    assert desk.events == []
    monkeypatch.setattr(desk.store, "replace_grant", replace)
    assert await keeper.renew(login()) == FRESH
    assert len(desk.broker.asked) == 1


async def test_who_loses_the_race_of_two_processes_uses_the_winners_token(desk: Desk) -> None:
    winner = login("hidden-access-9", "hidden-refresh-9")

    async def overtaken() -> AuthResult:
        assert await desk.store.replace_grant(await desk.sealed(winner, 2))
        return FRESH

    desk.broker.refreshes = [overtaken]
    assert await desk.keeper().renew(login()) == winner
    assert await desk.kept() == (winner, 2)
    assert desk.events == []


@pytest.mark.parametrize("error", [BrokerTokenExpiredError("Used."), BrokerAuthError("Revoked.")])
async def test_a_refresh_refused_because_another_process_was_first_takes_its_token(
    desk: Desk, error: BrokerError
) -> None:
    winner = login("hidden-access-9", "hidden-refresh-9")

    async def overtaken() -> BrokerError:
        assert await desk.store.replace_grant(await desk.sealed(winner, 2))
        return error

    desk.broker.refreshes = [overtaken]
    assert await desk.keeper().renew(login()) == winner
    assert "login" not in desk.broker.asked, "another login could end the winner's session"


async def test_keepers_of_several_processes_end_with_one_token(desk: Desk) -> None:
    # they wait by a clock that runs ahead, for a store that takes its real time
    hour = timedelta(hours=1)
    desk.settings = Settings(grants=GrantSettings(longest_wait=hour, longest_renewal=hour))
    made = [login(f"hidden-access-{number}", f"hidden-refresh-{number}") for number in range(1, 9)]
    desk.broker.refreshes = list(made)
    found = await asyncio.gather(*(desk.keeper(Underway()).renew(login()) for _ in range(8)))
    kept, generation = await desk.kept()
    assert {one.access_token for one in found} == {kept.access_token}
    assert generation == 2


async def test_a_caller_that_gives_up_does_not_lose_the_token_that_is_on_its_way(desk: Desk) -> None:
    desk.broker.refreshes = [FRESH]
    desk.broker.pause.clear()
    keeper = desk.keeper()
    waiting = [asyncio.create_task(keeper.renew(login())) for _ in range(2)]
    await desk.broker.reached.wait()
    for _ in range(3):
        waiting[0].cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await waiting[0]
    desk.broker.pause.set()
    assert await waiting[1] == FRESH
    assert await desk.kept() == (FRESH, 2), "the broker may have ended the old refresh token"
    assert len(desk.broker.asked) == 1


async def test_a_renewal_that_fails_after_its_caller_gave_up_is_nobodys_warning(desk: Desk) -> None:
    desk.broker.refreshes = [BrokerUnavailableError("Down.")] * 3
    desk.broker.pause.clear()
    waiting = asyncio.create_task(desk.keeper().renew(login()))
    await desk.broker.reached.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    desk.broker.pause.set()
    await desk.underway.end(MINUTE)
    gc.collect()
    assert (await desk.kept(), len(desk.broker.asked)) == ((login(), 1), 3)


async def test_what_is_under_way_outlives_all_who_asked_and_is_in_the_store_at_the_end(desk: Desk) -> None:
    desk.broker.refreshes = [FRESH]
    desk.broker.pause.clear()
    waiting = [asyncio.create_task(desk.keeper().renew(login())) for _ in range(3)]
    await desk.broker.reached.wait()
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    asyncio.get_running_loop().call_soon(desk.broker.pause.set)
    await desk.underway.end(MINUTE)
    assert await desk.kept() == (FRESH, 2)
    assert len(desk.broker.asked) == 1


async def test_who_waits_for_another_process_begins_no_renewal_when_closing_has_begun(desk: Desk) -> None:
    async def nothing() -> None: ...

    now = desk.clock.now()
    await desk.store.take_lease("grant|o|paper|live|me", owner="o", holder="another", now=now, until=now + MINUTE)
    desk.clock.on_sleep = lambda: desk.underway.close(nothing)
    with pytest.raises(ClosedError):
        await desk.keeper().renew(login())
    assert (desk.broker.asked, len(desk.clock.slept)) == ([], 1)


async def test_no_secret_stands_in_the_store_or_in_any_error(desk: Desk, stores: Any) -> None:
    desk.broker.refreshes = [FRESH]
    await desk.keeper().renew(login())
    stored = await stores.content()
    assert b"paper" in stored, "the search must be able to find what stands there"
    assert not any(secret.encode() in stored for secret in HIDDEN)
    wrong = GrantVault(desk.store, Sealer(MasterKeys(bytes(range(32)))))
    with pytest.raises(BrokerConfigError, match="another key") as caught:
        await wrong.load(CONNECTION)
    sealed = await desk.store.grant("o", "paper", "live", "me")
    grant, _ = await desk.vault.load(CONNECTION)
    for shown in (
        str(caught.value),
        repr(caught.value),
        repr(sealed),
        repr(grant),
        repr(desk.vault),
        repr(desk.keeper()),
    ):
        assert not any(secret in shown for secret in HIDDEN)


async def test_a_grant_copied_to_another_login_of_the_owner_does_not_open(desk: Desk) -> None:
    sealed = await desk.store.grant("o", "paper", "live", "me")
    assert sealed is not None
    other = attrs.evolve(CONNECTION, connection_id="d", identity="you")
    await desk.store.add_connection(other, attrs.evolve(sealed, identity="you"))
    with pytest.raises(BrokerConfigError, match="copied"):
        await desk.vault.load(other)
    swapped = attrs.evolve(sealed, auth=sealed.credentials, credentials=sealed.auth)
    await desk.store.add_connection(CONNECTION, swapped)
    with pytest.raises(BrokerConfigError, match="copied"):
        await desk.vault.load(CONNECTION)


@pytest.mark.parametrize("error", [BrokerRateLimitError("slowly"), BrokerNotReadyError("later")], ids=repr)
async def test_a_token_that_lives_is_used_while_its_renewal_has_to_wait(
    desk: Desk, error: BrokerRetryableError
) -> None:
    error.retry_after = MINUTE
    desk.broker.refreshes = [error, error, FRESH]
    desk.clock.moment = NOW + 50 * MINUTE
    keeper = desk.keeper(renew_before=15 * MINUTE)
    assert [await keeper.current(login()) for _ in range(5)] == [login()] * 5
    assert len(desk.broker.asked) == 1, "and who asks next does not ask the broker again"

    desk.clock.moment += MINUTE
    assert await keeper.current(login()) == login()
    desk.clock.moment = NOW + 61 * MINUTE
    assert await keeper.current(login()) == FRESH
    assert await desk.in_doubt() is None


async def test_a_dead_token_is_not_used_because_its_renewal_has_to_wait(desk: Desk) -> None:
    desk.broker.refreshes = [BrokerRateLimitError("slowly", retry_after=MINUTE)]
    desk.clock.moment = NOW + 61 * MINUTE
    with pytest.raises(BrokerRateLimitError):
        await desk.keeper().current(login())


async def test_a_broker_may_want_its_tokens_renewed_earlier_than_the_settings(desk: Desk) -> None:
    desk.broker.refreshes = [FRESH]
    desk.clock.moment = NOW + 46 * MINUTE
    assert await desk.keeper().current(login()) == login()
    assert await desk.keeper(renew_before=15 * MINUTE).current(login()) == FRESH
