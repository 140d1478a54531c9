from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from brokersync.errors import ClosedError
from brokersync.underway import Underway

MINUTE = timedelta(minutes=1)


async def nothing() -> None: ...


async def test_what_has_one_name_is_done_one_after_another() -> None:
    underway, done, running = Underway(), list[int](), 0

    async def work(number: int) -> int:
        nonlocal running
        running += 1
        assert running == 1
        await asyncio.sleep(0)
        done.append(number)
        running -= 1
        return number

    found = await asyncio.gather(*(underway.see_through("one", lambda n=n: work(n)) for n in range(5)))
    assert sorted(done) == sorted(found) == list(range(5))


async def test_an_error_is_the_callers_and_ends_nothing_else() -> None:
    underway = Underway()

    async def fails() -> None:
        raise ValueError

    async def works() -> int:
        return 7

    found = await asyncio.gather(
        underway.see_through("one", fails), underway.see_through("one", works), return_exceptions=True
    )
    assert isinstance(found[0], ValueError)
    assert found[1] == 7


async def test_when_closing_has_begun_nothing_more_is_begun_until_it_is_opened_again() -> None:
    underway = Underway()
    await underway.close(nothing)
    with pytest.raises(ClosedError, match="closed") as caught:
        await underway.see_through("one", nothing)
    assert caught.value.remedy
    await underway.open()
    await underway.see_through("one", nothing)


async def test_what_takes_too_long_is_cancelled_at_the_end_and_who_waits_is_told() -> None:
    underway = Underway()
    waiting = asyncio.create_task(underway.see_through("one", lambda: asyncio.sleep(3600)))
    await asyncio.sleep(0)
    await asyncio.wait_for(underway.close(lambda: underway.end(timedelta(seconds=0.01))), 10)
    with pytest.raises(ClosedError):
        await waiting


async def test_to_close_twice_at_once_closes_once_after_the_other() -> None:
    underway, order = Underway(), list[str]()

    async def closes() -> None:
        order.append("begins")
        await asyncio.sleep(0)
        order.append("ends")

    await asyncio.gather(underway.close(closes), underway.close(closes))
    assert order == ["begins", "ends"] * 2


def test_a_loop_that_ends_waits_for_what_is_under_way() -> None:
    done = []

    async def work() -> None:
        await asyncio.sleep(0.01)
        done.append(1)

    async def main() -> None:
        waiting = asyncio.create_task(Underway().see_through("one", work))
        await asyncio.sleep(0)
        assert not waiting.done()

    asyncio.run(main())
    assert done == [1]


async def test_closing_ends_a_call_and_its_caller_is_told() -> None:
    underway, ended = Underway(), list[str]()

    async def call() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0)
            ended.append("cleaned up")

    waiting = asyncio.create_task(underway.until_closed(call()))
    await asyncio.sleep(0.01)
    await asyncio.wait_for(underway.close(lambda: underway.end(MINUTE)), 10)
    assert ended == ["cleaned up"]
    with pytest.raises(ClosedError):
        await waiting
    with pytest.raises(ClosedError):
        await underway.until_closed(call())


async def test_a_call_that_is_cancelled_by_its_caller_is_cancelled_and_not_closed() -> None:
    underway = Underway()
    waiting = asyncio.create_task(underway.until_closed(asyncio.sleep(3600)))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_what_a_call_raises_is_its_callers() -> None:
    async def call() -> None:
        raise ValueError

    with pytest.raises(ValueError):
        await Underway().until_closed(call())
