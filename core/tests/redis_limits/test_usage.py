"""What people are shown of a fleet's limits."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

from brokersync.clock import SystemClock
from brokersync.errors import BrokerRateLimitError, LimitScope
from brokersync.limits import LimitKind, RateLimit
from brokersync.ratelimit import LimitedCall
from brokersync.ratelimit.redis_limiter import RedisLimiter
from brokersync.ratelimit.usage import usage_of

from .board import SECOND, Board, bucket

HOUR = timedelta(hours=1)
WINDOW = RateLimit(scope=LimitScope.CREDENTIAL, amount=3, period=HOUR)
BUCKET = RateLimit(scope=LimitScope.APP, amount=10, period=HOUR, kind=LimitKind.BUCKET)
NEVER = RateLimit(scope=LimitScope.ACCOUNT, amount=1, period=HOUR, operations=("other",))
SLOTS = RateLimit(scope=LimitScope.CREDENTIAL, amount=9, kind=LimitKind.CONCURRENCY)
LIMITS = (WINDOW, BUCKET, NEVER, SLOTS)


@pytest.fixture
def provider() -> str:
    return f"paper-{secrets.token_hex(4)}"


async def call(limiter: RedisLimiter, provider: str, credential: str) -> None:
    scopes = {LimitScope.CREDENTIAL: credential, LimitScope.APP: "app"}
    wanted = LimitedCall(provider=provider, limits=LIMITS, operation="trades", scopes=scopes, waiter=credential)
    await limiter.acquire(wanted, longest=timedelta(0), on_wait=lambda *_: None)


async def test_what_is_used_is_counted_for_each_limit_and_so_are_those_who_wait(redis: Any, provider: str) -> None:
    limiter = RedisLimiter(redis, SystemClock())
    for credential in ("ann", "ann", "ann", "ben"):
        await call(limiter, provider, credential)
    with pytest.raises(BrokerRateLimitError):
        await call(limiter, provider, "ann")
    found = await usage_of(redis, provider, LIMITS)
    assert [(one.limit, one.holders, one.most) for one in found.used] == [
        (WINDOW, 2, 3),
        (BUCKET, 1, 4),
        (NEVER, 0, 0),
        (SLOTS, 2, 3),
    ]
    assert found.waiting == 1
    assert found.frozen == ()


async def test_what_is_frozen_is_shown_with_its_end_and_its_reason(redis: Any, provider: str) -> None:
    limiter, clock = RedisLimiter(redis, SystemClock()), SystemClock()
    await limiter.freeze(
        provider, LimitScope.EGRESS, "10.0.0.1", clock.now() + HOUR, "Too many requests, says the broker."
    )
    [one] = (await usage_of(redis, provider, LIMITS)).frozen
    assert (one.scope, one.reason) == ("egress", "Too many requests, says the broker.")
    assert HOUR - timedelta(minutes=1) < one.thaws_in <= HOUR


async def test_a_broker_that_nobody_has_called_is_shown_as_unused(redis: Any, provider: str) -> None:
    found = await usage_of(redis, provider, LIMITS)
    assert [(one.holders, one.most) for one in found.used] == [(0, 0)] * 4
    assert (found.waiting, found.frozen) == (0, ())


async def test_what_counts_under_an_amount_that_headers_lowered_is_seen_under_the_configured_one(
    redis: Any, provider: str
) -> None:
    limiter = RedisLimiter(redis, SystemClock())
    lowered = attrs.evolve(WINDOW, amount=2)
    for limit in (WINDOW, lowered):
        wanted = LimitedCall(
            provider=provider, limits=[limit], operation="trades", scopes={LimitScope.CREDENTIAL: "ann"}, waiter="ann"
        )
        await limiter.acquire(wanted, longest=timedelta(0), on_wait=lambda *_: None)
    with pytest.raises(BrokerRateLimitError):
        await limiter.acquire(wanted, longest=timedelta(0), on_wait=lambda *_: None)
    assert [one.most for one in (await usage_of(redis, provider, [WINDOW])).used] == [2]


async def test_a_bucket_is_as_full_as_the_places_make_it_that_have_come(redis: Any) -> None:
    board = Board(redis, bucket(4, 4))
    board.begin = int(datetime.now(UTC).timestamp() * 1_000_000) - 4 * SECOND
    assert [await board.call() for _ in range(8)] == [0, 0, 0, 0, 1, 2, 3, 4]
    [used] = (await usage_of(redis, board.provider, board.limits)).used
    assert used.most >= 3
