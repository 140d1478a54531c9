"""How long a worker takes for the syncs of many brokers, of the least that their limits allow."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .fleet import Course, Fleet

PLACES = 100


@pytest.fixture(scope="module")
def courses() -> dict[tuple[object, ...], Course]:
    return {}


@pytest.fixture
def course(
    courses: dict[tuple[object, ...], Course], sized: Callable[[str, int, int], int], told: Callable[[str], None]
) -> Callable[..., Course]:
    """The course of events in one order, made once."""
    connections = sized("connections of many brokers with limits, on a virtual clock", 1000, 10_000)
    brokers, places = (24, PLACES) if connections == 1000 else (240, 4 * PLACES)

    def of(order: str = "shuffled", dead: int | None = None) -> Course:
        if (order, dead) not in courses:
            found = courses[order, dead] = Fleet(
                brokers=brokers, connections=connections, places=places, order=order, dead=dead
            ).run()
            told(
                f"{connections} syncs, {order}{', one broker dead' if dead is not None else ''}:"
                f" {found.makespan:.1f} s of {found.bound:.1f}; slowdown of a broker {found.median:.2f},"
                f" of the tenth worst {found.tenth_worst():.2f}"
            )
        return courses[order, dead]

    return of


ORDERS = ("shuffled", "the slowest first", "the fastest first")


@pytest.mark.parametrize("order", ORDERS)
def test_all_syncs_take_as_long_as_the_slowest_limit_makes_them(course: Callable[..., Course], order: str) -> None:
    assert course(order).makespan <= 1.02 * course(order).bound


@pytest.mark.parametrize("order", ORDERS)
def test_most_brokers_are_done_when_their_own_limit_lets_them(course: Callable[..., Course], order: str) -> None:
    assert course(order).median <= 1.2
    assert course(order).tenth_worst() <= 2


def test_a_dead_broker_holds_up_no_other(course: Callable[..., Course]) -> None:
    well, one_dead = course(), course(dead=11)
    assert one_dead.makespan <= 1.02 * well.makespan
    later = sorted(one_dead.ended[name] / well.ended[name] for name in one_dead.ended)
    assert later[len(later) // 2] <= 1.02
