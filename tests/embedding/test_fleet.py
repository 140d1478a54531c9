"""Several backends share one broker's limit through a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path

import pytest

from brokersync.config import FleetSettings
from brokersync.events import SharedLimitsLost
from brokersync.records import Deferred, Done
from brokersync.testing.redis_server import ScratchRedis

from .broker import MANIFEST, open_desk

_ONE_AN_HOUR = '\n[[limits]]\nscope = "app"\namount = 1\nperiod = "1h"\n'
_LIMITED = MANIFEST.replace("[[sources]]", f"{_ONE_AN_HOUR}\n[[sources]]")


@pytest.fixture
def server(own_redis: Callable[..., AbstractContextManager[ScratchRedis]]) -> Iterator[ScratchRedis]:
    with own_redis() as running:
        yield running


async def test_two_backends_keep_one_limit_together_and_leave_nothing_behind(
    tmp_path: Path, server: ScratchRedis
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    tasks = asyncio.all_tasks()
    one = open_desk(tmp_path / "a", manifest=_LIMITED, fleet=FleetSettings(redis=server.url))
    other = open_desk(tmp_path / "b", manifest=_LIMITED, fleet=FleetSettings(redis=server.url))
    async with one.bs, other.bs:
        [first] = await one.connect("ann")
        [second] = await other.connect("bob")
        assert isinstance(await one.bs.run(first), Done)
        later = await other.bs.run(second)
        assert isinstance(later, Deferred)
        assert timedelta(minutes=59) < later.until - other.clock.now() <= timedelta(hours=1)
    assert asyncio.all_tasks() == tasks


async def test_a_backend_whose_redis_is_away_goes_on_and_tells_so(tmp_path: Path, server: ScratchRedis) -> None:
    server.kill()
    desk = open_desk(tmp_path, manifest=_LIMITED, fleet=FleetSettings(redis=server.url))
    async with desk.bs:
        [connection] = await desk.connect("ann")
        assert isinstance(await desk.bs.run(connection), Done)
    assert len(desk.heard(SharedLimitsLost)) == 1


def test_a_url_that_is_not_understood_is_refused_and_not_shown() -> None:
    with pytest.raises(ValueError, match="redis is not the URL of a Redis") as refused:
        FleetSettings(redis="http://me:hidden@host")
    assert "hidden" not in str(refused.value)
