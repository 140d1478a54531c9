"""A renewal against the broker: what is noted before it, what is kept after it, and what a refusal means."""

from __future__ import annotations

from datetime import timedelta
from types import MappingProxyType
from typing import Any

import attrs
import pytest

from brokersync.config import GrantSettings, Settings
from brokersync.errors import (
    BrokerAPIError,
    BrokerAuthError,
    BrokerError,
    BrokerInteractionRequiredError,
    BrokerNotReadyError,
    BrokerRateLimitError,
    BrokerTimeoutError,
    BrokerTokenExpiredError,
    BrokerUnavailableError,
    StoreError,
)
from brokersync.events import TokenRefreshed
from brokersync.secret import Secret
from brokersync.store import SealedGrant
from brokersync.types import AuthResult
from brokersync.underway import Underway

from .desk import CONNECTION, FIELDS, FRESH, HIDDEN, MINUTE, NOW, Desk, login

SILENT = [BrokerTimeoutError("No answer.")] * 3
"""One call that never learns its outcome: it is tried three times."""


async def refused(desk: Desk, kind: type[BrokerError] = BrokerAuthError) -> BrokerError:
    with pytest.raises(kind) as caught:
        await desk.keeper().renew(login())
    return caught.value


async def test_that_a_renewal_is_under_way_is_durable_before_the_broker_is_asked(desk: Desk) -> None:
    seen = []

    async def look() -> AuthResult:
        seen.append(await desk.in_doubt())
        return FRESH

    desk.broker.refreshes = [look]
    await desk.keeper().renew(login())
    assert seen == [NOW]
    assert await desk.in_doubt() is None


@pytest.mark.parametrize(
    ("steps", "error", "doubt"),
    [
        (SILENT, BrokerTimeoutError, True),
        ([BrokerUnavailableError("HTTP 500.")] * 3, BrokerUnavailableError, True),
        ([BrokerAPIError("Nonsense.")], BrokerAPIError, True),
        ([BrokerRateLimitError("Later.")], BrokerRateLimitError, False),
        ([BrokerNotReadyError("Later.")], BrokerNotReadyError, False),
        ([BrokerAuthError("Revoked.")], BrokerAuthError, False),
    ],
)
async def test_the_note_stays_when_the_outcome_was_not_learned(
    desk: Desk, steps: list[Any], error: type[BrokerError], doubt: bool
) -> None:
    desk.broker.refreshes = list(steps)
    await refused(desk, error)
    assert (await desk.in_doubt() is not None) is doubt
    assert await desk.kept() == (login(), 1)
    assert desk.broker.refreshes == []


async def test_a_renewal_that_is_turned_away_for_its_rate_leaves_an_older_doubt(desk: Desk) -> None:
    desk.broker.refreshes = [*SILENT, BrokerRateLimitError("Later.")]
    await refused(desk, BrokerTimeoutError)
    await refused(desk, BrokerRateLimitError)
    assert await desk.in_doubt() == NOW


async def test_a_renewal_is_tried_three_times_with_growing_waits(desk: Desk) -> None:
    desk.settings = Settings(long_wait=MINUTE)
    desk.broker.refreshes = [BrokerUnavailableError("Down."), BrokerTimeoutError("No answer."), FRESH]
    assert await desk.keeper().renew(login()) == FRESH
    assert len(desk.clock.slept) == 2
    assert desk.clock.slept[0] <= 1
    assert desk.clock.slept[1] <= 2


async def test_a_long_wait_that_the_broker_asks_for_is_the_callers_to_wait(desk: Desk) -> None:
    desk.broker.refreshes = [BrokerUnavailableError("Down.", retry_after=MINUTE)]
    error = await refused(desk, BrokerUnavailableError)
    assert isinstance(error, BrokerUnavailableError)
    assert error.retry_after == MINUTE
    assert desk.clock.slept == []


async def test_an_unknown_outcome_is_no_refusal_and_is_followed_by_another_renewal(desk: Desk) -> None:
    desk.broker.refreshes = [*SILENT, FRESH]
    await refused(desk, BrokerTimeoutError)
    assert await desk.keeper().renew(login()) == FRESH
    assert set(desk.broker.asked) == {"refresh with hidden-refresh-0"}
    assert await desk.in_doubt() is None


@pytest.mark.parametrize("refusal", [BrokerAuthError("Used."), BrokerTokenExpiredError("Used.")])
@pytest.mark.parametrize("silent", [SILENT, SILENT[:1]], ids=["an earlier call", "this call"])
async def test_a_refusal_after_an_unknown_outcome_is_answered_by_a_login(
    desk: Desk, refusal: BrokerError, silent: list[BrokerError]
) -> None:
    desk.broker.refreshes = [*silent, refusal]
    desk.broker.logins = [FRESH]
    if silent is SILENT:
        await refused(desk, BrokerTimeoutError)
    assert await desk.keeper().renew(login()) == FRESH
    assert await desk.kept() == (FRESH, 2)
    assert await desk.in_doubt() is None
    assert desk.events == [TokenRefreshed(provider="paper", connection_id="c", how="login")]


