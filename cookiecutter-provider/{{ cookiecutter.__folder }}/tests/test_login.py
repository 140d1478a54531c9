from __future__ import annotations

{% if cookiecutter.auth_kind == "password" %}
from datetime import timedelta

{% endif %}
import pytest

{% if cookiecutter.auth_kind == "api_key" %}
from brokersync import BrokerAuthError, ConnectionState
{% else %}
from brokersync import BrokerAuthError
from brokersync.events import RequestSent, TokenRefreshed
{% endif %}

from .stage import OWNER, Stage


async def test_a_login_is_kept_under_the_brokers_name_of_its_user(stage: Stage) -> None:
    connection = await stage.connect()

    assert connection.identity == "user:1"
    assert await stage.bs.connections(OWNER) == (connection,)


async def test_the_accounts_of_a_login_are_those_of_its_user(stage: Stage) -> None:
    connection = await stage.connect()

    accounts = await stage.bs.accounts(connection.connection_id)
    assert {one.account_id for one in accounts} == set(stage.sandbox.logins[0].trades)


{% if cookiecutter.auth_kind == "api_key" %}
async def test_a_key_that_is_none_is_refused_in_words_and_nothing_is_kept(stage: Stage) -> None:
    with pytest.raises(BrokerAuthError, match="does not accept this API key") as caught:
        await stage.connect(api_key="an-invented-key")

    assert "an-invented-key" not in str(caught.value.describe())
    assert caught.value.certain
    assert await stage.bs.connections(OWNER) == ()


async def test_a_key_that_is_taken_back_asks_its_user_at_once(stage: Stage) -> None:
    connection = await stage.connect()
    await stage.show_fault("revoked")

    with pytest.raises(BrokerAuthError, match="does not accept this API key"):
        await stage.sync(connection)
    assert (await stage.bs.connection(connection.connection_id)).state is ConnectionState.NEEDS_USER
{% else %}
async def test_a_wrong_password_is_refused_in_words_and_nothing_is_kept(stage: Stage) -> None:
    with pytest.raises(BrokerAuthError, match="does not accept this user name and password") as caught:
        await stage.connect(password="an-invented-password")

    assert "an-invented-password" not in str(caught.value.describe())
    assert caught.value.certain
    assert await stage.bs.connections(OWNER) == ()


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

    assert report.added > 0
    assert [event.how for event in stage.events if isinstance(event, TokenRefreshed)] == [how]
    refused = [event.operation for event in stage.events if isinstance(event, RequestSent) and event.status == 401]
    assert refused == [], "core knew by `expires_at` that the token had ended"


async def test_a_token_that_the_broker_ends_early_is_replaced_by_the_way(stage: Stage) -> None:
    connection = await stage.connect()
    await stage.show_fault("expired_token", after=1)

    await stage.sync(connection)

    assert [event.how for event in stage.events if isinstance(event, TokenRefreshed)] == ["refresh"]
    assert len(await stage.trades()) == sum(stage.sandbox.logins[0].trades.values())
{% endif %}
