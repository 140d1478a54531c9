"""A login by OAuth over its whole life: consent, expiry, rotation, refusals that pass, and a new consent."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from brokersync import BrokerAPIError, BrokerAuthError, BrokerSync, Connection, ConnectionState, Deferred, Done
from brokersync.events import ConnectionNeedsUser, ConnectionRecovered, LoginEnding, TokenRefreshed
from brokersync.store import TradeFilter

from .stage import CALLBACK, WEDNESDAY, Stage

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "embedding.md").read_text(encoding="utf-8")
OAUTH, RENEWAL = "auth/oauthtoken", "auth/renewaccesstoken"


async def _run_until_it_ends(stage: Stage, bs: BrokerSync, name: str) -> None:
    while isinstance(outcome := await bs.run(name), Deferred):
        stage.clock.advance(seconds=(outcome.until - stage.clock.now()).total_seconds())


async def state_of(stage: Stage, connection: Connection) -> ConnectionState:
    async with stage.process() as bs:
        return (await bs.connection(connection.connection_id)).state


async def test_a_login_of_a_firms_trader_lives_through_expiry_by_rotation(stage: Stage) -> None:
    async with stage.process() as bs:
        connection = await stage.consent(bs)
        for _ in range(4):
            outcome = await bs.run(connection.connection_id)
            assert isinstance(outcome, Done)
            assert not outcome.report.problems
            stage.clock.advance(hours=6)  # each token lives for 80 minutes
        found = {trade.trade_id async for trade in bs.trades("ann", TradeFilter())}

    asked, ledger = await stage.asked(), await stage.ledger()
    wanted = {one["trade_id"] for account in stage.login(1).trades for one in ledger["accounts"][account]}
    assert found == wanted
    assert asked[OAUTH] == 1 + 3, "the code, and a rotation for each token that had ended"
    assert asked[RENEWAL] == 1, "once, since the exchange names no hosts"
    assert asked["auth/accesstokenrequest"] == 0
    assert (await stage.logins()).total() == 1
    assert [event.how for event in stage.events if isinstance(event, TokenRefreshed)] == ["refresh"] * 3


async def test_a_refresh_token_that_another_worker_rotated_is_not_sent_again(stage: Stage) -> None:
    async with stage.process() as one, stage.process() as other:
        first = await stage.consent(one, environment="live")
        second = await stage.consent(one, environment="demo")
        before = (await stage.asked())[OAUTH]
        stage.clock.advance(hours=2)

        outcomes = await asyncio.gather(
            *(bs.run(connection.connection_id) for bs in (one, other) for connection in (first, second))
        )

    assert any(isinstance(outcome, Done) for outcome in outcomes)
    assert (await stage.asked())[OAUTH] == before + 1, "both connections share one login"
    assert not [event for event in stage.events if isinstance(event, ConnectionNeedsUser)]


async def test_a_fresh_refresh_token_that_is_refused_once_is_tried_again_later(stage: Stage) -> None:
    async with stage.process() as bs:
        connection = await stage.consent(bs)
        stage.clock.advance(minutes=81)
        await stage.fault("oauth_refused")

        put_off = await bs.run(connection.connection_id)
        assert isinstance(put_off, Deferred)
        assert put_off.until == stage.clock.now() + timedelta(minutes=1), "as long as it was dead already"
        assert await state_of(stage, connection) is ConnectionState.ACTIVE

        stage.clock.advance(minutes=1)
        assert isinstance(await bs.run(connection.connection_id), Done)


async def test_a_refusal_while_the_session_lives_is_not_even_noticed(stage: Stage) -> None:
    async with stage.process() as bs:
        connection = await stage.consent(bs)
        stage.clock.advance(minutes=79)
        await stage.fault("oauth_refused")
        assert isinstance(await bs.run(connection.connection_id), Done)
    assert (await stage.asked())[RENEWAL] == 2


async def test_an_answer_that_is_lost_on_the_way_ends_no_login(stage: Stage) -> None:
    """The broker has rotated the token, and we do not know the new one."""
    async with stage.process() as bs:
        connection = await stage.consent(bs)
        stage.clock.advance(minutes=79)
        await stage.fault("cut", operation=OAUTH)
        assert isinstance(await bs.run(connection.connection_id), Done)
    assert await state_of(stage, connection) is ConnectionState.ACTIVE


async def test_a_user_whose_next_refresh_token_was_lost_is_told_at_once_and_asked_when_the_session_ends(
    stage: Stage,
) -> None:
    async with stage.process() as bs:
        connection = await stage.consent(bs)
        stage.clock.advance(minutes=70)
        await stage.fault("cut", operation=OAUTH)
        for _ in range(4 * 13):
            assert isinstance(await bs.run(connection.connection_id), Done)
            (told,) = (event for event in stage.events if isinstance(event, LoginEnding))
            stage.clock.advance(minutes=15)
        assert "refuses its refresh token since" in told.reason
        (shown,) = await bs.outlook("ann")
        assert "Log in again soon" in shown.obstacles[0]
        session_end = WEDNESDAY + timedelta(minutes=70 + 80)
        assert abs(told.until - session_end) < timedelta(seconds=5), "as it was then"
        await bs.renew_grants()
        stage.clock.advance(minutes=80)
        with pytest.raises(BrokerAuthError, match="was interrupted"):
            await bs.run(connection.connection_id)
        assert await state_of(stage, connection) is ConnectionState.NEEDS_USER
    assert [event for event in stage.events if isinstance(event, LoginEnding)] == [told]


async def test_the_user_is_told_at_once_where_an_answer_was_lost_and_the_session_had_ended(stage: Stage) -> None:
    async with stage.process() as bs:
        connection = await stage.consent(bs)
        stage.clock.advance(minutes=81)
        await stage.fault("cut", operation=OAUTH)
        for _ in range(3):
            outcome = await bs.run(connection.connection_id)
            assert isinstance(outcome, Deferred)
            stage.clock.advance(seconds=(outcome.until - stage.clock.now()).total_seconds())
    (told,) = (event for event in stage.events if isinstance(event, LoginEnding))
    asked = WEDNESDAY + timedelta(minutes=81, hours=12)
    assert asked <= told.until < asked + timedelta(seconds=9), "when the user is asked"


@pytest.mark.parametrize("fault", ["truncated", "wrong_shape"])
async def test_an_unreadable_answer_to_a_refresh_is_said_to_have_held_a_token_maybe(stage: Stage, fault: str) -> None:
    async with stage.process() as theirs, stage.process() as ours:
        connection = await stage.consent(theirs, owner="another program")
        token = (await theirs._shared.vault.load(connection))[0].auth.refresh_token
        assert token is not None
        stage.clock.advance(minutes=81)
        await stage.fault(fault, operation=OAUTH, times=2)
        for call in (
            theirs.run(connection.connection_id),
            ours.take_over("tradovate", owner="ann", tokens={"refresh_token": token}),
        ):
            with pytest.raises(BrokerAPIError, match="may have replaced the refresh token"):
                await call


@pytest.mark.parametrize(("times", "endings"), [(1, 1), (9, 0)])
async def test_a_sync_goes_on_with_a_session_that_lives_where_the_answer_to_a_refresh_can_not_be_read(
    stage: Stage, times: int, endings: int
) -> None:
    """It is tried once more, as after a lost answer: where that is refused the session is prolonged, and that told."""
    async with stage.process() as bs:
        connection = await stage.consent(bs)
        stage.clock.advance(minutes=70)
        before = (await stage.asked())[OAUTH]
        await stage.fault("truncated", operation=OAUTH, times=times)
        outcome = await bs.run(connection.connection_id)
    assert isinstance(outcome, Done)
    assert outcome.report.added
    told = [one for one in outcome.report.problems if "may have replaced the refresh token" in one["remedy"]]
    assert len(told) == min(times, 2)
    assert (await stage.asked())[OAUTH] == before + 2
    assert len([event for event in stage.events if isinstance(event, LoginEnding)]) == endings


async def test_a_user_is_told_of_a_refresh_token_that_was_lost_while_it_was_taken_over(stage: Stage) -> None:
    async with stage.process() as theirs, stage.process() as ours:
        connection = await stage.consent(theirs, owner="another program")
        auth = (await theirs._shared.vault.load(connection))[0].auth
        assert auth.access_token is not None
        assert auth.refresh_token is not None
        await stage.fault("cut", operation=OAUTH)
        mine = await ours.take_over(
            "tradovate", owner="ann", tokens={"access_token": auth.access_token, "refresh_token": auth.refresh_token}
        )
        for _ in range(2):
            stage.clock.advance(minutes=70)
            assert isinstance(await ours.run(mine.connection_id), Done)
    (told,) = (event for event in stage.events if isinstance(event, LoginEnding))
    assert told.connection_id == mine.connection_id
    assert f"interrupted on {WEDNESDAY:%Y-%m-%d at %H:%M}" in told.reason


async def test_a_refusal_of_a_good_refresh_token_tells_nobody_of_an_end(stage: Stage) -> None:
    async with stage.process() as bs:
        connection = await stage.consent(bs)
        stage.clock.advance(minutes=70)
        await stage.fault("oauth_refused")
        assert isinstance(await bs.run(connection.connection_id), Done)
        stage.clock.advance(minutes=75)
        assert isinstance(await bs.run(connection.connection_id), Done)
    assert not [event for event in stage.events if isinstance(event, LoginEnding)]


async def test_the_user_is_asked_within_a_day_where_an_answer_was_lost_and_the_session_had_ended(stage: Stage) -> None:
    """What is refused then was replaced, and not refused by mistake as good tokens are now and then."""
    async with stage.process() as bs:
        connection = await stage.consent(bs)
        stage.clock.advance(minutes=81)
        await stage.fault("cut", operation=OAUTH)
        lost_at = stage.clock.now()
        with pytest.raises(BrokerAuthError, match="was interrupted"):
            await _run_until_it_ends(stage, bs, connection.connection_id)
        assert stage.clock.now() - lost_at < timedelta(hours=14)
    assert await state_of(stage, connection) is ConnectionState.NEEDS_USER


async def test_a_login_that_slept_through_a_doubt_is_not_ended_by_one_refusal_that_passes(stage: Stage) -> None:
    """Nobody has tried the refresh token meanwhile, so that refusal is the first."""
    async with stage.process() as bs:
        connection = await stage.consent(bs)
        stage.clock.advance(minutes=81)
        await stage.fault("server_error", operation=OAUTH, times=3)
        assert isinstance(await bs.run(connection.connection_id), Deferred)
    stage.clock.advance(hours=13)
    await stage.fault("oauth_refused")
    async with stage.process() as bs:
        put_off = await bs.run(connection.connection_id)
        assert isinstance(put_off, Deferred)
        stage.clock.advance(seconds=(put_off.until - stage.clock.now()).total_seconds())
        assert isinstance(await bs.run(connection.connection_id), Done)
    assert await state_of(stage, connection) is ConnectionState.ACTIVE
    assert not [event for event in stage.events if isinstance(event, ConnectionNeedsUser)]


async def test_the_user_is_asked_for_a_token_that_was_lost_before_a_sleep_once_it_is_refused_for_long(
    stage: Stage,
) -> None:
    async with stage.process() as bs:
        connection = await stage.consent(bs)
        stage.clock.advance(minutes=81)
        await stage.fault("cut", operation=OAUTH)
        await stage.fault("server_error", operation=OAUTH, times=2)
        assert isinstance(await bs.run(connection.connection_id), Deferred)
    stage.clock.advance(hours=8)
    refused_since = stage.clock.now()
    async with stage.process() as bs:
        assert isinstance(await bs.run(connection.connection_id), Deferred)
    async with stage.process() as bs:
        with pytest.raises(BrokerAuthError, match="was interrupted"):
            await _run_until_it_ends(stage, bs, connection.connection_id)
    assert timedelta(hours=12) <= stage.clock.now() - refused_since < timedelta(hours=13), "at the next try after that"
    assert await state_of(stage, connection) is ConnectionState.NEEDS_USER
    (told,) = (event for event in stage.events if isinstance(event, LoginEnding))
    assert timedelta(0) <= told.until - refused_since - timedelta(hours=12) < timedelta(minutes=1)


async def test_the_user_is_asked_once_the_consent_is_over_and_a_new_one_goes_on(stage: Stage) -> None:
    async with stage.process() as bs:
        connection = await stage.consent(bs)
        name = connection.connection_id
        assert isinstance(await bs.run(name), Done)
        stage.clock.advance(hours=20)
        await stage.fault("oauth_refused", times=1000)
        assert isinstance(await bs.run(name), Deferred), "it is promised to live for 26 hours"
        assert await state_of(stage, connection) is ConnectionState.ACTIVE

        stage.clock.advance(hours=7)
        with pytest.raises(BrokerAuthError, match="only its user can"):
            await bs.run(name)
        assert await state_of(stage, connection) is ConnectionState.NEEDS_USER

        await stage.calm()
        begun = await bs.renew_consent(name, owner="ann", redirect_uri=CALLBACK)
        with pytest.raises(BrokerAuthError, match="Nothing was changed"):
            await bs.finish_consent(begun.consent_id, await stage.browse(begun.url, 0), owner="ann")
        begun = await bs.renew_consent(name, owner="ann", redirect_uri=CALLBACK)
        await bs.finish_consent(begun.consent_id, await stage.browse(begun.url, 1), owner="ann")
        assert isinstance(await bs.run(name), Done)
    assert [event for event in stage.events if isinstance(event, ConnectionRecovered)]
    assert await state_of(stage, connection) is ConnectionState.ACTIVE


async def test_a_login_that_nobody_uses_is_kept_for_days(stage: Stage) -> None:
    async with stage.process() as bs:
        connection = await stage.consent(bs)
        await bs.pause(connection.connection_id)
        for _ in range(12):
            stage.clock.advance(hours=12)
            assert await bs.renew_grants() == ()
        await bs.resume(connection.connection_id)
        assert isinstance(await bs.run(connection.connection_id), Done)
    assert (await stage.logins()).total() == 1
    assert not [event for event in stage.events if isinstance(event, LoginEnding)]


async def test_who_declines_or_answers_late_has_nothing_connected(stage: Stage) -> None:
    async with stage.process() as bs:
        begun = await bs.begin_consent("tradovate", owner="ann", redirect_uri=CALLBACK)
        with pytest.raises(BrokerAuthError, match="declined") as caught:
            await bs.finish_consent(begun.consent_id, await stage.browse(begun.url, 1, "deny"), owner="ann")
        assert caught.value.code == "access_denied"

        begun = await bs.begin_consent("tradovate", owner="ann", redirect_uri=CALLBACK)
        answers = await stage.browse(begun.url, 1)
        stage.clock.advance(minutes=6)
        with pytest.raises(BrokerAuthError, match="Begin the login again"):
            await bs.finish_consent(begun.consent_id, answers, owner="ann")  # the code has died
        assert await bs.connections("ann") == ()


async def test_tokens_that_ended_on_their_way_here_are_renewed_by_the_refresh_token(stage: Stage) -> None:
    async with stage.process() as theirs, stage.process() as ours:
        connection = await stage.consent(theirs, owner="another program")
        grant, _ = await theirs._shared.vault.load(connection)
        access, refresh = grant.auth.access_token, grant.auth.refresh_token
        assert access is not None
        assert refresh is not None
        stage.clock.advance(minutes=85)

        with pytest.raises(BrokerAuthError, match="Take over a token that is valid still"):
            await ours.take_over("tradovate", owner="ann", tokens={"access_token": access})
        mine = await ours.take_over("tradovate", owner="ann", tokens={"access_token": access, "refresh_token": refresh})

        assert isinstance(await ours.run(mine.connection_id), Done)
        assert mine.identity == connection.identity


async def test_a_token_that_ended_on_its_way_here_is_replaced_by_a_login_with_the_api_key(stage: Stage) -> None:
    login = stage.login(0)
    async with stage.process() as theirs, stage.process() as ours:
        connection = await stage.connect(theirs, owner="another program")
        grant, _ = await theirs._shared.vault.load(connection)
        access = grant.auth.access_token
        assert access is not None
        stage.clock.advance(minutes=95)

        mine = await ours.take_over(
            "tradovate",
            owner="ann",
            tokens={"access_token": access},
            fields=login.fields,
            environment=login.environment,
        )

        assert isinstance(await ours.run(mine.connection_id), Done)
        assert mine.identity == connection.identity


async def test_tokens_of_another_program_are_taken_over_and_rotated_here(stage: Stage) -> None:
    async with stage.process() as theirs, stage.process() as ours:
        connection = await stage.consent(theirs, owner="another program")
        grant, _ = await theirs._shared.vault.load(connection)
        token = grant.auth.refresh_token
        assert token is not None

        mine = await ours.take_over("tradovate", owner="ann", tokens={"refresh_token": token})
        assert isinstance(await ours.run(mine.connection_id), Done)
        assert mine.identity == connection.identity


async def test_a_refresh_token_that_is_none_has_the_user_log_in_and_keeps_nothing(stage: Stage) -> None:
    async with stage.process() as theirs, stage.process() as ours:
        connection = await stage.consent(theirs, owner="another program")
        access = (await theirs._shared.vault.load(connection))[0].auth.access_token
        assert access is not None
        stage.clock.advance(minutes=85)
        dead = {"access_token": access, "refresh_token": "none-of-tradovates"}
        for tokens in (dead, {"refresh_token": "none-of-tradovates"}):
            with pytest.raises(BrokerAuthError, match="Log in again"):
                await ours.take_over("tradovate", owner="ann", tokens=tokens)
        assert await ours.connections("ann") == ()


async def test_a_login_that_was_taken_over_with_a_refresh_token_that_is_none_asks_its_user_when_it_ends(
    stage: Stage,
) -> None:
    async with stage.process() as theirs, stage.process() as ours:
        connection = await stage.consent(theirs, owner="another program")
        access = (await theirs._shared.vault.load(connection))[0].auth.access_token
        assert access is not None
        mine = await ours.take_over(
            "tradovate", owner="ann", tokens={"access_token": access, "refresh_token": "none-of-tradovates"}
        )
        assert isinstance(await ours.run(mine.connection_id), Done)
        stage.clock.advance(minutes=95)
        with pytest.raises(BrokerAuthError, match="Log in again"):
            await ours.run(mine.connection_id)
        assert (await ours.connection(mine.connection_id)).state is ConnectionState.NEEDS_USER


async def test_tokens_of_two_users_are_refused_and_each_can_be_taken_over_by_itself(stage: Stage) -> None:
    async with stage.process() as theirs, stage.process() as ours:
        users = [await stage.consent(theirs, login, owner=f"another program {login}") for login in (0, 1)]
        first, second = [(await theirs._shared.vault.load(one))[0].auth for one in users]
        assert first.access_token is not None
        assert second.refresh_token is not None
        mixed = {"access_token": first.access_token, "refresh_token": second.refresh_token}

        for _ in range(2):
            with pytest.raises(BrokerAuthError, match="belong to two logins") as refused:
                await ours.take_over("tradovate", owner="ann", tokens=mixed)
            assert first.access_token.reveal() not in str(refused.value)
        assert await ours.connections("ann") == ()
        for name, user in (("refresh_token", users[1]), ("access_token", users[0])):
            mine = await ours.take_over("tradovate", owner="ann", tokens={name: mixed[name]})
            assert mine.identity == user.identity
            assert isinstance(await ours.run(mine.connection_id), Done)
            theirs_are = {one.account_id for one in await theirs.accounts(user.connection_id)}
            assert {one.account_id for one in await ours.accounts(mine.connection_id)} == theirs_are


@pytest.mark.parametrize("asks", [False, True], ids=["connected", "asking its user"])
async def test_a_token_of_one_user_with_a_refresh_token_that_was_taken_over_for_another_is_refused(
    stage: Stage, asks: bool
) -> None:
    async with stage.process() as theirs, stage.process() as ours:
        users = [await stage.consent(theirs, login, owner=f"another program {login}") for login in (0, 1)]
        second = (await theirs._shared.vault.load(users[1]))[0].auth
        assert second.access_token is not None
        assert second.refresh_token is not None
        pair = {"access_token": second.access_token, "refresh_token": second.refresh_token}
        mine = await ours.take_over("tradovate", owner="ann", tokens=pair)
        if asks:
            await ours._shared.store.move_connection(
                mine.connection_id, lambda known: attrs.evolve(known, state=ConnectionState.NEEDS_USER)
            )
        first = (await theirs._shared.vault.load(users[0]))[0].auth.access_token
        assert first is not None
        mixed = {"access_token": first, "refresh_token": second.refresh_token}

        with pytest.raises(BrokerAuthError, match=f"two logins.*taken over before.*{mine.connection_id}"):
            await ours.take_over("tradovate", owner="ann", tokens=mixed)

        assert [one.identity for one in await ours.connections("ann")] == [users[1].identity]
        stage.clock.advance(minutes=90)
        if not asks:
            assert await ours.take_over("tradovate", owner="ann", tokens=pair) == await ours.connection(
                mine.connection_id
            )


async def test_a_backend_does_it_as_the_guide_says(stage: Stage) -> None:
    (code,) = (one for one in re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL) if "consent" in one)
    names: dict[str, Any] = {"BrokerSync": BrokerSync, "BrokerAuthError": BrokerAuthError}
    exec(code, names)
    async with stage.process() as one, stage.process() as other:
        url = await names["to_the_broker"](one, "tradovate", "ann")
        name = await names["back_from_the_broker"](other, "ann", await stage.browse(url, 1))
        assert isinstance(await other.run(name), Done)

        url = await names["to_the_broker"](one, "tradovate", "ann")
        assert await names["back_from_the_broker"](other, "ann", await stage.browse(url, 1, "deny")) is None
