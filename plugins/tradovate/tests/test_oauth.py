"""Logging in at Tradovate's own page, and what keeps such a login alive."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import attrs
import pytest

from brokersync.plugin import (
    AuthResult,
    BrokerAPIError,
    BrokerAuthError,
    BrokerConfigError,
    BrokerCredentials,
    BrokerError,
    BrokerMaintenanceError,
    BrokerNotReadyError,
    BrokerResponseError,
    BrokerTokenExpiredError,
    BrokerUnavailableError,
    Challenge,
    LimitScope,
    Secret,
)
from brokersync_tradovate.consent import TradovateConsent

CODE, ACCESS, REFRESH, SECRET = "code-of-the-test", "access-of-the-test", "refresh-of-the-test", "secret-of-the-test"
CALLBACK = "https://journal.example/callback"
EXCHANGE, RENEWAL = "oauthtoken", "auth/renewaccesstoken"
HOSTS = {"demo": "demo-firm.tradovateapi.com", "reportingDemo": "rpt-demo-firm.tradovateapi.com"}


def tokens(**changes: Any) -> dict[str, Any]:
    return {
        "access_token": ACCESS,
        "token_type": "bearer",
        "expires_in": 4800,
        "refresh_token": REFRESH,
        "refresh_token_expires_in": 93_600,
    } | changes


def renewed(**changes: Any) -> dict[str, Any]:
    return {
        "accessToken": "renewed-of-the-test",
        "expirationTime": "2026-04-15T16:20:00.000Z",
        "userStatus": "Active",
        "userId": 31,
        "name": "mira",
        "apiHosts": HOSTS,
    } | changes


@pytest.fixture
def world(new_world: Any) -> Any:
    return new_world(settings={"client_id": "app-1", "client_secret": SECRET})


@pytest.fixture
def begun(world: Any) -> Any:
    """Begins a login, and finishes it with what came back."""

    async def finish(**answers: str) -> AuthResult | Challenge:
        consent = TradovateConsent(world.context)
        challenge = await consent.begin(BrokerCredentials(), CALLBACK)
        state = challenge.state["state"].reveal()
        return await consent.complete(challenge, {"code": CODE, "state": state} | answers)

    return finish


async def test_the_page_is_asked_for_with_the_app_and_a_state_of_its_own(world: Any) -> None:
    consent = TradovateConsent(world.context)
    one, other = [await consent.begin(BrokerCredentials(), CALLBACK) for _ in range(2)]

    address = urlsplit(one.url or "")
    assert f"{address.scheme}://{address.netloc}{address.path}" == "https://trader.tradovate.com/oauth"
    assert parse_qs(address.query) == {
        "response_type": ["code"],
        "client_id": ["app-1"],
        "redirect_uri": [CALLBACK],
        "state": [one.state["state"].reveal()],
    }
    assert one.state["state"] != other.state["state"]
    assert one.expires_at == world.clock.now() + timedelta(minutes=10)
    assert world.broker.sent == []


@pytest.mark.parametrize("settings", [{}, {"client_id": "app-1"}, {"client_secret": SECRET}])
async def test_without_an_app_of_the_operators_nobody_is_sent_to_the_page(new_world: Any, settings: Any) -> None:
    with pytest.raises(BrokerConfigError, match="client_id and client_secret"):
        await TradovateConsent(new_world(settings=settings).context).begin(BrokerCredentials(), CALLBACK)


async def test_the_code_is_exchanged_once_as_a_form(world: Any, begun: Any) -> None:
    world.broker.on("oauth", EXCHANGE, tokens(apiHosts=HOSTS))
    world.broker.on("live", "auth/me", {"userId": 31, "name": "mira"})

    auth = await begun()

    sent = world.broker.sent[0]
    assert (sent.draft.method, sent.draft.json) == ("POST", None)
    assert sent.draft.form == {
        "grant_type": "authorization_code",
        "code": CODE,
        "redirect_uri": CALLBACK,
        "client_id": "app-1",
        "client_secret": SECRET,
    }
    assert not sent.options.get("repeatable")
    assert auth.identity == "user:31"
    assert (auth.access_token, auth.refresh_token) == (Secret(ACCESS), Secret(REFRESH))
    assert auth.expires_at == world.clock.now() + timedelta(seconds=4800)
    assert auth.grant_expires_at == world.clock.now() + timedelta(hours=26)
    assert auth.hosts["demo"] == "https://demo-firm.tradovateapi.com/v1"


async def test_hosts_that_the_exchange_does_not_tell_are_had_by_one_renewal(world: Any, begun: Any) -> None:
    world.broker.on("oauth", EXCHANGE, tokens())
    world.broker.on("live", RENEWAL, renewed())

    auth = await begun()

    assert world.broker.paths() == [EXCHANGE, RENEWAL]
    assert (auth.identity, auth.access_token) == ("user:31", Secret("renewed-of-the-test"))
    assert auth.refresh_token == Secret(REFRESH)
    assert auth.hosts["reporting-demo"] == "https://rpt-demo-firm.tradovateapi.com/v1"


async def test_a_renewal_that_is_not_to_be_had_now_costs_no_login(world: Any, begun: Any) -> None:
    world.broker.on("oauth", EXCHANGE, tokens())
    world.broker.on("live", RENEWAL, "", status=503)
    world.broker.on("live", "auth/me", {"userId": 31, "name": "mira"})

    auth = await begun()

    assert (auth.identity, dict(auth.hosts)) == ("user:31", {})


async def test_an_app_without_the_right_to_users_learns_who_it_is_by_a_renewal(world: Any, begun: Any) -> None:
    world.broker.on("oauth", EXCHANGE, tokens(apiHosts=HOSTS))
    world.broker.on("live", "auth/me", "Access is denied", status=401)
    world.broker.on("live", RENEWAL, renewed())

    assert (await begun()).identity == "user:31"


async def test_who_can_be_named_in_no_way_is_not_logged_in(world: Any, begun: Any) -> None:
    world.broker.on("oauth", EXCHANGE, tokens())
    world.broker.on("live", "auth/me", "Access is denied", status=401)
    world.broker.on("live", RENEWAL, "Access is denied", status=401)

    with pytest.raises(BrokerAuthError):
        await begun()


async def test_who_declines_has_nothing_sent_and_is_told_so(world: Any, begun: Any) -> None:
    with pytest.raises(BrokerAuthError, match="declined") as caught:
        await begun(error="access_denied", error_description="The user said no.", code="")

    assert caught.value.code == "access_denied"
    assert world.broker.sent == []


@pytest.mark.parametrize(
    "answers",
    [
        {"state": "another"},
        {"state": ""},
        {"state": "schön"},
        {"state": "\ud800"},
        {"code": ""},
        {"code": "\ud800"},
        {"code": "schön"},
        {"error": "server_error"},
        {"error": f"<b>{CODE}</b>"},
    ],
)
async def test_an_answer_to_another_question_is_not_exchanged(
    world: Any, begun: Any, caught: Callable[[BrokerError], str], answers: dict[str, str]
) -> None:
    with pytest.raises(BrokerAuthError, match="Begin the login again") as error:
        await begun(**answers)

    assert world.broker.sent == []
    assert CODE not in caught(error.value)


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        ({"error": "invalid_grant", "error_description": f"the code {CODE} is used"}, 200, BrokerAuthError),
        ({"error": "invalid_grant"}, 400, BrokerAuthError),
        ("", 401, BrokerAuthError),
        ({"error": "invalid_client"}, 200, BrokerConfigError),
        ({"errorText": f"maintenance {CODE}"}, 200, BrokerMaintenanceError),
        ({"p-ticket": "t", "p-time": 1}, 200, BrokerUnavailableError),
        ("", 429, BrokerUnavailableError),
        ([], 200, BrokerResponseError),
        ({"access_token": ACCESS}, 200, BrokerResponseError),
        ({"access_token": ACCESS, "expires_in": "soon"}, 200, BrokerResponseError),
        ({"access_token": [ACCESS], "expires_in": 5}, 200, BrokerResponseError),
    ],
)
async def test_a_code_is_never_tried_twice_whatever_the_answer(
    world: Any, begun: Any, caught: Callable[[BrokerError], str], body: Any, status: int, kind: type[BrokerError]
) -> None:
    world.broker.on("oauth", EXCHANGE, body, status=status)

    with pytest.raises(kind) as error:
        await begun()

    assert world.broker.paths() == [EXCHANGE]
    assert not any(secret in caught(error.value) for secret in (CODE, SECRET, ACCESS))


async def test_a_penalty_of_the_exchange_silences_others_all_the_same(world: Any, begun: Any) -> None:
    world.broker.on("oauth", EXCHANGE, {"p-ticket": "t", "p-time": 15})

    with pytest.raises(BrokerUnavailableError) as error:
        await begun()

    assert (error.value.retry_after, error.value.freeze) == (timedelta(seconds=16), LimitScope.CREDENTIAL)


async def test_hosts_with_hostile_values_are_rejected(world: Any, begun: Any) -> None:
    hostile = {"live": "live.tradovateapi.com@evil.example"}
    world.broker.on("oauth", EXCHANGE, tokens(apiHosts=hostile))
    with pytest.raises(BrokerResponseError, match="bare host name"):
        await begun()

    world.broker.on("oauth", EXCHANGE, tokens())
    world.broker.on("live", RENEWAL, renewed(apiHosts=hostile))
    with pytest.raises(BrokerResponseError, match="bare host name"):
        await begun()


def consented(world: Any, **changes: Any) -> AuthResult:
    return attrs.evolve(
        world.auth,
        refresh_token=Secret(REFRESH),
        grant_expires_at=world.clock.now() + timedelta(hours=20),
        hosts={"demo": "https://demo-firm.tradovateapi.com/v1"},
        **changes,
    )


async def test_a_refresh_rotates_the_refresh_token_and_prolongs_the_login(world: Any) -> None:
    world.broker.on("oauth", EXCHANGE, tokens(refresh_token="rotated-of-the-test"))

    auth = await world.provider.refresh_token(consented(world))

    (sent,) = world.broker.sent
    assert sent.draft.form["grant_type"] == "refresh_token"
    assert sent.draft.form["refresh_token"] == REFRESH
    assert sent.options["credential"] == "user:31"
    assert (auth.identity, auth.refresh_token) == ("user:31", Secret("rotated-of-the-test"))
    assert auth.grant_expires_at == world.clock.now() + timedelta(hours=26)
    assert dict(auth.hosts) == {"demo": "https://demo-firm.tradovateapi.com/v1"}


async def test_a_refresh_that_does_not_rotate_keeps_what_was_held(world: Any) -> None:
    world.broker.on("oauth", EXCHANGE, {"access_token": ACCESS, "expires_in": 3600})

    auth = await world.provider.refresh_token(consented(world))

    assert auth.refresh_token == Secret(REFRESH)


REFUSED = {"error": "invalid_token", "error_description": "no"}


async def test_a_fresh_refresh_token_that_is_refused_leaves_the_session_to_be_prolonged(world: Any) -> None:
    world.broker.on("oauth", EXCHANGE, REFUSED)
    world.broker.on("live", RENEWAL, renewed())
    held = consented(world)

    auth = await world.provider.refresh_token(held)

    assert world.broker.paths() == [EXCHANGE, RENEWAL]
    assert auth.access_token == Secret("renewed-of-the-test")
    assert (auth.refresh_token, auth.grant_expires_at) == (held.refresh_token, held.grant_expires_at)


@pytest.mark.parametrize(
    ("dead_for", "pause"),
    [
        (timedelta(0), timedelta(seconds=30)),
        (timedelta(minutes=4), timedelta(minutes=4)),
        (timedelta(hours=19), timedelta(minutes=15)),
    ],
)
async def test_one_refusal_is_no_end_and_the_pauses_grow(world: Any, dead_for: timedelta, pause: timedelta) -> None:
    world.broker.on("oauth", EXCHANGE, REFUSED)

    with pytest.raises(BrokerNotReadyError) as error:
        await world.provider.refresh_token(consented(world, expires_at=world.clock.now() - dead_for))

    assert error.value.retry_after == pause
    assert world.broker.paths() == [EXCHANGE], "an expired session can not be prolonged"


async def test_the_user_is_asked_when_the_refresh_token_has_lived_as_long_as_it_was_to(world: Any) -> None:
    world.broker.on("oauth", EXCHANGE, REFUSED)
    now = world.clock.now()

    with pytest.raises(BrokerTokenExpiredError, match="refresh token"):
        await world.provider.refresh_token(
            attrs.evolve(consented(world), expires_at=now - timedelta(hours=20), grant_expires_at=now)
        )


async def test_the_user_is_asked_at_once_where_nobody_knows_how_long_a_refresh_token_was_to_live(world: Any) -> None:
    world.broker.on("oauth", EXCHANGE, REFUSED)
    foreign = attrs.evolve(consented(world), access_token=None, expires_at=world.clock.now(), grant_expires_at=None)

    with pytest.raises(BrokerTokenExpiredError, match="refresh token"):
        await world.provider.refresh_token(foreign)


async def test_a_penalised_refresh_goes_out_again_with_its_ticket(world: Any) -> None:
    world.broker.on("oauth", EXCHANGE, {"p-ticket": "ticket-1", "p-time": 2}, tokens())

    await world.provider.refresh_token(consented(world))

    assert [one.draft.form.get("p-ticket") for one in world.broker.sent] == [None, "ticket-1"]


async def test_an_app_that_is_not_taken_any_more_is_the_operators_to_mend(
    world: Any, caught: Callable[[BrokerError], str]
) -> None:
    world.broker.on("oauth", EXCHANGE, {"error": f"invalid_client {SECRET} {REFRESH}"})

    with pytest.raises(BrokerConfigError, match="client_id") as error:
        await world.provider.refresh_token(consented(world))

    assert SECRET not in caught(error.value)
    assert REFRESH not in caught(error.value)


async def test_a_login_can_not_be_ended_at_the_broker_and_it_says_how_the_user_can(world: Any) -> None:
    with pytest.raises(BrokerAPIError, match="settings"):
        await TradovateConsent(world.context).revoke(world.auth)
