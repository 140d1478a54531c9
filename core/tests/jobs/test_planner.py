"""When a job that is due may begin."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import attrs

from brokersync.config import Settings
from brokersync.maintenance import MaintenanceWindow
from brokersync.queue.planner import planned_at
from brokersync.records import Connection

from .benches import NOW

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
DAILY = Settings(sync_every=timedelta(days=1))
ONE = Connection(
    connection_id="c", owner="me", provider="paper", environment="live", label="", identity="me", created_at=NOW,
    next_at=NOW, last_synced_at=NOW - timedelta(days=1),
)  # fmt: skip


def at(connection: Connection = ONE, settings: Settings = DAILY, **facts: Any) -> timedelta:
    return planned_at(attrs.evolve(connection, **facts), NOW, settings) - NOW


def test_routine_syncs_that_became_due_together_are_spread() -> None:
    offsets = sorted(at(connection_id=f"c{number}") for number in range(500))
    assert timedelta(0) <= offsets[0]
    assert offsets[-1] <= 10 * MINUTE
    per_minute = [sum(n * MINUTE <= one < (n + 1) * MINUTE for one in offsets) for n in range(10)]
    assert min(per_minute) > 25


def test_a_connection_has_the_same_part_each_time() -> None:
    assert at() == at()


def test_what_has_waited_for_longer_than_its_part_begins_now() -> None:
    assert at(next_at=NOW - HOUR) == timedelta(0)


def test_what_was_never_synced_or_has_failed_or_would_be_lost_begins_now() -> None:
    assert at(last_synced_at=None) == timedelta(0)
    assert at(next_at=None) == timedelta(0)
    assert at(failing_since=NOW - HOUR) == timedelta(0)
    assert at(doubted_since=NOW - HOUR) == timedelta(0)
    assert at(deadline=NOW + 3 * HOUR) == timedelta(0)


def test_the_spread_is_a_tenth_of_the_time_between_two_syncs_at_most() -> None:
    often = Settings(sync_every=10 * MINUTE)
    assert max(at(connection_id=f"c{number}", settings=often) for number in range(200)) <= MINUTE


CLOSED = [MaintenanceWindow(start="08:00", end="11:00")]  # it is nine


def test_nothing_begins_in_a_brokers_maintenance_and_not_all_at_once_after_it() -> None:
    at_once = [
        planned_at(attrs.evolve(ONE, connection_id=f"c{number}", last_synced_at=None), NOW, DAILY, CLOSED)
        for number in range(50)
    ]
    opens = NOW + 2 * HOUR
    assert all(opens <= one < opens + MINUTE for one in at_once)
    assert len(set(at_once)) == 50


def test_what_would_be_lost_before_the_broker_opens_again_is_tried_all_the_same() -> None:
    perishing = attrs.evolve(ONE, deadline=NOW + DAILY.perishable_margin)
    assert planned_at(perishing, NOW, DAILY, CLOSED) == NOW


def test_what_would_be_lost_while_the_broker_is_closed_is_tried_once_shortly_before() -> None:
    perishing = attrs.evolve(ONE, deadline=NOW + HOUR)
    capture = NOW + HOUR - DAILY.perishable_margin
    assert capture <= planned_at(perishing, NOW, DAILY, CLOSED) < capture + MINUTE
    later = attrs.evolve(ONE, deadline=NOW + 3 * HOUR)
    assert planned_at(later, NOW, DAILY, CLOSED) >= NOW + 2 * HOUR
