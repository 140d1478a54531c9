"""One owner's long history beside many others who want little."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .fleet import Fleet, Sync

OTHERS, RATE = 500, 10.0


def waits(calls: int, a_page: int) -> list[float]:
    """How long the others waited beside a history of so many calls, ascending; they come in while it is read."""
    history = Sync(owner="the long one", provider="one", calls=a_page, pages=calls // a_page)
    others = [Sync(owner=f"owner {n}", provider="one", calls=1, after=20 + n / RATE) for n in range(OTHERS)]
    course = Fleet(syncs=[history, *others], rates={"one": RATE}, places=16).run()
    return sorted(at - course.syncs[number].after for number, at in course.over.items() if number)


@pytest.fixture
def p95(told: Callable[[str], None]) -> Callable[[int, int], float]:
    def of(calls: int, a_page: int) -> float:
        found = waits(calls, a_page)[int(0.95 * OTHERS)]
        told(
            f"{OTHERS} owners beside a history of {calls} calls, {a_page} a page, {RATE:.0f} a second: p95 of their"
            f" waits {found:.1f} s"
        )
        return found

    return of


@pytest.mark.parametrize(("a_page", "most"), [(1, 15), (10, 30)])
def test_many_owners_wait_no_longer_beside_a_history_of_ten_years_than_beside_a_short_one(
    p95: Callable[[int, int], float], a_page: int, most: float
) -> None:
    short, long = p95(500, a_page), p95(5000, a_page)
    assert long <= short + 1
    assert long < most
