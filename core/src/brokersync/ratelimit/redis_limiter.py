"""The limiter of all processes that share a Redis or a Valkey."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, final

import attrs

from brokersync.errors import LimitScope
from brokersync.limits import RateLimit
from brokersync.provider import Clock
from brokersync.ratelimit.applying import applying, too_long
from brokersync.ratelimit.frost import CHANNEL, Frost
from brokersync.ratelimit.keys import began_key, digest, freeze_key, meter_keys, queue_key
from brokersync.ratelimit.scripts import Script, Word

_TAKE, _GIVE_BACK, _SPEND, _FREEZE = map(Script, ("take", "give_back", "spend", "freeze"))
_GRACE = timedelta(minutes=2)
_MICRO = timedelta(microseconds=1)


@attrs.frozen
class _Answer:
    wait: timedelta
    kept: bool
    scope: LimitScope
    place: int
    reason: str


@attrs.frozen(kw_only=True)
class _Call:
    """One call as the script knows it; all of its keys stand in one slot of a cluster, that of its provider."""

    name: str
    waiter: str
    weight: int
    scopes: Sequence[LimitScope]
    limits: Sequence[RateLimit]
    provider: str
    freezes: Sequence[str]
    meters: Sequence[str]

    @property
    def keys(self) -> list[str]:
        return [queue_key(self.provider), began_key(self.provider), *self.freezes, *self.meters]

    @property
    def longest_period(self) -> timedelta:
        return max((one.period for one in self.limits), default=timedelta(0))

    @property
    def words(self) -> list[Word]:
        return [word for one in self.limits for word in (one.kind.value, one.amount, one.period // _MICRO)]

    def scope_of(self, key: int) -> LimitScope:
        """What stands behind the key at this position, which counts from one."""
        if key == 0:
            return LimitScope.APP
        if key <= 2 + len(self.freezes):
            return self.scopes[key - 3]
        return self.limits[(key - len(self.freezes) - 3) // 3].scope


@final
class RedisLimiter:
    """Keeps the limits for all processes that share a Redis; see `Limiter`.

    All counts of a call are looked at and changed in one round trip, by the server's clock. A wait of up to `longest`
    keeps the place, which needs no second question; a longer one is refused with the place in the queue, and whoever
    comes back for it within two minutes is let in before those that came later. A server that has lost its counts lets
    only `share` of each limit go until a period of it has passed. Raises the errors of redis.
    """

    def __init__(self, redis: Any, clock: Clock, *, share: int = 10, now: Callable[[], int] | None = None) -> None:
        """`share` is in percent; `now` stands for the server's clock in tests, in microseconds."""
        self._redis, self._clock, self._share, self._now = redis, clock, share, now
        self._began: dict[str, tuple[str, float]] = {}
        self._frost = Frost(redis, clock)
        self._numbers = secrets.token_hex(4), 0

    async def acquire(
        self,
        provider: str,
        limits: Sequence[RateLimit],
        operation: str,
        scopes: Mapping[LimitScope, str],
        weight: int = 1,
        *,
        waiter: str,
        longest: timedelta,
        on_wait: Callable[[LimitScope, timedelta], None],
    ) -> None:
        """See `Limiter`."""
        applied = applying(provider, limits, operation, weight)
        told = False
        while True:
            call = self._call(provider, applied, operation, scopes, weight, waiter)
            answer = await self._take(call, longest)
            if not answer.kept:
                raise too_long(provider, operation, answer.wait, [answer.reason] if answer.reason else [])
            if not answer.wait:
                return
            if not told:
                on_wait(answer.scope, answer.wait)
                told = True
            if await self._wait(call, answer.wait):
                return

    async def freeze(self, provider: str, scope: LimitScope, key: str, until: datetime, reason: str) -> None:
        """See `Limiter`."""
        micros = (until - self._clock.now()) // _MICRO
        if micros > 0:
            frozen = freeze_key(provider, scope, key)
            self._frost.add(frozen, micros)
            words = [self._server_time(), micros, reason, CHANNEL, f"{micros} {frozen}"]
            await _FREEZE.run(self._redis, [frozen], words)

    async def count(
        self,
        provider: str,
        limits: Sequence[RateLimit],
        operation: str,
        scopes: Mapping[LimitScope, str],
        weight: int,
        ago: timedelta,
    ) -> None:
        """Count a call that went so long ago, when nobody could be asked. Raises the errors of redis."""
        applied = applying(provider, limits, operation, weight)
        call = self._call(provider, applied, operation, scopes, weight, "")
        keys = [key for key in call.meters if not key.endswith(":promises")]
        words = [self._server_time(), call.name, weight, ago // _MICRO]
        await _SPEND.run(self._redis, keys, words + call.words)

    def thaws_in(self, provider: str, scopes: Mapping[LimitScope, str]) -> timedelta:
        """For how long the scopes are frozen, as far as it was heard here."""
        return self._frost.thaws_in(freeze_key(provider, scope, key) for scope, key in scopes.items())

    async def aclose(self) -> None:
        """Leave nothing of it running or open."""
        await self._frost.aclose()
        await self._redis.aclose()

    async def _take(self, call: _Call, longest: timedelta) -> _Answer:
        words = [self._server_time(), call.name, call.waiter, call.weight, longest // _MICRO, _GRACE // _MICRO]
        period = call.longest_period
        words += [self._known(call.provider), self._share, period // _MICRO, len(call.limits)]
        found = await _TAKE.run(self._redis, call.keys, words + call.words)
        wait, kept, key, place, reason, began = found
        self._remember(call.provider, _text(began), period)
        return _Answer(
            wait=int(wait) * _MICRO,
            kept=bool(kept),
            scope=call.scope_of(key),
            place=place,
            reason=_text(reason),
        )

    def _known(self, provider: str) -> str:
        """When the server began to count, as far as that matters still."""
        began, until = self._began.get(provider, ("", 0.0))
        return began if self._clock.monotonic() < until else ""

    def _remember(self, provider: str, began: str, period: timedelta) -> None:
        _, until = self._began.get(provider, ("", 0.0))
        self._began[provider] = began, max(until, self._clock.monotonic() + period.total_seconds())

    async def _wait(self, call: _Call, wait: timedelta) -> bool:
        """Sleep until the kept place; `False` when it has been frozen meanwhile and was given back."""
        went = False
        self._frost.listen()
        at = self._clock.monotonic() + wait.total_seconds()
        try:
            await self._clock.sleep(wait.total_seconds())
            went = not self._frost.holds(call.freezes, at)
            return went
        finally:
            if not went:
                words = [self._server_time(), call.name, call.weight]
                await _GIVE_BACK.run(self._redis, call.meters, words)

    def _call(
        self,
        provider: str,
        limits: Sequence[RateLimit],
        operation: str,
        scopes: Mapping[LimitScope, str],
        weight: int,
        waiter: str,
    ) -> _Call:
        who, number = self._numbers
        self._numbers = who, number + 1
        counted = {meter_keys(provider, limit, scopes.get(limit.scope, "")): limit for limit in limits}
        meters = [key for keys in counted for key in keys]
        return _Call(
            name=f"{who}.{number}",
            waiter=digest(waiter, operation, str(weight), *meters),  # what is promised under other limits is void
            weight=weight,
            scopes=list(scopes),
            limits=list(counted.values()),
            provider=provider,
            freezes=[freeze_key(provider, scope, key) for scope, key in scopes.items()],
            meters=meters,
        )

    def _server_time(self) -> Word:
        return "" if self._now is None else self._now()


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode()
