"""A user takes accounts out of a query and puts them back while its history is read: no trade is missing in the end."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest

from brokersync import Deferred, Done
from brokersync_ibkr import sandbox_service

from .test_flex_accounts import connected, counts, set_up

_DAYS, _YOUNGER_BY = 1100, timedelta(days=700)
_MINUTES_A_WINDOW = 1.0
_CALM_DAYS = 12


@pytest.fixture
def ages(monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    """Without its older account a query has nothing before the younger ones were opened."""
    older = {"selected": True}
    real: Callable[..., Any] = sandbox_service._statement_order

    def order(kind: str, query: Any, *, opened: date, now: Any) -> Any:
        return real(kind, query, opened=opened if older["selected"] else opened + _YOUNGER_BY, now=now)

    monkeypatch.setattr(sandbox_service, "_statement_order", order)
    return older


class User:
    """Selects accounts, at random until it is told to leave them all selected."""

    def __init__(self, stage: Any, seed: int, ages: dict[str, bool], **settings: object) -> None:
        self._stage, self._random, self._ages, self._settings = stage, random.Random(seed), ages, settings
        self._older, self._other = sorted(stage.sandbox.logins[0].trades)

    async def select(self, *, everything: bool = False) -> None:
        choices: list[list[str]] = [[], [], [self._older], [self._other]]
        left_out = [] if everything else self._random.choice(choices)
        self._ages["selected"] = self._older not in left_out
        await set_up(self._stage.sandbox, left_out=left_out, **self._settings)


async def read(stage: Any, connection: str, clock: Any, user: User | None) -> int:
    """One sync to its end, in which the user selects anew whenever it waits; the number of its parts."""
    for part in range(300):
        if user is not None:
            await user.select()
        outcome = await stage.bs.run(connection)
        if isinstance(outcome, Done):
            return part
        assert isinstance(outcome, Deferred)
        clock.time = max(clock.time, outcome.until)
    raise AssertionError("the sync does not come to an end")


@pytest.mark.parametrize("master", ["", "separate", "consolidated"])
@pytest.mark.parametrize("seed", [1, 2])
async def test_whoever_is_selected_meanwhile_every_trade_is_there_once_all_are_selected_again(
    staged: Any, clock: Any, ages: dict[str, bool], master: str, seed: int
) -> None:
    async with staged("ibkr", days=_DAYS, trades_per_day=0.05, think=timedelta(seconds=1)) as stage:
        user = User(stage, seed, ages, master=master, seconds_a_day=_MINUTES_A_WINDOW, without=["dateOpened"])
        await user.select(everything=True)
        connection = await connected(stage)
        await read(stage, connection, clock, user)
        clock.time += timedelta(days=1)
        await user.select(everything=True)
        for _ in range(_CALM_DAYS):
            await read(stage, connection, clock, None)
            clock.time += timedelta(days=1)
        assert await counts(stage) == dict(stage.sandbox.logins[0].trades)
