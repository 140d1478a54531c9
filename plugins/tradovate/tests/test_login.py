from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

from brokersync.plugin import (
    BrokerAuthError,
    BrokerError,
    BrokerRateLimitError,
    BrokerResponseError,
    BrokerTokenExpiredError,
    Secret,
)
from brokersync_tradovate.credentials import TradovateCredentials

PASSWORD, SEC, TOKEN = "password-of-the-test", "sec-of-the-test", "new-token-of-the-test"
LOGIN = "auth/accesstokenrequest"
RENEWAL = "auth/renewaccesstoken"
HOSTS = {
    "live": "live-b.tradovateapi.com",
    "demo": "demo-firm.tradovateapi.com",
    "reportingLive": "rpt-live-b.tradovateapi.com",
    "reportingDemo": "rpt-demo-firm.tradovateapi.com",
}


def credentials(**changes: Any) -> TradovateCredentials:
    given: dict[str, Any] = {"username": "mira", "password": Secret(PASSWORD), "cid": "4711", "sec": Secret(SEC)}
    return TradovateCredentials(**(given | changes))


def granted(**changes: Any) -> dict[str, Any]:
    return {
        "accessToken": TOKEN,
        "mdAccessToken": "market-data-token",
        "expirationTime": "2026-04-15T16:20:00.000Z",
        "userStatus": "Active",
        "userId": 31,
        "name": "mira",
        "somethingNew": {"a": [1]},
    } | changes


async def test_a_login_sends_the_documented_fields(world: Any) -> None:
    world.broker.on("live", LOGIN, granted())

    await world.provider.authenticate(credentials())

    (sent,) = world.broker.sent
    assert (sent.draft.method, sent.path) == ("POST", LOGIN)
    assert sent.draft.json == {
        "name": "mira",
        "password": PASSWORD,
        "appId": "brokersync",
        "appVersion": "0.1",
        "deviceId": credentials().device,
        "cid": 4711,
        "sec": SEC,
    }
    assert "Authorization" not in sent.draft.headers
    assert not sent.options.get("repeatable"), "a login may not be sent twice blindly"
    assert sent.options["credential"] == "mira"


async def test_a_cid_that_is_no_number_is_sent_as_text(world: Any) -> None:
    world.broker.on("live", LOGIN, granted())

    await world.provider.authenticate(credentials(cid="key-1"))

    assert world.broker.sent[0].draft.json["cid"] == "key-1"


async def test_a_login_goes_to_the_side_that_was_chosen(new_world: Any) -> None:
    world = new_world("demo")
    world.broker.on("demo", LOGIN, granted())

    auth = await world.provider.authenticate(credentials())

    assert auth.state["environment"] == "demo"


def test_the_device_stays_the_same_from_login_to_login() -> None:
    assert credentials().device == credentials(password=Secret("changed")).device
    assert re.fullmatch("[0-9a-f]{64}", credentials().device)
    assert len({credentials().device, credentials(username="nils").device, credentials(cid="1").device}) == 3
    assert credentials(device_id="my-own").device == "my-own"


async def test_a_login_keeps_what_requests_need_and_no_more(world: Any) -> None:
    world.broker.on("live", LOGIN, granted())

    auth = await world.provider.authenticate(credentials())

    assert auth.identity == "user:31"
    assert auth.access_token == Secret(TOKEN)
    assert auth.expires_at == datetime(2026, 4, 15, 16, 20, tzinfo=UTC)
    assert "market-data-token" not in str(attrs.asdict(auth, value_serializer=lambda _, __, value: _shown(value)))
    assert dict(auth.hosts) == {}


async def test_hosts_come_from_the_answer_and_unknown_keys_are_ignored(world: Any) -> None:
    world.broker.on("live", LOGIN, granted(apiHosts=HOSTS | {"mdLive": "@@", "userContext": "x", "later": None}))

    auth = await world.provider.authenticate(credentials())

    assert auth.hosts == {
        "live": "https://live-b.tradovateapi.com/v1",
        "demo": "https://demo-firm.tradovateapi.com/v1",
        "reporting-live": "https://rpt-live-b.tradovateapi.com/v1",
        "reporting-demo": "https://rpt-demo-firm.tradovateapi.com/v1",
    }


