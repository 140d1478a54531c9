"""A broker's limits as values."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Any

import attrs

from brokersync.errors import LimitScope


class LimitKind(StrEnum):
    """How the broker meters: `window` counts any period of that length, `bucket` leaks steadily."""

    WINDOW = "window"
    BUCKET = "bucket"


def _positive(_: object, field: attrs.Attribute[Any], value: Any) -> None:
    if value <= type(value)(0):
        raise ValueError(f"{field.name} must be above zero, not {value}")


@attrs.frozen(kw_only=True)
class RateLimit:
    """At most `amount` calls per `period` within `scope`.

    `operations` narrows it to the named operations; empty means all. `source` says where the number comes from; an
    empty one is shown as "no known source".
    """

    scope: LimitScope
    amount: int = attrs.field(validator=_positive)
    period: timedelta = attrs.field(validator=_positive)
    kind: LimitKind = LimitKind.WINDOW
    operations: tuple[str, ...] = ()
    source: str = ""

    def applies_to(self, operation: str) -> bool:
        return not self.operations or operation in self.operations
