"""What a worker's jobs were promised, and when there is something to do about it."""

from __future__ import annotations

from datetime import timedelta

from brokersync.jobs import Job
from brokersync.queue.fair import Fair
from brokersync.queue.promises import Promises

from .benches import NOW

SOON = NOW + timedelta(minutes=1)


def job(name: str) -> Job:
    return Job(connection_id=name, owner="me", provider="paper", environment="live", at=NOW)


def test_an_instant_that_comes_while_its_job_is_under_way_is_over_and_wakes_nobody_again() -> None:
    fair = Fair(4, 0)
    promises = Promises(fair, timedelta(seconds=5))
    fair.load([job("a")], lambda _: False)
    assert fair.next() is not None
    promises.comes(job("a"), SOON)
    assert promises.next_at == SOON
    promises.pass_on(SOON)
    assert promises.next_at is None
    assert fair.next() is None


def test_a_lane_rests_until_one_more_would_be_promised_an_instant_and_is_woken_then() -> None:
    fair = Fair(4, 0)
    promises = Promises(fair, timedelta(seconds=5))
    fair.load([job("a"), job("b"), job("c")], lambda _: False)
    first = fair.next()
    assert first is not None
    promises.made(first, SOON, lane=True)
    assert fair.next() is None
    assert promises.next_at == SOON - timedelta(seconds=5)
    promises.pass_on(SOON - timedelta(seconds=5))
    assert fair.next() is not None
