"""One owner's long history beside many others who want little."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .fleet import Fleet, Sync

OTHERS, RATE = 500, 10.0


def waits(calls: int) -> list[float]:
    """How long the others waited beside a history of so many calls, ascending; they come in while it is read."""
    history = Sync(owner="the long one", provider="one", calls=calls)
    others = [Sync(owner=f"owner {n}", provider="one", calls=1, after=20 + n / RATE) for n in range(OTHERS)]
    course = Fleet(syncs=[history, *others], rates={"one": RATE}, places=16).run()
    return sorted(at - course.syncs[number].after for number, at in course.over.items() if number)


@pytest.fixture
def p95(told: Callable[[str], None]) -> Callable[[int], float]:
    def of(calls: int) -> float:
        found = waits(calls)[int(0.95 * OTHERS)]
        told(
            f"{OTHERS} owners beside a history of {calls} calls, {RATE:.0f} a second: p95 of their waits {found:.1f} s"
        )
        return found

    return of


def test_many_owners_wait_no_longer_beside_a_history_of_ten_years_than_beside_a_short_one(
    p95: Callable[[int], float],
) -> None:
    short, long = p95(500), p95(5000)
    assert long <= short + 1
    assert long < 15
