from __future__ import annotations

from datetime import timedelta

import pytest

from brokersync.errors import LeaseLostError
from brokersync.records import FailedWindow
from brokersync.store import Store
from brokersync.types import TimeWindow

from .pages import DAY, START


def failing(first: int, end: int, failures: int = 1) -> FailedWindow:
    window = TimeWindow(START + first * DAY, START + end * DAY)
    return FailedWindow(window=window, failures=failures, reason="BrokerTimeoutError", at=START + timedelta(minutes=7))


async def test_failing_windows_are_kept_per_request_and_replaced_as_one(store: Store) -> None:
    await store.put_failing("c", "fills", "live/A", (failing(3, 5, 2), failing(0, 1)), lease=None)
    await store.put_failing("c", "fills", "live/B", (failing(0, 9),), lease=None)
    await store.put_failing("c", "reports", "live/A", (failing(7, 9),), lease=None)
    await store.put_failing("d", "fills", "live/A", (failing(8, 9),), lease=None)
    assert await store.failing("c", "fills") == {
        "live/A": (failing(0, 1), failing(3, 5, 2)),
        "live/B": (failing(0, 9),),
    }
    await store.put_failing("c", "fills", "live/A", (failing(3, 4, 3),), lease=None)
    assert (await store.failing("c", "fills"))["live/A"] == (failing(3, 4, 3),)
    await store.put_failing("c", "fills", "live/A", (), lease=None)
    assert await store.failing("c", "fills") == {"live/B": (failing(0, 9),)}


async def test_a_worker_that_lost_its_lease_writes_no_failures(store: Store) -> None:
    until = START + timedelta(minutes=1)
    lost = await store.take_lease("sync|c", owner="o", holder="one", now=START, until=until)
    await store.take_lease("sync|c", owner="o", holder="two", now=until, until=until + DAY)
    with pytest.raises(LeaseLostError):
        await store.put_failing("c", "fills", "live/A", (failing(0, 1),), lease=lost)
    assert await store.failing("c", "fills") == {}
