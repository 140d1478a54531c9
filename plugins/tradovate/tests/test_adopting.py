from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import attrs
import pytest

from brokersync.plugin import (
    AuthResult,
    BrokerConfigError,
    BrokerError,
    BrokerResponseError,
    BrokerTokenExpiredError,
    Secret,
)
from brokersync_tradovate.adopting import adopt

from .conftest import World

TOKEN = "a-foreign-token"
ME = {"userId": 31, "name": "mira", "fullName": "Mira", "organizationName": ""}


def foreign(**facts: Any) -> AuthResult:
    return AuthResult(identity="nobody yet", access_token=Secret(TOKEN), **facts)


async def test_a_token_is_asked_whom_it_belongs_to_and_renews_before_any_other_use(world: World) -> None:
    world.broker.on("live", "auth/me", ME)

    auth = await adopt(world.context, foreign())

    (sent,) = world.broker.sent
    assert sent.draft.headers == {"Authorization": f"Bearer {TOKEN}"}
    assert (auth.identity, auth.access_token) == ("user:31", Secret(TOKEN))
    assert auth.state == {"environment": "live", "name": "mira"}
    assert auth.expires_at == world.clock.now() + timedelta(minutes=1)


async def test_a_demo_login_is_the_only_user_of_its_list() -> None:
    world = World("demo")
    world.broker.on("demo", "user/list", [{"id": 32, "name": "nils"}])

    assert (await adopt(world.context, foreign())).identity == "user:32"

    world.broker.on("demo", "user/list", [{"id": 32, "name": "nils"}, {"id": 33, "name": "ole"}])
    with pytest.raises(BrokerResponseError):
        await adopt(world.context, foreign())


@pytest.mark.parametrize(
    ("body", "status"),
    [("Access is denied", 401), ("Expired Access Token", 401), ("", 401), ({"errorText": "Access is denied"}, 200)],
)
async def test_a_token_that_is_not_taken_is_one_to_renew_and_is_not_shown(
    world: World, caught: Callable[[BrokerError], str], body: Any, status: int
) -> None:
    world.broker.on("live", "auth/me", body, status=status)

    with pytest.raises(BrokerTokenExpiredError) as error:
        await adopt(world.context, foreign())

    assert TOKEN not in caught(error.value)


async def test_a_token_past_its_time_is_not_even_tried(world: World) -> None:
    with pytest.raises(BrokerTokenExpiredError):
        await adopt(world.context, foreign(expires_at=world.clock.now()))

    assert world.broker.sent == []


async def test_whose_a_refresh_token_is_is_told_by_using_it(world: World) -> None:
    with pytest.raises(BrokerTokenExpiredError):
        await adopt(world.context, attrs.evolve(foreign(), access_token=None, refresh_token=Secret("r")))
    assert world.broker.sent == []


async def test_a_login_with_a_refresh_token_was_made_on_the_live_side(new_world: type[World]) -> None:
    world = new_world("demo")
    world.broker.on("live", "auth/me", {"userId": 31, "name": "mira"})

    adopted = await adopt(world.context, attrs.evolve(foreign(), refresh_token=Secret("r")))

    assert (adopted.identity, adopted.state["environment"]) == ("user:31", "live")


async def test_tokens_that_the_plugin_does_not_know_are_not_enough(world: World) -> None:
    with pytest.raises(BrokerConfigError, match="access_token, refresh_token or both"):
        await adopt(world.context, attrs.evolve(foreign(), access_token=None))


@pytest.mark.parametrize("body", [[], {}, {"userId": "31"}, {"userId": None}])
async def test_an_answer_that_names_nobody_is_refused(world: World, body: Any) -> None:
    world.broker.on("live", "auth/me", body)

    with pytest.raises(BrokerResponseError):
        await adopt(world.context, foreign())
