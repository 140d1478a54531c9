"""What nobody could read in time is told, also of a connection that is not read at all."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from brokersync import BrokerAuthError
from brokersync.events import HistoryLost
from brokersync.records import ConnectionState, SpanState

from .broker import NOW, Desk, open_desk

DAY = timedelta(days=1)
MIDNIGHT = NOW.replace(hour=0) + DAY


def refused(user: str) -> BrokerAuthError:
    return BrokerAuthError("The password was changed.", remedy="Give the new one.")


def told(desk: Desk) -> list[tuple[datetime, datetime]]:
    return [(event.window.start, event.window.end) for event in desk.heard(HistoryLost)]


async def hours(desk: Desk, number: int) -> None:
    for _ in range(number):
        desk.clock.advance(hours=1)
        await desk.bs.run_due()


async def lost(desk: Desk) -> list[tuple[datetime, datetime]]:
    (spans,) = (await desk.bs.coverage("alice", "toy", "fills")).values()
    return [(one.window.start, one.window.end) for one in spans if one.state is SpanState.LOST]


@pytest.mark.parametrize("read_before", [True, False])
async def test_sessions_that_end_while_the_user_does_not_log_in_are_lost_and_each_is_told_once(
    tmp_path: Path, read_before: bool
) -> None:
    desk = open_desk(tmp_path, retention="session")
    async with desk.bs:
        (name,) = await desk.connect("ann")
        if read_before:
            await desk.bs.run_due()
        desk.broker.failing = refused
        await hours(desk, 63)
        assert (await desk.bs.connection(name)).state is ConnectionState.NEEDS_USER
        first = NOW if read_before else NOW.replace(hour=0)
        assert told(desk) == [(first, MIDNIGHT), (MIDNIGHT, MIDNIGHT + DAY), (MIDNIGHT + DAY, MIDNIGHT + 2 * DAY)]
        assert await lost(desk) == [(first, MIDNIGHT + 2 * DAY)]
        asked = len(desk.broker.asked)
        desk.broker.failing = lambda user: None
        await desk.bs.run(name)
        assert (len(desk.broker.asked), len(told(desk))) == (asked + 1, 3)


async def test_what_a_paused_connection_loses_is_told_too(tmp_path: Path) -> None:
    desk = open_desk(tmp_path, retention="session")
    async with desk.bs:
        (name,) = await desk.connect("ann")
        await desk.bs.run_due()
        await desk.bs.pause(name)
        await hours(desk, 24)
        assert told(desk) == [(NOW, MIDNIGHT)]
        assert len(desk.broker.asked) == 1


async def test_a_connection_that_is_read_in_time_loses_nothing(tmp_path: Path) -> None:
    desk = open_desk(tmp_path, retention="limited")
    async with desk.bs:
        await desk.connect("ann")
        await hours(desk, 24 * 12)
        assert told(desk) == []