@pytest.mark.parametrize(
    "answer",
    [
        BrokerAuthError("A code is needed.", status=403, code="mfa"),
        BrokerInteractionRequiredError("A code is needed.", challenge="the challenge", status=403, code="mfa"),
    ],
)
async def test_where_no_login_helps_the_user_is_told_that_a_renewal_was_interrupted(
    desk: Desk, answer: BrokerAuthError
) -> None:
    desk.broker.refreshes = [*SILENT, BrokerAuthError("Used."), BrokerAuthError("Used.")]
    desk.broker.logins = [answer]
    await refused(desk, BrokerTimeoutError)
    error = await refused(desk, type(answer))
    assert "A code is needed." in error.message
    assert (error.status, error.code) == (403, "mfa")
    assert getattr(error, "challenge", None) == getattr(answer, "challenge", None)
    # what was refused for certain is not sent again
    again = await refused(desk, BrokerAuthError)
    assert desk.broker.asked.count("login") == 1
    for told in (error, again):
        assert "interrupted on 2026-03-02 at 15:00 UTC" in told.message
        assert "may have replaced the token" in told.message
        assert "Log in again" in (told.remedy or "")
        assert not any(secret in f"{told!r}{told}{told.describe()}" for secret in HIDDEN)
    assert await desk.kept() == (login(), 1)
    assert await desk.in_doubt() == NOW


async def test_a_keeper_that_makes_no_logins_leaves_them_to_whoever_needs_one(desk: Desk) -> None:
    desk.broker.refreshes = [BrokerTokenExpiredError("It can not be renewed.")]
    with pytest.raises(BrokerTokenExpiredError):
        await desk.keeper(logs_in=False).renew(login())
    assert "login" not in desk.broker.asked
    assert await desk.kept() == (login(), 1)


async def test_a_renewal_keeps_what_its_answer_leaves_out(desk: Desk) -> None:
    held = login(
        grant_expires_at=NOW + 9 * MINUTE, sources=("fills",),
        secrets={"device": Secret("hidden-device"), "session": Secret("hidden-device-0")},
        state={"user": "7", "step": "1"}, hosts={"api": "https://a.test", "reports": "https://r.test"},
    )  # fmt: skip
    await desk.connect(held)
    desk.broker.refreshes = [
        AuthResult(
            identity="me", access_token=Secret("hidden-access-1"), expires_at=None,
            secrets={"session": Secret("hidden-device-1")}, state=MappingProxyType({"step": "2"}),
            hosts={"api": "https://b.test"},
        )
    ]  # fmt: skip
    renewed = await desk.keeper().renew(held)
    assert renewed == attrs.evolve(
        held, access_token=Secret("hidden-access-1"), expires_at=None,
        secrets={"device": Secret("hidden-device"), "session": Secret("hidden-device-1")},
        state={"user": "7", "step": "2"}, hosts={"api": "https://b.test", "reports": "https://r.test"},
    )  # fmt: skip
    assert await desk.kept() == (renewed, 3)


async def test_an_answer_that_is_not_understood_may_have_held_the_only_good_refresh_token(desk: Desk) -> None:
    desk.broker.refreshes = [BrokerAPIError("Nonsense.")]
    error = await refused(desk, BrokerAPIError)
    assert "may have replaced the refresh token" in error.remedy
    assert "nothing was lost" not in str(error)


async def test_what_a_plugin_advises_of_a_refused_renewal_stays(desk: Desk) -> None:
    desk.broker.refreshes = [BrokerAPIError("Closed.", remedy="Ask the broker.")]
    assert (await refused(desk, BrokerAPIError)).remedy == "Ask the broker."


PROLONGED = login("hidden-access-1", expires_at=NOW + timedelta(hours=13), refresh_refused=True)


async def test_a_doubt_outlives_a_renewal_that_was_refused_the_refresh_token(desk: Desk) -> None:
    desk.broker.refreshes = [BrokerTimeoutError("No answer."), PROLONGED, FRESH]
    assert await desk.keeper().renew(login()) == PROLONGED
    assert await desk.in_doubt() == NOW
    assert await desk.keeper().renew(PROLONGED) == FRESH
    assert await desk.in_doubt() is None, "the refresh token was taken"


async def test_a_refused_refresh_token_is_no_doubt_where_no_answer_was_lost(desk: Desk) -> None:
    desk.broker.refreshes = [PROLONGED]
    assert await desk.keeper().renew(login()) == PROLONGED
    assert await desk.in_doubt() is None


