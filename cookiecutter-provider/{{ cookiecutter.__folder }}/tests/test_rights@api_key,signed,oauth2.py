"""What a login may do: what its user is advised to change, and what happens when it is taken away."""

from __future__ import annotations

import pytest

from brokersync import BrokerAuthError, ConnectionState
from {{ cookiecutter.__package }}.diagnosis import advice

from .stage import Stage


@pytest.mark.parametrize(
    ("rights", "said"),
    [
        ({"accounts", "executions"}, []),
        ({"accounts"}, ["lacks the right to read executions"]),
        ({"accounts", "executions", "orders"}, ["may do more than read (orders)"]),
        ({"transfers"}, ["lacks the right to read accounts and executions", "may do more than read (transfers)"]),
    ],
)
def test_what_is_missing_and_what_is_too_much_is_named(rights: set[str], said: list[str]) -> None:
    told = advice(frozenset(rights))

    assert len(told) == len(said)
    assert all(part in sentence for part, sentence in zip(said, told, strict=True))


async def test_a_login_that_may_read_and_no_more_is_well(stage: Stage) -> None:
    connection = await stage.connect()

    assert await stage.bs.diagnose(connection.connection_id) == ()


async def test_a_login_that_is_taken_back_asks_its_user_at_once(stage: Stage) -> None:
    connection = await stage.connect()
    await stage.show_fault("revoked")

    with pytest.raises(BrokerAuthError):
        await stage.sync(connection)
    assert (await stage.bs.connection(connection.connection_id)).state is ConnectionState.NEEDS_USER
