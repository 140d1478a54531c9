"""Stores of one user, each with a login: a rotation of the key of one leaves every other one openable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from brokersync import BrokerSync, Settings
from brokersync.records import Done
from brokersync.sealing import KEY_VARIABLE

from .broker import KEY, Broker, VirtualClock, registry_of


@pytest.mark.parametrize("data_keys", [False, True], ids=["master key", "data keys too"])
async def test_every_store_of_a_user_opens_after_the_rotations_of_others_and_its_own(
    stores: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data_keys: bool
) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))

    def opened(place: str) -> BrokerSync:
        return BrokerSync.open(place, settings=Settings(), registry=registry_of(Broker()), clock=VirtualClock())

    places = [stores.new().place for _ in range(3)]
    for place in places:
        async with opened(place) as bs:
            await bs.connect(KEY, owner="alice", fields={"user": "ann"})
    for rotated in (*places[:2], places[0]):
        async with opened(rotated) as bs:
            done = await bs.rotate_key(data_keys=data_keys)
            assert done.rewrapped + done.replaced == 1
        for place in places:
            async with opened(place) as bs:
                (connection,) = await bs.connections()
                assert isinstance(await bs.run(connection.connection_id), Done)
