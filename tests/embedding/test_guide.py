"""The guide to embedding works as it is written: its code runs against a broker in this process."""

from __future__ import annotations

import asyncio
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from brokersync import BrokerAuthError, BrokerSync, ConnectionState, Done, ProviderRegistry
from brokersync.plugin import BrokerError, BrokerNotReadyError, BrokerUnavailableError

from .broker import KEY, Broker, open_desk, registry_of

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "embedding.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)


class Journal:
    """What the reader's own program would be."""

    def __init__(self) -> None:
        self.saved: list[tuple[Any, ...]] = []
        self.complete = asyncio.Event()

    def position(self, owner: str) -> int:
        return len(self.saved)

    def save(self, *change: Any) -> None:
        self.saved.append(change)
        if len(self.saved) == 2:
            self.complete.set()


@pytest.fixture
def guide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names of the guide's code, over a toy broker."""
    broker = Broker()
    monkeypatch.setattr(ProviderRegistry, "installed", lambda *_: registry_of(broker))
    names: dict[str, Any] = {"STORE": str(tmp_path / "journal.db"), "broker": broker}
    for block in BLOCKS:
        exec(compile(block, "docs/embedding.md", "exec"), names)
    return names


def test_the_first_block_is_a_backend_in_twenty_lines() -> None:
    code = [line for line in BLOCKS[0].splitlines() if line and not line.startswith(("import", "from"))]
    assert len(code) <= 20


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#:]+)[^):]*\)", GUIDE))
def test_every_link_leads_somewhere(link: str) -> None:
    assert (ROOT / "docs" / link).is_file()


async def test_the_backend_connects_syncs_and_follows(guide: dict[str, Any]) -> None:
    guide["journal"] = journal = Journal()
    running = asyncio.create_task(guide["backend"](guide["STORE"], KEY, {"user": "ann"}))
    await asyncio.wait_for(journal.complete.wait(), 30)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [(kind.value, trade.trade_id, position) for kind, trade, position in journal.saved] == [
        ("added", "0-0", 1),
        ("added", "0-1", 2),
    ]


async def test_a_journal_that_applies_changes_as_shown_keeps_no_cancelled_trade(guide: dict[str, Any]) -> None:
    kept: dict[str, int] = {}

    class Following:
        def put(self, trade: Any, position: int) -> None:
            kept[trade.trade_id] = position

        def delete(self, trade_id: str, position: int) -> None:
            kept.pop(trade_id, None)

    guide["journal"] = Following()
    async with BrokerSync.open(guide["STORE"]) as bs:
        one = await bs.connect(KEY, owner="alice", fields={"user": "ann"})
        since = 0
        for cancels, expected, kinds in (
            ((), ["0-0", "0-1"], ["added", "added"]),
            (("0-1",), ["0-0"], ["modified"]),
        ):
            guide["broker"].cancels = cancels
            assert isinstance(await bs.run(one.connection_id), Done)
            changes = await bs.changes("alice", since=since)
            for change in changes:
                await guide["apply"](bs, change)
                since = change.position
            assert [change.kind.value for change in changes] == kinds
            assert sorted(kept) == expected
        assert [one.trade_id async for one in bs.trades("alice")] == ["0-0"]
        shown = [(one.trade_id, one.status.value) for one in await guide["with_cancelled"](bs, "alice")]
        assert sorted(shown) == [("0-0", "active"), ("0-1", "cancelled")]


def test_a_job_is_queued_again_for_when_the_broker_is_ready(guide: dict[str, Any]) -> None:
    queued: list[tuple[str, datetime]] = []

    class Queue:
        def add(self, job: Any, name: str, *, at: datetime) -> None:
            queued.append((name, at))

    async def connect() -> str:
        async with BrokerSync.open(guide["STORE"]) as bs:
            return (await bs.connect(KEY, owner="alice", fields={"user": "ann"})).connection_id

    guide["queue"] = Queue()
    name = asyncio.run(connect())
    guide["broker"].failing = lambda _: BrokerNotReadyError("Not yet.")
    guide["sync_job"](name)
    assert [one for one, _ in queued] == [name]
    guide["broker"].failing = lambda _: None
    guide["sync_job"](name)
    assert len(queued) == 1


async def test_the_user_is_shown_the_reason_and_asked_no_more_when_it_works(guide: dict[str, Any]) -> None:
    told: list[Any] = []
    guide["notify"] = lambda *facts: told.append(("notify", *facts))
    guide["withdraw"] = lambda name: told.append(("withdraw", name))
    guide["show_progress"] = lambda _, done, total: told.append(("progress", done, total))
    guide["count"] = lambda outcome, *_: told.append(("count", outcome))

    def refused(_: str) -> BrokerError:
        return BrokerAuthError("The password was changed.", remedy="Give the new one.")

    async with BrokerSync.open(guide["STORE"]) as bs:
        one = await bs.connect(KEY, owner="alice", fields={"user": "ann"})
        assert guide["banner"](one) is None
        guide["broker"].failing = refused
        with pytest.raises(BrokerAuthError):
            await guide["run_at_once"](bs, one.connection_id)
        asking = await bs.connection(one.connection_id)
        assert asking.state is ConnectionState.NEEDS_USER
        assert guide["banner"](asking) == "Toy (live): The password was changed. Give the new one."
        guide["broker"].failing = lambda _: None
        assert isinstance(await guide["run_at_once"](bs, one.connection_id), Done)
    assert told == [
        ("progress", 0, 1),
        ("notify", one.connection_id, "The password was changed.", "Give the new one."),
        ("count", "failed"),
        ("progress", 0, 1),
        ("withdraw", one.connection_id),
        ("count", "done"),
    ]


async def test_an_incident_can_be_shown(guide: dict[str, Any]) -> None:
    desk = open_desk(Path(guide["STORE"]).parent)
    async with desk.bs:
        await desk.connect("ann", "ben", "cid")
        assert await guide["notice"](desk.bs) == []
        desk.broker.failing = lambda _: BrokerUnavailableError("503")
        await desk.bs.run_due()
        (line,) = await guide["notice"](desk.bs)
        assert line.startswith("toy (live) does not answer since 2030-03-01")


async def test_the_worker_syncs_what_a_user_asks_for_and_stops(guide: dict[str, Any], tmp_path: Path) -> None:
    stopping = asyncio.Event()
    desk = open_desk(tmp_path / "other", guide["broker"])
    async with desk.bs:
        (name,) = await desk.connect("ann", owner="user-1")
        await guide["on_button"](desk.bs, name, "user-1")
        running = asyncio.create_task(guide["work"](desk.bs, stopping))
        async with asyncio.timeout(30):
            async for _ in desk.bs.follow("user-1", since=0):
                break
        stopping.set()
        await running
