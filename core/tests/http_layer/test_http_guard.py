"""The same manners for calls that are no HTTP."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from brokersync.config import HttpSettings
from brokersync.errors import (
    BrokerAPIError,
    BrokerTimeoutError,
    BrokerTokenExpiredError,
    BrokerUnavailableError,
    LimitScope,
)
from brokersync.events import LimitWaited, RequestSent, RetryScheduled
from brokersync.limits import RateLimit


def failing(*errors: BaseException):
    """A call that raises these in turn, then answers."""
    left = list(errors)

    async def call(_: object) -> str:
        if left:
            raise left.pop(0)
        return "answer"

    return call


async def test_a_call_is_limited_repeated_and_told(make_http, clock, events):
    http = make_http([RateLimit(scope=LimitScope.APP, amount=1, period=timedelta(seconds=3))])
    assert await http.guard("fills", failing(BrokerUnavailableError("Down."))) == "answer"
    assert clock.slept == [1, 2]
    assert [(type(event), event.operation) for event in events if not isinstance(event, RetryScheduled)] == [
        (RequestSent, "fills"),
        (LimitWaited, "fills"),
        (RequestSent, "fills"),
    ]


async def test_a_call_that_answers_nothing_is_an_answer(http):
    async def call(_: object) -> None:
        return None

    assert await http.guard("subscribe", call) is None


@pytest.mark.parametrize("error", [ConnectionResetError(), OSError("x"), asyncio.IncompleteReadError(b"", 4)])
async def test_the_network_s_exceptions_are_ours(http, error):
    with pytest.raises(BrokerUnavailableError) as down:
        await http.guard("fills", failing(*[error] * 9))
    assert (down.value.provider, down.value.operation) == ("toy", "fills")
    assert down.value.__context__ is None


async def test_a_call_that_takes_too_long_is_ended(make_http):
    async def call(_: object) -> None:
        await asyncio.Event().wait()

    http = make_http(settings=HttpSettings(total=timedelta(seconds=0.05)))
    with pytest.raises(BrokerTimeoutError):
        await http.guard("fills", call)


async def test_a_call_that_the_broker_refuses_is_not_repeated(http, clock):
    with pytest.raises(BrokerAPIError) as refused:
        await http.guard("fills", failing(BrokerAPIError("No.")))
    assert refused.value.report_to == "https://toy.example/help"
    assert clock.slept == []


async def test_a_dead_token_is_the_caller_s(http):
    with pytest.raises(BrokerTokenExpiredError):
        await http.guard("fills", failing(BrokerTokenExpiredError("Expired.")))


async def test_a_bug_stays_a_bug(http):
    with pytest.raises(ZeroDivisionError):
        await http.guard("fills", failing(ZeroDivisionError()))


async def test_a_cancelled_call_is_cancelled(http):
    started = asyncio.Event()

    async def call(_: object) -> None:
        started.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(http.guard("fills", call))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_each_connection_is_a_credential_of_its_own(make_http, clock):
    limit = [RateLimit(scope=LimitScope.CREDENTIAL, amount=1, period=timedelta(seconds=3))]
    await make_http(limit, connection_id="c1").guard("fills", failing())
    await make_http(limit, connection_id="c2").guard("fills", failing())
    assert clock.slept == []
    await make_http(limit, connection_id="c1").guard("fills", failing())
    assert clock.slept == [3]
