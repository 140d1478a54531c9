"""The last places that Redis gave to this process, which it may forget when it goes away."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final, final

import attrs

from brokersync.limits import LimitKind
from brokersync.ratelimit.keys import meter_keys
from brokersync.ratelimit.redis_call import RedisCall
from brokersync.ratelimit.scripts import Word

# a server with a file writes it once a second, and is late with that when it has much to do; of one that has forgotten
# more than this, `take.lua` finds that it did
_SECONDS: Final = 5.0
_AT_ONCE: Final = 500
_MICRO: Final = timedelta(microseconds=1)


@attrs.frozen
class _Kept:
    call: RedisCall
    asked_at: float
    at: float


@final
class Recall:
    """Instants are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._kept: dict[str, deque[_Kept]] = {}

    def keep(self, call: RedisCall, now: float, wait: timedelta) -> None:
        """Remember a place, and those of the seconds before the last."""
        kept = self._kept.setdefault(call.wanted.provider, deque())
        while kept and kept[-1].asked_at - kept[0].asked_at > _SECONDS:
            kept.popleft()
        kept.append(_Kept(call, now, now + wait.total_seconds()))

    def forget(self, call: RedisCall) -> None:
        """The place was given back."""
        kept = self._kept.get(call.wanted.provider, deque())
        for one in [one for one in kept if one.call.name == call.name]:
            kept.remove(one)

    def providers(self) -> list[str]:
        return [*self._kept]

    @contextmanager
    def told(self, provider: str, now: float) -> Iterator[Iterable[tuple[str, list[Word]]]]:
        """The key of each window and the words that tell its places again; who comes meanwhile has nothing to tell.

        A bucket, which drains meanwhile, is told nothing.
        """
        kept = self._kept.get(provider, deque())
        telling = [*kept]
        kept.clear()
        try:
            yield _batches(telling, now)
        finally:
            kept.extendleft(reversed(telling))


def _batches(kept: Iterable[_Kept], now: float) -> Iterator[tuple[str, list[Word]]]:
    places: defaultdict[tuple[str, int], list[tuple[str, int]]] = defaultdict(list)
    for one in kept:
        ago = round((now - one.at) / _MICRO.total_seconds())
        for limit, key, weight, _ in one.call.meters:
            if limit.kind is LimitKind.WINDOW:
                log = meter_keys(one.call.wanted.provider, limit, key)[0]
                named = [(f"{one.call.name}|{part}", ago) for part in range(1, weight + 1)]
                places[log, limit.period // _MICRO] += named
    for (log, period), found in places.items():
        for first in range(0, len(found), _AT_ONCE):
            yield log, [period, *(word for place in found[first : first + _AT_ONCE] for word in place)]
