"""Limits as rows of a table."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from brokersync.limits import RateLimit

COLUMNS = ("limit", "counted", "calls", "where the number comes from")
WHOLE = ("limit",)
SHORT = ("calls",)

_NO_SOURCE = "no known source"


def limit_row(one: RateLimit) -> tuple[str, ...]:
    """What stands in `COLUMNS` of a limit."""
    amount = f"{one.amount} in {_period(one.period)}" if one.period else f"{one.amount} at once"
    reserve = f", {one.reserve} in reserve" if one.reserve else ""
    failures = ", failures only" if one.failures_only else ""
    return amount, f"{one.scope.value}, {one.kind.value}{failures}{reserve}", _calls(one), one.source or _NO_SOURCE


def _calls(one: RateLimit) -> str:
    weighed = {name: f"{name} as {weight}" for name, weight in one.weights.items()}
    if one.operations:
        return ", ".join(weighed.get(name, name) for name in one.operations)
    return ", ".join(["all", *weighed.values()])


def _period(period: timedelta) -> str:
    seconds = period.total_seconds()
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds % length == 0:
            return f"{seconds / length:g} {unit}"
    return f"{seconds:g} s"
