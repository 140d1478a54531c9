"""No test with made-up examples fails because the machine was busy with others."""

from __future__ import annotations

from hypothesis import settings


def test_no_example_has_to_end_within_a_time_that_a_busy_machine_needs_longer() -> None:
    assert settings().deadline is None
