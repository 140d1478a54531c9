"""What holds of a login however it is made."""

from __future__ import annotations

import pytest

from brokersync import BrokerAuthError

from .logins import OWNER, WRONG, connect
from .stage import Stage


async def test_a_login_is_kept_under_the_brokers_name_of_its_user(stage: Stage) -> None:
    connection = await stage.connect()

    assert connection.identity == "user:1"
    assert await stage.bs.connections(OWNER) == (connection,)


async def test_the_accounts_of_a_login_are_those_of_its_user(stage: Stage) -> None:
    connection = await stage.connect()

    accounts = await stage.bs.accounts(connection.connection_id)
    assert {one.account_id for one in accounts} == set(stage.sandbox.logins[0].trades)
    assert {one.environment for one in accounts} == {"live"}


async def test_each_side_of_the_broker_has_logins_and_accounts_of_its_own(stage: Stage) -> None:
    (login,) = (one for one in stage.sandbox.logins[-1:] if one.environment == "demo")

    connection = await connect(stage.bs, login)

    accounts = await stage.bs.accounts(connection.connection_id)
    assert {one.account_id for one in accounts} == set(login.trades)
    assert {one.environment for one in accounts} == {"demo"}


async def test_what_is_wrong_is_refused_in_words_and_nothing_is_kept(stage: Stage) -> None:
    fields, words = WRONG

    with pytest.raises(BrokerAuthError, match=words) as caught:
        await stage.connect(**fields)

    assert not any(value in str(caught.value.describe()) for value in fields.values())
    assert caught.value.certain
    assert await stage.bs.connections(OWNER) == ()
