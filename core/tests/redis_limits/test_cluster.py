"""Limits in a cluster: each broker's stand on one of its servers, and one that is away concerns no other broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from redis.asyncio import RedisCluster

from brokersync.events import SharedLimitsBack, SharedLimitsLost
from brokersync.ratelimit.frost import Frost
from brokersync.ratelimit.keys import queue_key
from brokersync.ratelimit.opening import open_redis
from brokersync.testing.redis_cluster import ScratchCluster

from .board import keys, window
from .test_fleet import Process


@pytest.fixture
def cluster(own_cluster: Callable[..., AbstractContextManager[ScratchCluster]]) -> Iterator[ScratchCluster]:
    """A cluster of our own whose servers may be killed."""
    with own_cluster() as running:
        yield running


@pytest.fixture
async def client(cluster: ScratchCluster) -> AsyncIterator[RedisCluster]:
    async with open_redis(cluster.url) as made:
        assert isinstance(made, RedisCluster)
        yield made


def _port(client: RedisCluster, process: Process) -> int:
    node = client.get_node_from_key(queue_key(process.provider))
    assert node is not None
    return int(node.port)


def _elsewhere(client: RedisCluster, one: Process, *limits: Any) -> Process:
    """A broker whose limits stand on another server than those of this one."""
    while True:
        other = Process(client, *limits)
        other.clock = one.clock
        other.begin = one.begin
        if _port(client, other) != _port(client, one):
            return other


async def test_all_counts_of_a_call_stand_on_one_server_and_those_of_brokers_on_all(client: RedisCluster) -> None:
    ports = set()
    for _ in range(40):
        process = Process(client, window(5, 60), window(9, 600))
        assert await process.goes_at_once(6) == 5
        found = await keys(client, f"*{process.provider}*")
        nodes = [client.get_node_from_key(key.decode()) for key in found]
        assert len({node.port for node in nodes if node is not None}) == 1
        ports.add(_port(client, process))
    assert len(ports) == 3


async def test_without_one_server_its_brokers_take_their_share_and_no_other_notices(
    cluster: ScratchCluster, client: RedisCluster
) -> None:
    one = Process(client, window(10, 60))
    other = _elsewhere(client, one, window(10, 60))
    fleet = one.limiter
    other.limiter = fleet
    assert (await one.goes_at_once(1), await other.goes_at_once(3)) == (1, 3)
    cluster.node(_port(client, one)).kill()
    assert (await one.goes_at_once(9), await other.goes_at_once(20)) == (1, 7)
    assert [type(event) for event in one.events] == [SharedLimitsLost]
    one.advance(61)
    assert (await one.goes_at_once(9), await other.goes_at_once(20)) == (2, 10)
    assert [type(event) for event in one.events] == [SharedLimitsLost]


async def test_a_broker_whose_part_another_server_has_taken_over_goes_by_that_and_it_is_told(
    cluster: ScratchCluster, client: RedisCluster
) -> None:
    process = Process(client, window(10, 60))
    assert await process.goes_at_once(1) == 1
    gone = cluster.node(_port(client, process))
    slot = gone.ask("CLUSTER KEYSLOT", queue_key(process.provider))
    gone.kill()
    assert await process.goes_at_once(9) == 1
    heir, third = [node for node in cluster.nodes if node is not gone]
    for node in (heir, third):
        node.ask("CLUSTER SETSLOT", slot, "NODE", heir.ask("CLUSTER MYID"))
    process.advance(1)
    async with asyncio.timeout(20):  # real time: the servers alone know when they agree
        while not any(isinstance(event, SharedLimitsBack) for event in process.events):
            process.advance(61)
            await process.goes_at_once(1)
            await asyncio.sleep(0.05)
    assert _port(client, process) == heir.port
    process.advance(61)
    assert await process.goes_at_once(20) == 10


async def test_a_freeze_is_heard_from_every_server_of_the_cluster(client: RedisCluster) -> None:
    one = Process(client, window(10, 60))
    brokers = [one, _elsewhere(client, one, window(10, 60))]
    heard = Frost(client, one)
    heard.listen()
    async with asyncio.timeout(10):
        for broker in brokers:
            found = False
            while not found:
                await broker.freeze(300)
                frozen = [key.decode() for key in await keys(client, f"*{broker.provider}*freeze*")]
                await asyncio.sleep(0.01)  # real time: the server sends it when it does
                found = heard.holds(frozen, 0)
                broker.advance(1)
    await heard.aclose()
