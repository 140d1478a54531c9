from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from brokersync.errors import BrokerConfigError, StoreError
from brokersync.masterkeys import KeyFile
from brokersync.records import Connection
from brokersync.rotation import KeyRotation, Rotation
from brokersync.sealing import KEY_VARIABLE, Sealer
from brokersync.secret import Secret
from brokersync.store import Store
from brokersync.store.sql import execute
from brokersync.types import AuthResult
from brokersync.vault import GrantVault

NOW = datetime(2026, 3, 2, 15, tzinfo=UTC)
FIELDS = {"user": "me", "password": "pass"}
OWNERS = ("a", "b", "c")

every_rotation = pytest.mark.parametrize("data_keys", [False, True], ids=["master key", "data keys too"])


class Clock:
    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return 0

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nobody sleeps here")


class KilledError(BaseException):
    """The process ends here."""


@attrs.define
class Desk:
    store: Any
    path: Path

    def vault(self) -> GrantVault:
        """That of a process that has read nothing yet."""
        return GrantVault(self.store, Sealer(KeyFile(self.path)))

    async def connect(self, owner: str, token: str = "t") -> None:
        await self.vault().add(connection(owner), login(token), FIELDS, made_at=NOW)

    async def token(self, owner: str, vault: GrantVault | None = None) -> str:
        grant, fields = await (vault or self.vault()).load(connection(owner))
        assert fields == FIELDS
        assert grant.auth.access_token is not None
        return grant.auth.access_token.reveal()

    async def rotate(self, *, data_keys: bool = False, worker: str = "w") -> KeyRotation:
        return await Rotation(self.store, KeyFile(self.path), Clock(), worker)(data_keys=data_keys)

    def keys(self) -> list[str]:
        return self.path.read_text().split()


def connection(owner: str) -> Connection:
    return Connection(
        connection_id=f"c-{owner}", owner=owner, provider="paper", environment="live", label="", identity="me",
        created_at=NOW,
    )  # fmt: skip


def login(token: str) -> AuthResult:
    return AuthResult(identity="me", access_token=Secret(token), refresh_token=Secret(f"r-{token}"))


