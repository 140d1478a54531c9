"""A connection that ends while it is read: its sync says so, and nobody takes it up again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from brokersync import BrokerConfigError, BrokerSync
from brokersync.events import SyncFailed, SyncRecorded

from .broker import Desk, open_desk

ENDS: dict[str, Callable[[BrokerSync, str], Awaitable[object]]] = {
    "disconnect": lambda bs, name: bs.disconnect(name),
    "erase": lambda bs, name: bs.disconnect(name, erase=True),
    "forget": lambda bs, name: bs.forget("alice"),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
async def test_a_sync_whose_connection_ends_is_not_put_off_to_another_worker(
    stores: Any, end: Callable[[BrokerSync, str], Awaitable[object]]
) -> None:
    desk: Desk = open_desk(stores.place)
    reading, go_on = asyncio.Event(), asyncio.Event()

    async def at_the_page(_: int) -> None:
        reading.set()
        await go_on.wait()

    async with desk.bs:
        (name,) = await desk.connect("ann")
        desk.broker.on_page = at_the_page
        sync = asyncio.create_task(desk.bs.run(name))
        await reading.wait()
        await end(desk.bs, name)
        go_on.set()
        with pytest.raises(BrokerConfigError, match=f"connection {name} has just ended") as told:
            await sync
        assert told.value.remedy
        assert [event.outcome for event in desk.heard(SyncRecorded)] == ["failed"]
        assert len(desk.heard(SyncFailed)) == 1
        assert await desk.bs.run_due() == {}
