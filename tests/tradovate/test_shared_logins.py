"""Owners of one journal who use the same Tradovate login: together they have two sessions of it, and never a third."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from brokersync.errors import BrokerAuthError, BrokerError, BrokerRateLimitError
from brokersync.store import TradeFilter

from .stage import Stage

LOGIN = "auth/accesstokenrequest"
RENEWAL = "auth/renewaccesstoken"
OWNERS = ("ann", "bob", "eve")


async def test_a_third_owner_of_a_login_opens_no_third_session(stage: Stage) -> None:
    async with stage.process() as bs, stage.process() as another:
        await stage.connect(bs, owner="ann")
        await stage.connect(another, owner="bob")
        with pytest.raises(BrokerRateLimitError, match="2 sessions at once") as refused:
            await stage.connect(bs, owner="eve")
    assert (await stage.logins()).total() == 2
    assert refused.value.retry_after == timedelta(minutes=90)
    assert "Connect after 16:30 UTC" in refused.value.remedy


async def test_an_owner_who_connects_again_and_again_has_the_one_session(stage: Stage) -> None:
    async with stage.process() as bs:
        first = await stage.connect(bs)
        for number in range(3):
            again = await stage.connect(bs, label=f"Mine {number}", since=datetime(2026, 6, 1, tzinfo=UTC))
            assert (again.connection_id, again.label) == (first.connection_id, f"Mine {number}")
        assert (await bs.connection(first.connection_id)).since == datetime(2026, 6, 1, tzinfo=UTC)
    assert (await stage.logins()).total() == 1


async def test_a_login_that_is_made_again_and_again_closes_no_session(stage: Stage) -> None:
    async with stage.process() as bs:
        connection = await stage.connect(bs)
        await bs.reauthenticate(connection.connection_id, stage.login(0).fields)
        with pytest.raises(BrokerRateLimitError, match="2 sessions at once"):
            await bs.reauthenticate(connection.connection_id, stage.login(0).fields)
        await bs.disconnect(connection.connection_id)
        with pytest.raises(BrokerRateLimitError, match="2 sessions at once"):
            await stage.connect(bs)
    assert (await stage.closed()).total() == 0


async def test_a_name_in_other_letters_is_the_same_login(stage: Stage) -> None:
    async with stage.process() as bs:
        for owner in OWNERS[:2]:
            await stage.connect(bs, owner=owner)
        fields = {**stage.login(0).fields, "username": stage.login(0).fields["username"].upper()}
        with pytest.raises(BrokerRateLimitError, match="2 sessions at once"):
            await bs.connect("tradovate", owner="eve", fields=fields)


async def test_a_session_that_has_ended_makes_room(stage: Stage) -> None:
    async with stage.process() as bs:
        for owner in OWNERS[:2]:
            await stage.connect(bs, owner=owner)
            stage.clock.advance(minutes=30)
        stage.clock.advance(minutes=31)  # 91 and 61 after their logins
        await stage.connect(bs, owner="eve")
    assert (await stage.closed()).total() == 0


async def test_a_forgotten_owners_session_is_counted_while_it_lives(stage: Stage) -> None:
    async with stage.process() as bs:
        for owner in OWNERS[:2]:
            await stage.connect(bs, owner=owner)
            await bs.forget(owner)
        with pytest.raises(BrokerRateLimitError, match="2 sessions at once"):
            await stage.connect(bs, owner="eve")


async def test_a_refused_password_takes_no_room(stage: Stage) -> None:
    async with stage.process() as bs:
        wrong = {**stage.login(0).fields, "password": "wrong"}
        for _ in range(3):
            with pytest.raises(BrokerAuthError):
                await bs.connect("tradovate", owner="ann", fields=wrong)
        for owner in OWNERS[:2]:
            await stage.connect(bs, owner=owner)


async def test_a_login_whose_answer_was_lost_may_have_opened_a_session(stage: Stage) -> None:
    await stage.fault("cut", operation=LOGIN)
    async with stage.process() as bs:
        with pytest.raises(BrokerError):
            await stage.connect(bs, owner="ann")
        await stage.connect(bs, owner="ann")
        with pytest.raises(BrokerRateLimitError, match="2 sessions at once"):
            await stage.connect(bs, owner="bob")


@pytest.mark.parametrize("fault", ["timeout", "server_error"])
async def test_a_login_that_broke_off_in_the_broker_may_have_opened_one_too(stage: Stage, fault: str) -> None:
    """The reference has both for requests that timed out within the broker."""
    await stage.fault(fault, operation=LOGIN, times=9)
    async with stage.process() as bs:
        for _ in range(2):
            with pytest.raises(BrokerError):
                await stage.connect(bs)
        await stage.calm()
        with pytest.raises(BrokerRateLimitError, match="2 sessions at once"):
            await stage.connect(bs)


@pytest.mark.parametrize("fault", ["maintenance", "maintenance_text", "rate_limit"])
async def test_a_login_that_the_broker_would_not_look_at_takes_no_room(stage: Stage, fault: str) -> None:
    async with stage.process() as bs:
        for _ in range(3):
            await stage.fault(fault, operation=LOGIN, times=9)
            with pytest.raises(BrokerError):
                await stage.connect(bs)
            await stage.calm()
            stage.clock.advance(hours=2)
        for owner in OWNERS[:2]:
            await stage.connect(bs, owner=owner)


async def test_a_user_who_is_not_active_has_a_session_all_the_same(stage: Stage) -> None:
    async with stage.process() as bs:
        for _ in range(2):
            await stage.fault("user_closed")
            with pytest.raises(BrokerAuthError, match="not active"):
                await stage.connect(bs)
        with pytest.raises(BrokerRateLimitError, match="2 sessions at once"):
            await stage.connect(bs)


async def test_a_key_that_may_not_list_accounts_is_not_logged_in_twice(stage: Stage) -> None:
    async with stage.process() as bs:
        await stage.connect(bs, owner="bob")
        await stage.fault("permission_denied", operation="account/list", times=99)
        with pytest.raises(BrokerAuthError):
            await stage.connect(bs, owner="ann")
    assert ((await stage.logins()).total(), (await stage.closed()).total()) == (2, 0)


async def test_accounts_that_can_not_be_listed_while_connecting_are_listed_by_the_first_sync(stage: Stage) -> None:
    async with stage.process() as bs:
        await stage.fault("server_error", operation="account/list", times=99)
        connection = await stage.connect(bs)
        assert await bs.accounts(connection.connection_id) == ()
        await stage.calm()
        await bs.run(connection.connection_id)
        assert await bs.accounts(connection.connection_id)
    assert (await stage.logins()).total() == 1


async def test_a_renewal_whose_answer_was_lost_keeps_its_place(stage: Stage) -> None:
    """It was carried out, so the session lives for longer, and the login that follows must not close another one."""
    async with stage.process() as bs:
        bob = await stage.connect(bs, owner="bob")
        stage.clock.advance(minutes=5)
        ann = await stage.connect(bs, owner="ann")
        stage.clock.advance(minutes=62)
        await bs.run(bob.connection_id)
        stage.clock.advance(minutes=8)
        await stage.fault("cut", operation=RENEWAL, times=400)
        await bs.run(ann.connection_id)
        stage.clock.advance(minutes=21)
        await bs.run(bob.connection_id)
        await stage.calm()
        await bs.run(ann.connection_id)
    assert (await stage.closed()).total() == 0


async def test_a_session_from_before_sessions_were_counted_gets_a_place_when_it_is_renewed(stage: Stage) -> None:
    async with stage.process() as bs:
        connection = await stage.connect(bs, owner="ann")
        stage.forget_places()
        grant, fields = await bs._shared.vault.load(connection)
        assert await bs._shared.vault.replace(grant, grant.auth, fields, made_at=stage.clock.now(), session=None)
        stage.clock.advance(minutes=70)
        await bs.run(connection.connection_id)
        await stage.connect(bs, owner="bob")
        with pytest.raises(BrokerRateLimitError, match="2 sessions at once"):
            await stage.connect(bs, owner="eve")


@pytest.mark.parametrize("dead", [True, False])
async def test_a_session_that_was_taken_over_has_a_place(stage: Stage, dead: bool) -> None:
    async with stage.process() as bs:
        mine = await stage.connect(bs, owner="ann")
        auth = (await bs._shared.vault.load(mine))[0].auth
        assert auth.access_token is not None
        await bs.forget("ann")
        stage.forget_places()
        if dead:
            stage.clock.advance(minutes=85)
        await bs.take_over(
            "tradovate",
            owner="ann",
            environment="live",
            tokens={"access_token": auth.access_token, "expires_at": auth.expires_at or ""},
            fields=stage.login(0).fields,
        )
        await stage.connect(bs, owner="bob")
        with pytest.raises(BrokerRateLimitError, match="2 sessions at once"):
            await stage.connect(bs, owner="eve")
    assert (await stage.closed()).total() == 0


async def test_who_waits_for_a_session_to_end_gets_its_place(stage: Stage) -> None:
    """Two who sync every quarter of an hour would renew theirs for ever."""
    async with stage.process() as bs:
        busy = [(await stage.connect(bs, owner=owner)).connection_id for owner in OWNERS[:2]]
        with pytest.raises(BrokerRateLimitError) as refused:
            await stage.connect(bs, owner="eve")
        assert refused.value.retry_after is not None
        waited = timedelta(0)
        while waited < refused.value.retry_after:
            stage.clock.advance(minutes=15)
            waited += timedelta(minutes=15)
            await asyncio.gather(*(bs.run(name) for name in busy))
        busy.append((await stage.connect(bs, owner="eve")).connection_id)
        for _ in range(16 * 4):
            stage.clock.advance(minutes=15)
            await asyncio.gather(*(bs.run(name) for name in busy))
        synced = [(await bs.connection(name)).last_synced_at for name in busy]
    assert all(one is not None and stage.clock.now() - one < timedelta(hours=3) for one in synced)
    assert (await stage.closed()).total() == 0


@pytest.mark.parametrize("seed", range(2))
async def test_three_owners_of_a_login_in_two_processes_sync_for_days_and_close_no_session(
    stage: Stage, seed: int
) -> None:
    rng = Random(seed)
    async with AsyncExitStack() as stack:
        processes = [await stack.enter_async_context(stage.process()) for _ in range(2)]
        connections = dict[str, str]()
        for _ in range(2 * 24 * 4):
            for owner in OWNERS:
                if owner not in connections:
                    with suppress(BrokerRateLimitError):
                        connections[owner] = (await stage.connect(rng.choice(processes), owner=owner)).connection_id
            due = [name for name in connections.values() if rng.random() < 0.3]
            await asyncio.gather(*(rng.choice(processes).run(name) for name in due))
            await asyncio.gather(*(bs.run_due() for bs in processes))
            if rng.random() < 0.05:
                await stage.fault("expired_token")
            stage.clock.advance(minutes=15)
        found = [{trade.trade_id async for trade in processes[0].trades(owner, TradeFilter())} for owner in OWNERS]
    assert (await stage.closed()).total() == 0
    assert found[0]
    assert found[0] == found[1] == found[2]
