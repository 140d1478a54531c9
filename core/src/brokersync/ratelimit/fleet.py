"""The limiter of a fleet: shared by Redis, and with a safe share of its own for a while when Redis is away."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, final

import attrs

from brokersync.config import FleetSettings
from brokersync.errors import BrokerRateLimitError, LimitScope
from brokersync.events import EventSink, SharedLimitsBack, SharedLimitsLost
from brokersync.limits import LimitKind, RateLimit
from brokersync.provider import Clock
from brokersync.ratelimit.applying import LimitedCall, OnWait
from brokersync.ratelimit.left import Left
from brokersync.ratelimit.local import LocalLimiter
from brokersync.ratelimit.outages import AWAY, LOOK_AGAIN, Outages
from brokersync.ratelimit.redis_limiter import RedisLimiter
from brokersync.ratelimit.refusal import Penalty, Refusal
from brokersync.ratelimit.silences import Thaw

if TYPE_CHECKING:
    from brokersync.ratelimit import Pass

_PERCENT = 100
_KNOWN = 4096


@attrs.frozen
class _Spent:
    """A call that went while Redis was away."""

    call: LimitedCall
    at: float

    @property
    def counts_for(self) -> float:
        return max((limit.period.total_seconds() for limit in self.call.limits), default=0.0)


@attrs.frozen
class _Both:
    """What a call has of the share of its process, and of the whole limits."""

    share: Pass
    whole: Pass

    async def sent(self) -> None:
        """See `Pass`."""
        await self.share.sent()
        await self.whole.sent()

    async def forgive(self) -> None:
        """See `Pass`."""
        await self.share.forgive()
        await self.whole.forgive()

    async def done(self) -> None:
        """See `Pass`."""
        await self.share.done()
        await self.whole.done()


@final
class FleetLimiter:
    """Keeps the limits through Redis; see `Limiter`.

    While Redis is away each process takes its share of each limit, for as long as the settings say, and after that no
    call goes. What a process let go just before counts for its share. What went meanwhile is counted when Redis is
    back, and each process keeps to its share until the others have told it, too, so that nobody begins anew. Of a
    cluster only those brokers do without whose server is away.
    """

    def __init__(
        self, shared: RedisLimiter, local: LocalLimiter, clock: Clock, settings: FleetSettings, events: EventSink
    ) -> None:
        self._shared, self._local, self._clock = shared, local, clock
        self._settings, self._events = settings, events
        self._outages = Outages(clock)
        self._spent: defaultdict[str, deque[_Spent]] = defaultdict(deque)
        self._waiting: Counter[str] = Counter()
        self._watches: dict[str, asyncio.Task[None]] = {}

    async def acquire(self, call: LimitedCall, *, longest: timedelta, on_wait: OnWait) -> Pass:
        """See `Limiter`. Raises `BrokerRateLimitError` when Redis is away for too long."""
        part, ends = self._shared.part(call.provider), self._clock.monotonic() + longest.total_seconds()
        await self._look(call.provider, part)
        share: Pass | None = None
        while True:
            if share is None and self._outages.concerns(part):
                share = await self._take_share(call, part, ends, on_wait)
                continue
            if share is not None and self._outages.is_away(part):
                return await self._goes_alone(call, part, share)
            try:
                if share is None:
                    return await self._take_whole(call, ends, on_wait)
                return _Both(share, await self._shared.acquire(call, longest=self._left(ends), on_wait=on_wait))
            except AWAY as error:
                self._lost(part, error)
            except BaseException:
                if share is not None:
                    await share.done()
                raise

    async def _take_whole(self, call: LimitedCall, ends: float, on_wait: OnWait) -> Pass:
        """The call's place in the whole limits, which counts in the share of this process as soon as it is kept."""
        return await self._shared.acquire(
            call,
            longest=self._left(ends),
            on_wait=on_wait,
            on_kept=lambda wait: self._local.spend(self._alone(call), wait),
        )

    async def correct(self, call: LimitedCall, left: Left) -> None:
        """See `Limiter`."""
        if self._outages.is_away(self._shared.part(call.provider)):
            await self._local.correct(self._alone(call), left)
            return
        with suppress(*AWAY):  # the next call finds out that it is away
            await self._shared.correct(call, left)

    async def freeze(self, provider: str, scope: LimitScope, key: str, until: datetime, reason: str) -> bool:
        """See `Limiter`. While Redis is away only this process hears of it."""
        news = await self._local.freeze(provider, scope, key, until, reason)
        with suppress(*AWAY):  # the next call finds out that it is away
            news = await self._shared.freeze(provider, scope, key, until, reason)
        return news

    async def penalise(self, refusal: Refusal) -> Penalty:
        """See `Limiter`. While Redis is away only this process hears of it."""
        call = refusal.call
        if not self._outages.is_away(self._shared.part(call.provider)):
            with suppress(*AWAY):
                penalty = await self._shared.penalise(refusal)
                key, until = call.scopes.get(penalty.scope, ""), self._clock.now() + penalty.lasts
                await self._local.freeze(call.provider, penalty.scope, key, until, refusal.reason)
                return penalty
        return await self._local.penalise(attrs.evolve(refusal, call=self._alone(call)))

    async def came_through(self, call: LimitedCall, sent_at: float) -> Sequence[Thaw]:
        """See `Limiter`. What began while Redis was away nobody else tells."""
        found = {thaw.scope: thaw for thaw in await self._local.came_through(call, sent_at)}
        if not self._outages.is_away(self._shared.part(call.provider)):
            with suppress(*AWAY):
                found |= {thaw.scope: thaw for thaw in await self._shared.came_through(call, sent_at)}
        return [*found.values()]

    async def aclose(self) -> None:
        """See `Limiter`."""
        watches = [*self._watches.values()]
        for watch in watches:
            watch.cancel()
        await asyncio.gather(*watches, return_exceptions=True)
        await self._shared.aclose()

    async def _look(self, provider: str, part: str) -> None:
        """Ask a part that is away whether it answers again, now and then, and tell it what went meanwhile."""
        if not self._outages.may_ask(part):
            return
        with suppress(*AWAY):
            await self._shared.answer(provider)
            await self._shared.remind(part)
            while told := [name for name, spent in self._spent.items() if spent and self._shared.part(name) == part]:
                for name in told:
                    await self._tell(self._spent[name])
            answered_after = self._outages.answers(part, self._shared.parts)
            if answered_after is not None:
                self._events(SharedLimitsBack(duration=answered_after))

    async def _tell(self, spent: deque[_Spent]) -> None:
        while spent:
            one = spent.popleft()  # before it is told, or each who looks would tell it
            try:
                await self._shared.count(one.call, timedelta(seconds=self._clock.monotonic() - one.at))
            except BaseException:
                spent.appendleft(one)
                raise

    async def _goes_alone(self, call: LimitedCall, part: str, share: Pass) -> Pass:
        """It may have waited for long, and the time for that be over."""
        try:
            self._check_open(call, part)
        except BrokerRateLimitError:
            await share.done()
            raise
        self._note(call)
        return share

    def _note(self, call: LimitedCall) -> None:
        now, spent = self._clock.monotonic(), self._spent[call.provider]
        while spent and now - spent[0].at >= spent[0].counts_for:
            spent.popleft()
        spent.append(_Spent(call, now))

    async def _take_share(self, call: LimitedCall, part: str, ends: float, on_wait: OnWait) -> Pass | None:
        """The call's place in the share of this process; `None` when the outage was over before that came."""
        if self._outages.is_away(part):
            self._check_open(call, part)
            await self._thaw(call, ends)
        if not self._outages.concerns(part):
            return None

        def waits(scope: LimitScope, wait: timedelta, reason: str) -> None:
            self._watch(call.provider, part)
            on_wait(scope, wait, reason)

        self._waiting[part] += 1
        try:
            async with asyncio.timeout(None) as unless_over:
                with self._outages.when_over(part, lambda: unless_over.reschedule(0)):
                    return await self._local.acquire(self._alone(call), longest=self._left(ends), on_wait=waits)
        except TimeoutError:
            return None
        except BrokerRateLimitError:
            over_in = self._outages.ends_in(part)
            if over_in is None:
                raise
            raise call.too_long(over_in) from None
        finally:
            self._waiting[part] -= 1

    async def _thaw(self, call: LimitedCall, ends: float) -> None:
        """Sleep through the freezes that were heard of here."""
        thaws = self._shared.thaws_in(call)
        if thaws > self._left(ends):
            raise call.too_long(thaws)
        if thaws:
            await self._clock.sleep(thaws.total_seconds())

    def _left(self, ends: float) -> timedelta:
        return timedelta(seconds=max(ends - self._clock.monotonic(), 0))

    def _watch(self, provider: str, part: str) -> None:
        """Have somebody look for those who wait, since no newcomer may do so."""
        if part not in self._watches:
            self._watches[part] = asyncio.create_task(self._look_for_all(provider, part), name=f"outage of {part}")
            self._watches[part].add_done_callback(lambda _: self._watches.pop(part))

    async def _look_for_all(self, provider: str, part: str) -> None:
        while self._waiting[part] and self._outages.concerns(part):
            await self._clock.sleep(LOOK_AGAIN.total_seconds())
            await self._look(provider, part)

    def _lost(self, part: str, error: Exception) -> None:
        if self._outages.begin(part):
            self._events(
                SharedLimitsLost(
                    reason=type(error).__name__,
                    share=self._settings.share,
                    closes_at=self._clock.now() + self._settings.alone,
                )
            )

    def _check_open(self, call: LimitedCall, part: str) -> None:
        if self._outages.lasts(part) >= self._settings.alone:
            raise BrokerRateLimitError(
                "The Redis that holds the shared limits has been away for too long, so no call is made.",
                remedy="Start it, or correct `fleet.redis` in the configuration; nothing is lost meanwhile.",
                retry_after=LOOK_AGAIN,
                provider=call.provider,
                operation=call.operation,
            )

    def _alone(self, call: LimitedCall) -> LimitedCall:
        """The call under this process's part of its limits."""
        return attrs.evolve(call, limits=[_share_of(one, call.weight, self._settings.share) for one in call.limits])


@lru_cache(maxsize=_KNOWN)
def _share_of(limit: RateLimit, weight: int, percent: int) -> RateLimit:
    """One process's part of a limit; one in which its heaviest call has no room goes as much more slowly."""
    hundredths = limit.amount * percent
    told = 1 if limit.kind is LimitKind.CONCURRENCY else weight
    least = max([told, *limit.weights.values()])
    amount, slower = max(hundredths // _PERCENT, least), max(least * _PERCENT / hundredths, 1)
    reserve = min(limit.reserve * percent // _PERCENT, amount - least)
    return attrs.evolve(limit, amount=amount, reserve=reserve, period=limit.period * slower)
