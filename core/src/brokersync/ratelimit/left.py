"""What a broker says is left, and of which of our limits it says that."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import attrs

from brokersync.ratelimit.applying import Counted


@attrs.frozen
class Left:
    """So many calls are left until a reset; of how many in which period, where that is told too."""

    calls: int
    resets_in: timedelta | None = None
    quota: int | None = None
    period: timedelta | None = None

    def meant(self, counted: Sequence[Counted]) -> Counted | None:
        """The one of these, which count over time, that it is said of; `None` where that can not be told.

        The operator's amounts may be below the broker's, so what fits best is taken: the period it names, its quota,
        the only one there is, and else the shortest period that a reset so far away fits into.
        """
        for fits in (
            [one for one in counted if one.limit.period == self.period],
            [one for one in counted if one.limit.amount == self.quota],
            counted,
        ):
            if len(fits) == 1:
                return fits[0]
        resets_in = self.resets_in
        if resets_in is None:
            return None
        return min(
            (one for one in counted if one.limit.period >= resets_in), key=lambda one: one.limit.period, default=None
        )
