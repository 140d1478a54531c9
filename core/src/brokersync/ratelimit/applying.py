"""Which limits a call counts for, and what is said when it can not go."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Final, NamedTuple, TypeAlias

import attrs

from brokersync.errors import BrokerConfigError, BrokerRateLimitError, LimitScope
from brokersync.limits import LimitKind, RateLimit

OnWait: TypeAlias = Callable[[LimitScope, timedelta, str], None]
"""Hears of a wait before it begins: which scope holds the call up, for how long, and why."""

USED_UP: Final = "the limit is used up"


@attrs.frozen(kw_only=True)
class LimitedCall:
    """A call to a broker as a limiter sees it; `weight` is what it counts as where a limit does not say it.

    `scopes` names what it counts for; a scope without a value shares one key. By `waiter` the one is known who comes
    back after a refusal. `pressing` says that somebody waits for it, `continues` that calls were made for nothing if it
    does not go soon: it goes before those that were only promised a place. It is under way for `lasts` at most.
    """

    provider: str
    limits: Sequence[RateLimit]
    operation: str
    scopes: Mapping[LimitScope, str]
    weight: int = 1
    waiter: str
    pressing: bool = False
    continues: bool = False
    lasts: timedelta = timedelta(minutes=5)

    def counted(self) -> list[Counted]:
        """Where it counts. Raises `BrokerConfigError` for a weight that a limit can never let through."""
        return [self._counted(limit) for limit in self.limits if limit.applies_to(self.operation)]

    def _counted(self, limit: RateLimit) -> Counted:
        weight, spared = limit.weight_of(self.operation, self.weight), 0 if self.pressing else limit.reserve
        if weight + spared > limit.amount:
            left = f" less {spared} in reserve" if spared else ""
            raise BrokerConfigError(
                f"A call of {self.operation} weighs {weight}, more than the limit of {limit.amount}{left} allows.",
                remedy="Raise the limit in the configuration, or report it to the plugin's authors.",
                provider=self.provider,
                operation=self.operation,
            )
        return Counted(limit, self.scopes.get(limit.scope, ""), weight, spared)

    def too_long(
        self, wait: timedelta, reasons: Sequence[str] = (), scope: LimitScope | None = None
    ) -> BrokerRateLimitError:
        """Its refusal where it would have to wait for longer than its caller will.

        It names the `scope` that holds up all others as well, where there is one.
        """
        why = f" ({'; '.join(reasons)})" if reasons else ""
        error = BrokerRateLimitError(
            f"The limits of {self.provider} let {self.operation} go in {wait.total_seconds():.1f} seconds{why}.",
            retry_after=wait,
            provider=self.provider,
            operation=self.operation,
        )
        sparing = not self.pressing and any(one.reserve and one.scope is scope for one in self.limits)
        error.scope, error.ours = None if sparing else scope, True
        return error


class Counted(NamedTuple):
    """One limit that a call counts for: under which key, as how many, and how much of the amount it leaves alone.

    What leaves nothing alone goes before what does.
    """

    limit: RateLimit
    key: str
    weight: int
    spared: int


def apart(found: Sequence[Counted]) -> tuple[Sequence[Counted], Sequence[Counted]]:
    """What counts calls over time, and what counts those under way."""
    under_way = [one for one in found if one.limit.kind is LimitKind.CONCURRENCY]
    return ([one for one in found if one not in under_way] if under_way else found), under_way
