"""What nobody could read in time is told, also of a connection that is not read at all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from brokersync import BrokerAuthError, BrokerSync
from brokersync.config import RetrySettings
from brokersync.events import Event, HistoryLost, SyncFailed, SyncRecorded
from brokersync.plugin import AuthResult, BrokerNotReadyError, BrokerTokenExpiredError, BrokerUnavailableError
from brokersync.records import Connection, ConnectionState, Deferred, Done, Lease, SpanState
from brokersync.sandboxes import SandboxSettings
from brokersync.store import Known
from brokersync.sync.ledger import read_windows, subtract
from brokersync.testing import run_sandbox

from .broker import MANIFEST, NOW, Desk, VirtualClock, open_desk

DAY = timedelta(days=1)
MIDNIGHT = NOW.replace(hour=0) + DAY


def refused(user: str) -> BrokerAuthError:
    return BrokerAuthError("The password was changed.", remedy="Give the new one.")


def told(desk: Desk) -> list[tuple[datetime, datetime]]:
    return [(event.window.start, event.window.end) for event in desk.heard(HistoryLost)]


async def hours(desk: Desk, number: int) -> None:
    for _ in range(number):
        desk.clock.advance(hours=1)
        await desk.bs.run_due()


async def lost(desk: Desk) -> list[tuple[datetime, datetime]]:
    (spans,) = (await desk.bs.coverage("alice", "toy", "fills")).values()
    return [(one.window.start, one.window.end) for one in spans if one.state is SpanState.LOST]


@pytest.mark.parametrize("read_before", [True, False])
async def test_sessions_that_end_while_the_user_does_not_log_in_are_lost_and_each_is_told_once(
    tmp_path: Path, read_before: bool
) -> None:
    desk = open_desk(tmp_path, retention="session")
    async with desk.bs:
        (name,) = await desk.connect("ann")
        if read_before:
            await desk.bs.run_due()
        desk.broker.failing = refused
        await hours(desk, 63)
        assert (await desk.bs.connection(name)).state is ConnectionState.NEEDS_USER
        first = NOW if read_before else NOW.replace(hour=0)
        assert told(desk) == [(first, MIDNIGHT), (MIDNIGHT, MIDNIGHT + DAY), (MIDNIGHT + DAY, MIDNIGHT + 2 * DAY)]
        assert await lost(desk) == [(first, MIDNIGHT + 2 * DAY)]
        asked = len(desk.broker.asked)
        desk.broker.failing = lambda user: None
        await desk.bs.run(name)
        assert (len(desk.broker.asked), len(told(desk))) == (asked + 1, 3)


def away(user: str) -> BrokerUnavailableError:
    return BrokerUnavailableError("503")


def dead_token(user: str) -> BrokerTokenExpiredError:
    return BrokerTokenExpiredError("The token is not valid.")


async def paused(desk: Desk, name: str) -> None:
    await desk.bs.pause(name)


async def in_an_incident(desk: Desk, name: str) -> None:
    desk.broker.failing = away
    for _ in range(3):
        await desk.bs.run(name)
        desk.clock.advance(minutes=10)
    assert await desk.bs.incidents(open_only=True)


async def whose_token_is_refused(desk: Desk, name: str) -> None:
    desk.broker.failing = dead_token


async def whose_login_is_refused(desk: Desk, name: str) -> None:
    desk.broker.failing = refused


async def whose_token_can_not_be_renewed(desk: Desk, name: str) -> None:
    def renewal(auth: AuthResult) -> AuthResult:
        raise BrokerUnavailableError("503")

    desk.broker.failing, desk.broker.renewal = dead_token, renewal


@pytest.mark.parametrize(
    "kept_from_reading",
    [paused, in_an_incident, whose_token_is_refused, whose_login_is_refused, whose_token_can_not_be_renewed],
)
async def test_a_single_run_that_reads_nothing_tells_what_is_lost_by_then(
    tmp_path: Path, kept_from_reading: Callable[[Desk, str], Awaitable[None]]
) -> None:
    unprobed = {"first_probe": 30 * DAY, "longest_probe": 30 * DAY}
    desk = open_desk(tmp_path, retention="session", retry=RetrySettings(attempts=1), **unprobed)
    async with desk.bs:
        (name,) = await desk.connect("ann")
        await desk.bs.run(name)
        await kept_from_reading(desk, name)
        desk.clock.advance(hours=15)
        assert told(desk) == []
        for _ in range(3):
            with suppress(BrokerAuthError):
                await desk.bs.run(name)
            assert told(desk) == [(NOW, MIDNIGHT)]
            desk.clock.advance(minutes=10)
        records = [event.report.lost for event in desk.heard(SyncRecorded)]
        assert sum(map(len, records)) == 1
        await desk.bs.run_due()
        assert told(desk) == [(NOW, MIDNIGHT)]


async def test_what_is_lost_is_left_to_the_worker_that_has_taken_over_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = open_desk(tmp_path, retention="session")
    async with desk.bs:
        (name,) = await desk.connect("ann")
        await desk.bs.run(name)
        await desk.bs.pause(name)
        desk.clock.advance(hours=15)
        take = desk.bs._store.take_lease

        async def stand_still(lease: str, **facts: Any) -> Lease:
            taken = await take(lease, **facts)
            desk.clock.advance(hours=1)
            now = desk.clock.now()
            await take(lease, owner="alice", holder="another", now=now, until=now + timedelta(minutes=1))
            return taken

        monkeypatch.setattr(desk.bs._store, "take_lease", stand_still)
        assert isinstance(await desk.bs.run(name), Deferred)
        assert told(desk) == []
        monkeypatch.undo()
        desk.clock.advance(minutes=2)
        await desk.bs.run(name)
        assert told(desk) == [(NOW, MIDNIGHT)]


async def test_what_a_paused_connection_loses_is_told_too(tmp_path: Path) -> None:
    desk = open_desk(tmp_path, retention="session")
    async with desk.bs:
        (name,) = await desk.connect("ann")
        await desk.bs.run_due()
        await desk.bs.pause(name)
        await hours(desk, 24)
        assert told(desk) == [(NOW, MIDNIGHT)]
        assert len(desk.broker.asked) == 1


async def test_what_goes_wrong_with_the_losses_of_one_connection_keeps_no_other_from_being_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = open_desk(tmp_path, retention="session")
    async with desk.bs:
        first, second, third = await desk.connect("ann", "bob", "eve")
        await desk.bs.run_due()
        for name in (first, second):
            await desk.bs.pause(name)
        known = desk.bs._store.known

        async def broken(connection: Connection, source: str) -> Known:
            if connection.connection_id == first:
                raise ValueError("a bug")
            return await known(connection, source)

        monkeypatch.setattr(desk.bs._store, "known", broken)
        desk.clock.advance(hours=24)
        ends = await desk.bs.run_due()
        assert {name: type(end) for name, end in ends.items()} == {first: ValueError, third: Done}
        assert {event.connection_id for event in desk.heard(HistoryLost)} == {second, third}
        assert [(event.connection_id, event.error) for event in desk.heard(SyncFailed)] == [(first, "ValueError")]
        monkeypatch.undo()
        await desk.bs.run_due()
        assert {event.connection_id for event in desk.heard(HistoryLost)} == {first, second, third}


async def test_a_connection_that_is_read_in_time_loses_nothing(tmp_path: Path) -> None:
    desk = open_desk(tmp_path, retention="limited")
    async with desk.bs:
        await desk.connect("ann")
        await hours(desk, 24 * 12)
        assert told(desk) == []


async def test_the_end_of_each_session_is_no_loss_where_a_report_gives_it_the_next_day(tmp_path: Path) -> None:
    clock, events = VirtualClock(datetime(2026, 6, 9, 15, tzinfo=UTC)), list[Event]()
    simulated = SandboxSettings(now=clock.now, days=20, logins=1, think=timedelta(0), keeps_limits=False)
    async with (
        run_sandbox("tradovate", settings=simulated) as sandbox,
        BrokerSync.open(tmp_path / "s.db", settings=sandbox.settings(), clock=clock, events=events.append) as bs,
    ):
        login = sandbox.logins[0]
        await bs.connect("tradovate", owner="me", fields=login.fields, environment=login.environment)
        for _ in range(2 * 72):
            await bs.run_due()
            clock.advance(minutes=30)
        session = await bs.coverage("me", "tradovate", "session")
        reports = await bs.coverage("me", "tradovate", "reports")
        lost = [(key, one) for key, spans in session.items() for one in spans if one.state is SpanState.LOST]
        assert len(lost) == 3 * len(session), "what comes after the last reading of a session"
        assert all(subtract([one.window], read_windows(reports[key])) == [] for key, one in lost)
        assert [event for event in events if type(event) is HistoryLost] == []


async def minutes_until(desk: Desk, moment: datetime) -> None:
    while desk.clock.now() < moment:
        await desk.bs.run_due()
        desk.clock.advance(minutes=5)


async def test_a_session_is_read_before_it_ends_after_an_outage_for_which_its_user_was_asked(tmp_path: Path) -> None:
    desk = open_desk(tmp_path, retention="session")
    outage = (NOW + timedelta(hours=6), NOW + timedelta(hours=7))
    async with desk.bs:
        (name,) = await desk.connect("ann")
        desk.broker.failing = lambda user: dead_token(user) if outage[0] <= desk.clock.now() < outage[1] else None
        await minutes_until(desk, outage[1])
        assert (await desk.bs.connection(name)).state is ConnectionState.NEEDS_USER
        await minutes_until(desk, MIDNIGHT + timedelta(hours=1))
        assert (await desk.bs.connection(name)).state is ConnectionState.ACTIVE
    # the few minutes after the last look
    assert [start >= MIDNIGHT - timedelta(minutes=30) for start, _ in told(desk)] == [True] * len(told(desk))


async def test_a_login_that_a_late_worker_tried_after_one_session_is_tried_before_the_end_of_the_next(
    tmp_path: Path,
) -> None:
    desk = open_desk(tmp_path, retention="session")
    async with desk.bs:
        (name,) = await desk.connect("ann")
        desk.broker.failing = dead_token
        await minutes_until(desk, MIDNIGHT - timedelta(minutes=10))
        desk.clock.advance(minutes=20)
        await desk.bs.run_due()
        known = await desk.bs.connection(name)
        assert (known.state, known.deadline) == (ConnectionState.NEEDS_USER, MIDNIGHT + DAY)
        assert known.next_at == MIDNIGHT + DAY - timedelta(minutes=30)


async def test_what_the_broker_puts_off_for_one_account_does_not_keep_another_waiting_beyond_its_deadline(
    tmp_path: Path,
) -> None:
    manifest = MANIFEST.replace('scope = "login"', 'scope = "account"')
    desk = open_desk(tmp_path, retention="session", manifest=manifest)
    desk.broker.accounts = lambda user: ("a", "b")
    later = BrokerNotReadyError("Not yet.", retry_after=timedelta(hours=40))
    desk.broker.refused = lambda account: later if account == "b" else None
    async with desk.bs:
        await desk.connect("ann")
        await minutes_until(desk, MIDNIGHT)
    # as often as any session, though the other account may be asked again in 40 hours only
    assert len(desk.broker.asked) >= 4
    assert told(desk) == []


async def test_the_accounts_that_are_known_are_read_though_the_plugin_can_not_list_them(tmp_path: Path) -> None:
    desk = open_desk(tmp_path, manifest=MANIFEST.replace('scope = "login"', 'scope = "account"'))
    async with desk.bs:
        (name,) = await desk.connect("ann")

        def broken(user: str) -> tuple[str]:
            raise ValueError("a row that the plugin does not know")

        desk.broker.accounts = broken
        outcome = await desk.bs.run(name)
        assert isinstance(outcome, Done)
        assert outcome.report.added == 2
        assert [problem["error"] for problem in outcome.report.problems] == ["BrokerPluginError"]


async def test_nobody_is_asked_again_before_the_time_that_the_broker_told(tmp_path: Path) -> None:
    manifest = MANIFEST.replace('scope = "login"', 'scope = "account"')
    desk = open_desk(tmp_path, retention="session", manifest=manifest)
    desk.broker.accounts = lambda user: ("a", "b")
    asked: list[datetime] = []

    def puts_off(account: str) -> BrokerUnavailableError | None:
        if account != "b":
            return None
        asked.append(desk.clock.now())
        return BrokerUnavailableError("503", retry_after=timedelta(hours=40))

    desk.broker.refused = puts_off
    async with desk.bs:
        (name,) = await desk.connect("ann")
        await minutes_until(desk, NOW + timedelta(hours=39))
        await desk.bs.run(name)
        assert asked == [NOW]
        await minutes_until(desk, NOW + timedelta(hours=41))
        assert [moment - NOW >= timedelta(hours=40) for moment in asked] == [False, True]


async def test_a_time_far_away_is_not_believed_for_ever(tmp_path: Path) -> None:
    desk = open_desk(tmp_path, manifest=MANIFEST.replace('scope = "login"', 'scope = "account"'))
    desk.broker.accounts = lambda user: ("a", "b")
    asked: list[datetime] = []

    def puts_off(account: str) -> BrokerUnavailableError | None:
        asked.extend([desk.clock.now()] if account == "b" else [])
        return BrokerUnavailableError("503", retry_after=timedelta(days=400)) if account == "b" else None

    desk.broker.refused = puts_off
    async with desk.bs:
        await desk.connect("ann")
        for _ in range(9 * 4):
            await desk.bs.run_due()
            desk.clock.advance(hours=6)
    assert [moment - NOW for moment in asked] == [timedelta(0), timedelta(days=7)]
