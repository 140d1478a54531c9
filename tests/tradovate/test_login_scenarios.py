"""What a login can meet, as the reference of Tradovate's API counts it: each over TLS on loopback, through core."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial

import pytest

from brokersync import BrokerAuthError, BrokerSync, ConnectionState, Deferred, Done
from brokersync.errors import BrokerRateLimitError, BrokerResponseError, LimitScope
from brokersync.events import ConnectionNeedsUser, ScopeFrozen, TokenRefreshed
from brokersync.login import OpenLogin

from .stage import CALLBACK, Stage

LOGIN, RENEWAL, OAUTH = "auth/accesstokenrequest", "auth/renewaccesstoken", "auth/oauthtoken"
HOUR = timedelta(hours=1)


async def test_login_ok(stage: Stage) -> None:
    async with stage.process() as bs:
        for number in (0, 1):
            connection = await stage.connect(bs, number)
            assert {one.account_id for one in await bs.accounts(connection.connection_id)} == set(
                stage.login(number).trades
            )
            assert isinstance(await bs.run(connection.connection_id), Done)


@pytest.mark.parametrize(
    ("field", "value", "advice"), [("password", "wrong", "username and password"), ("sec", "wrong", "cid and sec")]
)
async def test_login_error_text(stage: Stage, field: str, value: str, advice: str) -> None:
    async with stage.process() as bs:
        fields = {**stage.login(0).fields, field: value}
        with pytest.raises(BrokerAuthError) as caught:
            await bs.connect("tradovate", owner="ann", fields=fields)
        assert caught.value.certain
        assert advice in caught.value.remedy
        assert await bs.connections() == ()
    assert (await stage.asked())[LOGIN] == 1


@pytest.mark.parametrize("operation", [LOGIN, RENEWAL, OAUTH, "account/list", "reports/requestreport"])
async def test_penalty_then_success_with_ticket(stage: Stage, operation: str) -> None:
    """With a body the request is repeated with its ticket, without one just repeated; both wait as long as told."""
    async with stage.process() as bs:
        if operation == LOGIN:
            await stage.fault("penalty_ticket", operation=LOGIN)
            connection = await stage.connect(bs)
        else:
            connection = await (stage.consent(bs) if operation == OAUTH else stage.connect(bs))
            stage.clock.advance(minutes=70)
            await stage.fault("penalty_ticket", operation=operation)
        began = stage.clock.now()
        assert isinstance(await bs.run(connection.connection_id), Done)
    assert stage.clock.now() - began >= timedelta(seconds=0 if operation == LOGIN else 2)
    penalised = [one for one in stage.sent() if one.operation.lower() == operation and one.error]
    assert [one.error for one in penalised] == ["BrokerRateLimitError"]


async def test_penalty_with_captcha(stage: Stage) -> None:
    async with stage.process() as bs:
        await stage.fault("penalty_captcha", operation=LOGIN)
        with pytest.raises(BrokerAuthError, match="web application"):
            await stage.connect(bs)
        with pytest.raises(BrokerRateLimitError):
            await stage.connect(bs)
    assert (await stage.asked())[LOGIN] == 1
    assert [one.scope for one in stage.events if isinstance(one, ScopeFrozen)] == [LimitScope.ENDPOINT]


async def test_423(stage: Stage) -> None:
    await _an_hour_of_silence(stage, "locked", LimitScope.EGRESS)


async def test_429(stage: Stage) -> None:
    await _an_hour_of_silence(stage, "rate_limit", LimitScope.CREDENTIAL)


async def _an_hour_of_silence(stage: Stage, fault: str, scope: LimitScope) -> None:
    async with stage.process() as bs:
        connection = await stage.connect(bs)
        await stage.fault(fault, operation="order/list")
        assert isinstance(await bs.run(connection.connection_id), Deferred)
        sent = len(stage.sent())
        for _ in range(5):
            stage.clock.advance(minutes=11)
            assert isinstance(await bs.run(connection.connection_id), Deferred)
        assert len(stage.sent()) == sent, "each request would begin the hour anew"
        stage.clock.advance(minutes=6)
        assert isinstance(await bs.run(connection.connection_id), Done)
    (frozen,) = [one for one in stage.events if isinstance(one, ScopeFrozen)]
    assert frozen.scope == scope


async def test_renew_near_expiry(stage: Stage) -> None:
    async with stage.process() as bs:
        connection = await stage.connect(bs)
        stage.clock.advance(minutes=64)
        assert isinstance(await bs.run(connection.connection_id), Done)
        assert (await stage.asked())[RENEWAL] == 0
        stage.clock.advance(minutes=2)
        assert isinstance(await bs.run(connection.connection_id), Done)
    assert (await stage.asked())[RENEWAL] == 1
    assert (await stage.logins()).total() == 1


async def test_renew_refused_then_refresh(stage: Stage) -> None:
    """A session of an API key that is not renewed is opened anew; one of OAuth has its refresh token for that."""
    async with stage.process() as bs:
        key, oauth = await stage.connect(bs, 0), await stage.consent(bs, 1)
        for connection, how in ((key, "login"), (oauth, "refresh")):
            stage.events.clear()
            await stage.fault("expired_token", operation="fill/list")
            assert isinstance(await bs.run(connection.connection_id), Done)
            assert [one.how for one in stage.events if isinstance(one, TokenRefreshed)] == [how]


async def test_refresh_200_with_error(stage: Stage) -> None:
    async with stage.process() as bs:
        connection = await stage.consent(bs)
        stage.clock.advance(minutes=90)
        await stage.fault("oauth_refused", times=3)
        waits = []
        while isinstance(outcome := await bs.run(connection.connection_id), Deferred):
            waits.append(outcome.until - stage.clock.now())
            stage.clock.advance(seconds=waits[-1].total_seconds())
        assert isinstance(outcome, Done)
        assert (await bs.connection(connection.connection_id)).state is ConnectionState.ACTIVE
    assert waits == [timedelta(minutes=10), timedelta(minutes=15), timedelta(minutes=15)]


async def test_rotated_refresh_token_by_another_worker(stage: Stage) -> None:
    async with stage.process() as one, stage.process() as other:
        connection = await stage.consent(one)
        stage.clock.advance(hours=3)
        name = connection.connection_id
        grant, _ = await one._shared.vault.load(connection)
        stale, spent = grant.auth, (await stage.asked())[OAUTH]
        keepers = [bs._shared.keeper(connection, partial(_login, bs)) for bs in (one, other)]
        fresh = await asyncio.gather(*(keeper.renew(stale) for keeper in keepers for _ in range(5)))
        assert len({auth.access_token for auth in fresh}) == 1
        assert isinstance(await other.run(name), Done)
    assert (await stage.asked())[OAUTH] == spent + 1
    assert not [event for event in stage.events if isinstance(event, ConnectionNeedsUser)]


def _login(bs: BrokerSync) -> OpenLogin:
    shared = bs._shared
    return shared.login(shared.registry.load("tradovate"), "live", owner="ann")


async def test_api_hosts_with_hostile_values_rejected(stage: Stage) -> None:
    async with stage.process() as bs:
        await stage.fault("api_hosts_hostile", times=10)
        with pytest.raises(BrokerResponseError):
            await stage.connect(bs, 0)
        begun = await bs.begin_consent("tradovate", owner="ann", redirect_uri=CALLBACK)
        with pytest.raises(BrokerResponseError):
            await bs.finish_consent(begun.consent_id, await stage.browse(begun.url, 1), owner="ann")
        assert await bs.connections() == ()
    assert not any("evil" in one.url for one in stage.sent())


async def test_session_closed_by_a_third_login_elsewhere(stage: Stage) -> None:
    """Its token is answered with 408 from then on, and never with 401."""
    async with stage.process() as bs:
        connection = await stage.connect(bs)
        await stage.fault("session_closed", operation="fill/list")
        assert isinstance(await bs.run(connection.connection_id), Done)
    assert (await stage.logins()).total() == 2


async def test_login_that_is_asked_for_by_many_at_once_is_made_once(stage: Stage) -> None:
    async with stage.process() as one, stage.process() as other:
        connection = await stage.connect(one)
        stage.clock.advance(hours=2)  # the token has ended, and is not renewed any more
        await asyncio.gather(*(bs.run(connection.connection_id) for bs in (one, other, one, other)))
    assert (await stage.logins()).total() == 2
