"""What a login may do: what its user is advised to change, and what happens when it is taken away."""

from __future__ import annotations

import pytest

from brokersync import BrokerAuthError, ConnectionState
from {{ cookiecutter.__package }}.diagnosis import NEEDED, TOO_MUCH, advice

from .stage import Stage


# FILL IN: a broker that tells of no rights, or of none too much, needs not all of these four, nor what they import
@pytest.mark.parametrize("lacking", NEEDED)
def test_a_right_that_is_missing_is_named(lacking: str) -> None:
    (told,) = advice(frozenset(NEEDED) - {lacking})

    assert f"lacks the right to read {lacking}," in told


@pytest.mark.parametrize("right", TOO_MUCH)
def test_a_right_that_nobody_needs_is_named(right: str) -> None:
    (told,) = advice(frozenset({*NEEDED, right}))

    assert f"may do more than read ({right})" in told


def test_all_that_is_to_be_changed_is_told_at_once() -> None:
    missing, superfluous = advice(frozenset(TOO_MUCH))

    assert all(right in missing for right in NEEDED)
    assert all(right in superfluous for right in TOO_MUCH)


async def test_a_login_that_may_read_and_no_more_is_well(stage: Stage) -> None:
    connection = await stage.connect()

    assert await stage.clock.patiently(lambda: stage.bs.diagnose(connection.connection_id)) == ()


async def test_a_login_that_is_taken_back_asks_its_user_at_once(stage: Stage) -> None:
    connection = await stage.connect()
    await stage.show_fault("revoked")

    with pytest.raises(BrokerAuthError):
        await stage.sync(connection)
    assert (await stage.bs.connection(connection.connection_id)).state is ConnectionState.NEEDS_USER