@pytest.mark.parametrize("nothing", [None, ""])
async def test_a_host_that_is_null_or_empty_is_not_told(world: Any, nothing: object) -> None:
    world.broker.on("live", LOGIN, granted(apiHosts=HOSTS | {"demo": nothing}))

    auth = await world.provider.authenticate(credentials())

    assert set(auth.hosts) == {"live", "reporting-live", "reporting-demo"}


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "live.tradovateapi.com@evil.example",
        "https://live.tradovateapi.com",
        "live.tradovateapi.com/../x",
        "live.tradovateapi.com:8080",
        "live.tradovateapi.com#",
        "live.tradovateapi.com\n",
        "tradovateapi.com.evil.example",
        "\u017f.tradovateapi.com",
        "live.tradovateapi.com.",
        ".tradovateapi.com",
        "localhost",
        " ",
    ],
)
async def test_a_hostile_host_ends_the_login(world: Any, host: str) -> None:
    world.broker.on("live", LOGIN, granted(apiHosts=HOSTS | {"reportingLive": host}))

    with pytest.raises(BrokerResponseError):
        await world.provider.authenticate(credentials())


async def test_requests_go_to_the_hosts_that_were_learned(world: Any) -> None:
    world.broker.on("live", LOGIN, granted(apiHosts={"demo": "demo-firm.tradovateapi.com"}))
    world.broker.on("live", "account/list", [])
    world.broker.on("demo-firm.tradovateapi.com", "account/list", [])

    await world.provider.get_accounts(await world.provider.authenticate(credentials()))

    assert world.broker.sent[-1].role == "demo-firm.tradovateapi.com"


async def test_an_operators_host_wins_over_a_learned_one(new_world: Any) -> None:
    world = new_world(live="https://127.0.0.1:8443/live/v1")
    auth = attrs.evolve(world.auth, hosts={"live": "https://live-b.tradovateapi.com/v1"})
    world.broker.on("127.0.0.1:8443/live", "account/list", [])
    world.broker.on("demo", "account/list", [])

    assert await world.provider.get_accounts(auth) == []


@pytest.mark.parametrize("status", ["Closed", "Initiated", "TemporaryLocked", "UnconfirmedEmail", "SomethingNew"])
async def test_a_user_who_is_not_active_is_told_the_status(world: Any, status: str) -> None:
    world.broker.on("live", LOGIN, granted(userStatus=status))

    with pytest.raises(BrokerAuthError, match=status):
        await world.provider.authenticate(credentials())


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        "<html>Welcome</html>",
        '{"accessToken": "new-to',
        granted(accessToken=""),
        granted(userId="31x"),
        granted(userId=None),
        granted(expirationTime="soon"),
        granted(expirationTime="2026-04-15T16:20:00"),
    ],
)
async def test_an_answer_that_is_no_login_is_refused(
    world: Any, caught: Callable[[BrokerError], str], body: Any
) -> None:
    world.broker.on("live", LOGIN, body)

    with pytest.raises(BrokerResponseError) as error:
        await world.provider.authenticate(credentials())

    assert TOKEN not in caught(error.value)


async def test_a_wrong_password_is_told_without_any_secret(world: Any, caught: Callable[[BrokerError], str]) -> None:
    world.broker.on("live", LOGIN, {"errorText": f"Incorrect username or password: {PASSWORD} {SEC}"})

    with pytest.raises(BrokerAuthError) as error:
        await world.provider.authenticate(credentials())

    assert PASSWORD not in caught(error.value)
    assert SEC not in caught(error.value)
    assert len(world.broker.sent) == 1


