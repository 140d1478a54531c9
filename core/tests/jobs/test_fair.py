"""Whose job is next: laws that hold for any waiting jobs."""

from __future__ import annotations

import math
import tracemalloc
from collections import Counter
from datetime import timedelta

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokersync.jobs import Job
from brokersync.queue.fair import Fair

from .benches import NOW

HOUR = timedelta(hours=1)

owners = st.sampled_from("abcd")
jobs = st.lists(
    st.builds(
        lambda owner, broker, age, asked, deadline: {
            "owner": owner,
            "provider": broker,
            "at": NOW - timedelta(minutes=age),
            "asked": asked,
            "deadline": None if deadline is None else NOW + timedelta(minutes=deadline),
        },
        owners,
        st.sampled_from(["x", "y", "z"]),
        st.integers(0, 500),
        st.booleans(),
        st.none() | st.integers(0, 120),
    ),
    max_size=40,
).map(lambda all_: [Job(connection_id=f"{n:03}", environment="live", **facts) for n, facts in enumerate(all_)])
places = st.integers(1, 12)
reserves = st.integers(0, 12)


def is_urgent(job: Job) -> bool:
    return job.deadline is not None and job.deadline <= NOW + HOUR


def loaded(jobs: list[Job], places: int, reserve: int = 0) -> Fair:
    fair = Fair(places, min(reserve, places - 1))
    fair.load(jobs, is_urgent)
    return fair


def given_now(fair: Fair) -> list[Job]:
    found = []
    while (job := fair.next()) is not None:
        found.append(job)
    return found


def one_by_one(fair: Fair) -> list[Job]:
    """In the order in which one place after the other becomes free."""
    found = []
    while (job := fair.next()) is not None:
        found.append(job)
        fair.ended(job.connection_id)
    return found


def job(name: str, owner: str = "a", broker: str = "x", **facts: object) -> Job:
    values: dict[str, object] = {"at": NOW, "environment": "live"}
    return Job(connection_id=name, owner=owner, provider=broker, **(values | facts))  # type: ignore[arg-type]  # by name


@given(jobs, places, reserves)
def test_each_job_is_given_once_and_none_is_forgotten(jobs: list[Job], places: int, reserve: int) -> None:
    order = one_by_one(loaded(jobs, places, reserve))
    assert sorted(one.connection_id for one in order) == [one.connection_id for one in jobs]


@given(jobs, places, reserves)
def test_never_are_more_given_than_there_are_places(jobs: list[Job], places: int, reserve: int) -> None:
    fair = loaded(jobs, places, reserve)
    begun = given_now(fair)
    assert len(begun) <= places
    assert sum(not one.asked for one in begun) <= max(places - reserve, 1)


@given(jobs, places, reserves)
def test_no_place_is_left_empty_while_some_broker_has_less_than_its_part(
    jobs: list[Job], places: int, reserve: int
) -> None:
    begun = given_now(loaded(jobs, places, reserve))
    per_lane, waiting = Counter(one.lane for one in begun), [one for one in jobs if one not in begun]
    free = places - len(begun)
    routine_is_full = len(begun) >= max(places - reserve, 1)
    for one in waiting:
        assert not free or routine_is_full or per_lane[one.lane] >= 3 * free


@given(jobs, places)
def test_no_broker_has_all_places_where_there_are_four_or_more(jobs: list[Job], places: int) -> None:
    per_lane = Counter(one.lane for one in given_now(loaded(jobs, places)))
    most = max(per_lane.values(), default=0)
    assert most <= math.ceil(3 * places / 4)
    assert most < places or places < 4


@given(jobs, places, st.integers(1, 4))
def test_what_somebody_waits_for_begins_before_any_routine_as_long_as_the_reserve_lasts(
    jobs: list[Job], places: int, reserve: int
) -> None:
    reserve = min(reserve, places - 1)
    asked = [one for one in jobs if one.asked]
    begun = given_now(loaded(jobs, places, reserve))
    assert all(one.asked for one in begun[: min(reserve, len(asked))])


@given(jobs)
def test_what_would_be_lost_comes_before_the_rest_and_the_soonest_first(jobs: list[Job]) -> None:
    jobs = [one for one in jobs if one.provider == "x"]
    order = one_by_one(loaded(jobs, 1))
    urgent = [one.deadline for one in order if is_urgent(one)]
    assert urgent == sorted(urgent, key=str)
    assert all(map(is_urgent, order[: len(urgent)]))


@given(jobs)
def test_owners_take_turns_whoever_has_more_to_do(jobs: list[Job]) -> None:
    jobs = [one for one in jobs if one.provider == "x" and not is_urgent(one)]
    order = one_by_one(loaded(jobs, 1))
    left = Counter(one.owner for one in jobs)
    taken: Counter[str] = Counter()
    for one in order:
        taken[one.owner] += 1
        left[one.owner] -= 1
        waiting = [owner for owner, count in left.items() if count]
        assert all(taken[owner] >= taken[one.owner] - 1 for owner in waiting)


