"""Processes wake late, and answers take their time: the broker counts by when a call really comes."""

from __future__ import annotations

import random
from bisect import bisect_left
from typing import Any

from brokersync.ratelimit.lateness import Lateness

from .board import SECOND, Board, window


class Tardy(Board):
    """Whoever sleeps wakes up to 30 ms late; calls go one after the other, as their places come."""

    def __init__(self, redis: Any, *limits: Any) -> None:
        super().__init__(redis, *limits)
        self.chance = random.Random(7)

    async def sleep(self, seconds: float) -> None:
        self.advance(seconds + self.chance.random() * 0.03)


async def test_no_window_is_too_full_though_all_wake_late_and_little_of_it_is_wasted(redis: Any) -> None:
    board, amount, calls = Tardy(redis, window(10, 1)), 10, 400
    went = []
    for _ in range(calls):
        await board.call()
        went.append(board.micros / SECOND)
    known = went[3 * amount :]  # how late this process is has been seen by then
    assert max(number + 1 - bisect_left(known, at - 1 + 1e-9) for number, at in enumerate(known)) <= amount
    assert len(known) / (known[-1] - known[0]) >= 0.93 * amount


async def test_a_process_that_is_late_for_seconds_wastes_no_more_than_a_little(redis: Any) -> None:
    board = Board(redis, window(1, 10))
    board.limiter._lateness.woke_after(60)
    assert [await board.call() for _ in range(2)] == [0, 10.7]
    board.advance(3600)
    board.limiter._lateness = Lateness()
    assert [await board.call() for _ in range(2)] == [3600, 3610]
