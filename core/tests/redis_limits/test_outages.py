"""Which parts of a Redis are away, and until when that counts."""

from __future__ import annotations

from datetime import timedelta

from brokersync.ratelimit.outages import Outages

from .board import Board


def test_a_server_that_stays_away_counts_as_long_as_it_is_one_of_the_cluster() -> None:
    clock = Board(None)
    outages = Outages(clock)
    assert outages.begin("a")
    assert not outages.begin("b")
    clock.advance(3600)
    assert outages.end("b", lambda: ["a", "b", "c"]) is None
    assert outages.end("c", lambda: ["a", "b", "c"]) is None
    assert outages.lasts("a") == timedelta(hours=1)
    assert outages.end("c", lambda: ["b", "c"]) == timedelta(hours=1)
    assert "a" not in outages
    assert outages.end("c", lambda: ["b", "c"]) is None


def test_one_call_a_second_asks_a_server_that_is_away() -> None:
    clock = Board(None)
    outages = Outages(clock)
    outages.begin("a")
    assert outages.may_ask("b")
    asked = 0
    for _ in range(30):
        clock.advance(0.1)
        asked += outages.may_ask("a")
    assert asked == 3