@given(jobs, st.data())
def test_an_owner_waits_for_one_turn_of_each_other_whatever_comes_meanwhile(
    jobs: list[Job], data: st.DataObject
) -> None:
    fair = Fair(1, 0)
    mine = job("mine", owner="me")
    number = 0
    others = {"a", "b", "c"}
    for turn in range(len(others) + 1):
        fresh = [
            job(f"{number + n}", owner=owner)
            for n, owner in enumerate(data.draw(st.lists(st.sampled_from(sorted(others)))))
        ]
        number += len(fresh)
        fair.load([*fresh, mine], lambda _: False)
        begun = fair.next()
        assert begun is not None
        fair.ended(begun.connection_id)
        if begun is mine:
            return
        assert turn < len(others)
    raise AssertionError("its turn never came")


@given(jobs)
def test_an_owners_own_jobs_that_are_waited_for_come_before_its_others(jobs: list[Job]) -> None:
    order = one_by_one(loaded([one for one in jobs if one.owner == "a" and not is_urgent(one)], 1))
    for lane in {one.lane for one in order}:
        asked = [one.asked for one in order if one.lane == lane]
        assert asked == sorted(asked, reverse=True)


@given(jobs, places)
def test_brokers_have_equal_parts_as_long_as_each_has_work(jobs: list[Job], places: int) -> None:
    jobs = [one for one in jobs if not is_urgent(one)]
    begun = given_now(loaded(jobs, places))
    per_lane = Counter(one.lane for one in begun)
    waiting = {one.lane for one in jobs if one not in begun}
    most = max(per_lane.values(), default=0)
    assert all(per_lane[lane] >= most - 1 for lane in waiting)


def test_a_broker_that_is_slow_leaves_places_for_the_others() -> None:
    fair = loaded([job(f"slow {n}", broker="slow") for n in range(50)], 8)
    assert len(given_now(fair)) == 6
    fair.load([job(f"slow {n}", broker="slow") for n in range(6, 50)] + [job("quick", broker="quick")], is_urgent)
    assert [one.connection_id for one in given_now(fair)] == ["quick"]


@given(jobs, places, st.sets(st.integers(0, 39)))
def test_of_a_broker_who_was_promised_an_instant_comes_first_and_brokers_have_equal_parts_all_the_same(
    jobs: list[Job], places: int, numbers: set[int]
) -> None:
    jobs = [attrs.evolve(one, asked=False, deadline=None) for one in jobs]
    promised = {f"{number:03}" for number in numbers}
    fair = Fair(places, 0)
    fair.load(jobs, is_urgent, promised)
    begun = given_now(fair)
    without = Counter(one.lane for one in given_now(loaded(jobs, places)))
    assert Counter(one.lane for one in begun) == without
    for lane in without:
        first = [one.connection_id in promised for one in begun if one.lane == lane]
        left = [one for one in jobs if one.lane == lane and one not in begun and one.connection_id in promised]
        assert first == sorted(first, reverse=True)
        assert all(first) or not left


@pytest.mark.parametrize("rests", [False, True], ids=["", "its lane rests"])
def test_who_is_called_keeps_what_it_is_worth(rests: bool) -> None:
    fair = loaded([job("routine", broker="y")], 2, reserve=1)
    assert fair.next() is not None
    asked, urgent = job("asked", asked=True), job("urgent", deadline=NOW + timedelta(minutes=5))
    fair.call(asked)
    if rests:
        fair.rest(asked.lane)
    assert fair.next() == asked, "on the reserved place"
    fair.load([job("other", broker="z")], is_urgent)
    fair.ended("routine")
    fair.call(urgent)
    if rests:
        fair.rest(urgent.lane)
    assert fair.next() == urgent, "before what would not be lost"


def test_who_is_called_waits_on_though_a_look_that_had_begun_before_knows_nothing_of_it() -> None:
    fair = loaded([job("a")], 1)
    assert fair.next() is not None
    fair.call(job("called"))
    fair.load([job("b", broker="y")], is_urgent)
    fair.ended("a")
    assert {one.connection_id for one in one_by_one(fair)} == {"called", "b"}


def test_who_is_called_while_it_is_under_way_is_not_given_twice() -> None:
    fair = loaded([job("a")], 4)
    assert fair.next() is not None
    fair.call(job("a"))
    assert fair.next() is None


def test_where_there_is_one_place_it_is_for_everything() -> None:
    assert [one.connection_id for one in one_by_one(loaded([job("a")], 1, reserve=2))] == ["a"]


def test_ten_thousand_jobs_that_wait_take_less_than_ten_mebibytes_while_a_worker_looks_again() -> None:
    providers = [f"broker {number}" for number in range(240)]

    def read() -> list[Job]:
        return [
            Job(
                connection_id=f"c{number:08}",
                owner=f"owner {number}",
                provider=providers[number % 240],
                environment="live",
                at=NOW + timedelta(microseconds=number),
            )
            for number in range(10_000)
        ]

    fair = Fair(16, 2)
    tracemalloc.start()
    try:
        for _ in range(2):  # while it looks again what it saw before is there, too
            fair.load(read(), lambda job: False)
        assert tracemalloc.get_traced_memory()[1] < 10 * 2**20
    finally:
        tracemalloc.stop()
