"""When a sync reads far behind what is covered."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import attrs
import pytest

from brokersync.manifest import Reread, SourceSpec
from brokersync.records import Connection
from brokersync.sync.rereads import again_from

DAY = timedelta(days=1)
START = datetime(2026, 1, 5, 9, tzinfo=UTC)
MONTHLY, YEARLY = Reread(every=30 * DAY, back=90 * DAY), Reread(every=365 * DAY, back=365 * DAY)
SOURCES = [SourceSpec(name="often", precedence=1), SourceSpec(name="books", precedence=2, rereads=(MONTHLY, YEARLY))]
CONNECTION = Connection(
    connection_id="c", owner="me", provider="paper", environment="live", label="", identity="i", created_at=START
)


def due(day: float, synced: float | None) -> datetime | None:
    at = None if synced is None else START + synced * DAY
    return again_from(SOURCES, attrs.evolve(CONNECTION, last_synced_at=at), START + day * DAY)


@pytest.mark.parametrize(("day", "synced"), [(0, None), (29.9, 29), (31.5, 31.1), (59, 58), (364, 363)])
def test_between_its_turns_a_sync_reads_no_more_than_usual(day: float, synced: float | None) -> None:
    assert due(day, synced) is None


@pytest.mark.parametrize(("day", "synced"), [(30, 29), (30.8, 30.5), (45, 20), (31.2, 30.9)])
def test_each_thirtieth_day_or_the_next_time_the_last_ninety_are_read(day: float, synced: float) -> None:
    assert due(day, synced) == START + 30 * DAY - 90 * DAY


def test_once_a_year_the_whole_of_it_is_read() -> None:
    assert due(365, 364) == START
    assert due(366.5, 366.2) is None


def test_who_has_no_such_source_never_reads_farther_back() -> None:
    assert again_from(SOURCES[:1], attrs.evolve(CONNECTION, last_synced_at=START), START + 40 * DAY) is None
