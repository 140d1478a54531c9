"""What every engine does, whatever keeps its jobs."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from brokersync.jobs import Job, JobCounts
from brokersync.queue.engine import Defer

from .benches import Bench, Log, drain, ended


async def test_a_job_that_is_submitted_is_run_once(bench: Bench) -> None:
    engine = await bench.engine()
    job = await bench.job("a")
    assert await engine.submit(job) == 1
    assert (await engine.counts()).ready == 1
    handler = Log()
    assert await drain(engine, handler) == ["a"]
    assert (handler.jobs[0].owner, handler.jobs[0].lane) == ("me", "paper|live")
    assert await drain(engine) == []
    assert await engine.counts() == JobCounts()


async def test_asking_again_for_what_waits_adds_nothing(bench: Bench) -> None:
    engine, other = await bench.engine(), await bench.engine()
    job = await bench.job("a")
    assert await engine.submit(job, await bench.job("b")) == 2
    assert await other.submit(job) == 0
    assert sorted(await drain(other)) == ["a", "b"]


async def test_what_has_ended_may_be_asked_for_again(bench: Bench) -> None:
    engine = await bench.engine()
    job = await bench.job("a")
    for _ in range(3):
        assert await engine.submit(job) == 1
        assert await drain(engine) == ["a"]


async def test_asking_again_for_what_runs_runs_it_no_second_time(bench: Bench) -> None:
    engine = await bench.engine()
    job = await bench.job("a")

    async def ask_again(_: Job) -> None:
        assert await engine.submit(job) == 0

    await engine.submit(job)
    assert await drain(engine, Log(ask_again)) == ["a"]


async def test_a_job_begins_when_it_may_and_not_before(bench: Bench) -> None:
    engine = await bench.engine()
    await engine.submit(await bench.job("later", after=2))
    assert (await engine.counts()).later == 1
    assert await drain(engine) == []
    await bench.pass_by(2)
    assert await drain(engine) == ["later"]


async def test_asking_again_brings_a_job_forward_and_never_puts_it_off(bench: Bench) -> None:
    engine = await bench.engine()
    await engine.submit(await bench.job("a", after=3600))
    await engine.submit(await bench.job("a", asked=True))
    await engine.submit(await bench.job("a", after=3600))
    handler = Log()
    assert await drain(engine, handler) == ["a"]
    assert handler.jobs[0].asked


async def test_a_deferred_job_comes_back_at_its_time_and_counts_as_no_failure(bench: Bench) -> None:
    engine = await bench.engine()
    await engine.submit(await bench.job("a", asked=True))
    until = bench.now() + timedelta(seconds=2)

    def wait(_: Job) -> None:
        raise Defer(until)

    assert await drain(engine, Log(wait)) == ["a"]
    assert await drain(engine) == []
    assert (await engine.counts()).later == 1
    await bench.pass_by(2.1)
    handler = Log()
    assert await drain(engine, handler) == ["a"]
    assert handler.jobs[0].asked, "whoever asked for it waits still"


async def test_a_deferred_job_is_begun_by_an_engine_that_runs_on(bench: Bench) -> None:
    engine = await bench.engine()
    until, again = bench.now() + timedelta(seconds=0.1), asyncio.Event()

    def wait_once(_: Job) -> None:
        if len(handler.names) == 1:
            raise Defer(until)
        assert bench.now() >= until
        again.set()

    handler = Log(wait_once)
    await engine.submit(await bench.job("a"))
    running = asyncio.create_task(engine.run(handler, concurrency=2))
    await asyncio.wait_for(handler.begun.wait(), 30)
    await bench.pass_by(0.1)
    await asyncio.wait_for(again.wait(), 30)
    engine.stop()
    await asyncio.wait_for(running, 30)
    assert handler.names == ["a", "a"]


async def test_a_handler_that_raises_has_done_its_job_and_harms_no_other(bench: Bench) -> None:
    engine = await bench.engine()
    await engine.submit(*[await bench.job(name) for name in ("a", "b", "c")])

    def break_on_b(job: Job) -> None:
        if job.connection_id == "b":
            raise RuntimeError("a bug")

    assert sorted(await drain(engine, Log(break_on_b))) == ["a", "b", "c"]
    assert await drain(engine) == []


async def test_no_more_run_at_a_time_than_was_said(bench: Bench) -> None:
    engine = await bench.engine()
    await engine.submit(*[await bench.job(f"{number}") for number in range(12)])
    handler = Log(lambda _: asyncio.sleep(0.001))
    assert len(await drain(engine, handler, concurrency=3)) == 12
    assert handler.most <= 3


async def test_what_is_submitted_while_an_engine_runs_is_begun(bench: Bench) -> None:
    engine, other = await bench.engine(), await bench.engine()
    begun = asyncio.Event()
    running = asyncio.create_task(engine.run(Log(lambda _: begun.set()), concurrency=2))
    await other.submit(await bench.job("a"))
    await asyncio.wait_for(begun.wait(), 30)
    engine.stop()
    await asyncio.wait_for(running, 30)


async def test_what_waits_for_its_time_is_begun_then_by_whoever_runs(bench: Bench) -> None:
    engine, other = await bench.engine(), await bench.engine()
    handler = Log()
    running = asyncio.create_task(engine.run(handler, concurrency=2))
    await other.submit(await bench.job("a", after=0.1), await bench.job("b", after=3600))
    await bench.pass_by(0.1)
    await asyncio.wait_for(handler.begun.wait(), 30)
    assert handler.names == ["a"]
    await ended(running)


async def test_what_is_brought_forward_is_begun_by_whoever_runs(bench: Bench) -> None:
    engine, other = await bench.engine(), await bench.engine()
    await other.submit(await bench.job("a", after=3600))
    handler = Log()
    running = asyncio.create_task(engine.run(handler, concurrency=2))
    await other.submit(await bench.job("a", asked=True))
    await asyncio.wait_for(handler.begun.wait(), 30)
    assert handler.jobs[0].asked
    await ended(running)


async def test_a_job_that_is_cancelled_never_begins(bench: Bench) -> None:
    engine = await bench.engine()
    await engine.submit(await bench.job("a"), await bench.job("b", after=3600))
    assert await engine.cancel("a")
    assert await engine.cancel("b")
    assert not await engine.cancel("a")
    assert not await engine.cancel("never heard of")
    assert await drain(engine) == []


async def test_a_job_that_runs_is_not_cancelled(bench: Bench) -> None:
    engine = await bench.engine()

    async def cancel(job: Job) -> None:
        assert not await engine.cancel(job.connection_id)

    await engine.submit(await bench.job("a"))
    assert await drain(engine, Log(cancel)) == ["a"]


async def test_stopping_lets_what_runs_end_and_begins_nothing_more(bench: Bench) -> None:
    engine = await bench.engine()
    await engine.submit(*[await bench.job(name) for name in ("a", "b", "c")])
    stopped, finished = asyncio.Event(), []

    async def wait(job: Job) -> None:
        engine.stop()
        await stopped.wait()
        finished.append(job.connection_id)

    handler = Log(wait)
    running = asyncio.create_task(engine.run(handler, concurrency=2))
    await asyncio.wait_for(handler.begun.wait(), 30)
    stopped.set()
    await asyncio.wait_for(running, 30)
    assert sorted(finished) == sorted(handler.names)
    assert len(await drain(engine)) == 3 - len(finished)


async def test_what_is_cancelled_in_the_middle_is_there_for_others_at_once(bench: Bench) -> None:
    engine, other = await bench.engine(), await bench.engine()
    await engine.submit(await bench.job("a"))
    handler = Log(lambda _: asyncio.Event().wait())
    running = asyncio.create_task(engine.run(handler, concurrency=2))
    await asyncio.wait_for(handler.begun.wait(), 30)
    await ended(running)
    assert await drain(other) == ["a"]


async def test_several_engines_on_one_queue_run_each_job_once(bench: Bench) -> None:
    engines = [await bench.engine() for _ in range(3)]
    names = [f"{number:02}" for number in range(30)]
    await engines[0].submit(*[await bench.job(name, owner=f"owner {name[0]}") for name in names])
    handler = Log(lambda _: asyncio.sleep(0))
    await asyncio.gather(*(engine.run(handler, concurrency=2, until_empty=True) for engine in engines))
    assert sorted(handler.names) == names


async def test_engines_that_run_share_what_another_submits_and_run_each_job_once(bench: Bench) -> None:
    engines = [await bench.engine() for _ in range(3)]
    names = [f"{number:02}" for number in range(30)]
    handler = Log(lambda _: asyncio.sleep(0.001))
    running = [asyncio.create_task(engine.run(handler, concurrency=2)) for engine in engines]
    submitting = await bench.engine()
    await submitting.submit(*[await bench.job(name, owner=f"owner {name[0]}") for name in names])
    async with asyncio.timeout(120):
        while await submitting.counts() != JobCounts():  # noqa: ASYNC110  no event tells of it
            await asyncio.sleep(0.005)
    for task in running:
        await ended(task)
    assert sorted(handler.names) == names


async def test_what_an_engine_leaves_when_it_stops_is_begun_by_another(bench: Bench) -> None:
    engine, other = await bench.engine(), await bench.engine()
    held = asyncio.Event()
    handler, rest = Log(lambda _: held.wait()), Log()
    await engine.submit(await bench.job("a"))
    running = asyncio.create_task(engine.run(handler, concurrency=1))
    await asyncio.wait_for(handler.begun.wait(), 30)
    await other.submit(await bench.job("b"))
    engine.stop()
    going_on = asyncio.create_task(other.run(rest, concurrency=1))
    await asyncio.wait_for(rest.begun.wait(), 30)
    held.set()
    await asyncio.wait_for(running, 30)
    await ended(going_on)
    assert (handler.names, rest.names) == (["a"], ["b"])


async def test_a_job_that_is_for_another_worker_is_begun_by_one(bench: Bench) -> None:
    engine, other = await bench.engine(), await bench.engine()

    def elsewhere(_: Job) -> None:
        raise Defer(bench.now(), elsewhere=True)

    stuck, handler = Log(elsewhere), Log()
    running = asyncio.create_task(engine.run(stuck, concurrency=1))
    await engine.submit(await bench.job("a"))
    await asyncio.wait_for(stuck.begun.wait(), 30)
    also = asyncio.create_task(other.run(handler, concurrency=1))
    await asyncio.wait_for(handler.begun.wait(), 30)
    await ended(running)
    await ended(also)
    assert stuck.names == ["a"]


async def test_nothing_is_left_running_by_an_engine_that_has_ended(bench: Bench) -> None:
    engine, job, tasks = await bench.engine(), await bench.job("a"), asyncio.all_tasks()
    await engine.submit(job)
    await drain(engine)
    handler = Log()
    running = asyncio.create_task(engine.run(handler, concurrency=2))
    await engine.submit(job)
    await asyncio.wait_for(handler.begun.wait(), 30)
    await ended(running)
    await engine.aclose()
    assert asyncio.all_tasks() == tasks


@pytest.mark.parametrize("asked", [True, False])
async def test_what_is_known_of_a_job_reaches_its_handler(bench: Bench, asked: bool) -> None:
    engine = await bench.engine()
    job = await bench.job("a", owner="bob", provider="other", asked=asked, deadline=bench.now() + timedelta(hours=1))
    await engine.submit(job)
    handler = Log()
    await drain(engine, handler)
    assert handler.jobs == [job]
