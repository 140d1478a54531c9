"""Amounts that a broker names below the configured ones, on a virtual clock."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from brokersync.ratelimit import Left
from brokersync.ratelimit.quotas import QuotaLimiter

from .toy import Caller, wanted, window

PERIOD = timedelta(seconds=10)


class Halved(Caller):
    """Calls through a limiter that hears the broker's amounts."""

    def __init__(self, *limits: object) -> None:
        super().__init__(*limits)  # type: ignore[arg-type]  # as its own
        self.heard = QuotaLimiter(self.limiter, self.clock)

    async def ask(self, calls: int, **how: object) -> list[float]:
        """When so many calls went that were wanted at once, in seconds from now."""
        began, went = self.clock.time, list[float]()

        async def one() -> None:
            await self.heard.acquire(wanted(self.limits, **how), longest=timedelta(days=1), on_wait=lambda *_: None)
            went.append(self.clock.time - began)

        await asyncio.gather(*(one() for _ in range(calls)))
        return went

    async def hear(self, left: int, quota: int | None, period: timedelta | None = PERIOD) -> None:
        await self.heard.correct(wanted(self.limits), Left(left, PERIOD, quota, period))


async def test_a_lower_amount_holds_beyond_the_period_in_which_it_was_said() -> None:
    toy = Halved(window(4, 10))
    await toy.hear(2, 2)
    assert await toy.ask(6) == [0, 0, 10, 10, 20, 20]


async def test_what_the_broker_has_counted_already_counts_under_the_new_amount() -> None:
    toy = Halved(window(4, 10))
    await toy.hear(0, 2)
    assert await toy.ask(3) == [10, 10, 20]


async def test_the_configured_amount_is_tried_again_once_the_lower_one_was_not_said_for_long() -> None:
    toy = Halved(window(4, 10))
    await toy.hear(2, 2)
    await toy.clock.sleep(101)
    assert await toy.ask(4) == [0, 0, 0, 0]


async def test_the_broker_may_raise_its_amount_again_up_to_what_is_configured() -> None:
    toy = Halved(window(4, 10))
    await toy.hear(2, 2)
    await toy.hear(3, 3)
    assert await toy.ask(3) == [0, 0, 0]
    await toy.clock.sleep(10)
    await toy.hear(9, 9)
    assert await toy.ask(5) == [0, 0, 0, 0, 10]


@pytest.mark.parametrize(
    ("quota", "period"),
    [(None, PERIOD), (2, None), (2, timedelta(seconds=60))],
    ids=["none", "no period", "other"],
)
async def test_what_does_not_name_an_amount_for_the_period_lowers_none(
    quota: int | None, period: timedelta | None
) -> None:
    toy = Halved(window(4, 10))
    await toy.hear(4, quota, period)
    assert await toy.ask(4) == [0, 0, 0, 0]


async def test_no_amount_is_so_low_that_a_call_could_never_go() -> None:
    toy = Halved(window(8, 10, reserve=2, weights={"list": 3}))
    await toy.hear(0, 1)
    assert await toy.ask(2) == [10, 20]
