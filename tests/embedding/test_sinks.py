"""Sinks of an embedding backend that raise: what they raise is logged and ends nothing."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from brokersync import BrokerSync
from brokersync.events import Event, HistoryLost, SyncRecorded
from brokersync.records import Done

from .broker import KEY, KEYS, Broker, VirtualClock, registry_of


class Deaf:
    """Raises at each event."""

    def __init__(self) -> None:
        self.heard: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.heard.append(event)
        raise RuntimeError("the backend's own mistake")


async def test_a_sync_goes_on_whatever_its_listeners_raise(tmp_path: Path) -> None:
    all_syncs, this_sync = Deaf(), Deaf()
    async with BrokerSync.open(
        tmp_path / "store.db", keys=KEYS, registry=registry_of(Broker()), clock=VirtualClock(), events=all_syncs
    ) as bs:
        connection = await bs.connect(KEY, owner="alice", fields={"user": "ann"})
        assert isinstance(await bs.run(connection.connection_id, events=this_sync), Done)
        assert len([trade async for trade in bs.trades("alice")]) == 2
    for sink in (all_syncs, this_sync):
        assert [type(event) for event in sink.heard].count(SyncRecorded) == 1


async def test_what_a_listener_raises_is_logged_once_for_each_kind_of_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    deaf = Deaf()
    async with BrokerSync.open(
        tmp_path / "store.db", keys=KEYS, registry=registry_of(Broker()), clock=VirtualClock(), events=deaf
    ) as bs:
        connection = await bs.connect(KEY, owner="alice", fields={"user": "ann"})
        await bs.run(connection.connection_id)
    assert len(deaf.heard) > 1
    [record] = [one for one in caplog.records if one.name == "brokersync"]
    assert record.levelno == logging.ERROR
    assert f"raised at {type(deaf.heard[0]).__name__}" in record.getMessage()
    assert "the backend's own mistake" in (record.exc_text or "")


async def test_a_listener_that_raises_at_a_loss_keeps_nobody_from_being_read(tmp_path: Path) -> None:
    broker, clock, deaf = Broker(), VirtualClock(), Deaf()
    async with BrokerSync.open(
        tmp_path / "store.db", keys=KEYS, registry=registry_of(broker, "session"), clock=clock, events=deaf
    ) as bs:
        first = await bs.connect(KEY, owner="alice", fields={"user": "ann"})
        second = await bs.connect(KEY, owner="bob", fields={"user": "bob"})
        await bs.run_due()
        await bs.pause(first.connection_id)
        broker.asked.clear()
        clock.advance(days=3)
        ends = await bs.run_due()
        assert isinstance(ends[second.connection_id], Done)
        assert broker.asked
    assert HistoryLost in {type(event) for event in deaf.heard}
