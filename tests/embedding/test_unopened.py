"""What is kept of one login does not open: the others go on, and it is said once what to do."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from brokersync import BrokerConfigError, ConnectionState, Done
from brokersync.events import ConnectionNeedsOperator, ConnectionNeedsUser, ConnectionRecovered
from brokersync.plugin import AuthResult, Secret

from .broker import NOW, Broker, Desk, open_desk

_DAMAGES = {
    "tokens": ("grants", "auth", lambda kept: kept[:-1] + bytes([kept[-1] ^ 1])),
    "tokens that are cut": ("grants", "auth", lambda kept: kept[:20]),
    "tokens that are gone": ("grants", "auth", lambda kept: b""),
    "fields": ("grants", "credentials", lambda kept: kept[:-1] + bytes([kept[-1] ^ 1])),
    "a key": ("owner_keys", "wrapped", lambda kept: kept[:-1] + bytes([kept[-1] ^ 1])),
    "a key that is gone": ("owner_keys", "wrapped", lambda kept: b""),
}


def _ending(user: str) -> AuthResult:
    token = Secret(f"token of {user}")
    return AuthResult(identity=user, access_token=token, grant_expires_at=NOW + timedelta(days=2))


async def _desk_with_one_bad_login(tmp_path: Path, damage: str) -> tuple[Desk, str, list[str]]:
    desk = open_desk(tmp_path, Broker(login=_ending))
    async with desk.bs:
        good = [(await desk.connect("a", owner="ann"))[0], (await desk.connect("c", owner="cid"))[0]]
        [bad] = await desk.connect("b", owner="bad")
    with closing(sqlite3.connect(tmp_path / "store.db")) as db, db:
        table, column, damaged = _DAMAGES[damage]
        [(kept,)] = db.execute(f"SELECT {column} FROM {table} WHERE owner = 'bad'")
        db.execute(f"UPDATE {table} SET {column} = ? WHERE owner = 'bad'", (damaged(kept),))
    return open_desk(tmp_path, desk.broker, desk.clock), bad, good


@pytest.mark.parametrize("damage", _DAMAGES)
async def test_a_login_that_does_not_open_keeps_no_other_from_being_synced_and_is_told_once(
    tmp_path: Path, damage: str
) -> None:
    desk, bad, good = await _desk_with_one_bad_login(tmp_path, damage)
    async with desk.bs:
        ends = await desk.bs.run_due(concurrency=1)
        assert {name: isinstance(end, Done) for name, end in ends.items()} == {bad: False, **dict.fromkeys(good, True)}
        assert isinstance(ends[bad], BrokerConfigError)
        for _ in range(8):
            desk.clock.advance(hours=1)
            await desk.bs.run_due()
        known = await desk.bs.connection(bad)
        assert known.state is ConnectionState.NEEDS_OPERATOR
        assert known.remedy
        assert "backup" in known.remedy
        assert len(desk.heard(ConnectionNeedsOperator)) == 1
        assert desk.heard(ConnectionNeedsUser) == []
        assert desk.broker.renewals == 2, "those of the others, which end soon"


@pytest.mark.parametrize("damage", ["tokens", "fields"])
async def test_connecting_again_replaces_a_login_that_does_not_open(tmp_path: Path, damage: str) -> None:
    desk, bad, _ = await _desk_with_one_bad_login(tmp_path, damage)
    async with desk.bs:
        await desk.bs.run_due()
        assert await desk.connect("b", owner="bad") == [bad]
        assert isinstance(await desk.bs.run(bad), Done)
        assert (await desk.bs.connection(bad)).state is ConnectionState.ACTIVE
        assert len(desk.heard(ConnectionRecovered)) == 1


async def test_a_key_that_does_not_open_is_not_said_to_be_mended_by_connecting_again(tmp_path: Path) -> None:
    desk, _, _ = await _desk_with_one_bad_login(tmp_path, "a key")
    async with desk.bs:
        with pytest.raises(BrokerConfigError) as caught:
            await desk.connect("b", owner="bad")
        assert "forget the owner" in (caught.value.remedy or "")
        await desk.bs.forget("bad")
        [again] = await desk.connect("b", owner="bad")
        assert isinstance(await desk.bs.run(again), Done)