async def test_a_penalised_login_is_sent_again_with_its_ticket(world: Any) -> None:
    world.broker.on("live", LOGIN, {"p-ticket": "t-1", "p-time": 3}, {"p-ticket": "t-2", "p-time": 4}, granted())

    auth = await world.provider.authenticate(credentials())

    assert auth.access_token == Secret(TOKEN)
    assert [sent.draft.json.get("p-ticket") for sent in world.broker.sent] == [None, "t-1", "t-2"]
    assert world.broker.waits == [timedelta(seconds=4), timedelta(seconds=5)]


async def test_a_login_is_not_hammered_with_tickets(world: Any) -> None:
    world.broker.on("live", LOGIN, {"p-ticket": "t-1", "p-time": 3})

    with pytest.raises(BrokerRateLimitError):
        await world.provider.authenticate(credentials())

    assert timedelta(hours=1) in world.broker.waits


async def test_a_session_is_silenced_under_the_name_that_its_user_logs_in_with(world: Any) -> None:
    """Tradovate may call the user otherwise, and after a 429 no login may be sent within the hour."""
    world.broker.on("live", LOGIN, granted(name="Mira T."))
    world.broker.on("live", RENEWAL, granted(name="Mira T."))
    world.broker.on("live", "account/list", [{"id": 11, "name": "77001"}])
    world.broker.on("demo", "account/list", [])

    auth = await world.provider.authenticate(credentials(username="Mira@example.com"))
    renewed = await world.provider.refresh_token(attrs.evolve(auth, expires_at=None))
    await world.provider.get_accounts(renewed)

    assert {sent.options["credential"] for sent in world.broker.sent} == {"mira@example.com"}


async def test_a_renewal_prolongs_the_session_with_its_own_token(world: Any) -> None:
    world.broker.on("live", RENEWAL, granted(apiHosts={"demo": "demo-firm.tradovateapi.com"}))
    known = {"live": "https://live.tradovateapi.com/v1", "demo": "https://demo-old.tradovateapi.com/v1"}

    auth = await world.provider.refresh_token(attrs.evolve(world.auth, hosts=known))

    (sent,) = world.broker.sent
    assert (sent.draft.method, sent.draft.json) == ("GET", None)
    assert sent.draft.headers == {"Authorization": "Bearer token-for-tests"}
    assert sent.options.get("auth") is None, "core would renew the token in order to renew it"
    assert auth.access_token == Secret(TOKEN)
    assert auth.identity == "user:31"
    assert auth.hosts == known | {"demo": "https://demo-firm.tradovateapi.com/v1"}


async def test_a_login_of_one_side_is_renewed_there_whichever_connection_asks(new_world: Any) -> None:
    world = new_world("demo")
    world.broker.on("live", RENEWAL, granted())
    made_on_live = attrs.evolve(world.auth, state={"environment": "live"})

    auth = await world.provider.refresh_token(made_on_live)

    assert [sent.path for sent in world.broker.sent] == [RENEWAL]
    assert auth.state["environment"] == "live"


async def test_a_token_past_its_time_is_not_renewed_but_replaced(world: Any) -> None:
    for auth in (attrs.evolve(world.auth, expires_at=world.clock.now()), attrs.evolve(world.auth, access_token=None)):
        with pytest.raises(BrokerTokenExpiredError):
            await world.provider.refresh_token(auth)

    assert world.broker.sent == []


@pytest.mark.parametrize(
    ("body", "status"), [("Expired Access Token", 401), ("", 401), ('{"errorText": "No session"}', 200)]
)
async def test_a_refused_renewal_leads_to_a_login(world: Any, body: str, status: int) -> None:
    world.broker.on("live", RENEWAL, body, status=status)

    with pytest.raises(BrokerTokenExpiredError):
        await world.provider.refresh_token(world.auth)


async def test_a_renewal_tells_of_a_user_who_was_closed(world: Any) -> None:
    world.broker.on("live", RENEWAL, granted(userStatus="Closed"))

    with pytest.raises(BrokerAuthError, match="Closed"):
        await world.provider.refresh_token(world.auth)


def _shown(value: Any) -> Any:
    return value.reveal() if isinstance(value, Secret) else value
