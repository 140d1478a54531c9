"""What a worker does with a job whose turn has come."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import attrs
import pytest

from brokersync.config import BrokerSettings, FleetSettings, QueueSettings, Settings
from brokersync.errors import BrokerAPIError, BrokerNotInstalledError
from brokersync.events import EventSink, JobStuck, SyncStarted, no_events
from brokersync.jobs import Job
from brokersync.maintenance import MaintenanceWindow
from brokersync.queue.engine import Defer
from brokersync.queue.handling import JobHandler
from brokersync.queue.planner import job_of
from brokersync.records import Connection, ConnectionState, Deferred, Done, SyncReport

from .benches import NOW, TestClock

HOUR = timedelta(hours=1)
ONE = Connection(
    connection_id="c", owner="me", provider="paper", environment="live", label="", identity="me", created_at=NOW
)
REPORT = SyncReport(owner="me", provider="paper", connection_id="c", started_at=NOW)
ASKED, ROUTINE = job_of(ONE, NOW, asked=True), job_of(ONE, NOW)

NO_WAITS = {"long_wait": timedelta(0), "page_wait": timedelta(0)}


class Stage:
    """A handler, the connection that its store holds, and what it heard."""

    def __init__(self, connection: Connection | None = ONE, **settings: Any) -> None:
        self.connection, self.heard, self.runs = connection, list[Any](), 0
        self.outcome: Any = Done(report=REPORT)
        self.maintenance: tuple[MaintenanceWindow, ...] | None = ()
        store = SimpleNamespace(connection=self._connection, move_connection=self._move)
        shared: Any = SimpleNamespace(
            store=store,
            clock=TestClock(),
            settings=Settings(**settings),
            registry=SimpleNamespace(manifest=self._manifest),
            events=self.heard.append,
            runs={},
        )
        self.handler = JobHandler(shared, self._run, no_events)

    def _manifest(self, _: str) -> Any:
        if self.maintenance is None:
            raise BrokerNotInstalledError("It is not installed.")
        return SimpleNamespace(maintenance=self.maintenance)

    async def _connection(self, _: str) -> Connection | None:
        return self.connection

    async def _move(self, _: str, rule: Any) -> None:
        self.connection = rule(self.connection)

    async def _run(self, connection: Connection, job: Job, events: EventSink) -> Done | Deferred:
        self.runs += 1
        outcome = self.outcome
        if asyncio.iscoroutinefunction(outcome):
            outcome = await outcome(events)
        if isinstance(outcome, Exception):
            raise outcome
        done: Done | Deferred = outcome
        return done

    async def deferred(self, job: Job = ROUTINE) -> Defer:
        with pytest.raises(Defer) as raised:
            await self.handler(job)
        return raised.value


def later(until: datetime = NOW + HOUR, **facts: Any) -> Deferred:
    return Deferred(until=until, reason="", report=REPORT, **facts)


@pytest.mark.parametrize("connection", [None, attrs.evolve(ONE, state=ConnectionState.PAUSED)])
async def test_a_connection_that_is_gone_or_paused_is_left_alone(connection: Connection | None) -> None:
    stage = Stage(connection)
    await stage.handler(ASKED)
    assert stage.runs == 0


async def test_a_routine_job_of_what_was_synced_meanwhile_comes_back_when_it_is_due() -> None:
    stage = Stage(attrs.evolve(ONE, next_at=NOW + HOUR))
    assert (await stage.deferred()).until == NOW + HOUR
    assert stage.runs == 0
    await stage.handler(ASKED)
    assert stage.runs == 1


async def test_what_waits_for_its_user_is_run_only_when_it_is_asked_for() -> None:
    stage = Stage(attrs.evolve(ONE, state=ConnectionState.NEEDS_USER))
    await stage.handler(ROUTINE)
    assert stage.runs == 0
    await stage.handler(ASKED)
    assert stage.runs == 1


async def test_an_error_of_the_broker_ends_the_job_and_changes_nothing() -> None:
    stage = Stage()
    stage.outcome = BrokerAPIError("No.")
    await stage.handler(ROUTINE)
    assert stage.connection == ONE


async def test_a_bug_is_told_and_when_it_is_met_again_says_the_run() -> None:
    stage = Stage()
    stage.outcome = RuntimeError()
    with pytest.raises(RuntimeError):
        await stage.handler(ROUTINE)
    assert stage.connection == ONE


async def test_a_limit_that_all_share_has_the_lane_rest_unless_a_redis_promises_each_its_instant() -> None:
    stage, fleet = Stage(), Stage(fleet=FleetSettings(redis="redis://localhost"))
    stage.outcome = fleet.outcome = later(for_all=True)
    assert ((await stage.deferred()).lane, (await fleet.deferred()).lane) == (True, False)
    stage.outcome = later()
    assert not (await stage.deferred()).lane


async def test_what_shows_no_sign_for_too_long_is_told_and_left_to_another_worker() -> None:
    stage = Stage(queue=QueueSettings(stuck_after=timedelta(milliseconds=20)), **NO_WAITS)

    async def hang(_: EventSink) -> None:
        await asyncio.Event().wait()

    stage.outcome = hang
    assert (await stage.deferred()).elsewhere
    assert isinstance(stage.heard[0], JobStuck)
    assert stage.connection == ONE


async def test_what_takes_long_and_shows_signs_is_left_alone() -> None:
    stage = Stage(queue=QueueSettings(stuck_after=timedelta(seconds=1)), **NO_WAITS)

    async def slow(events: EventSink) -> Done:
        for _ in range(30):
            await asyncio.sleep(0.05)
            events(SyncStarted(provider="paper", connection_id="c", owner="me"))
        return Done(report=REPORT)

    stage.outcome = slow
    await stage.handler(ROUTINE)
    assert stage.heard == []


async def test_a_time_limit_of_the_syncs_own_is_no_sign_of_being_stuck() -> None:
    stage = Stage()
    stage.outcome = TimeoutError()
    with pytest.raises(TimeoutError):
        await stage.handler(ROUTINE)
    assert stage.heard == []


CLOSED = MaintenanceWindow(start="08:00", end="11:00")  # it is nine


@pytest.mark.parametrize("job", [ASKED, ROUTINE])
async def test_a_broker_that_is_closed_for_maintenance_is_asked_when_it_opens(job: Job) -> None:
    stage = Stage()
    stage.maintenance = (CLOSED,)
    until = (await stage.deferred(job)).until
    assert NOW + 2 * HOUR <= until < NOW + 2 * HOUR + timedelta(minutes=1)
    assert stage.runs == 0


async def test_the_operators_word_on_maintenance_is_above_the_plugins() -> None:
    never, always = BrokerSettings(maintenance=()), BrokerSettings(maintenance=(CLOSED,))
    stage = Stage(brokers={"paper": never})
    stage.maintenance = (CLOSED,)
    await stage.handler(ROUTINE)
    assert stage.runs == 1
    await Stage(brokers={"paper": always}).deferred()


async def test_a_plugin_that_is_missing_is_for_the_sync_to_tell() -> None:
    stage = Stage()
    stage.maintenance = None
    await stage.handler(ROUTINE)
    assert stage.runs == 1


async def test_what_was_about_to_begin_when_the_worker_was_stopped_ends_with_its_first_sign_of_life() -> None:
    stage = Stage()
    stops: list[bool] = []
    run = SimpleNamespace(stop=lambda *, go_on: stops.append(go_on))

    async def begins(events: EventSink) -> Done:
        stage.handler.hand_over()
        assert stops == []
        stage.handler._shared.runs["c"] = run
        events(SyncStarted(provider="paper", connection_id="c", owner="me"))
        return Done(report=REPORT)

    stage.outcome = begins
    await stage.handler(ROUTINE)
    assert stops == [True]


async def test_stopping_a_worker_leaves_syncs_alone_that_it_does_not_run() -> None:
    stage = Stage()
    stops: list[bool] = []
    stage.handler._shared.runs["another"] = SimpleNamespace(stop=lambda *, go_on: stops.append(go_on))  # type: ignore[assignment]  # enough of a run
    stage.handler.hand_over()
    assert stops == []
