"""`brokersync status`: how far, what next, and why not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from brokersync import BrokerSync, Deferred

Run = Callable[..., Any]


@pytest.fixture
def connection_id(staged: Any) -> str:
    """A connection whose first statement is under way, and whose login may read one of two sources."""

    async def make() -> str:
        async with staged("ibkr", days=30, think=timedelta(seconds=60)) as stage:
            made = await stage.connect(without="confirmations_query_id")
            assert isinstance(await stage.bs.run(made.connection_id), Deferred)
            return str(made.connection_id)

    return asyncio.run(make())


def test_what_comes_next_and_what_will_not_come_is_said(brokersync: Run, connection_id: str) -> None:
    answer = brokersync("status")
    assert answer.code == 0
    said = (
        "confirmations is not read: the login has no Trade Confirmation Flex Query ID; connect it again and give"
        " confirmations_query_id as well."
    )
    assert f"{connection_id}: {said}" in " ".join(answer.out.split())
    assert "activity" in answer.out
    assert "next: " in answer.out
    (facts,) = brokersync("status", "--json").document["connections"]
    assert facts["obstacles"] == [said]
    assert {one["source"] for one in facts["sources"]} == {"activity"}
    assert all(one["next_window"] for one in facts["sources"])


def test_a_paused_connection_says_that_nothing_comes_by_itself(
    brokersync: Run, connection_id: str, tmp_path: Path
) -> None:
    async def pause() -> None:
        async with BrokerSync.open(tmp_path / "store.db") as bs:
            await bs.pause(connection_id)

    asyncio.run(pause())
    answer = brokersync("status")
    assert "paused" in answer.out
    assert "Its owner has paused it. Resume it" in answer.out


def test_a_connection_that_waits_for_a_worker_says_where_it_stands(
    brokersync: Run, connection_id: str, tmp_path: Path
) -> None:
    async def ask() -> None:
        async with BrokerSync.open(tmp_path / "store.db") as bs:
            await bs.sync_now(connection_id)

    assert brokersync("status", "--json").document["connections"][0]["job"] is None
    asyncio.run(ask())
    assert f"{connection_id}: waits for a worker, next in line" in brokersync("status").out
    (facts,) = brokersync("status", "--json").document["connections"]
    assert (facts["job"]["asked"], facts["job"]["running"], facts["job"]["position"]) == (True, False, 1)
