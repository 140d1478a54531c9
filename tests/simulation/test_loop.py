"""The loop keeps time, order and crashes as it promises; everything else rests on it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections.abc import AsyncGenerator, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from .loop import DeadlockError, EndlessError, Process, ProcessClock, VirtualLoop

START = datetime(2026, 3, 5, tzinfo=UTC)


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    loop = VirtualLoop(random.Random(7), START)
    yield loop
    loop.bury()


def test_time_jumps_to_the_next_timer(loop: VirtualLoop) -> None:
    loop.run_until_complete(asyncio.sleep(3600))
    assert loop.now() == START + timedelta(hours=1)


def test_a_leap_moves_the_world_and_not_the_timers(loop: VirtualLoop) -> None:
    loop.leap(timedelta(hours=5))
    loop.run_until_complete(asyncio.sleep(60))
    assert loop.time() == 60
    assert loop.now() == START + timedelta(hours=5, minutes=1)


def test_a_clock_is_as_wrong_as_its_process(loop: VirtualLoop) -> None:
    process = Process("p")
    process.skew = timedelta(seconds=-2)
    assert ProcessClock(loop, process).now() == START - timedelta(seconds=2)


def test_ready_tasks_run_in_an_order_that_only_the_seed_decides() -> None:
    def order(seed: int) -> list[int]:
        loop = VirtualLoop(random.Random(seed), START)
        ran: list[int] = []

        async def note(number: int) -> None:
            ran.append(number)

        async def all_of_them() -> None:
            await asyncio.gather(*(note(number) for number in range(9)))

        loop.run_until_complete(all_of_them())
        loop.bury()
        return ran

    assert order(1) == order(1)
    assert len({tuple(order(seed)) for seed in range(20)}) > 10


def test_waiting_for_what_never_comes_is_told(loop: VirtualLoop) -> None:
    async def wait() -> None:
        await asyncio.Event().wait()

    with pytest.raises(DeadlockError, match="wait"):
        loop.run_until_complete(wait())


def test_going_round_for_ever_is_told(loop: VirtualLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    async def spin() -> None:
        while True:  # noqa: ASYNC110  it is to spin
            await asyncio.sleep(0)

    monkeypatch.setattr(VirtualLoop, "longest", 1000)
    with pytest.raises(EndlessError):
        loop.run_until_complete(spin())


def test_a_crash_cleans_nothing_up(loop: VirtualLoop) -> None:
    cleaned: list[str] = []
    process = Process("p")

    async def pages() -> AsyncGenerator[int, None]:
        try:
            yield 1
            await asyncio.sleep(100)
        finally:
            cleaned.append("generator")

    async def work() -> None:
        try:
            async with contextlib.aclosing(pages()) as numbers:
                async for _ in numbers:
                    pass
        finally:
            cleaned.append("task")

    loop.spawn(process, work())
    loop.call_later(50, process.crash)
    loop.run_until_complete(asyncio.sleep(200))
    assert cleaned == []
    assert loop.left_over() == []


def test_a_fuse_crashes_between_two_steps(loop: VirtualLoop) -> None:
    crashed: list[str] = []
    process = Process("p", lambda: crashed.append("now"))
    steps: list[int] = []

    async def work() -> None:
        for number in range(10):
            steps.append(number)
            await asyncio.sleep(1)

    process.light_fuse(3)
    loop.spawn(process, work())
    loop.run_until_complete(asyncio.sleep(20))
    assert crashed == ["now"]
    assert 0 < len(steps) < 10


def test_a_process_that_stands_still_goes_on_where_it_was(loop: VirtualLoop) -> None:
    process, moments = Process("p"), list[float]()

    async def work() -> None:
        for _ in range(3):
            moments.append(loop.time())
            await asyncio.sleep(10)

    loop.spawn(process, work())
    loop.call_later(15, loop.stop_process, process, 100)
    loop.run_until_complete(asyncio.sleep(300))
    assert moments == [0, 10, 115]
    assert process.stopped_since(START)


def test_work_for_an_executor_is_a_step_of_the_loop(loop: VirtualLoop) -> None:
    async def work() -> int:
        return await loop.run_in_executor(None, sum, (1, 2))

    assert loop.run_until_complete(work()) == 3


def test_a_task_that_is_left_is_named(loop: VirtualLoop) -> None:
    async def forgotten() -> None:
        await asyncio.sleep(1000)

    loop.spawn(Process("p"), forgotten())
    loop.run_until_complete(asyncio.sleep(1))
    (left,) = loop.left_over()
    assert "forgotten" in left


def test_a_brake_stops_a_process_at_a_step_and_loses_none(loop: VirtualLoop) -> None:
    process, moments = Process("p"), list[float]()

    async def work() -> None:
        for _ in range(6):
            moments.append(loop.time())
            await asyncio.sleep(1)

    process.light_brake(4, 50)
    loop.spawn(process, work())
    loop.run_until_complete(asyncio.sleep(100))
    assert len(moments) == 6
    assert max(later - earlier for earlier, later in itertools.pairwise(moments)) >= 49
