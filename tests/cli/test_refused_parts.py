"""What `status` and `coverage` say of history that a broker refuses, and of a deadline that has passed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from brokersync.records import Connection

Run = Callable[..., Any]


@pytest.fixture
def refused(staged: Any, clock: Any) -> Connection:
    """A connection whose reports the broker refused for a day, and which nobody has synced for a month since."""
    clock.time = datetime.now(UTC) - timedelta(days=30)

    async def make() -> Connection:
        async with staged("tradovate", days=12, think=timedelta(0), keeps_limits=False) as stage:
            fault = {"fault": "permission_denied", "operation": "reports/requestreport", "times": 100_000}
            async with (
                aiohttp.ClientSession() as http,
                http.post(f"{stage.sandbox.base_url}/_sandbox/faults", json=fault) as answer,
            ):
                answer.raise_for_status()
            made = await stage.connect()
            for _ in range(12):
                await stage.bs.run_due()
                clock.time += timedelta(hours=2)
            found: Connection = await stage.bs.connection(made.connection_id)
            return found

    return asyncio.run(make())


def words(text: str) -> str:
    return " ".join(text.split())


def parts(brokersync: Run) -> list[Any]:
    """The windows of one account's reports that fail, in order."""
    (connection,) = brokersync("status", "--json").document["connections"]
    return next(list(one["failing_windows"]) for one in connection["sources"] if one["source"] == "reports")


def test_status_counts_the_parts_that_fail_and_says_when_the_last_of_them_did(
    brokersync: Run, refused: Connection
) -> None:
    failing = parts(brokersync)
    assert len(failing) > 1
    most, last = max(one["failures"] for one in failing), max(one["at"] for one in failing)
    assert most > 1
    assert (
        f"{len(failing)} parts could not be read, one of them in {most} syncs, last on "
        f"{last[:16].replace('T', ' ')} UTC: this login has no right to it"
    ) in words(brokersync("status").out)


@pytest.mark.usefixtures("refused")
def test_coverage_tells_of_what_it_calls_not_read_that_it_was_refused(brokersync: Run) -> None:
    told = words(brokersync("coverage").out)
    assert "not read yet: " in told
    assert "UTC: this login has no right to it; the next sync tries again" in told


@pytest.mark.usefixtures("refused")
def test_a_gap_of_one_source_that_another_is_to_fill_names_the_other(brokersync: Run) -> None:
    told = words(brokersync("coverage", "--by-source").out)
    assert "not read from here. The next sync reads it from reports." in told
    assert "Nothing of Tradovate" not in told


@pytest.mark.usefixtures("refused")
def test_the_gaps_of_one_list_are_told_in_one_zone(brokersync: Run) -> None:
    whole = brokersync("coverage", "--by-source").out.partition("session, by")[0]
    assert "UTC" in whole
    assert "America/Chicago" not in whole


def test_a_deadline_that_has_passed_is_not_called_one_to_come(brokersync: Run, refused: Connection) -> None:
    assert refused.deadline is not None
    told = words(brokersync("status").out)
    since = f"{refused.deadline:%Y-%m-%d %H:%M} UTC"
    assert f"history has been vanishing unread since {since}; run: brokersync sync" in told
    assert "read it before" not in told