async def test_a_session_that_was_prolonged_in_doubt_is_replaced_by_a_login_as_soon_as_it_ends(desk: Desk) -> None:
    desk.broker.refreshes = [BrokerTimeoutError("No answer."), PROLONGED, BrokerNotReadyError("Later.")]
    desk.broker.logins = [FRESH]
    assert await desk.keeper().renew(login()) == PROLONGED
    desk.clock.moment = NOW + timedelta(hours=14)
    assert await desk.keeper().renew(PROLONGED) == FRESH


async def test_a_renewal_tells_of_a_new_end_and_of_other_rights(desk: Desk) -> None:
    await desk.connect(login(grant_expires_at=NOW + MINUTE, sources=("fills",)))
    told = attrs.evolve(FRESH, grant_expires_at=NOW + 9 * MINUTE, sources=("fills", "reports"))
    desk.broker.refreshes = [told]
    assert await desk.keeper().renew(login()) == told


async def test_a_broker_that_never_answers_is_given_up_before_the_lease_ends(desk: Desk) -> None:
    desk.settings = Settings(grants=GrantSettings(longest_renewal=timedelta(milliseconds=20)))
    desk.broker.pause.clear()
    await refused(desk, BrokerTimeoutError)
    assert await desk.in_doubt() == NOW
    assert await desk.kept() == (login(), 1)
    desk.broker.pause.set()
    desk.broker.refreshes = [FRESH]
    assert await desk.keeper(Underway()).renew(login()) == FRESH, "the lease was given back"


async def test_what_the_broker_gave_is_brought_into_a_store_that_fails_for_a_moment(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, failures = desk.store.replace_grant, [StoreError("The disk is full.")] * 3

    async def full(grant: SealedGrant) -> bool:
        if failures:
            raise failures.pop()
        return await replace(grant)

    monkeypatch.setattr(desk.store, "replace_grant", full)
    desk.broker.refreshes = [FRESH]
    assert await desk.keeper().renew(login()) == FRESH
    assert await desk.kept() == (FRESH, 2)
    assert desk.broker.asked == ["refresh with hidden-refresh-0"]


THE_USERS = login("hidden-access-9", "hidden-refresh-9")


async def the_user_logs_in(desk: Desk) -> None:
    await desk.store.log_in_again(CONNECTION, await desk.sealed(THE_USERS, 1))


async def test_a_login_of_the_user_wins_over_a_renewal_that_began_before_it(desk: Desk) -> None:
    async def meanwhile() -> AuthResult:
        await the_user_logs_in(desk)
        return FRESH

    desk.broker.refreshes = [meanwhile]
    assert await desk.keeper().renew(login()) == THE_USERS
    assert await desk.kept() == (THE_USERS, 2)


async def test_a_login_of_the_user_wins_over_a_renewal_that_ended_before_it(desk: Desk) -> None:
    desk.broker.refreshes = [FRESH]
    of_the_user = await desk.sealed(THE_USERS, 1)
    await desk.keeper().renew(login())
    await desk.store.log_in_again(CONNECTION, of_the_user)
    assert await desk.kept() == (THE_USERS, 3)


@pytest.mark.parametrize("when", ["while it is renewed", "while it is logged in"])
async def test_a_refusal_that_comes_when_the_user_has_logged_in_is_nobodys(desk: Desk, when: str) -> None:
    async def meanwhile() -> BrokerError:
        await the_user_logs_in(desk)
        return BrokerAuthError("Another session was begun.")

    early = when == "while it is renewed"
    desk.broker.refreshes = [meanwhile if early else BrokerTokenExpiredError("Dead.")]
    desk.broker.logins = [] if early else [meanwhile]
    assert await desk.keeper().renew(login()) == THE_USERS
    assert await desk.kept() == (THE_USERS, 2)


@pytest.mark.parametrize("end", ["disconnected", "forgotten"])
async def test_a_renewal_leaves_the_login_alone_that_the_user_made_after_ending_the_one_renewed(
    desk: Desk, end: str
) -> None:
    async def meanwhile() -> AuthResult:
        if end == "forgotten":
            await desk.store.forget("o")
        else:
            await desk.store.disconnect(CONNECTION, erase=False, at=NOW)
        await desk.vault.add(CONNECTION, THE_USERS, FIELDS, made_at=NOW)
        return FRESH

    await desk.store.disconnect(CONNECTION, erase=False, at=NOW)
    await desk.vault.add(CONNECTION, login(), FIELDS, made_at=NOW)
    desk.broker.refreshes = [meanwhile]
    assert await desk.keeper().renew(login()) == THE_USERS
    kept, _ = await desk.kept()
    assert kept == THE_USERS


async def test_a_login_that_was_removed_meanwhile_does_not_come_back(desk: Desk) -> None:
    async def meanwhile() -> AuthResult:
        sealed = await desk.store.grant("o", "paper", "live", "me")
        assert sealed is not None
        await desk.store.drop_grant(sealed)
        return FRESH

    desk.broker.refreshes = [meanwhile]
    assert "removed" in (await refused(desk)).message
    assert await desk.store.grant("o", "paper", "live", "me") is None
