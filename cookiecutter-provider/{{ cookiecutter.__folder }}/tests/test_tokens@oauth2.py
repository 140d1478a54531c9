"""Tokens that end, and refresh tokens that are replaced at each use."""

from __future__ import annotations

from datetime import timedelta

import pytest

from brokersync import BrokerAuthError, ConnectionState
from brokersync.events import RequestSent, TokenRefreshed

from .stage import Stage


async def test_a_token_that_has_ended_is_replaced_and_the_sync_goes_on(stage: Stage) -> None:
    connection = await stage.connect()
    for _ in range(3):
        stage.clock.advance(timedelta(hours=1))
        assert (await stage.sync(connection)).problems == ()

    rotations = [event.how for event in stage.events if isinstance(event, TokenRefreshed)]
    assert rotations == ["refresh"] * 3, "each with the refresh token that the one before gave"
    refused = [event.operation for event in stage.events if isinstance(event, RequestSent) and event.status == 401]
    assert refused == [], "core knew by `expires_at` that the token had ended"


async def test_a_token_that_the_broker_ends_early_is_replaced_by_the_way(stage: Stage) -> None:
    connection = await stage.connect()
    await stage.show_fault("expired_token")

    assert (await stage.sync(connection)).problems == ()
    assert [event.how for event in stage.events if isinstance(event, TokenRefreshed)] == ["refresh"]


async def test_the_user_is_asked_when_the_refresh_token_has_ended_too(stage: Stage) -> None:
    connection = await stage.connect()
    stage.clock.advance(timedelta(days=31))

    with pytest.raises(BrokerAuthError):
        await stage.sync(connection)
    assert (await stage.bs.connection(connection.connection_id)).state is ConnectionState.NEEDS_USER


async def test_a_login_that_its_user_ends_here_is_ended_at_the_broker_too(stage: Stage) -> None:
    connection = await stage.connect()
    await stage.bs.disconnect(connection.connection_id)

    sent = [(event.operation, event.status) for event in stage.events if isinstance(event, RequestSent)]
    assert ("revoke", 200) in sent