@pytest.fixture
async def desk(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    made = Desk(store, tmp_path / "store.key")
    for owner in OWNERS:
        await made.connect(owner)
    return made


@every_rotation
async def test_a_rotation_leaves_one_new_key_that_opens_every_login(desk: Desk, data_keys: bool) -> None:
    before, wrapped, running = desk.keys(), await desk.store.wrapped_keys(), desk.vault()
    assert await desk.token("a", running) == "t"
    done = await desk.rotate(data_keys=data_keys)
    assert (done.rewrapped, done.replaced) == ((0, 3) if data_keys else (3, 0))
    assert len(desk.keys()) == 1
    assert desk.keys() != before
    assert [await desk.token(owner) for owner in OWNERS] == ["t"] * 3
    assert await desk.token("b", running) == "t", "a process that holds the old key goes on"
    assert not {key for _, key in wrapped} & {key for _, key in await desk.store.wrapped_keys()}
    assert await desk.rotate(data_keys=data_keys) == done, "and again"


async def test_only_with_data_keys_are_the_logins_sealed_anew(desk: Desk) -> None:
    before = await desk.store.grant("a", "paper", "live", "me")
    await desk.rotate()
    kept = await desk.store.grant("a", "paper", "live", "me")
    assert before is not None
    assert kept is not None
    assert (kept.auth, kept.credentials) == (before.auth, before.credentials)
    await desk.rotate(data_keys=True)
    new = await desk.store.grant("a", "paper", "live", "me")
    assert new is not None
    assert new.generation == before.generation
    assert new.auth != before.auth
    assert new.credentials != before.credentials


class Interrupting:
    """The store, with something done, or the end, before or after one of its calls."""

    def __init__(self, store: Store, at: int, what: Callable[[], Awaitable[None]]) -> None:
        self._store, self._left, self._what = store, at, what

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        async def call(*words: Any, **named: Any) -> Any:
            self._left -= 1
            if self._left == 0:
                await self._what()
            result = await method(*words, **named)
            self._left -= 1
            if self._left == 0:
                await self._what()
            return result

        return call

    @property
    def over(self) -> bool:
        return self._left > 0


async def die() -> None:
    raise KilledError


@every_rotation
async def test_a_rotation_killed_at_any_step_leaves_a_store_that_opens_and_can_be_repeated(
    desk: Desk, data_keys: bool
) -> None:
    for step in range(1, 100):
        store = Interrupting(desk.store, step, die)
        rotation = Rotation(store, KeyFile(desk.path), Clock(), f"w{step}")  # type: ignore[arg-type]  # stands for it
        try:
            await rotation(data_keys=data_keys)
        except KilledError:
            await desk.store._write(lambda: execute("UPDATE leases SET holder = ''"))
        assert [await desk.token(owner) for owner in OWNERS] == ["t"] * 3, step
        if store.over:
            break
        await desk.rotate(data_keys=data_keys)
        assert len(desk.keys()) == 1
        assert [await desk.token(owner) for owner in OWNERS] == ["t"] * 3, step
    assert step > 10


@every_rotation
async def test_a_rotation_cancelled_at_any_step_does_not_keep_the_next_one_from_it(desk: Desk, data_keys: bool) -> None:
    for step in range(1, 100):
        rotating: list[asyncio.Task[KeyRotation]] = []

        async def cancel(rotating: list[asyncio.Task[KeyRotation]] = rotating) -> None:
            rotating[0].cancel()
            for _ in range(3):
                await asyncio.sleep(0)

        store = Interrupting(desk.store, step, cancel)
        rotation = Rotation(store, KeyFile(desk.path), Clock(), "w")  # type: ignore[arg-type]  # stands for it
        rotating.append(asyncio.ensure_future(rotation(data_keys=data_keys)))
        (outcome,) = await asyncio.gather(*rotating, return_exceptions=True)
        if store.over:
            break
        assert isinstance(outcome, asyncio.CancelledError), step
        await desk.rotate(data_keys=data_keys)
        assert [await desk.token(owner) for owner in OWNERS] == ["t"] * 3, step
        assert len(desk.keys()) == 1
    assert step > 10


async def test_a_rotation_that_is_cancelled_leaves_the_lease_to_another_that_holds_it(desk: Desk) -> None:
    await desk.store.take_lease("rotate-key", owner="", holder="two", now=NOW, until=NOW + timedelta(minutes=2))
    rotating: list[asyncio.Task[KeyRotation]] = []

    async def cancel() -> None:
        rotating[0].cancel()
        await asyncio.sleep(0)

    store = Interrupting(desk.store, 2, cancel)
    rotation = Rotation(store, KeyFile(desk.path), Clock(), "w")  # type: ignore[arg-type]  # as above
    rotating.append(asyncio.ensure_future(rotation(data_keys=False)))
    with pytest.raises(asyncio.CancelledError):
        await rotating[0]
    with pytest.raises(StoreError, match="is being rotated already"):
        await desk.rotate()


async def test_a_rotation_that_is_cancelled_does_not_wait_for_long_for_a_store_that_hangs(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("brokersync.rotation._STORING_TAKES_AT_MOST", 0.05)
    asked = asyncio.Event()

    async def hang(*_: object, **__: object) -> None:
        asked.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(desk.store, "take_lease", hang)
    rotating = asyncio.ensure_future(desk.rotate())
    await asked.wait()
    rotating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(rotating, 10)
    assert asyncio.all_tasks() == {asyncio.current_task()}


@every_rotation
async def test_a_key_file_killed_while_it_is_written_is_the_old_one_or_the_new_one(
    desk: Desk, data_keys: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("os.fsync", "pathlib.Path.replace"):
        with monkeypatch.context() as patched:
            patched.setattr(name, lambda *_: (_ for _ in ()).throw(KilledError()))
            with pytest.raises(KilledError):
                await desk.rotate(data_keys=data_keys)
        assert [await desk.token(owner) for owner in OWNERS] == ["t"] * 3
    await desk.rotate(data_keys=data_keys)
    assert [await desk.token(owner) for owner in OWNERS] == ["t"] * 3


@every_rotation
async def test_a_refresh_during_a_rotation_is_neither_lost_nor_undone(desk: Desk, data_keys: bool) -> None:
    """At every step of the rotation another process stores a new token; one that began before it, one within."""
    for step in range(1, 100):
        began = desk.vault()
        grant, fields = await began.load(connection("b"))

        async def refresh(number: int = step, vault: GrantVault = began, grant: Any = grant) -> None:
            assert await vault.replace(grant, login(f"t{number}"), FIELDS, made_at=NOW)

        store = Interrupting(desk.store, step, refresh)
        await Rotation(store, KeyFile(desk.path), Clock(), "w")(data_keys=data_keys)  # type: ignore[arg-type]  # as above
        if store.over:
            break
        assert await desk.token("b") == f"t{step}", step
        kept, _ = await desk.vault().load(connection("b"))
        assert kept.generation == grant.generation + 1
        assert not await began.replace(grant, login("late"), fields, made_at=NOW), (
            "the loser of two refreshes does not win by it"
        )
    assert step > 10


async def test_a_grant_sealed_before_the_data_key_was_replaced_is_sealed_again(desk: Desk) -> None:
    """Between sealing and storing: the store refuses what nobody could open, and the vault seals it anew."""
    vault = desk.vault()
    grant, fields = await vault.load(connection("a"))
    original, rotated = desk.store.replace_grant, False

    async def late(new: Any) -> bool:
        nonlocal rotated
        if not rotated:
            rotated = True
            await desk.rotate(data_keys=True)
        return await original(new)

    desk.store.replace_grant = late  # type: ignore[method-assign]  # the test stands between vault and store
    assert await vault.replace(grant, login("new"), fields, made_at=NOW)
    assert await desk.token("a") == "new"


async def test_a_login_made_while_the_data_key_is_replaced_opens(desk: Desk) -> None:
    original, rotated = desk.store.add_connection, False

    async def late(*words: Any, **named: Any) -> Any:
        nonlocal rotated
        if not rotated:
            rotated = True
            await desk.rotate(data_keys=True)
        return await original(*words, **named)

    desk.store.add_connection = late  # type: ignore[method-assign]  # as above
    await desk.connect("a", "again")
    assert await desk.token("a") == "again"


async def test_an_owner_who_comes_while_the_key_is_rotated_opens_afterwards(desk: Desk) -> None:
    for step in range(1, 100):
        stale = KeyFile(desk.path)
        wrapped = await stale.wrap(bytes(32), f"new{step}")

        async def come(owner: str = f"new{step}", wrapped: bytes = wrapped) -> None:
            await desk.store.data_key(owner, lambda: wrapped)

        store = Interrupting(desk.store, step, come)
        await Rotation(store, KeyFile(desk.path), Clock(), "w")(data_keys=False)  # type: ignore[arg-type]  # as above
        if store.over:
            break
        kept = await desk.store.wrapped_key(f"new{step}")
        assert kept is not None
        if kept != wrapped:
            assert await KeyFile(desk.path).unwrap(kept, f"new{step}") == bytes(32)
        await desk.store._write(lambda: execute("DELETE FROM owner_keys WHERE owner LIKE 'new%'"))
    assert step > 10


async def test_a_rotation_is_refused_while_another_one_is_under_way(desk: Desk) -> None:
    refused = list[StoreError]()

    async def rotate_too() -> None:
        with pytest.raises(StoreError, match="is being rotated already") as error:
            await desk.rotate(worker="two")
        refused.append(error.value)

    underway = Interrupting(desk.store, 4, rotate_too)
    await Rotation(underway, KeyFile(desk.path), Clock(), "one")(data_keys=False)
    assert len(refused) == 1
    assert [await desk.token(owner) for owner in OWNERS] == ["t"] * 3
    assert len(desk.keys()) == 1


async def test_two_rotations_at_once_leave_one_key_that_opens_every_login(desk: Desk) -> None:
    outcomes = await asyncio.gather(desk.rotate(worker="one"), desk.rotate(worker="two"), return_exceptions=True)
    assert {type(one) for one in outcomes} <= {KeyRotation, StoreError}
    assert KeyRotation in {type(one) for one in outcomes}
    assert [await desk.token(owner) for owner in OWNERS] == ["t"] * 3
    assert len(desk.keys()) == 1


async def test_of_two_rotations_of_one_process_at_once_one_is_refused_and_every_login_opens(desk: Desk) -> None:
    refused = 0
    for step in range(1, 100):
        keys = KeyFile(desk.path)

        async def rotate_too(keys: KeyFile = keys) -> None:
            nonlocal refused
            try:
                await Rotation(desk.store, keys, Clock(), "w")(data_keys=False)
            except StoreError:
                refused += 1

        underway = Interrupting(desk.store, step, rotate_too)
        await Rotation(underway, keys, Clock(), "w")(data_keys=False)  # type: ignore[arg-type]  # stands for it
        assert [await desk.token(owner) for owner in OWNERS] == ["t"] * 3
        assert len(desk.keys()) == 1
        if underway.over:
            break
    # all but those before the lease is taken, and after it is given back
    assert refused == step - 3 > 5


async def test_an_owner_whose_first_key_is_stored_after_a_rotation_that_began_later_opens(desk: Desk) -> None:
    original = desk.store.data_key

    async def late(*words: Any) -> Any:
        desk.store.data_key = original
        await desk.rotate()
        return await original(*words)

    desk.store.data_key = late
    await desk.connect("new")
    assert await desk.token("new") == "t"


async def test_a_rotation_of_a_dead_process_is_taken_over_when_its_time_is_up(desk: Desk) -> None:
    await desk.store.take_lease("rotate-key", owner="", holder="dead", now=NOW, until=NOW + timedelta(seconds=1))
    with pytest.raises(StoreError, match="rotated already"):
        await desk.rotate()
    await desk.store.take_lease("rotate-key", owner="", holder="dead", now=NOW, until=NOW)
    assert (await desk.rotate()).rewrapped == 3


async def test_a_provider_of_ones_own_is_asked_to_wrap_anew_and_nothing_else(desk: Desk) -> None:
    class Service:
        """Rotates by itself, as a key management service does."""

        def __init__(self, path: Path) -> None:
            self._keys = KeyFile(path)

        async def wrap(self, data_key: bytes, owner: str) -> bytes:
            return await self._keys.wrap(data_key, owner)

        async def unwrap(self, wrapped: bytes, owner: str) -> bytes:
            return await self._keys.unwrap(wrapped, owner)

    before = desk.keys()
    done = await Rotation(desk.store, Service(desk.path), Clock(), "w")(data_keys=True)
    assert (done.rewrapped, done.replaced) == (0, 3)
    assert desk.keys() == before
    assert [await desk.token(owner) for owner in OWNERS] == ["t"] * 3


async def test_a_store_whose_key_is_lost_is_not_rotated(desk: Desk) -> None:
    desk.path.unlink()
    with pytest.raises(BrokerConfigError):
        await desk.rotate()
