"""Fifty tasks in four processes, one login, refresh tokens of one use: through 5xx, silence and kill -9."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from brokersync import BrokerSync
from brokersync.events import ConnectionNeedsUser, Event
from brokersync.masterkeys import MasterKeys
from brokersync.records import ConnectionState
from brokersync.store.place import store_at

from .plugin import KEY, registry, settings
from .server import FAULTS, TokenServer

_SECRET = bytes(range(32))
_TASKS = (13, 13, 12, 12)


async def _worker(repository: Path, place: str, url: str, tasks: int, killed: list[int]) -> int:
    """A process that is started again whenever it was killed; how it ended when it was not."""
    while True:
        words = ("-m", "tests.faults.rotating", place, url, _SECRET.hex(), str(tasks))
        child = await asyncio.create_subprocess_exec(sys.executable, *words, cwd=repository)
        try:
            code = await child.wait()
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
        if code != -signal.SIGKILL:
            return code
        killed.append(child.pid)


async def test_a_login_is_renewed_once_per_expiry_and_never_lost(
    stores: Any, pytestconfig: pytest.Config, sized: Callable[[str, int, int], int], told: Callable[[str], None]
) -> None:
    expiries = sized("expiries of a token that 50 tasks in 4 processes share", 12, 250)
    server, killed, events = TokenServer(seed=20261126, expiries=expiries), list[int](), list[Event]()
    async with server.serving() as url:
        store, _ = store_at(stores.place)
        async with BrokerSync(
            store=store, registry=registry(), keys=MasterKeys(_SECRET), settings=settings(url), events=events.append
        ) as bs:
            made = await bs.connect(KEY, owner="me", fields={"code": "good once"})
            ends = await asyncio.gather(
                *(_worker(pytestconfig.rootpath, stores.place, url, tasks, killed) for tasks in _TASKS)
            )
            assert ends == [0, 0, 0, 0], "3 is a login that asked for its user"
            assert (server.revoked, server.logins) == (0, 1)
            assert server.needless == [], "renewed before it had expired"
            assert server.too_often == []
            assert server.expiries >= expiries
            assert set(server.met) == set(FAULTS)
            assert len(killed) == server.met["kill before"] + server.met["kill after"]
            await bs.run(made.connection_id)
            assert (await bs.connection(made.connection_id)).state is ConnectionState.ACTIVE
            assert not any(isinstance(event, ConnectionNeedsUser) for event in events)
    told(f"one login: {server.expiries} expiries, {sum(server.met.values())} faults, {len(killed)} processes killed")
