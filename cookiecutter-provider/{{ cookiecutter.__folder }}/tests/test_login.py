"""What holds of a login however it is made."""

from __future__ import annotations

import pytest

from brokersync import BrokerAuthError
from brokersync.plugin import Manifest

from .logins import OWNER, WRONG, connect
from .stage import IDENTITY, Stage


async def test_a_login_is_kept_under_the_brokers_name_of_its_user(stage: Stage) -> None:
    connection = await stage.connect()

    assert connection.identity == IDENTITY
    assert await stage.bs.connections(OWNER) == (connection,)


async def test_each_environment_has_logins_with_accounts_of_their_own(stage: Stage, manifest: Manifest) -> None:
    for environment in manifest.environments:
        login = next(one for one in stage.sandbox.logins if one.environment == environment)

        connection = await connect(stage.bs, login)

        accounts = await stage.bs.accounts(connection.connection_id)
        assert {one.account_id for one in accounts} == set(login.trades)
        assert {one.environment for one in accounts} == {environment}


async def test_what_is_wrong_is_refused_in_words_and_nothing_is_kept(stage: Stage) -> None:
    fields, words = WRONG

    with pytest.raises(BrokerAuthError, match=words) as caught:
        await stage.connect(**fields)

    assert not any(value in str(caught.value.describe()) for value in fields.values())
    assert caught.value.certain
    assert await stage.bs.connections(OWNER) == ()
