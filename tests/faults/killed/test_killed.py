"""`forget` and `rotate-key` are killed at any moment: what is half done is whole, and run again they complete it."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

from brokersync.masterkeys import KeyFile
from brokersync.sealing import KEY_VARIABLE, Sealer, key_id, sealed_by
from brokersync.store.erasing import HISTORY, LOGINS
from brokersync.store.place import store_at
from brokersync.vault import GrantVault

from .owners import connection, counts, fill

pytestmark = pytest.mark.skipif(os.name != "posix", reason="processes of POSIX are forked and killed")

_PARTS = {"logins": dict(LOGINS), "history": dict(HISTORY)}
# what was read about instruments goes for all users of the broker, and is read again
_OTHERS = {table: whose for table, whose in {**LOGINS, **HISTORY}.items() if table != "reference_data"}
# what the leases of a killed process last at most, and a little more
_LATER = 150


@attrs.frozen
class Commands:
    """Runs commands in processes that kill themselves; see `__main__`."""

    process: Process

    async def __call__(self, *words: str, at: int = 0, later: float = 0) -> tuple[int, int]:
        """How it ended, and how many moments it had."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"words": words, "at": at, "later": later}).encode() + b"\n")
        code, moments = (await self.line()).split()
        return int(code), int(moments)

    async def line(self) -> bytes:
        assert self.process.stdout is not None
        async with asyncio.timeout(120):
            return await self.process.stdout.readline()


@pytest.fixture
async def command(
    pytestconfig: pytest.Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Commands]:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    words = (sys.executable, "-m", "tests.faults.killed")
    process = await asyncio.create_subprocess_exec(*words, cwd=pytestconfig.rootpath, stdin=PIPE, stdout=PIPE)
    made = Commands(process)
    while await made.line() != b"ready\n":
        assert process.returncode is None
    yield made
    assert process.stdin is not None
    process.stdin.close()
    await process.wait()


def _spread(last: int, wanted: int) -> Iterator[int]:
    """So many of the numbers from 1 to `last`, both among them."""
    wanted = min(wanted, last)
    yield from sorted({1 + (last - 1) * step // max(wanted - 1, 1) for step in range(wanted)})


async def test_a_forget_killed_at_any_moment_leaves_logins_and_history_whole_or_gone_and_is_completed(
    command: Commands, stores: Any, database: object, sized: Callable[[str, int, int], int], told: Callable[[str], None]
) -> None:
    where = "Postgres" if database else "SQLite"
    rounds = sized(f"moments at which forget is killed, {where}", 8, 1000)

    async def forget(**facts: int) -> tuple[int, int]:
        return await command("forget", "--yes", "--owner", "leaves", "--store", stores.place, **facts)

    store, key = await _filled(stores, "leaves", "stays")
    whole = {name: await counts(store, "leaves", part) for name, part in _PARTS.items()}
    assert [table for part in whole.values() for table, count in part.items() if not count] == [], "all must be filled"
    others = await counts(store, "stays", _OTHERS)
    # the first command in a data folder writes down which plugins there are, and has more moments than the others
    await command("status", "--store", stores.place)
    ended, moments = await forget()
    assert (ended, moments > 50) == (0, True)
    for moment in _spread(moments, rounds):
        store, key = await _filled(stores, "leaves", "stays")
        code, _ = await forget(at=moment)
        assert code == -signal.SIGKILL, moment
        for name, part in _PARTS.items():
            assert await counts(store, "leaves", part) in (whole[name], dict.fromkeys(part, 0)), (moment, name)
        ended, _ = await forget()
        assert ended == 0, moment
        assert b"leaves" not in await stores.content(), f"at {moment}, while the store is open here"
        await store.close()
        assert b"leaves" not in await stores.content(), moment
        store = await stores.open()
        assert await counts(store, "stays", _OTHERS) == others, moment
        assert await _tokens(store, key, "stays") == ["t-stays"], moment
        await store.close()
    told(f"forget was killed at {min(rounds, moments)} of {moments} moments, {where}")


@pytest.mark.parametrize("option", ["--json", "--data-keys"], ids=["master key", "data keys too"])
async def test_a_rotation_killed_at_any_moment_leaves_grants_that_open_and_is_completed(
    command: Commands,
    stores: Any,
    database: object,
    option: str,
    sized: Callable[[str, int, int], int],
    told: Callable[[str], None],
) -> None:
    where = "Postgres" if database else "SQLite"
    rounds = sized(f"moments at which rotate-key {option} is killed, {where}", 5, 1000)
    owners = ("ann", "ben", "cid")

    async def rotate(**facts: int) -> tuple[int, int]:
        return await command("rotate-key", option, "--store", stores.place, **facts)

    wanted = [f"t-{owner}" for owner in owners]
    await _filled(stores, *owners)
    await command("status", "--store", stores.place)  # as above
    ended, moments = await rotate()
    assert (ended, moments > 30) == (0, True)
    for moment in _spread(moments, rounds):
        store, key = await _filled(stores, *owners)
        old, sealed = key.read_text().split(), await _sealing(store, owners)
        code, _ = await rotate(at=moment)
        assert code == -signal.SIGKILL, moment
        assert await _tokens(store, key, *owners) == wanted, moment
        ended, _ = await rotate(later=_LATER)
        assert ended == 0, moment
        new, *others = key.read_text().split()
        assert set(old) <= set(others) if database else not others, "only a file of this store alone loses keys"
        assert new not in old, moment
        assert await _tokens(store, key, *owners) == wanted, moment
        wrapping, sealing = {sealed_by(one) for _, one in await store.wrapped_keys()}, await _sealing(store, owners)
        assert wrapping == {key_id(base64.b64decode(new))}, moment
        assert sealing.isdisjoint(sealed) if option == "--data-keys" else sealing == sealed, moment
        await store.close()
    told(f"rotate-key {option} was killed at {min(rounds, moments)} of {moments} moments, {where}")


async def _filled(stores: Any, *owners: str) -> tuple[Any, Path]:
    store = await stores.new().open()
    key = store_at(stores.place)[1]
    for owner in owners:
        await fill(store, key, owner)
    return store, key


async def _tokens(store: Any, key: Path, *owners: str) -> list[str]:
    """What a process finds that has read nothing yet."""
    vault = GrantVault(store, Sealer(KeyFile(key)))
    grants = [(await vault.load(connection(owner)))[0] for owner in owners]
    return [grant.auth.access_token.reveal() for grant in grants if grant.auth.access_token]


async def _sealing(store: Any, owners: Sequence[str]) -> set[bytes]:
    """The names of the data keys that the logins are sealed with."""
    grants = [await store.grant(owner, "paper", "live", f"i-{owner}") for owner in owners]
    return {sealed_by(value) for grant in grants for value in (grant.auth, grant.credentials)}
