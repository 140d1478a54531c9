"""What is known of a call that a broker refused as one too many, and what follows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Final

import attrs

from brokersync.errors import LimitScope
from brokersync.limits import LimitKind
from brokersync.ratelimit.applying import Counted, LimitedCall

WHOLE: Final = 100
"""Percent: the pace of a scope that goes by all of its limits."""

_LEAST_USED: Final = 0.5


@attrs.frozen(kw_only=True)
class Refusal:
    """`scope` and `asked` are what the broker said: of what it is too many, and when it may be asked again.

    Without a time from it the freeze begins with `first` and grows up to `longest`. `slows` says that a limit was
    passed, not that the broker has a fault. `reason` is shown to users.
    """

    call: LimitedCall
    scope: LimitScope | None = None
    asked: timedelta | None = None
    first: timedelta
    longest: timedelta
    slows: bool = True
    reason: str

    @property
    def guess(self) -> LimitScope:
        """What is taken for refused where neither the broker nor any count tells."""
        return LimitScope.CREDENTIAL if LimitScope.CREDENTIAL in self.call.scopes else LimitScope.APP


@attrs.frozen
class Penalty:
    """A scope makes no call for a while, and goes by so many percent of its limits from then on.

    It is refused `again` where no call has come through since the last time.
    """

    scope: LimitScope
    lasts: timedelta
    pace: int
    again: bool = False


def suspect(
    refusal: Refusal, counted: Iterable[Counted], used: Callable[[Counted], float], lately: Callable[[Counted], bool]
) -> Counted | None:
    """The limit that the broker must have lowered, told by how much of each was used before the call.

    Of the scope that it named, the one that was used most; without a scope one that was used by half at least. A bucket
    from which calls go at its rate is nearly empty all the time, so one is also meant whose scope was refused `lately`.
    """
    found = []
    for one in counted:
        share = used(one)
        told = one.limit.kind is LimitKind.BUCKET and lately(one)
        if refusal.scope is one.limit.scope or (refusal.scope is None and (share >= _LEAST_USED or told)):
            found.append((share, one))
    return max(found, key=_share, default=(0.0, None))[1]


def _share(found: tuple[float, Counted]) -> float:
    return found[0]
