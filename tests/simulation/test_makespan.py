"""How long a worker takes for the syncs of many brokers, of the least that their limits allow."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable

import pytest

from .fleet import Course, Fleet, Sync

CALLS = 4
SLOWEST, FASTEST = 0.2, 50.0
ORDERS = ("shuffled", "the slowest first", "the fastest first")


def syncs(brokers: int, connections: int, order: str) -> list[Sync]:
    numbers = list(range(connections))
    if order == "shuffled":
        random.Random(2).shuffle(numbers)
    else:
        numbers.sort(key=lambda number: number % brokers, reverse=order == "the fastest first")
    # half of them read one page of all their calls, and half a page with each
    shapes = [(CALLS, 1), (1, CALLS)]
    return [
        Sync(owner=f"owner {one}", provider=f"broker {one % brokers}", calls=calls, pages=pages)
        for one in numbers
        for calls, pages in [shapes[one // brokers % 2]]
    ]


@pytest.fixture(scope="module")
def courses() -> dict[tuple[str, str | None], Course]:
    return {}


@pytest.fixture
def course(
    courses: dict[tuple[str, str | None], Course],
    sized: Callable[[str, int, int], int],
    told: Callable[[str], None],
) -> Callable[..., Course]:
    """The course of events in one order, made once."""
    connections = sized("connections of many brokers with limits, on a virtual clock", 1000, 10_000)
    brokers, places = (24, 200) if connections == 1000 else (240, 2000)
    rates = {f"broker {one}": SLOWEST * (FASTEST / SLOWEST) ** (one / (brokers - 1)) for one in range(brokers)}

    def of(order: str = "shuffled", dead: str | None = None) -> Course:
        if (order, dead) not in courses:
            fleet = Fleet(syncs=syncs(brokers, connections, order), rates=rates, places=places, dead=dead)
            found = courses[order, dead] = fleet.run()
            told(
                f"{connections} syncs, {order}, {dead or 'none'} dead: {found.makespan:.1f} s where the limits need"
                f" {found.bound:.1f}; a broker took {statistics.median(found.slowdowns):.2f} times as long as its limit"
                f" makes it (median), {tenth_worst(found):.2f} (p90)"
            )
        return courses[order, dead]

    return of


def tenth_worst(course: Course) -> float:
    return course.slowdowns[int(0.9 * len(course.slowdowns))]


@pytest.mark.parametrize("order", ORDERS)
def test_all_syncs_take_as_long_as_the_slowest_limit_makes_them(course: Callable[..., Course], order: str) -> None:
    assert course(order).makespan <= 1.02 * course(order).bound


@pytest.mark.parametrize("order", ORDERS)
def test_most_brokers_are_done_when_their_own_limit_lets_them(course: Callable[..., Course], order: str) -> None:
    assert statistics.median(course(order).slowdowns) <= 1.2
    assert tenth_worst(course(order)) <= 2


def test_a_dead_broker_holds_up_no_other(course: Callable[..., Course]) -> None:
    well, one_dead = course(), course(dead="broker 11")
    assert one_dead.makespan <= 1.02 * well.makespan
    assert statistics.median(at / well.ended[name] for name, at in one_dead.ended.items()) <= 1.02
