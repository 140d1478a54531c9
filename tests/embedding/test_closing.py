"""Closing while something is under way: nothing that exists nowhere else is lost, and nothing is left."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import attrs
import pytest

from brokersync import BrokerSync
from brokersync.config import GrantSettings
from brokersync.errors import ClosedError, StoreError
from brokersync.plugin import AuthResult, Secret
from brokersync.records import Deferred, Done

from .broker import NOW, Broker, Desk, open_desk

MINUTE = timedelta(minutes=1)


def ending(user: str) -> AuthResult:
    return AuthResult(
        identity=user,
        access_token=Secret("hidden-access-0"),
        refresh_token=Secret("hidden-refresh-0"),
        expires_at=NOW + MINUTE,
        grant_expires_at=NOW + timedelta(days=1),
    )


@attrs.define
class Rotation:
    """Replaces the refresh token at once, and answers when it is told to."""

    rotated: asyncio.Event = attrs.field(factory=asyncio.Event)
    answers: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def __call__(self, auth: AuthResult) -> AuthResult:
        self.rotated.set()
        await self.answers.wait()
        return attrs.evolve(
            auth,
            access_token=Secret("hidden-access-1"),
            refresh_token=Secret("hidden-refresh-1"),
            expires_at=NOW + 60 * MINUTE,
        )


async def connect(desk: Desk) -> None:
    """A login whose token is about to end."""
    await desk.connect("ann")
    desk.clock.advance(seconds=50)


async def kept(desk: Desk) -> str:
    """The refresh token in the store, as the next process finds it."""
    async with desk.bs as bs:
        (connection,) = await bs.connections()
        grant, _ = await bs._shared.vault.load(connection)
    assert grant.auth.refresh_token is not None
    return grant.auth.refresh_token.reveal()


async def run(bs: BrokerSync) -> object:
    (connection,) = await bs.connections()
    return await bs.run(connection.connection_id)


async def run_due(bs: BrokerSync) -> object:
    return await bs.run_due()


async def renew_grants(bs: BrokerSync) -> object:
    return await bs.renew_grants()


@pytest.mark.parametrize("cancels", [0, 1, 2])
@pytest.mark.parametrize("call", [run, run_due, renew_grants])
async def test_a_rotated_refresh_token_is_in_the_store_after_closing(
    tmp_path: Path, call: Callable[[BrokerSync], Awaitable[object]], cancels: int
) -> None:
    rotation = Rotation()
    desk = open_desk(tmp_path, Broker(login=ending, renewal=rotation))
    before = asyncio.all_tasks()
    await desk.bs.__aenter__()
    await connect(desk)
    calling = asyncio.ensure_future(call(desk.bs))
    await asyncio.wait_for(rotation.rotated.wait(), 10)
    for _ in range(cancels):
        calling.cancel()
        await asyncio.sleep(0)
    closing = asyncio.create_task(desk.bs.close())
    await asyncio.wait([closing], timeout=0.05)
    assert not closing.done()
    rotation.answers.set()
    await asyncio.wait_for(closing, 10)
    await asyncio.gather(calling, return_exceptions=True)
    assert asyncio.all_tasks() == before
    assert await kept(desk) == "hidden-refresh-1"


async def test_who_is_cancelled_while_closing_keeps_nothing_from_being_closed(tmp_path: Path) -> None:
    rotation = Rotation()
    desk = open_desk(tmp_path, Broker(login=ending, renewal=rotation))
    await desk.bs.__aenter__()
    await connect(desk)
    calling = asyncio.create_task(run(desk.bs))
    await asyncio.wait_for(rotation.rotated.wait(), 10)
    closing = asyncio.create_task(desk.bs.close())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    rotation.answers.set()
    assert await kept(desk) == "hidden-refresh-1"
    await calling


async def test_a_broker_that_never_answers_holds_closing_up_as_long_as_a_renewal_may_take(tmp_path: Path) -> None:
    rotation = Rotation()
    grants = GrantSettings(longest_renewal=timedelta(seconds=0.1))
    desk = open_desk(tmp_path, Broker(login=ending, renewal=rotation), grants=grants)
    async with desk.bs:
        await connect(desk)
        calling = asyncio.create_task(run(desk.bs))
        await asyncio.wait_for(rotation.rotated.wait(), 10)
        await asyncio.wait_for(desk.bs.close(), 10)
        await calling
    assert await kept(desk) == "hidden-refresh-0"


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_a_loop_that_is_broken_off_brings_its_renewal_to_the_store(tmp_path: Path, kind: type[BaseException]) -> None:
    def broken_off() -> None:
        raise kind

    async def job() -> None:
        rotation, loop = Rotation(), asyncio.get_running_loop()
        desk = open_desk(tmp_path, Broker(login=ending, renewal=rotation))
        async with desk.bs:
            await connect(desk)
            calling = asyncio.create_task(run(desk.bs))
            await rotation.rotated.wait()
            loop.call_later(0.1, rotation.answers.set)
            loop.call_soon(broken_off)
            await calling

    with pytest.raises(kind):
        asyncio.run(job())
    assert asyncio.run(kept(open_desk(tmp_path))) == "hidden-refresh-1"


async def gone(_: object) -> bool:
    raise StoreError("The disk is full.")


async def hanging(_: object) -> bool:
    return await asyncio.Event().wait()


@pytest.mark.parametrize("away", [gone, hanging])
async def test_a_store_that_takes_no_token_holds_closing_up_for_seconds_and_the_token_is_stored_when_it_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, away: Callable[[object], Awaitable[bool]]
) -> None:
    rotation = Rotation()
    rotation.answers.set()
    desk = open_desk(tmp_path, Broker(login=ending, renewal=rotation))
    tasks = asyncio.all_tasks()
    with monkeypatch.context() as patch:
        patch.setattr("brokersync.renewal.STORING_TAKES_AT_MOST", timedelta(seconds=0.2))
        await desk.bs.__aenter__()
        await connect(desk)
        patch.setattr(desk.bs._store, "replace_grant", gone)
        with pytest.raises(StoreError, match="disk is full"):
            await run(desk.bs)
        patch.setattr(desk.bs._store, "replace_grant", away)
        began = desk.clock.now()
        with pytest.raises(StoreError, match="Only this process holds it") as caught:
            await asyncio.wait_for(desk.bs.close(), 10)
        assert caught.value.remedy
        assert desk.clock.now() - began < timedelta(seconds=10)
    assert asyncio.all_tasks() == tasks
    with pytest.raises(StoreError):
        await desk.bs.connections()
    async with desk.bs as bs:
        await run(bs)
    assert await kept(desk) == "hidden-refresh-1"
    assert desk.broker.renewals == 1


async def test_a_store_that_is_back_when_it_is_closed_has_the_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rotation = Rotation()
    rotation.answers.set()
    desk = open_desk(tmp_path, Broker(login=ending, renewal=rotation))
    async with desk.bs:
        await connect(desk)
        with monkeypatch.context() as patch:
            patch.setattr(desk.bs._store, "replace_grant", gone)
            with pytest.raises(StoreError):
                await run(desk.bs)
    assert await kept(open_desk(tmp_path)) == "hidden-refresh-1"


CALLS: dict[str, Callable[[BrokerSync, str], Awaitable[object]]] = {
    "connect": lambda bs, name: bs.connect("toy", owner="bob", fields={"user": "bob"}),
    "take_over": lambda bs, name: bs.take_over("toy", owner="bob", tokens={"access_token": "hidden"}),
    "reauthenticate": lambda bs, name: bs.reauthenticate(name, {"user": "ann"}),
    "renew_grants": lambda bs, name: bs.renew_grants(),
    "run_due": lambda bs, name: bs.run_due(),
    "diagnose": lambda bs, name: bs.diagnose(name),
    "disconnect": lambda bs, name: bs.disconnect(name),
    "forget": lambda bs, name: bs.forget("alice"),
    "prune": lambda bs, name: bs.prune(),
    "rotate_key": lambda bs, name: bs.rotate_key(data_keys=True),
    "renormalise": lambda bs, name: bs.renormalise("alice"),
    "explain": lambda bs, name: bs.explain("alice", account="a-ann", trade_id="0-0"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_closing_ends_what_takes_long_and_tells_who_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Callable[[BrokerSync, str], Awaitable[object]]
) -> None:
    desk, hangs = open_desk(tmp_path), asyncio.Event()
    before = asyncio.all_tasks()

    async def hanging(work: object) -> None:
        hangs.set()
        try:
            await asyncio.Event().wait()
        finally:
            monkeypatch.undo()

    async with desk.bs:
        (name,) = await desk.connect("ann")
        monkeypatch.setattr(desk.bs._store, "_on_thread", hanging)
        waiting = asyncio.ensure_future(call(desk.bs, name))
        await asyncio.wait_for(hangs.wait(), 10)
        await asyncio.wait_for(desk.bs.close(), 10)
        assert asyncio.all_tasks() - before <= {waiting}
        with pytest.raises(ClosedError, match="closed") as caught:
            await waiting
        assert caught.value.remedy
        with pytest.raises(StoreError):
            await call(desk.bs, name)
    async with desk.bs:
        await desk.bs.run(name)


@pytest.mark.parametrize("steps", range(12))
async def test_run_due_that_is_closed_at_any_moment_answers_deferred_or_that_it_was_closed(
    tmp_path: Path, steps: int
) -> None:
    desk = open_desk(tmp_path)
    async with desk.bs:
        names = await desk.connect("ann", "bob")
        waiting = asyncio.ensure_future(desk.bs.run_due())
        for _ in range(steps):
            await asyncio.sleep(0.001)
        await desk.bs.close()
        try:
            ends = await waiting
        except ClosedError:
            return
        assert set(ends) == set(names)
        assert {type(end) for end in ends.values()} <= {Done, Deferred}
