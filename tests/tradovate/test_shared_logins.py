"""Owners of one journal who use the same Tradovate login: together they have two sessions of it, and never a third."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from random import Random

import pytest

from brokersync.errors import BrokerAuthError, BrokerError, BrokerRateLimitError
from brokersync.store import TradeFilter

from .stage import Stage

LOGIN = "auth/accesstokenrequest"
OWNERS = ("ann", "bob", "eve")


async def test_a_third_owner_of_a_login_opens_no_third_session(stage: Stage) -> None:
    async with stage.process() as bs, stage.process() as another:
        await stage.connect(bs, owner="ann")
        await stage.connect(another, owner="bob")
        with pytest.raises(BrokerRateLimitError, match="2 sessions at once") as refused:
            await stage.connect(bs, owner="eve")
    assert (await stage.logins()).total() == 2
    assert refused.value.retry_after == timedelta(minutes=90)
    assert "Try again after 16:30 UTC" in refused.value.remedy


async def test_an_owner_who_connects_again_and_again_closes_no_session(stage: Stage) -> None:
    async with stage.process() as bs:
        for _ in range(2):
            await stage.connect(bs)
        with pytest.raises(BrokerRateLimitError, match="2 sessions at once"):
            await stage.connect(bs)
        with pytest.raises(BrokerRateLimitError, match="2 sessions at once"):
            await bs.reauthenticate((await bs.connections("ann"))[0].connection_id, stage.login(0).fields)
        assert len(await bs.connections("ann")) == 1
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


async def test_a_login_that_broke_off_in_the_broker_takes_no_room(stage: Stage) -> None:
    await stage.fault("server_error", operation=LOGIN, times=9)
    async with stage.process() as bs:
        for _ in range(3):
            with pytest.raises(BrokerError):
                await stage.connect(bs)
        await stage.calm()
        await stage.connect(bs)


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
