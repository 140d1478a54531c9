"""One owner's long history beside many others who want little."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
from redis import Redis

from brokersync.testing.redis_server import ScratchRedis

from .fleet import Fleet, Sync

OTHERS, RATE = 500, 10.0


def waits(calls: int, a_page: int, redis: Redis | None) -> list[float]:
    """How long the others waited beside a history of so many calls, ascending; they come in while it is read."""
    history = Sync(owner="the long one", provider="one", calls=a_page, pages=calls // a_page)
    others = [Sync(owner=f"owner {n}", provider="one", calls=1, after=20 + n / RATE) for n in range(OTHERS)]
    course = Fleet(syncs=[history, *others], rates={"one": RATE}, places=16, redis=redis).run()
    return sorted(at - course.syncs[number].after for number, at in course.over.items() if number)


@pytest.fixture(params=[False, True], ids=["one process", "Redis"])
def redis(
    request: pytest.FixtureRequest, own_redis: Callable[..., AbstractContextManager[ScratchRedis]]
) -> Iterator[Redis | None]:
    if not request.param:
        yield None
        return
    with own_redis() as server, Redis.from_url(server.url) as client:
        yield client


@pytest.fixture
def p95(told: Callable[[str], None], redis: Redis | None) -> Callable[[int, int], float]:
    def of(calls: int, a_page: int) -> float:
        if redis is not None:
            redis.flushall()
        found = waits(calls, a_page, redis)[int(0.95 * OTHERS)]
        told(
            f"{OTHERS} owners beside a history of {calls} calls, {a_page} a page, {RATE:.0f} a second,"
            f" {'one process' if redis is None else 'Redis'}: p95 of their waits {found:.1f} s"
        )
        return found

    return of


@pytest.mark.parametrize("a_page", [1, 10])
def test_many_owners_wait_no_longer_beside_a_history_of_ten_years_than_beside_a_short_one(
    p95: Callable[[int, int], float], a_page: int
) -> None:
    short, long = p95(500, a_page), p95(5000, a_page)
    assert long <= short + 1
    assert long < 8
