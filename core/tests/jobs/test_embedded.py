"""What is the embedded engine's own: holds, the store's truth, and lanes that rest."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from brokersync.errors import StoreError
from brokersync.jobs import Job
from brokersync.queue import shift
from brokersync.queue.engine import Defer
from brokersync.store import JobTable

from .benches import NOW, EmbeddedBench, Log, drain, ended


@pytest.fixture
def bench(stores: Any) -> EmbeddedBench:
    return EmbeddedBench(stores)


async def _held_by_a_dead_worker(bench: EmbeddedBench, name: str) -> JobTable:
    """A worker took the job and was never heard of again."""
    engine = await bench.engine()
    await engine.submit(await bench.job(name))
    assert bench.store is not None
    taken = await bench.store.jobs.take([name], "dead", bench.now(), bench.now() + bench.queue.hold)
    assert taken == {name}
    return bench.store.jobs


async def test_the_job_of_a_dead_worker_is_free_when_its_hold_ends(bench: EmbeddedBench) -> None:
    await _held_by_a_dead_worker(bench, "a")
    engine = await bench.engine()
    assert (await engine.counts()).running == 1
    assert await drain(engine) == []
    await bench.pass_by(bench.queue.hold.total_seconds())
    assert await drain(engine) == ["a"]


async def test_a_worker_that_comes_back_too_late_ends_nothing_that_is_not_its_own(bench: EmbeddedBench) -> None:
    table = await _held_by_a_dead_worker(bench, "a")
    await bench.pass_by(bench.queue.hold.total_seconds())
    engine = await bench.engine()

    async def meanwhile(_: Job) -> None:
        assert await table.hold(["a"], "dead", bench.now() + timedelta(hours=1)) == set()
        await table.end("a", "dead")
        await table.put_back("a", "dead", bench.now())
        assert (await engine.counts()).running == 1

    assert await drain(engine, Log(meanwhile)) == ["a"]


async def test_a_job_that_takes_longer_than_a_hold_stays_its_workers(bench: EmbeddedBench) -> None:
    bench.queue = attrs.evolve(bench.queue, hold=timedelta(milliseconds=30))
    engine, other = await bench.engine(), await bench.engine()
    await engine.submit(await bench.job("a"))

    async def takes_long(_: Job) -> None:
        for _ in range(5):
            # the beats go by the loop's time, and the clock stands between them
            await asyncio.sleep(0.02)
            await bench.pass_by(0.02)
        assert await drain(other) == []

    bench.clock.time = NOW
    assert await drain(engine, Log(takes_long)) == ["a"]


async def test_the_job_of_a_worker_whose_loop_is_stuck_is_taken_by_another(tmp_path: Path, stores_in: Any) -> None:
    bench = EmbeddedBench(stores_in(tmp_path, None))  # a file's store can be used from another loop
    stuck, release = threading.Event(), threading.Event()
    bench.queue = attrs.evolve(bench.queue, hold=timedelta(milliseconds=30))
    engine, other = await bench.engine(), await bench.engine()
    await engine.submit(await bench.job("a"))
    runs: list[str] = []

    def block() -> None:
        async def never_ends(_: Job) -> None:
            runs.append("stuck")
            stuck.set()
            release.wait()

        asyncio.run(engine.run(never_ends, concurrency=1, until_empty=True))

    thread = threading.Thread(target=block)
    thread.start()
    await asyncio.to_thread(stuck.wait)
    await bench.pass_by(0.05)
    runs += await drain(other)
    release.set()
    await asyncio.to_thread(thread.join)
    assert runs == ["stuck", "a"]


async def test_nothing_is_kept_of_a_connection_that_is_not_there(bench: EmbeddedBench) -> None:
    engine = await bench.engine()
    job = attrs.evolve(await bench.job("a"), connection_id="gone")
    assert await engine.submit(job) == 0
    assert await drain(engine) == []


async def test_a_lane_that_rests_is_left_alone_and_the_others_are_not(bench: EmbeddedBench) -> None:
    engine = await bench.engine()
    await engine.submit(*[await bench.job(f"slow {n}", provider="slow") for n in range(5)])
    await engine.submit(*[await bench.job(f"quick {n}", provider="quick") for n in range(5)])

    def limited(job: Job) -> None:
        if job.provider == "slow":
            raise Defer(bench.now() + timedelta(minutes=1), lane=True)

    begun = await drain(engine, Log(limited), concurrency=1)
    assert len([name for name in begun if name.startswith("slow")]) == 1
    assert len([name for name in begun if name.startswith("quick")]) == 5


@pytest.mark.parametrize("looks_meanwhile", [False, True])
async def test_what_was_promised_an_instant_comes_back_then_and_is_not_looked_for(
    bench: EmbeddedBench, monkeypatch: pytest.MonkeyPatch, looks_meanwhile: bool
) -> None:
    bench.queue = attrs.evolve(bench.queue, look_every=timedelta(hours=1))
    engine = await bench.engine()
    await engine.submit(await bench.job("a"), await bench.job("b"))
    back, again, looks, has_looked = asyncio.Event(), asyncio.Event(), 0, asyncio.Event()
    put_back, ready = type(engine._table).put_back, type(engine._table).ready

    async def told(*what: Any) -> None:
        await put_back(*what)
        back.set()

    async def looked(*what: Any) -> Any:
        nonlocal looks
        looks += 1
        has_looked.set()
        return await ready(*what)

    monkeypatch.setattr(type(engine._table), "put_back", told)
    monkeypatch.setattr(type(engine._table), "ready", looked)

    async def limited(job: Job) -> None:
        if handler.names.count(job.connection_id) == 2:
            again.set()
        elif job.connection_id == "a":
            raise Defer(bench.now() + timedelta(minutes=1), promised=True)
        else:
            await again.wait()

    handler = Log(limited)
    running = asyncio.create_task(engine.run(handler, concurrency=5))
    await asyncio.wait_for(back.wait(), 30)
    assert engine._shift is not None
    if looks_meanwhile:
        has_looked.clear()
        engine._shift.look()
        await asyncio.wait_for(has_looked.wait(), 30)
        while engine._shift._looking is not None:  # noqa: ASYNC110  nothing tells its end
            await asyncio.sleep(0.002)
    before = looks
    await bench.pass_by(60)
    engine._shift._news.set()  # the test's clock wakes nobody
    await asyncio.wait_for(again.wait(), 30)
    assert (handler.names, looks) == (["a", "b", "a"], before)
    await ended(running)


async def test_a_worker_does_not_turn_in_circles_while_it_looks(
    bench: EmbeddedBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await bench.engine()
    await engine.submit(await bench.job("a"), await bench.job("b", after=1))
    rests, ready, rest = 0, type(engine._table).ready, shift.Shift._rest

    async def counted(of: shift.Shift) -> None:
        nonlocal rests
        rests += 1
        await rest(of)

    async def slowly(*what: Any) -> Any:
        if engine._shift is not None and engine._shift._tasks:
            await bench.pass_by(2)  # what it expects next is past before it has seen it
            await asyncio.sleep(0.05)
        return await ready(*what)

    monkeypatch.setattr(shift.Shift, "_rest", counted)
    monkeypatch.setattr(type(engine._table), "ready", slowly)
    b = asyncio.Event()

    async def waits(job: Job) -> None:
        if job.connection_id == "b":
            b.set()
        await b.wait()

    running = asyncio.create_task(engine.run(Log(waits), concurrency=5))
    await asyncio.wait_for(b.wait(), 30)
    assert rests < 100
    await ended(running)


async def test_a_worker_that_has_more_to_do_than_it_can_begins_no_more_for_a_while(
    bench: EmbeddedBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, full, go_on, empty = await bench.engine(), *(asyncio.Event() for _ in range(3))
    await engine.submit(*[await bench.job(f"{n:02}") for n in range(40)])
    # any answer of the store is a slow one, and the rest after it does not end
    monkeypatch.setattr(shift, "_BUSY", -1.0)
    monkeypatch.setattr(shift, "_RESTS_PER_BUSY", 10**6)
    monkeypatch.setattr(shift, "_LONGEST_BUSY_REST", 3600.0)

    async def waits(_: Job) -> None:
        if handler.running == shift._BEGUN_AT_ONCE:
            full.set()
        await go_on.wait()
        if handler.running == 1:
            empty.set()

    handler = Log(waits)
    running = asyncio.create_task(engine.run(handler, concurrency=100))
    await asyncio.wait_for(full.wait(), 30)
    go_on.set()
    await asyncio.wait_for(empty.wait(), 30)
    await asyncio.sleep(0.02)  # it looks for jobs several times meanwhile
    assert len(handler.names) == shift._BEGUN_AT_ONCE
    await ended(running)


async def test_a_worker_that_was_too_busy_begins_the_rest_by_itself(
    bench: EmbeddedBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await bench.engine()
    await engine.submit(*[await bench.job(f"{n:02}") for n in range(70)])
    monkeypatch.setattr(shift, "_BUSY", -1.0)
    monkeypatch.setattr(shift, "_LONGEST_BUSY_REST", 0.001)
    assert sorted(await drain(engine, concurrency=100)) == [f"{n:02}" for n in range(70)]


async def test_a_job_that_is_for_another_worker_is_not_taken_at_once_by_the_same(
    bench: EmbeddedBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, other = await bench.engine(), await bench.engine()
    await engine.submit(await bench.job("a"))
    back = asyncio.Event()
    put_back = type(engine._table).put_back

    async def told(*what: Any) -> None:
        await put_back(*what)
        back.set()

    monkeypatch.setattr(type(engine._table), "put_back", told)

    def elsewhere(_: Job) -> None:
        raise Defer(bench.now(), elsewhere=True)

    handler = Log(elsewhere)
    running = asyncio.create_task(engine.run(handler, concurrency=1))
    await asyncio.wait_for(back.wait(), 30)
    await asyncio.sleep(0.02)  # the worker looks for jobs several times meanwhile
    assert await drain(other) == ["a"]
    await ended(running)
    assert handler.names == ["a"]


async def test_a_store_that_is_away_for_a_while_ends_no_worker(
    bench: EmbeddedBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, other = await bench.engine(), await bench.engine()
    begun, failures = asyncio.Event(), 0
    ready = type(engine._table).ready

    async def away(self: Any, now: Any) -> Any:
        nonlocal failures
        if self == engine._table and failures < 3:
            failures += 1
            raise StoreError("The store is away.")
        return await ready(self, now)

    monkeypatch.setattr(type(engine._table), "ready", away)
    running = asyncio.create_task(engine.run(Log(lambda _: begun.set()), concurrency=1))
    await other.submit(await bench.job("a"))
    await asyncio.wait_for(begun.wait(), 30)
    assert failures == 3
    await ended(running)


async def test_what_was_just_taken_by_a_worker_that_is_cancelled_is_there_for_others_at_once(
    bench: EmbeddedBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, other = await bench.engine(), await bench.engine()
    await engine.submit(await bench.job("a"))
    taken = asyncio.Event()
    take = type(engine._table).take

    async def stays(*what: Any) -> Any:
        await take(*what)
        taken.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(type(engine._table), "take", stays)
    running = asyncio.create_task(engine.run(Log(), concurrency=1))
    await asyncio.wait_for(taken.wait(), 30)
    monkeypatch.undo()
    await ended(running)
    assert await drain(other) == ["a"]


async def test_an_end_that_the_store_did_not_hear_of_costs_a_hold_and_no_job(
    bench: EmbeddedBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await bench.engine()
    await engine.submit(await bench.job("a"))

    async def away(*_: Any) -> None:
        raise StoreError("The store is away.")

    monkeypatch.setattr(type(engine._table), "end", away)
    assert await drain(engine) == ["a"]
    monkeypatch.undo()
    await bench.pass_by(bench.queue.hold.total_seconds())
    assert await drain(engine) == ["a"]
