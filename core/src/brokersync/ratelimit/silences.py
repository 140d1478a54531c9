"""Which scopes brokers refuse, so that it is told once when one goes, and once when it is back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final, final

import attrs

from brokersync.errors import LimitScope
from brokersync.provider import Clock
from brokersync.ratelimit.applying import LimitedCall
from brokersync.ratelimit.keys import freeze_key

KEPT: Final = timedelta(days=1)
"""For how long it is known after its end that a scope was refused, where no call shows that it is let go again."""

# a freeze that others told of ends here a little later than at the server that let the call go
_SKEW: Final = 0.05


@attrs.frozen
class Thaw:
    """A scope that was refused for the first time so long ago, and that a call has just gone through again.

    It is `told` by somebody else where that one knew it first.
    """

    scope: LimitScope
    lasted: timedelta
    told: bool = False


@attrs.define
class _Silence:
    began: float
    thaws: float


@final
class Silences:
    """The scopes that one process knows to be refused; each has the name of its freeze in Redis."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[str, _Silence] = {}

    def begin(self, name: str, seconds: float) -> bool:
        """A scope makes no call for so long; whether that is news."""
        now = self._clock.monotonic()
        known = self._known.get(name)
        if known is not None:
            known.thaws = max(known.thaws, now + seconds)
            return False
        kept = KEPT.total_seconds()
        self._known = {one: silence for one, silence in self._known.items() if silence.thaws + kept > now}
        self._known[name] = _Silence(now, now + seconds)
        return True

    def over(self, call: LimitedCall, sent_at: float) -> Sequence[tuple[str, Thaw]]:
        """What is over, as a call shows that left at that instant and came through; each is forgotten."""
        if not self._known:
            return ()
        names = [(scope, freeze_key(call.provider, scope, call.scopes.get(scope, ""))) for scope in LimitScope]
        return [
            (name, Thaw(scope, timedelta(seconds=self._clock.monotonic() - self._known.pop(name).began)))
            for scope, name in names
            if name in self._known and self._known[name].thaws <= sent_at + _SKEW
        ]
