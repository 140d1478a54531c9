"""The calls of one provider that want to go: who may, when, and in which order."""

from __future__ import annotations

import asyncio
import heapq
import math
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import final

from brokersync.errors import BrokerRateLimitError, LimitScope
from brokersync.limits import RateLimit
from brokersync.provider import Clock
from brokersync.ratelimit.applying import USED_UP, Counted, LimitedCall
from brokersync.ratelimit.foreseeing import foresee, foresee_alone
from brokersync.ratelimit.freezes import Freezes
from brokersync.ratelimit.meter import Meter
from brokersync.ratelimit.meters import meter_of
from brokersync.ratelimit.pace import Paces
from brokersync.ratelimit.promises import Promises
from brokersync.ratelimit.ranks import Ranks
from brokersync.ratelimit.refusal import Penalty, Refusal, suspect
from brokersync.ratelimit.waiting import Call

_SHORTEST_WAIT = 1e-6  # a rest that rounding left must move the clock, or the sleeper spins
_FEWEST_TO_SWEEP = 64
_ROUNDING = 1e-6


@final
class Lane:
    """The meters, freezes and waiting calls of one provider.

    The first of the waiting calls sleeps for all and lets go whoever is due; the others only wait for their turn, so
    there is no task of our own to leave behind. First come, first served among calls that count for the same keys; a
    call never waits for the place of one that is held up elsewhere.
    """

    def __init__(self, clock: Clock, jitter: timedelta) -> None:
        self._clock, self._jitter = clock, jitter
        self._meters: dict[tuple[RateLimit, str], Meter] = {}
        self._freezes = Freezes()
        self._paces = Paces()
        self._promises = Promises()
        self._sweep_at = _FEWEST_TO_SWEEP
        self._waiting: dict[int, Call] = {}
        self._order: list[tuple[float, int]] = []
        self._ranks = Ranks()
        self._stale = False

    def arrive(self, wanted: LimitedCall, counted: Sequence[Counted], longest: float) -> Call:
        """The call in its place, or gone at once and counted already.

        Raises `BrokerRateLimitError` when the wait would be over `longest`; a place is promised then to who comes back.
        """
        now = self._clock.monotonic()
        self._sweep(now)
        if self._paces.change(wanted.weight, now):
            self._go_by_pace(now)
        meters = {self._meter(one.limit, one.key): one for one in counted}
        passed = sum(one.is_passed_by(wanted) for one in self._waiting.values()) if wanted.continues else 0
        number, last = self._ranks.arrive(wanted, passed)
        own = self._promises.take(wanted, meters, now) if self._promises else None
        own = now if wanted.continues else None if last > number else own
        at, scope = foresee(self._freezes, meters, wanted.scopes, now, own)
        call = Call(wanted, now + longest, meters, number, last, at, at - now, scope)
        if at <= now:
            self._go(call, now, planned=False)
            return call
        if call.foreseen > longest:
            raise self._refuse(call, now)
        self._queue(call, now)
        return call

    async def wait(self, call: Call) -> None:
        """Returns when it is the call's turn; then `settle` it."""
        while not call.granted:
            if call.refusal is not None:
                raise call.refusal
            call.turn = asyncio.get_running_loop().create_future()
            if self._first() is call:
                await self._sleep(call, call.turn)
                self._let_go()
            else:
                await call.turn

    def reason(self, call: Call) -> str:
        """Why a call waits."""
        return "; ".join(self._freezes.reasons(call.wanted.scopes, self._clock.monotonic())) or USED_UP

    def settle(self, call: Call) -> None:
        """The call goes now: only here is it counted, at the instant at which its caller runs again."""
        now = self._clock.monotonic()
        del self._waiting[call.number]
        call.revoke()
        self._go(call, now, planned=True)

    def leave(self, call: Call) -> None:
        """Give back the place of a call that will not go; those behind it move up."""
        if self._waiting.pop(call.number, None) is None:
            return
        if call.granted:
            call.revoke()
        else:
            call.unplan()
        if self._waiting and not self._stale:
            self._stale = True  # many may leave at once: those behind are planned anew only once
            asyncio.get_running_loop().call_soon(self._plan_anew)

    def spend(self, counted: Sequence[Counted], wait: float) -> None:
        """Count a call that goes in so many seconds without asking here; who waits finds it when its turn comes."""
        now = self._clock.monotonic()
        self._sweep(now)
        for one in counted:
            self._meter(one.limit, one.key).spend(now, now + wait, one.weight)

    def forgive(self, call: Call) -> None:
        """Count a call no longer that went, where only failures count; those who wait may go sooner."""
        forgiven = [meter for meter, cost in call.meters.items() if cost.limit.failures_only]
        for meter in forgiven:
            call.forget(meter)
            meter.reopen()
        if forgiven and self._waiting:
            self._plan_anew()

    def correct(self, one: Counted, left: int, seconds: float) -> None:
        """Let no more than so many calls go within these seconds; calls that wait already may wait longer."""
        if self._meter(one.limit, one.key).lower(self._clock.monotonic(), left, seconds):
            self._plan_anew()

    def freeze(self, scope: LimitScope, key: str, seconds: float, reason: str) -> None:
        """No call of this scope for so long; calls that wait already wait longer, or are refused."""
        if seconds > 0 and self._freezes.add(scope, key, self._clock.monotonic() + seconds, reason):
            self._plan_anew()

    def penalise(self, refusal: Refusal, counted: Sequence[Counted]) -> Penalty:
        """Freeze the scope that was refused, and have it go more slowly afterwards where it is refused again."""
        now = self._clock.monotonic()
        passed = suspect(
            refusal, counted, lambda one: self._share(one, now), lambda one: self._freezes.had_lately(one, now)
        )
        scope = passed.limit.scope if passed else refusal.scope or refusal.guess
        key, period = refusal.call.scopes.get(scope, ""), passed.limit.period.total_seconds() if passed else 0.0
        seconds, slower = self._freezes.penalise(scope, key, now, refusal, period)
        if slower and refusal.slows and passed:
            self._paces.slow_down(scope, key, now, now + seconds, period)
            self._go_by_pace(now)
        self.freeze(scope, key, seconds, refusal.reason)
        return Penalty(scope, timedelta(seconds=seconds), self._paces.percent(scope, key, now))

    def _share(self, one: Counted, now: float) -> float:
        place = one.limit, one.key
        return (self._meter(*place).used(now) - one.weight) / self._paces.allowed(*place, now)

    def _go_by_pace(self, now: float) -> None:
        for (limit, key), meter in self._meters.items():
            meter.allow(now, self._paces.allowed(limit, key, now))
        self._plan_anew()

    async def _sleep(self, call: Call, turn: asyncio.Future[None]) -> None:
        """Sleep until the call is due, or is told that something changed."""
        call.asleep_until = call.at
        seconds = max(call.at - self._clock.monotonic(), _SHORTEST_WAIT)
        sleep = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            await asyncio.wait((sleep, turn), return_when=asyncio.FIRST_COMPLETED)
        finally:
            call.asleep_until = None
            sleep.cancel()
        if not turn.done():
            sleep.result()

    def _meter(self, limit: RateLimit, key: str) -> Meter:
        meter = self._meters.get((limit, key))
        if meter is None:
            amount = self._paces.allowed(limit, key, self._clock.monotonic())
            meter = self._meters[limit, key] = meter_of(limit, amount, self._clock, self._jitter)
        return meter

    def _queue(self, call: Call, now: float) -> None:
        for meter, (_, _, weight, spared) in call.meters.items():
            meter.plan(call.at, weight, spared, meter.earliest(now, now, weight, spared))
        self._waiting[call.number] = call
        heapq.heappush(self._order, (call.at, call.number))

    def _first(self) -> Call | None:
        while self._order:
            at, number = self._order[0]
            call = self._waiting.get(number)
            if call is not None and call.at == at and not call.granted:
                return call
            heapq.heappop(self._order)
        return None

    def _let_go(self) -> None:
        """Grant what is due in its order, and wake who sleeps next."""
        now = self._clock.monotonic()
        due = {}  # whoever came back to an instant that it had before is found there twice
        while (call := self._first()) is not None and call.at <= now:
            heapq.heappop(self._order)
            if call.number not in due:
                one = self._instead(call, now) or call
                due[one.number] = one
        held: Counter[tuple[Meter, bool]] = Counter()
        for call in sorted(due.values(), key=Call.rank):
            self._admit(call, now, held)
        if (call := self._first()) is not None and call.asleep_until != call.at:
            call.wake()

    def _instead(self, call: Call, now: float) -> Call | None:
        """Who takes the place of a due call that lets others pass first, if one of them could go now."""
        if call.last == call.number:
            return None
        before = [one for one in self._waiting.values() if one.at > now and one.goes_before(call)]
        for other in sorted(before, key=lambda one: one.at):
            if foresee_alone(self._freezes, other.meters, other.wanted.scopes, now)[0] <= now:
                call.unplan()
                other.unplan()
                call.at, other.at = other.at, call.at
                self._queue_or_refuse(call, now)
                for meter, (_, _, weight, spared) in other.meters.items():
                    meter.plan(other.at, weight, spared, -math.inf)
                return other
        return None

    def _go(self, call: Call, now: float, *, planned: bool) -> None:
        call.go(now, planned=planned)
        self._ranks.went(call.wanted)

    def _admit(self, call: Call, now: float, held: Counter[tuple[Meter, bool]]) -> None:
        """Grant a due call, unless somebody before it woke late.

        `held` is what must go before it, apart from that what leaves something alone.
        """
        at, scope = self._freezes.thaw(call.wanted.scopes, now)
        call.unplan()
        for meter, (limit, _, weight, spared) in call.meters.items():
            before = held[meter, False] + (held[meter, True] if spared else 0)
            ready = meter.ready(now, weight + before, spared)
            if ready > at:
                at, scope = ready, limit.scope
        if at <= now:
            call.granted = True
            for meter, cost in call.meters.items():
                meter.grant(cost.weight)
            call.wake()
            return
        for meter, cost in call.meters.items():
            held[meter, cost.spared > 0] += cost.weight
        call.at, call.scope = at, scope
        self._queue_or_refuse(call, now)

    def _queue_or_refuse(self, call: Call, now: float) -> None:
        if call.at <= call.gives_up_at + _ROUNDING:
            self._queue(call, now)
            return
        del self._waiting[call.number]
        call.refusal = self._refuse(call, now)
        call.wake()

    def _plan_anew(self) -> None:
        self._stale = False
        now = self._clock.monotonic()
        calls = sorted((call for call in self._waiting.values() if not call.granted), key=Call.rank)
        self._order.clear()
        self._freezes.begin_anew()
        for call in calls:
            call.unplan()
            for meter in call.meters:
                meter.reopen()
        for call in calls:
            own = now if call.wanted.continues else None
            call.at, call.scope = foresee(self._freezes, call.meters, call.wanted.scopes, now, own)
            self._queue_or_refuse(call, now)
        self._let_go()

    def _refuse(self, call: Call, now: float) -> BrokerRateLimitError:
        alone = self._ranks.yields(call.last)  # others go sooner, and it has no right to any instant
        if not alone:
            self._promises.give(call.wanted, call.meters, call.at, now)
        reasons = self._freezes.reasons(call.wanted.scopes, now)
        return call.wanted.too_long(timedelta(seconds=call.at - now), reasons, None if alone else call.scope)

    def _sweep(self, now: float) -> None:
        if len(self._meters) + len(self._freezes) < self._sweep_at:
            return
        self._meters = {key: meter for key, meter in self._meters.items() if not meter.idle(now)}
        self._freezes.forget(now)
        self._sweep_at = max(_FEWEST_TO_SWEEP, 2 * (len(self._meters) + len(self._freezes)))
