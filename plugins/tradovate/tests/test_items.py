"""Reading rows by id: the broker answers a batch with 404 when it is too large or one id of it is unknown."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brokersync.plugin import BrokerUnavailableError, RequestDraft
from brokersync_tradovate.client import TradovateClient


def serve(world: Any, known: set[int], most: int, *, lenient: bool = False) -> None:
    def answer(draft: RequestDraft) -> tuple[int, str]:
        ids = [int(one) for one in draft.params["ids"].split(",")]
        there = [one for one in ids if one in known]
        if len(ids) > most or (not lenient and len(there) < len(ids)):
            return 404, ""
        return 200, "[" + ",".join(f'{{"id": {one}}}' for one in reversed(there)) + "]"

    world.broker.on("live", "contract/items", answer)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    known=st.sets(st.integers(1, 60)),
    wanted=st.lists(st.integers(1, 60), max_size=60),
    most=st.integers(1, 12),
    lenient=st.booleans(),
)
async def test_all_rows_that_exist_are_found(
    new_world: Any, known: set[int], wanted: list[int], most: int, lenient: bool
) -> None:
    world = new_world()
    serve(world, known, most, lenient=lenient)

    rows = await TradovateClient(world.context).list_items(world.auth, "live", "contract", wanted)

    assert sorted(row["id"] for row in rows) == sorted(known.intersection(wanted))


async def test_ids_are_asked_for_in_tens_and_each_once(world: Any) -> None:
    serve(world, set(range(1, 42)), most=10)

    await TradovateClient(world.context).list_items(world.auth, "live", "contract", [*range(1, 42), 7, 7])

    asked = [one.draft.params["ids"].split(",") for one in world.broker.sent]
    assert [len(ids) for ids in asked] == [10, 10, 10, 10, 1]
    assert sorted(int(one) for ids in asked for one in ids) == list(range(1, 42))


async def test_no_ids_are_no_request(world: Any) -> None:
    assert await TradovateClient(world.context).list_items(world.auth, "live", "contract", []) == []
    assert world.broker.sent == []


async def test_an_outage_is_not_taken_for_an_unknown_id(world: Any) -> None:
    world.broker.on("live", "contract/items", "", status=503)

    with pytest.raises(BrokerUnavailableError):
        await TradovateClient(world.context).list_items(world.auth, "live", "contract", [1, 2])

    assert len(world.broker.sent) == 1
