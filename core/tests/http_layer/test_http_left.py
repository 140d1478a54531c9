"""What the headers of an answer say is left, and what that does to the next calls."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from brokersync.errors import BrokerRateLimitError, LimitScope
from brokersync.http_left import left_in
from brokersync.limits import RateLimit
from brokersync.ratelimit.applying import Counted
from brokersync.ratelimit.left import Left

NOW = datetime(2030, 5, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
NAMES = ["ratelimit", "ratelimit-policy", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"]


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        (
            {"x-ratelimit-limit": "100", "x-ratelimit-remaining": "7", "x-ratelimit-reset": "30"},
            [Left(7, 30 * SECOND, 100)],
        ),
        ({"x-ratelimit-remaining": "0"}, [Left(0)]),
        (
            {"x-rate-limit-remaining": "3", "x-rate-limit-reset": f"{NOW.timestamp() + 40:.0f}"},
            [Left(3, 40 * SECOND)],
        ),
        (
            {"x-ratelimit-remaining": "3", "x-ratelimit-reset": f"{NOW.timestamp() * 1000 + 500:.0f}"},
            [Left(3, SECOND / 2)],
        ),
        ({"x-ratelimit-remaining": "3", "x-ratelimit-reset": f"{NOW.timestamp() - 40:.0f}"}, [Left(3, 0 * SECOND)]),
        (
            {"ratelimit-limit": "100, 100;w=60", "ratelimit-remaining": "5", "ratelimit-reset": "9"},
            [Left(5, 9 * SECOND, 100)],
        ),
        ({"ratelimit": "limit=100, remaining=50, reset=5"}, [Left(50, 5 * SECOND, 100)]),
        (
            {
                "ratelimit": '"burst";r=2;t=1, "daily";r=900;t=40000',
                "ratelimit-policy": '"burst";q=10;w=1,"daily";q=1000;w=86400',
            },
            [Left(2, SECOND, 10, SECOND), Left(900, 40_000 * SECOND, 1000, 86_400 * SECOND)],
        ),
        ({"ratelimit": "default;r=50;t=30"}, [Left(50, 30 * SECOND)]),
        ({"ratelimit": '"a";r=1;t=999999999'}, [Left(1, timedelta(days=366))]),
        ({"x-ratelimit-remaining": "1", "x-ratelimit-reset": "9999999999999"}, [Left(1, timedelta(days=366))]),
        ({"x-ratelimit-remaining": "1", "x-ratelimit-reset": "999999999999"}, [Left(1, timedelta(days=366))]),
        ({"x-ratelimit-remaining": "many", "x-ratelimit-reset": "soon"}, []),
        ({"ratelimit": '"a";r=-1', "content-type": "text/plain"}, []),
        ({}, []),
    ],
)
def test_what_is_left_is_read_from_the_headers(headers: dict[str, str], said: list[Left]) -> None:
    assert left_in(headers, NOW) == said


@given(st.dictionaries(st.sampled_from(NAMES), st.text('0123456789=;,rtqw" .x-', max_size=30)))
def test_whatever_stands_in_the_headers_breaks_nothing(headers: dict[str, str]) -> None:
    for one in left_in(headers, NOW):
        assert one.calls >= 0


def counted(amount: int, seconds: float) -> Counted:
    return Counted(RateLimit(scope=LimitScope.APP, amount=amount, period=seconds * SECOND), "", 1, 0)


BURST, MINUTE, HOUR = counted(10, 1), counted(100, 60), counted(100, 3600)


@pytest.mark.parametrize(
    ("left", "limits", "meant"),
    [
        (Left(5), [MINUTE], MINUTE),
        (Left(5, period=3600 * SECOND, quota=10), [BURST, MINUTE, HOUR], HOUR),
        (Left(5, quota=10), [BURST, MINUTE, HOUR], BURST),
        (Left(5, quota=100, resets_in=40 * SECOND), [BURST, MINUTE, HOUR], MINUTE),
        (Left(5, resets_in=90 * SECOND), [BURST, MINUTE, HOUR], HOUR),
        (Left(5, resets_in=9000 * SECOND), [BURST, MINUTE, HOUR], None),
        (Left(5), [BURST, MINUTE], None),
        (Left(5), [], None),
    ],
)
def test_it_is_said_of_the_limit_that_fits_and_of_none_where_that_can_not_be_told(
    left: Left, limits: list[Counted], meant: Counted | None
) -> None:
    assert left.meant(limits) == meant


async def test_an_answer_that_says_nothing_is_left_holds_up_the_next_call_until_more_is(make_http, broker, clock):
    broker.then(web.Response(headers={"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "3"}))
    http = make_http([RateLimit(scope=LimitScope.APP, amount=10, period=60 * SECOND)])
    for _ in range(2):
        await http.request("list", "GET", f"{broker.url}/")
    assert clock.slept == [3]


async def test_a_refusal_that_says_what_is_left_is_heard_too(make_http, broker, clock):
    broker.then(web.Response(status=404, headers={"RateLimit": "limit=10, remaining=0, reset=50"}))
    http = make_http([RateLimit(scope=LimitScope.APP, amount=10, period=60 * SECOND)])
    with pytest.raises(Exception, match="404"):
        await http.request("list", "GET", f"{broker.url}/")
    with pytest.raises(BrokerRateLimitError) as refused:
        await http.request("list", "GET", f"{broker.url}/")
    assert refused.value.retry_after == 50 * SECOND


async def test_a_429_that_says_when_more_is_left_freezes_until_then_and_retry_after_has_the_last_word(
    make_http, broker, clock, events
):
    left = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "4"}
    broker.then(web.Response(status=429, headers=left), web.Response(status=429, headers=left | {"Retry-After": "2"}))
    await make_http().request("list", "GET", f"{broker.url}/")
    assert clock.slept == [4, 2]
