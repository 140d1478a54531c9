"""Limits that count only what failed."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from brokersync.errors import BrokerRateLimitError

from .toy import Caller, bucket, settle, window

NOW = timedelta(0)


async def test_what_came_through_counts_no_longer() -> None:
    toy = Caller(window(2, 10, failures_only=True))
    for _ in range(20):
        await (await toy.acquire(longest=NOW)).forgive()


async def test_what_failed_or_is_under_way_counts() -> None:
    toy = Caller(window(2, 10, failures_only=True))
    await (await toy.acquire(longest=NOW)).done()
    under_way = await toy.acquire(longest=NOW)
    with pytest.raises(BrokerRateLimitError) as refused:
        await toy.acquire(longest=NOW)
    assert refused.value.retry_after == timedelta(seconds=10)

    await under_way.forgive()
    await (await toy.acquire(longest=NOW)).done()
    with pytest.raises(BrokerRateLimitError):
        await toy.acquire(longest=NOW)


async def test_only_the_limits_that_say_so_forgive() -> None:
    toy = Caller(window(5, 10, failures_only=True), window(1, 10))
    await (await toy.acquire(longest=NOW)).forgive()
    with pytest.raises(BrokerRateLimitError):
        await toy.acquire(longest=NOW)


async def test_who_waits_moves_up() -> None:
    toy = Caller(window(1, 10, failures_only=True))
    under_way = await toy.acquire()
    waiting = toy.spawn("next")
    await asyncio.sleep(0)
    await toy.lane._clock.sleep(2)
    await under_way.forgive()
    await settle()
    await waiting
    assert toy.went == [("next", 2)]


async def test_a_heavy_call_is_forgiven_whole() -> None:
    toy = Caller(window(4, 10, failures_only=True))
    for _ in range(3):
        await (await toy.acquire(weight=3, longest=NOW)).forgive()
    assert toy.lane._meters
    assert all(meter.used(toy.clock.time) == 0 for meter in toy.lane._meters.values())


def test_a_bucket_forgets_nothing() -> None:
    with pytest.raises(ValueError, match="failures_only is for limits of kind window"):
        bucket(2, 10, failures_only=True)
