"""Tokens that end and are renewed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from brokersync.events import RequestSent, TokenRefreshed

from .stage import Stage


@pytest.mark.parametrize(
    ("later", "how"),
    [
        pytest.param(timedelta(hours=1), "refresh", id="the token has ended"),
        pytest.param(timedelta(days=31), "login", id="the session has ended, too"),
    ],
)
async def test_a_token_that_has_ended_is_replaced_and_the_sync_goes_on(
    stage: Stage, later: timedelta, how: str
) -> None:
    connection = await stage.connect()
    stage.clock.advance(later)

    report = await stage.sync(connection)

    assert report.problems == ()
    assert [event.how for event in stage.events if isinstance(event, TokenRefreshed)] == [how]
    refused = [event.operation for event in stage.events if isinstance(event, RequestSent) and event.status == 401]
    assert refused == [], "core knew by `expires_at` that the token had ended"


async def test_a_token_that_the_broker_ends_early_is_replaced_by_the_way(stage: Stage) -> None:
    connection = await stage.connect()
    await stage.show_fault("expired_token")

    report = await stage.sync(connection)

    assert report.problems == ()
    assert [event.how for event in stage.events if isinstance(event, TokenRefreshed)] == ["refresh"]
