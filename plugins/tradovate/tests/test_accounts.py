from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from brokersync.plugin import (
    BrokerAccount,
    BrokerAPIError,
    BrokerError,
    BrokerResponseError,
    BrokerTokenExpiredError,
    BrokerUnavailableError,
)

LIST = "account/list"


def row(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": number,
        "name": f"A{number}",
        "userId": 999,
        "accountType": "Customer",
        "active": True,
        "timestamp": "2025-11-03T08:09:10.500Z",
        "nickname": "mine",
    } | changes


async def test_one_login_has_the_accounts_of_both_sides(world: Any) -> None:
    world.broker.on("live", LIST, [row(9007199254740993)])
    world.broker.on("demo", LIST, [row(7)])

    accounts = await world.provider.get_accounts(world.auth)

    assert accounts == [
        BrokerAccount(
            account_id="9007199254740993",
            environment="live",
            name="A9007199254740993",
            kind="Customer",
            opened_at=datetime(2025, 11, 3, 8, 9, 10, 500_000, tzinfo=UTC),
            closed=False,
        ),
        BrokerAccount(
            account_id="7",
            environment="demo",
            name="A7",
            kind="Customer",
            opened_at=datetime(2025, 11, 3, 8, 9, 10, 500_000, tzinfo=UTC),
            closed=False,
        ),
    ]


async def test_the_owner_of_an_account_is_kept_nowhere(world: Any) -> None:
    world.broker.on("live", LIST, [row(7)])
    world.broker.on("demo", LIST, [])

    (account,) = await world.provider.get_accounts(world.auth)

    assert "999" not in str(account)


@pytest.mark.parametrize(
    ("changes", "closed"),
    [({}, False), ({"active": False}, True), ({"closed": True}, True), ({"archived": True}, True)],
)
async def test_an_account_that_is_over_is_listed_as_closed(world: Any, changes: dict[str, Any], closed: bool) -> None:
    world.broker.on("live", LIST, [row(7, **changes)])
    world.broker.on("demo", LIST, [])

    (account,) = await world.provider.get_accounts(world.auth)

    assert account.closed is closed


async def test_no_accounts_at_all_is_an_answer(world: Any) -> None:
    world.broker.on("live", LIST, [])
    world.broker.on("demo", LIST, [])

    assert await world.provider.get_accounts(world.auth) == []


@pytest.mark.parametrize("status", [401, 403, 404])
@pytest.mark.parametrize("home", ["live", "demo"])
@pytest.mark.parametrize("refusing", ["live", "demo"])
async def test_a_side_that_refuses_the_login_costs_only_its_own_accounts(
    new_world: Any, home: str, refusing: str, status: int
) -> None:
    world = new_world(home)
    answering = "demo" if refusing == "live" else "live"
    world.broker.on(refusing, LIST, "Access is denied", status=status)
    world.broker.on(answering, LIST, [row(7)])

    accounts = await world.provider.get_accounts(world.auth)

    assert [account.environment for account in accounts] == [answering]
    assert world.broker.sent[0].role == home


@pytest.mark.parametrize("status", [401, 403, 404])
@pytest.mark.parametrize("refusing", ["live", "demo"])
async def test_a_side_that_refuses_once_loses_no_accounts(world: Any, refusing: str, status: int) -> None:
    for number, side in enumerate(("live", "demo")):
        world.broker.on(side, LIST, [row(number)])

    def refused_once(_: Any) -> Any:
        world.broker.on(refusing, LIST, [row(9)])
        return (status, "")

    world.broker.on(refusing, LIST, refused_once)

    accounts = await world.provider.get_accounts(world.auth)

    assert [account.environment for account in accounts] == ["live", "demo"]


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_refusal_that_leaves_no_account_is_told(world: Any, status: int) -> None:
    world.broker.on("live", LIST, [])
    world.broker.on("demo", LIST, "", status=status)

    with pytest.raises(BrokerError) as refused:
        await world.provider.get_accounts(world.auth)

    assert refused.value.status == status


async def test_two_refusals_are_an_error_of_the_logins_own_side(world: Any) -> None:
    world.broker.on("live", LIST, "Expired Access Token", status=401)
    world.broker.on("demo", LIST, "", status=404)

    with pytest.raises(BrokerTokenExpiredError):
        await world.provider.get_accounts(world.auth)


async def test_a_token_that_works_on_one_side_is_not_renewed_for_the_other(world: Any) -> None:
    seen: list[BrokerError] = []
    original = world.broker.request

    async def request(*arguments: Any, **options: Any) -> Any:
        try:
            return await original(*arguments, **options)
        except BrokerError as error:
            seen.append(error)
            raise

    world.broker.request = request
    world.broker.on("live", LIST, [row(7)])
    world.broker.on("demo", LIST, "Access is denied", status=401)

    await world.provider.get_accounts(world.auth)

    assert [type(error) for error in seen] == [BrokerAPIError] * 2


async def test_an_outage_of_one_side_is_no_refusal(world: Any) -> None:
    world.broker.on("live", LIST, [row(7)])
    world.broker.on("demo", LIST, "<html>", status=503)

    with pytest.raises(BrokerUnavailableError):
        await world.provider.get_accounts(world.auth)


@pytest.mark.parametrize(
    "body",
    [{"rows": []}, [7], [row(7) | {"id": None}], [row(7) | {"name": ""}], "null"],
)
async def test_a_list_of_another_shape_is_refused(world: Any, body: Any) -> None:
    world.broker.on("live", LIST, body)

    with pytest.raises(BrokerResponseError):
        await world.provider.get_accounts(world.auth)
