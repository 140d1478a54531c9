"""Tokens that another program has made are found to be their user's."""

from __future__ import annotations

from datetime import timedelta

import pytest

from brokersync import BrokerAuthError, get_broker_provider
from brokersync.plugin import AuthResult

from .logins import KEY, OWNER, log_in
from .stage import IDENTITY, Stage


async def made_elsewhere(stage: Stage) -> AuthResult:
    async with get_broker_provider(KEY, settings=stage.sandbox.settings(), clock=stage.clock) as provider:
        return await log_in(provider, stage.sandbox.logins[0])


@pytest.mark.parametrize("names", [("access_token", "refresh_token"), ("refresh_token",)])
async def test_a_login_that_is_taken_over_has_the_name_that_it_would_have_here(
    stage: Stage, names: tuple[str, ...]
) -> None:
    theirs = await made_elsewhere(stage)
    held = {"access_token": theirs.access_token, "refresh_token": theirs.refresh_token}
    tokens = {name: token for name in names if (token := held[name]) is not None}

    connection = await stage.bs.take_over(KEY, owner=OWNER, tokens=tokens)

    assert connection.identity == theirs.identity == IDENTITY
    assert (await stage.sync(connection)).problems == ()


async def test_an_access_token_alone_that_has_ended_is_refused(stage: Stage) -> None:
    theirs = await made_elsewhere(stage)
    stage.clock.advance(timedelta(hours=1))
    assert theirs.access_token is not None

    with pytest.raises(BrokerAuthError):
        await stage.bs.take_over(KEY, owner=OWNER, tokens={"access_token": theirs.access_token})
    assert await stage.bs.connections(OWNER) == ()
