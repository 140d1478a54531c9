"""`BrokerSync` inside a program that has a life of its own: its session, logger, tasks, threads and loops."""

from __future__ import annotations

import asyncio
import io
import logging
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from loguru import logger as loguru_logger

from brokersync import BrokerConfigError, BrokerSync
from brokersync.errors import StoreError
from brokersync.events import Event, RequestSent, SyncRecorded
from brokersync.http import open_session
from brokersync.logs import bridge_to_logging
from brokersync.records import Deferred, Done
from brokersync.testing import run_sandbox

from .broker import KEY, NOW, Broker, Desk, VirtualClock, open_desk, registry_of


def sockets() -> list[str]:
    """The sockets that this process holds."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found.append(str(entry.readlink()))
    return [link for link in found if link.startswith("socket:")]


async def test_an_injected_session_carries_every_request_and_stays_open(tmp_path: Path) -> None:
    sent: list[str] = []
    events: list[Event] = []
    trace = aiohttp.TraceConfig()

    async def on_start(_session: object, _context: object, params: aiohttp.TraceRequestStartParams) -> None:
        sent.append(params.url.path)

    trace.on_request_start.append(on_start)
    session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), trace_configs=[trace], raise_for_status=True)
    async with session, run_sandbox("tradovate") as broker:
        bs = BrokerSync.open(tmp_path / "s.db", settings=broker.settings(), session=session, events=events.append)
        async with bs:
            await bs.connect("tradovate", owner="alice", fields=broker.logins[0].fields)
        requests = [event for event in events if isinstance(event, RequestSent)]
        assert len(sent) == len(requests) > 1
        assert not session.closed


@pytest.mark.parametrize(
    ("facts", "word"),
    [
        ({}, "cookies"),
        ({"cookie_jar": None, "trust_env": True}, "environment"),
        ({"cookie_jar": None, "auth": None}, "password"),
        ({"cookie_jar": None, "headers": {"Authorization": "Bearer x"}}, "headers"),
    ],
)
async def test_a_session_with_habits_that_harm_is_refused_and_the_way_out_named(
    tmp_path: Path, facts: dict[str, object], word: str
) -> None:
    if "cookie_jar" in facts:
        facts = facts | {"cookie_jar": aiohttp.DummyCookieJar()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # passwords of a session are on their way out of aiohttp
        if "auth" in facts:
            facts = facts | {"auth": aiohttp.BasicAuth("a", "b")}
        made = aiohttp.ClientSession(**facts)  # type: ignore[arg-type]  # the habits, by name
    async with made as session:
        with pytest.raises(BrokerConfigError, match=word) as caught:
            BrokerSync.open(tmp_path / "s.db", session=session)
        assert "open_session" in caught.value.remedy
    async with open_session() as session:
        BrokerSync.open(tmp_path / "s.db", session=session)


async def test_a_standard_logger_hears_each_sync_as_one_structured_record(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = logging.getLogger("backend.brokers")
    caplog.set_level(logging.INFO, log.name)
    bs = BrokerSync.open(tmp_path / "s.db", registry=registry_of(Broker()), clock=VirtualClock(), logger=log)
    async with bs:
        one = await bs.connect(KEY, owner="alice", fields={"user": "ann"})
        await bs.run(one.connection_id)
    assert {record.name for record in caplog.records} == {log.name}
    (record,) = [one for one in caplog.records if one.brokersync["event"] == "SyncRecorded"]  # type: ignore[attr-defined]  # given as `extra`
    facts = record.brokersync  # type: ignore[attr-defined]  # given as `extra`
    assert (facts["outcome"], facts["report"]["added"], facts["connection_id"]) == ("done", 2, one.connection_id)
    assert "\n" not in record.getMessage()
    assert "added=2" in record.getMessage()
    assert "token of" not in caplog.text


async def test_a_loguru_logger_hears_the_events_without_being_enabled_first(tmp_path: Path) -> None:
    heard: list[object] = []
    handler = loguru_logger.add(lambda message: heard.append(message.record["extra"].get("event")))
    try:
        bs = BrokerSync.open(
            tmp_path / "s.db", registry=registry_of(Broker()), clock=VirtualClock(), logger=loguru_logger
        )
        async with bs:
            one = await bs.connect(KEY, owner="alice", fields={"user": "ann"})
            await bs.run(one.connection_id)
    finally:
        loguru_logger.disable("brokersync")
        loguru_logger.remove(handler)
    assert heard.count("SyncRecorded") == 1


async def test_one_call_hands_the_records_to_the_standard_library_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    end = bridge_to_logging()
    try:
        bs = BrokerSync.open(
            tmp_path / "s.db", registry=registry_of(Broker()), clock=VirtualClock(), logger=loguru_logger
        )
        async with bs:
            one = await bs.connect(KEY, owner="alice", fields={"user": "a {brace} %s"})
            await bs.run(one.connection_id)
    finally:
        end()
    records = [one for one in caplog.records if getattr(one, "brokersync", {}).get("event") == "SyncRecorded"]
    assert [(one.name, one.levelname) for one in records] == [("brokersync.logs", "INFO")]
    caplog.clear()
    loguru_logger.info("not the library's")
    assert caplog.records == []


async def test_nothing_is_left_after_closing_while_syncs_and_readers_go_on(tmp_path: Path) -> None:
    async with run_sandbox("tradovate") as broker:
        tasks, threads, open_before = asyncio.all_tasks(), set(threading.enumerate()), len(sockets())
        bs = BrokerSync.open(tmp_path / "s.db", settings=broker.settings())
        under_way = asyncio.Event()
        async with bs:
            logins = [await bs.connect("tradovate", owner="alice", fields=one.fields) for one in broker.logins]
            reader = asyncio.create_task(_drain(bs))
            runs = [asyncio.create_task(bs.run(one.connection_id, events=lambda _: under_way.set())) for one in logins]
            await under_way.wait()
            assert len(asyncio.all_tasks()) > len(tasks) + 1 + len(runs)
        outcomes = await asyncio.wait_for(asyncio.gather(*runs), 10)
        assert all(isinstance(one, Done | Deferred) for one in outcomes)
        await asyncio.wait_for(reader, 10)
        for _ in range(10_000):
            # the sandbox is in this process too: its ends of the connections need some rounds of the loop
            if asyncio.all_tasks() == tasks and len(sockets()) == open_before:
                break
            await asyncio.sleep(0)
        assert asyncio.all_tasks() == tasks
        assert set(threading.enumerate()) <= threads
        assert len(sockets()) == open_before


async def _drain(bs: BrokerSync) -> int:
    return len([change async for change in bs.follow("alice")])


async def test_a_sync_that_closing_ends_is_deferred_and_goes_on_later(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    asked = asyncio.Event()

    async def hang() -> None:
        asked.set()
        await asyncio.Event().wait()

    desk.broker.on_page = lambda _: hang()
    async with desk.bs:
        (name,) = await desk.connect("ann")
        run = asyncio.create_task(desk.bs.run(name))
        await asked.wait()
    outcome = await asyncio.wait_for(run, 10)
    assert isinstance(outcome, Deferred)
    assert [event.outcome for event in desk.heard(SyncRecorded)] == ["cancelled"]
    again = open_desk(tmp_path)
    async with again.bs:
        assert isinstance(await again.bs.run(name), Done)


async def test_who_waits_for_a_sync_that_closing_ends_is_deferred_too_and_begins_nothing(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    asked = asyncio.Semaphore(0)

    async def hang() -> None:
        asked.release()
        await asyncio.Event().wait()

    desk.broker.on_page = lambda _: hang()
    async with desk.bs:
        name, other, last = await desk.connect("ann", "bob", "cid")
        first = asyncio.create_task(desk.bs.run(name))
        await asked.acquire()
        waits = asyncio.create_task(desk.bs.run(name))
        due = asyncio.create_task(desk.bs.run_due(concurrency=1))
        await asked.acquire()
        assert desk.bs.cancel(name, owner="somebody else") is False
    ends = await asyncio.wait_for(asyncio.gather(first, waits, due), 10)
    assert [type(end) for end in (*ends[:2], ends[2][other], ends[2][last])] == [Deferred] * 4
    assert desk.broker.asked.count("ann") == 1
    assert len({"bob", "cid"}.intersection(desk.broker.asked)) == 1


async def test_after_closing_everything_says_that_it_is_closed(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    async with desk.bs:
        (name,) = await desk.connect("ann")
    with pytest.raises(StoreError, match="not open"):
        await desk.bs.run(name)
    async with desk.bs:
        assert isinstance(await desk.bs.run(name), Done)
        assert len([change.position async for change in _first(desk, 2)]) == 2


async def _first(desk: Desk, number: int):  # type: ignore[no-untyped-def]  # the changes, as `follow` gives them
    async for change in desk.bs.follow("alice"):
        yield change
        number -= 1
        if not number:
            return


async def test_two_hundred_tasks_at_once_get_what_one_would(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    async with desk.bs:
        users = [f"user {one}" for one in range(10)]
        names = await desk.connect(*users)

        async def read() -> int:
            return len([trade async for trade in desk.bs.trades("alice")])

        async def changes() -> int:
            return len(await desk.bs.changes("alice", 0, 1000))

        async with asyncio.timeout(120):
            await asyncio.gather(
                *(desk.bs.run(names[one % 10]) for one in range(50)),
                *(read() for _ in range(50)),
                *(changes() for _ in range(50)),
                *(desk.bs.connect(KEY, owner="alice", fields={"user": users[one % 10]}) for one in range(50)),
            )
        assert {one.connection_id for one in await desk.bs.connections()} == set(names)
        assert (await read(), await changes()) == (20, 20)


async def test_two_in_one_process_know_nothing_of_each_other(tmp_path: Path) -> None:
    one, two = open_desk(tmp_path / "one"), open_desk(tmp_path / "two")
    async with one.bs, two.bs:
        (name,) = await one.connect("ann")
        one.clock.advance(hours=5)
        await one.bs.run(name)
        assert await two.bs.connections() == ()
        assert await two.bs.changes("alice") == ()
        assert (two.events, two.clock.now()) == ([], NOW)
        with pytest.raises(BrokerConfigError, match="no connection"):
            await two.bs.run(name)


def test_a_loop_per_job_in_threads_works_as_a_task_queue_runs_it(tmp_path: Path) -> None:
    async def connect() -> list[str]:
        desk = open_desk(tmp_path)
        async with desk.bs:
            return await desk.connect(*(f"user {one}" for one in range(6)))

    def job(name: str) -> Done | Deferred:
        async def run() -> Done | Deferred:
            desk = open_desk(tmp_path)
            async with desk.bs:
                return await desk.bs.run(name)

        return asyncio.run(run())

    names = asyncio.run(connect())
    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(job, names * 4))
    done = [outcome for outcome in outcomes if isinstance(outcome, Done)]
    assert sum(outcome.report.added for outcome in done) == 12
    assert len(done) >= 6
    assert all(outcome.until - NOW <= timedelta(minutes=1) for outcome in outcomes if isinstance(outcome, Deferred))


def test_the_library_writes_no_log_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    err = io.StringIO()
    monkeypatch.setattr("sys.stderr", err)

    async def run() -> None:
        desk = open_desk(tmp_path)
        async with desk.bs:
            (name,) = await desk.connect("ann")
            await desk.bs.run(name)

    asyncio.run(run())
    assert err.getvalue() == ""
