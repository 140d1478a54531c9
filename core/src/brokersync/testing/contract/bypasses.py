"""A check that is left out for a while, with its reason."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

import attrs

LONGEST: Final = timedelta(days=366)


@attrs.frozen
class Bypass:
    """The `check` is known to fail until the day `until`, for a `reason` that a user of the plugin is shown.

    `check` is the name of a method, or with what follows it in brackets. It is run all the same: one that passes needs
    no bypass any more, and fails. Raises `ValueError` without a reason, or for a day that is over a year away.
    """

    check: str
    reason: str = attrs.field(kw_only=True)
    until: date = attrs.field(kw_only=True)

    def __attrs_post_init__(self) -> None:
        if len(self.reason.split()) < 3:
            raise ValueError(f"the bypass of {self.check} needs a reason in words, not {self.reason!r}")

    def fault(self, today: date) -> str:
        """What is wrong with it today; nothing while it holds."""
        if self.until < today:
            return f"the bypass of {self.check} has expired on {self.until}: {self.reason}"
        if self.until - today > LONGEST:
            return f"the bypass of {self.check} lasts until {self.until}, and a year is the longest"
        return ""

    def covers(self, name: str) -> bool:
        """Whether it is for the test of this name, as pytest shows it."""
        return self.check in (name, name.partition("[")[0])
