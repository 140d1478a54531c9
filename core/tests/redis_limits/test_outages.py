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
    assert outages.answers("b", lambda: ["a", "b", "c"]) is None
    assert outages.is_away("a")
    assert outages.lasts("a") == timedelta(hours=1)
    assert outages.begin("b") is False
    assert outages.answers("b", lambda: ["b", "c"]) == timedelta(hours=1)
    assert not outages.concerns("a")


def test_one_call_a_second_asks_a_server_that_is_away() -> None:
    clock = Board(None)
    outages = Outages(clock)
    outages.begin("a")
    assert not outages.may_ask("b")
    asked = 0
    for _ in range(30):
        clock.advance(0.1)
        asked += outages.may_ask("a")
    assert asked == 3


def test_a_server_that_answers_again_concerns_a_process_until_all_have_told() -> None:
    clock = Board(None)
    outages = Outages(clock)
    outages.begin("a")
    outages.answers("a", lambda: ["a"])
    told: list[bool] = []
    clock.advance(2.5)
    with outages.when_over("a", lambda: told.append(True)):
        assert outages.concerns("a")
        assert outages.ends_in("a") == timedelta(seconds=0.5)
        clock.advance(0.5)
        assert not outages.concerns("a")
    assert told == [True]


def test_a_server_that_goes_away_again_is_a_new_outage() -> None:
    clock = Board(None)
    outages = Outages(clock)
    outages.begin("a")
    clock.advance(60)
    outages.answers("a", lambda: ["a"])
    clock.advance(1)
    assert outages.begin("a")
    assert outages.lasts("a") == timedelta(0)
    assert outages.ends_in("a") is None
    clock.advance(60)
    assert outages.concerns("a")
