"""A broker's limits as values."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import attrs

from brokersync.errors import LimitScope

_NONE: Mapping[str, int] = MappingProxyType({})
_NO_TIME = timedelta(0)
# far above what a broker allows, and counted without loss by all that count
_MOST = 1_000_000_000


class LimitKind(StrEnum):
    """How the broker meters: `window` counts any period of that length, `bucket` leaks steadily.

    `concurrency` counts the calls that are under way.
    """

    WINDOW = "window"
    BUCKET = "bucket"
    CONCURRENCY = "concurrency"


def _positive(_: object, field: attrs.Attribute[Any], value: int) -> None:
    if value <= 0:
        raise ValueError(f"{field.name} must be above zero, not {value}")
    if value > _MOST:
        raise ValueError(f"{field.name} must be at most {_MOST}, not {value}")


def _are_named(_: object, field: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
    if not all(one.strip() for one in value):
        raise ValueError(f"{field.name} has an empty name; leave {field.name} out for all of them")


# the instance lacks, in these, what is wrong itself


def _fits_the_kind(instance: Any, field: attrs.Attribute[Any], value: timedelta) -> None:
    kind = getattr(instance, "kind", None)
    if kind is LimitKind.CONCURRENCY and value != _NO_TIME:
        raise ValueError(f"a limit of kind concurrency counts what is under way, and has no {field.name}")
    if kind in (LimitKind.WINDOW, LimitKind.BUCKET) and value <= _NO_TIME:
        raise ValueError(f"a limit of kind {kind} needs a {field.name} longer than nothing, such as 1m")


def _leaves_some(instance: Any, field: attrs.Attribute[Any], value: int) -> None:
    amount = getattr(instance, "amount", value + 1)
    if value < 0 or 0 < amount <= value:
        raise ValueError(f"{field.name} is a part of the amount, from 0 to {max(amount - 1, 0)}, not {value}")


def _each_may_go(instance: Any, field: attrs.Attribute[Any], value: Mapping[str, int]) -> None:
    amount, reserve = getattr(instance, "amount", 0), getattr(instance, "reserve", 0)
    most = amount - reserve if 0 <= reserve < amount else amount
    operations = getattr(instance, "operations", ())
    for operation, weight in value.items():
        if operations and operation not in operations:
            raise ValueError(f"{field.name} names {operation!r}, which is none of the limit's operations")
        if weight < 1 or (most > 0 and weight > most):
            raise ValueError(f"{field.name} of {operation!r} must be from 1 to {max(most, 1)}, not {weight}")


def _lasts(_: object, field: attrs.Attribute[Any], value: timedelta) -> None:
    if value <= _NO_TIME:
        raise ValueError(f"{field.name} must be longer than nothing, such as 90m")


def _of_a_window(instance: Any, field: attrs.Attribute[Any], value: bool) -> None:
    kind = getattr(instance, "kind", LimitKind.WINDOW)
    if value and kind is not LimitKind.WINDOW:
        raise ValueError(f"{field.name} is for limits of kind window, not {kind}")


@attrs.frozen(kw_only=True, cache_hash=True)
class RateLimit:
    """At most `amount` calls per `period` within `scope`; of kind `concurrency` at most `amount` at once.

    `operations` narrows it to the named operations; empty means all. `weights` says as how many calls an operation
    counts here, in place of what the plugin says. `reserve` is the part of the amount that is left to what somebody
    waits for. With `failures_only` a call counts until it has come through. `source` says where the number comes from;
    an empty one is shown as "no known source".
    """

    scope: LimitScope
    amount: int = attrs.field(validator=_positive)
    period: timedelta = attrs.field(default=_NO_TIME, validator=_fits_the_kind)
    kind: LimitKind = LimitKind.WINDOW
    operations: tuple[str, ...] = attrs.field(default=(), validator=_are_named)
    reserve: int = attrs.field(default=0, validator=_leaves_some)
    weights: Mapping[str, int] = attrs.field(default=_NONE, validator=_each_may_go, hash=False)
    failures_only: bool = attrs.field(default=False, validator=_of_a_window)
    source: str = ""

    def applies_to(self, operation: str) -> bool:
        return not self.operations or operation in self.operations

    def weight_of(self, operation: str, told: int) -> int:
        """As how many calls one counts here of which the plugin says that it counts as `told`."""
        return self.weights.get(operation, 1 if self.kind is LimitKind.CONCURRENCY else told)


@attrs.frozen(kw_only=True)
class SessionLimit:
    """How many sessions a login may have at once; a broker closes the oldest for one more, whoever uses it.

    `lasts` is how long one lives that is not renewed, and `named_by` the user field that says whose it is.
    """

    most: int = attrs.field(validator=_positive)
    lasts: timedelta = attrs.field(validator=_lasts)
    named_by: str
    source: str = ""
