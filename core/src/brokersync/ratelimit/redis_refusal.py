"""A refused call as the script in Redis knows it: its keys, its words, and what it answers."""

from __future__ import annotations

from datetime import timedelta

from brokersync.errors import LimitScope
from brokersync.ratelimit import pace
from brokersync.ratelimit.applying import apart
from brokersync.ratelimit.freezes import SHORTEST
from brokersync.ratelimit.keys import freeze_key, meter_keys, penalty_key
from brokersync.ratelimit.refusal import Penalty, Refusal
from brokersync.ratelimit.scripts import Word

_MICRO = timedelta(microseconds=1)


class RedisRefusal:
    """Scopes are told by their place, counted from one."""

    def __init__(self, refusal: Refusal) -> None:
        call = refusal.call
        told = () if refusal.scope is None else (refusal.scope,)
        self._refusal, self._scopes = refusal, list(dict.fromkeys((*call.scopes, refusal.guess, *told)))
        self._meters = [one for one in apart(call.counted())[0] if one.limit.scope in self._scopes]

    @property
    def keys(self) -> list[str]:
        call, found = self._refusal.call, []
        for scope in self._scopes:
            key = call.scopes.get(scope, "")
            found += [freeze_key(call.provider, scope, key), penalty_key(call.provider, scope, key)]
        for one in self._meters:
            log, _, state = meter_keys(call.provider, one.limit, one.key)
            found += [log, state]
        return found

    def words(self, now: Word, channel: str) -> list[Word]:
        refusal = self._refusal
        words: list[Word] = [now, refusal.first // _MICRO, refusal.longest // _MICRO, _micros(SHORTEST)]
        words += [(refusal.asked or timedelta(0)) // _MICRO, int(refusal.slows), self._place(refusal.scope)]
        words += [self._place(refusal.guess), pace.MANY, pace.RISES, pace.PERIODS]
        words += [_micros(pace.SHORTEST_QUIET), _micros(pace.LONGEST_QUIET), len(self._scopes), channel, refusal.reason]
        for limit, _, weight, _ in self._meters:
            words += [limit.kind.value, limit.amount, limit.period // _MICRO, weight, self._place(limit.scope)]
        return words

    def read(self, answer: str | bytes) -> Penalty:
        length, scope, percent = (answer if isinstance(answer, str) else answer.decode()).split()
        return Penalty(self._scopes[int(scope) - 1], int(length) * _MICRO, int(percent))

    def _place(self, scope: LimitScope | None) -> int:
        return 0 if scope is None else self._scopes.index(scope) + 1


def _micros(seconds: float) -> int:
    return round(seconds / _MICRO.total_seconds())
