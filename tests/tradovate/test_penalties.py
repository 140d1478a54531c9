"""Silences that Tradovate asks for: kept by every worker, by whatever the login is asked for, and never a loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from brokersync import BrokerAuthError, ConnectionState, Deferred, Done
from brokersync.config import FleetSettings
from brokersync.errors import BrokerRateLimitError, LimitScope
from brokersync.events import ScopeFrozen

from .stage import Stage, staged

LOGIN, RENEWAL, FILLS = "auth/accesstokenrequest", "auth/renewaccesstoken", "fill/list"
HOUR = timedelta(hours=1)


def frozen(stage: Stage) -> list[tuple[str, timedelta]]:
    """The scopes that were silenced, each with how long it was so."""
    now = stage.clock.now()
    return [(one.scope, one.until - now) for one in stage.events if isinstance(one, ScopeFrozen)]


async def test_a_penalty_is_followed_by_success_with_its_ticket(stage: Stage) -> None:
    async with stage.process() as bs:
        connection = await stage.consent(bs)
        await stage.fault("penalty_ticket", operation=FILLS)
        assert isinstance(await bs.run(connection.connection_id), Done)
    assert len([one for one in stage.sent() if one.operation == FILLS and one.error]) == 1


async def test_after_a_429_nothing_of_the_login_is_sent_for_an_hour_not_even_a_login(stage: Stage) -> None:
    """Each request within the hour would begin it anew."""
    async with stage.process() as bs:
        connection = await stage.connect(bs)
        name = connection.connection_id
        await stage.fault("rate_limit", operation=FILLS)
        put_off = await bs.run(name)
        assert isinstance(put_off, Deferred)
        assert (LimitScope.CREDENTIAL, HOUR) in frozen(stage)

        sent = len(stage.sent())
        for _ in range(3):
            stage.clock.advance(minutes=19)
            assert isinstance(await bs.run(name), Deferred)
        grant, fields = await bs._shared.vault.load(connection)
        ended = attrs.evolve(grant.auth, expires_at=stage.clock.now())
        assert await bs._shared.vault.replace(grant, ended, fields, made_at=stage.clock.now() - HOUR)
        assert isinstance(await bs.run(name), Deferred), "the token has ended meanwhile"
        assert len(stage.sent()) == sent

        stage.clock.advance(minutes=4)
        assert isinstance(await bs.run(name), Done)


async def test_another_login_goes_on_while_one_is_locked_out(stage: Stage) -> None:
    async with stage.process() as bs:
        locked, free = await stage.connect(bs, 0), await stage.consent(bs, 1)
        await stage.fault("rate_limit", operation=FILLS)
        assert isinstance(await bs.run(locked.connection_id), Deferred)
        assert isinstance(await bs.run(free.connection_id), Done)


async def test_workers_in_other_processes_keep_the_silence_too(
    stage: Stage, own_redis: Callable[..., AbstractContextManager[Any]]
) -> None:
    with own_redis() as running:
        stage.settings = attrs.evolve(stage.settings, fleet=FleetSettings(redis=running.url))
        async with stage.process() as one, stage.process() as other:
            first = await stage.connect(one, 0, environment="live")
            second = await stage.connect(one, 0, environment="demo")
            await stage.fault("rate_limit", operation=FILLS)
            assert isinstance(await one.run(first.connection_id), Deferred)
            sent = len(stage.sent())
            assert isinstance(await other.run(second.connection_id), Deferred), "it is the same login"
            assert len(stage.sent()) == sent


async def test_after_a_423_nothing_of_this_address_is_sent_for_an_hour(stage: Stage) -> None:
    async with stage.process() as bs:
        one, other = await stage.connect(bs, 0), await stage.consent(bs, 1)
        await stage.fault("locked", operation=FILLS)
        assert isinstance(await bs.run(one.connection_id), Deferred)
        sent = len(stage.sent())
        assert isinstance(await bs.run(other.connection_id), Deferred)
        assert len(stage.sent()) == sent
        stage.clock.advance(minutes=61)
        assert isinstance(await bs.run(other.connection_id), Done)


async def test_a_penalty_with_captcha_stops_the_operation_for_an_hour_for_everybody_and_tells_the_user(
    stage: Stage,
) -> None:
    async with stage.process() as bs:
        await stage.fault("penalty_captcha", operation=LOGIN)
        with pytest.raises(BrokerAuthError, match="web application") as caught:
            await stage.connect(bs, 0)
        assert not caught.value.certain, "the failures may have been of others behind this address"
        assert frozen(stage) == [(LimitScope.ENDPOINT, HOUR)]

        sent = len(stage.sent())
        with pytest.raises(BrokerRateLimitError):
            await stage.connect(bs, 1)
        assert len(stage.sent()) == sent
        other = await stage.consent(bs, 1)
        assert isinstance(await bs.run(other.connection_id), Done), "only logins with a password are stopped"

        stage.clock.advance(minutes=61)
        await stage.connect(bs, 0)


async def test_a_captcha_in_the_background_is_no_loop(stage: Stage) -> None:
    async with stage.process() as bs:
        connection = await stage.connect(bs)
        await stage.fault("penalty_captcha", operation=LOGIN, times=1000)
        before = (await stage.asked())[LOGIN]
        for _ in range(72):
            stage.clock.advance(hours=1)
            await bs.run_due()
        assert (await bs.connection(connection.connection_id)).state is ConnectionState.NEEDS_USER
    assert (await stage.asked())[LOGIN] - before <= 4


@pytest.mark.parametrize("penalty", ["penalty_captcha", "locked", "rate_limit"])
async def test_an_hour_of_silence_is_kept_by_processes_that_follow_each_other(stage: Stage, penalty: str) -> None:
    """As cron begins them: none remembers what another has frozen, and the connection waits."""
    async with stage.process() as bs:
        connection = await stage.connect(bs)
    stage.clock.advance(hours=2)
    await stage.fault(penalty, operation=LOGIN, times=1000)
    before = (await stage.asked())[LOGIN]
    for _ in range(12):
        async with stage.process() as bs:
            await bs.run_due()
        stage.clock.advance(minutes=4, seconds=55)
    assert (await stage.asked())[LOGIN] == before + 1
    async with stage.process() as bs:
        assert (await bs.connection(connection.connection_id)).state is ConnectionState.ACTIVE


@pytest.mark.parametrize(
    ("penalty", "operation"),
    [("penalty_captcha", LOGIN), ("locked", LOGIN), ("rate_limit", LOGIN), ("rate_limit", FILLS), ("locked", FILLS)],
)
async def test_a_sync_that_is_asked_for_keeps_the_silence_that_another_process_met(
    stage: Stage, penalty: str, operation: str
) -> None:
    async with stage.process() as bs:
        name = (await stage.connect(bs)).connection_id
    stage.clock.advance(hours=2)
    await stage.fault(penalty, operation=operation, times=1)
    async with stage.process() as bs:
        began = stage.clock.now()
        assert isinstance(await bs.run(name), Deferred)
    sent = len(stage.sent())
    for _ in range(2):
        stage.clock.advance(minutes=29)
        async with stage.process() as bs:
            again = await bs.run(name)
            assert isinstance(again, Deferred)
            assert HOUR <= again.until - began <= HOUR + timedelta(minutes=1)
    assert len(stage.sent()) == sent

    stage.clock.advance(minutes=4)
    async with stage.process() as bs:
        assert isinstance(await bs.run(name), Done)
        assert isinstance(await bs.run(name), Done), "one that is not due yet runs at once"


async def test_a_silence_ends_when_the_user_has_connected_again(stage: Stage) -> None:
    async with stage.process() as bs:
        name = (await stage.connect(bs)).connection_id
        await stage.fault("rate_limit", operation=FILLS, times=1)
        assert isinstance(await bs.run(name), Deferred)
    async with stage.process() as bs:
        assert (await stage.connect(bs)).connection_id == name
        assert isinstance(await bs.run(name), Done)


async def test_a_wrong_password_asks_the_user_at_once_and_is_sent_once(stage: Stage) -> None:
    async with stage.process() as bs:
        connection = await stage.connect(bs)
        wrong = dict(stage.login(0).fields) | {"password": "changed at the broker"}
        grant, _ = await bs._shared.vault.load(connection)
        await bs._shared.vault.replace(grant, grant.auth, wrong, made_at=stage.clock.now())
        stage.clock.advance(hours=2)
        before = (await stage.asked())[LOGIN]
        for _ in range(5):
            await bs.run_due()
            stage.clock.advance(hours=6)
        assert (await bs.connection(connection.connection_id)).state is ConnectionState.NEEDS_USER
    assert (await stage.asked())[LOGIN] == before + 1


async def test_of_the_logins_of_an_address_only_those_that_fail_are_limited(tmp_path: Path) -> None:
    async with staged(tmp_path, logins=8) as stage:
        given = attrs.evolve(stage.settings.brokers["tradovate"], limits=None)  # the plugin's own
        stage.settings = attrs.evolve(stage.settings, brokers={"tradovate": given})
        async with stage.process() as bs:
            for number in range(8):
                await stage.connect(bs, number)
            for number in range(5):
                with pytest.raises(BrokerAuthError):
                    await bs.connect(
                        "tradovate", owner="eve", fields={**stage.login(number).fields, "password": "wrong"}
                    )
            with pytest.raises(BrokerRateLimitError):
                await stage.connect(bs, 0, owner="eve")
        assert (await stage.asked())[LOGIN] == 13, "a sixth failure would lock the address"


async def test_a_renewal_that_is_to_come_later_opens_no_further_session(stage: Stage) -> None:
    async with stage.process() as bs:
        connection = await stage.connect(bs)
        stage.clock.advance(minutes=79)
        await stage.fault("maintenance_text", operation=RENEWAL, times=100)
        await bs.run(connection.connection_id)
    assert (await stage.logins()).total() == 1


async def test_workers_share_one_session_of_a_login_and_open_no_third(stage: Stage) -> None:
    async with stage.process() as one, stage.process() as other:
        first = await stage.connect(one, 0, environment="live")
        second = await stage.connect(one, 0, environment="demo")
        opened = (await stage.logins()).total()
        for _ in range(6):
            stage.clock.advance(minutes=75)  # each sync finds the token shortly before its end
            names = (first.connection_id, second.connection_id)
            await asyncio.gather(*(bs.run(name) for bs in (one, other) for name in names))
    assert (await stage.logins()).total() == opened == 1


async def test_the_other_side_of_a_login_is_connected_without_another_session(stage: Stage) -> None:
    """A third would close the oldest, which may be that of the user at the charts."""
    async with stage.process() as bs:
        live = await stage.connect(bs, 0, environment="live")
        demo = await stage.connect(bs, 0, environment="demo", label="Mine")
        assert (live.environment, demo.environment, demo.label) == ("live", "demo", "Mine")
        assert live.identity == demo.identity
        assert (await stage.logins()).total() == 1

        stage.clock.advance(hours=2)  # a token that has ended is no login any more
        await stage.connect(bs, 0, environment="live")
        assert (await stage.logins()).total() == 2


async def test_fields_that_differ_are_tested_at_the_broker(stage: Stage) -> None:
    async with stage.process() as bs:
        await stage.connect(bs, 0, environment="live")
        wrong = {**stage.login(0).fields, "password": "wrong"}
        with pytest.raises(BrokerAuthError):
            await bs.connect("tradovate", owner="ann", fields=wrong, environment="demo")
        with pytest.raises(BrokerAuthError):
            await bs.connect("tradovate", owner="eve", fields=wrong, environment="demo")


@pytest.mark.parametrize("operation", [LOGIN, "auth/oauthtoken", "reports/requestreport"])
async def test_a_ticket_is_not_lost_though_its_wait_is_long(stage: Stage, operation: str) -> None:
    """Without it the request would be penalised again, and never come through."""
    async with stage.process() as bs:
        connection = await stage.consent(bs) if operation != LOGIN else None
        stage.clock.advance(minutes=81)
        await stage.fault("penalty_ticket_long", operation=operation)
        connection = connection or await stage.connect(bs)
        assert isinstance(await bs.run(connection.connection_id), Done)
    penalised = [one for one in stage.sent() if one.operation.lower() == operation and one.error]
    assert len(penalised) == 1


async def test_a_token_that_is_refused_once_while_the_other_side_is_connected_asks_no_user(stage: Stage) -> None:
    async with stage.process() as bs:
        await stage.connect(bs, 0, environment="live")
        await stage.fault("expired_token", operation="account/list", times=2, after=2)
        demo = await stage.connect(bs, 0, environment="demo")
        assert (await bs.connection(demo.connection_id)).state is ConnectionState.ACTIVE
        assert isinstance(await bs.run(demo.connection_id), Done)
