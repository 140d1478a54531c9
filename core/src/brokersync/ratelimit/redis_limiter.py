"""The limiter of all processes that share a Redis or a Valkey."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import count
from typing import Any, final

import attrs

from brokersync.errors import LimitScope
from brokersync.limits import LimitKind
from brokersync.provider import Clock
from brokersync.ratelimit.applying import USED_UP, Counted, LimitedCall, OnWait, apart
from brokersync.ratelimit.cluster import part_of, parts_of
from brokersync.ratelimit.frost import FREEZES, TURNS, Frost
from brokersync.ratelimit.heard import Servers
from brokersync.ratelimit.keys import alive_key, began_key, freeze_key, meter_keys, queue_key
from brokersync.ratelimit.lateness import Lateness
from brokersync.ratelimit.left import Left
from brokersync.ratelimit.local import COME_BACK_AFTER
from brokersync.ratelimit.outages import AWAY
from brokersync.ratelimit.pace import RISES
from brokersync.ratelimit.recall import Recall
from brokersync.ratelimit.redis_call import Answer, RedisCall, freezes_of
from brokersync.ratelimit.redis_pass import RedisPass
from brokersync.ratelimit.redis_refusal import RedisRefusal
from brokersync.ratelimit.redis_silences import RedisSilences
from brokersync.ratelimit.refusal import Penalty, Refusal
from brokersync.ratelimit.scripts import Script, ScriptRunner, Word
from brokersync.ratelimit.silences import Thaw

_TAKE, _GIVE_BACK, _RELEASE = map(Script, ("take", "give_back", "release"))
_MOVE, _SPEND, _RECALL = map(Script, ("move", "spend", "recall"))
_CORRECT, _FREEZE, _PENALISE = map(Script, ("correct", "freeze", "penalise"))
_GRACE = timedelta(minutes=2)
_MICRO = timedelta(microseconds=1)
_LONG_AGO = 0
_NO_SLOT = "as many calls as may be are under way"
# a slot may come free because a lease has ended, which nobody tells
_ASK_AGAIN = 1.0
# each is an entry of its own, which others wait for
_MOST_MISSING = 10_000
# what is later than its loop makes it has opened a connection first; that is not in what the windows are longer by
_LATE = 0.02


@final
class RedisLimiter:
    """Keeps the limits for all processes that share a Redis; see `Limiter`.

    All counts of a call are looked at and changed in one round trip, by the server's clock. A wait of up to `longest`
    keeps the place, which needs no second question; a longer one is refused with the place in the queue, and whoever
    comes back for it within two minutes is let in before those that came later. A server that has lost its counts lets
    only `share` of each limit go until a period of it has passed. Raises the errors of redis.
    """

    def __init__(
        self,
        redis: Any,
        clock: Clock,
        *,
        share: int = 10,
        jitter: timedelta = timedelta(0),
        now: Callable[[], int] | None = None,
    ) -> None:
        """`share` is in percent; `now` stands for the server's clock in tests, in microseconds.

        A call may be longer on its way than the next, by `jitter`.
        """
        self._redis, self._clock, self._share, self._now = redis, clock, share, now
        self._scripts = ScriptRunner(redis)
        self._servers = Servers()
        self._recall = Recall()
        self._frost, self._lateness = Frost(redis, clock), Lateness(jitter)
        self._silences = RedisSilences(redis, clock, self._frost.silences)
        self._names = (f"{who}.{number}" for who in [secrets.token_hex(4)] for number in count())

    async def acquire(
        self,
        call: LimitedCall,
        *,
        longest: timedelta,
        on_wait: OnWait,
        on_kept: Callable[[timedelta], None] = lambda _: None,
    ) -> RedisPass:
        """See `Limiter`. `on_kept` hears of each place that is kept, and how long until it comes."""
        asked = RedisCall(
            name=next(self._names), wanted=call, meters=call.counted(), freezes=freezes_of(call), on_kept=on_kept
        )
        if not asked.capped:
            await self._go(asked, longest, on_wait)
            return RedisPass(self, asked, self._clock.monotonic())
        self._frost.expect(asked.name)
        try:
            await self._go(asked, longest, on_wait)
        except BaseException:
            await self.release(asked.under_way)
            raise
        finally:
            self._frost.forget(asked.name)
        return RedisPass(self, asked, self._clock.monotonic())

    async def release(self, call: RedisCall) -> None:
        """Give back its slots, or its place in line. Where Redis is away its lease ends by itself."""
        with suppress(*AWAY):
            await self._scripts.run(_RELEASE, call.meter_keys, [call.name, TURNS, *call.weights])

    async def move(self, call: RedisCall) -> None:
        """Count it from now on where it has its place in a window. Where Redis is away that stays as it was."""
        windows = [one for one in call.meters if one.limit.kind is LimitKind.WINDOW]
        await self._move(call, windows, self._server_time())

    async def forgive(self, call: RedisCall) -> None:
        """Count it as if it had gone long ago where only failures count. Where Redis is away that stays as it was."""
        await self._move(call, [one for one in call.meters if one.limit.failures_only], _LONG_AGO)

    async def _move(self, call: RedisCall, windows: Sequence[Counted], to: Word) -> None:
        keys = [meter_keys(call.wanted.provider, one.limit, one.key)[0] for one in windows]
        words: list[Word] = [to, call.name]
        for one in windows:
            words += [one.limit.period // _MICRO, one.weight]
        if keys:
            with suppress(*AWAY):
                await self._scripts.run(_MOVE, keys, words)

    async def freeze(self, provider: str, scope: LimitScope, key: str, until: datetime, reason: str) -> bool:
        """See `Limiter`."""
        lasts = until - self._clock.now()
        await self._freeze(provider, scope, key, until, reason)
        return await self._silences.begin(provider, scope, key, lasts)

    async def _freeze(self, provider: str, scope: LimitScope, key: str, until: datetime, reason: str) -> None:
        micros = (until - self._clock.now()) // _MICRO
        if micros > 0:
            frozen = freeze_key(provider, scope, key)
            self._frost.add(frozen, micros)
            words = [self._server_time(), micros, reason, FREEZES, f"{micros} {frozen}", RISES]
            await self._scripts.run(_FREEZE, [frozen], words)

    async def penalise(self, refusal: Refusal) -> Penalty:
        """See `Limiter`."""
        asked = RedisRefusal(refusal)
        answer = await self._scripts.run(_PENALISE, asked.keys, asked.words(self._server_time(), FREEZES))
        penalty = asked.read(answer)
        key = refusal.call.scopes.get(penalty.scope, "")
        self._frost.add(freeze_key(refusal.call.provider, penalty.scope, key), penalty.lasts // _MICRO)
        news = await self._silences.begin(refusal.call.provider, penalty.scope, key, penalty.lasts)
        return attrs.evolve(penalty, again=not news)

    async def came_through(self, call: LimitedCall, sent_at: float) -> Sequence[Thaw]:
        """See `Limiter`."""
        return await self._silences.over(call, sent_at)

    async def correct(self, call: LimitedCall, left: Left) -> None:
        """See `Limiter`. Places that were kept already are not taken back."""
        one = left.meant(apart(call.counted())[0])
        if one is None or left.calls >= one.limit.amount:
            return
        limit, resets_in = one.limit, one.limit.period if left.resets_in is None else left.resets_in
        if limit.kind is LimitKind.WINDOW and limit.amount - left.calls > _MOST_MISSING:
            if not left.calls:
                until = self._clock.now() + resets_in
                await self._freeze(call.provider, limit.scope, one.key, until, "no call is left, as the broker says")
            return
        log, _, state = meter_keys(call.provider, limit, one.key)
        words = [self._server_time(), next(self._names), limit.kind.value, limit.amount, limit.period // _MICRO]
        await self._scripts.run(_CORRECT, [log, state], [*words, left.calls, resets_in // _MICRO])

    async def count(self, call: LimitedCall, ago: timedelta) -> None:
        """Count a call that went so long ago, when nobody could be asked. Raises the errors of redis."""
        asked = RedisCall(name=next(self._names), wanted=call, meters=call.counted(), freezes=()).over_time
        keys = [key for key in asked.meter_keys if not key.endswith(":promises")]
        words: list[Word] = [self._server_time(), asked.name, ago // _MICRO]
        for limit, _, weight, _ in asked.meters:
            words += [limit.kind.value, limit.amount, limit.period // _MICRO, weight]
        if keys:
            await self._scripts.run(_SPEND, [*keys, began_key(call.provider)], words)

    async def remind(self, part: str) -> None:
        """Tell a server the last places that it gave, where it has lost them. Raises the errors of redis."""
        for provider in self._recall.providers():
            if self.part(provider) == part:
                await self._remind(provider)

    async def _remind(self, provider: str) -> None:
        with self._recall.told(provider, self._clock.monotonic()) as places:
            for log, words in places:
                await self._scripts.run(_RECALL, [log], [self._server_time(), *words])

    async def answer(self, provider: str) -> None:
        """Have the server of a broker write something, which one that only reads does not. Raises its errors."""
        await self._redis.set(alive_key(provider), "", px=1)

    def is_late(self, at: float) -> bool:
        """Whether what had its place at this instant leaves later than the windows make room for."""
        return self._clock.monotonic() - at > _LATE

    def part(self, provider: str) -> str:
        """Which server counts for a broker, as far as is known: in a cluster each has some of them."""
        return part_of(self._redis, queue_key(provider))

    def parts(self) -> Collection[str]:
        """The servers that there are, as far as is known."""
        return parts_of(self._redis)

    def thaws_in(self, call: LimitedCall) -> timedelta:
        """For how long its scopes are frozen, as far as it was heard here."""
        return self._frost.thaws_in(freezes_of(call))

    async def aclose(self) -> None:
        """Leave nothing of it running or open."""
        await self._frost.aclose()
        await self._redis.aclose()

    async def _go(self, call: RedisCall, longest: timedelta, on_wait: OnWait) -> None:
        told = False
        begins = self._clock.monotonic()
        ends = begins + longest.total_seconds()
        while True:
            now = self._clock.monotonic()
            left = max(ends - now, 0.0)
            answer = await self._take(call, timedelta(seconds=left), now - begins)
            if answer.kept and not answer.wait:
                return
            if answer.lacks_a_slot and left <= 0:
                raise call.wanted.too_long(COME_BACK_AFTER, [_NO_SLOT])
            if not answer.kept and not answer.lacks_a_slot:
                raise call.wanted.too_long(answer.wait, [answer.reason] if answer.reason else [], answer.scope)
            if not told:
                on_wait(answer.scope, answer.wait or timedelta(seconds=left), _reason(answer))
                told = True
            if answer.lacks_a_slot:
                await self._frost.turn(call.name, min(left, _ASK_AGAIN))
            elif await self._wait(call, answer.wait):
                if answer.has_its_slots or await self._begins(call):
                    return
            elif answer.has_its_slots:
                await self.release(call.under_way)

    async def _begins(self, call: RedisCall) -> bool:
        """Take the slots of a call whose kept place has come; it kept none while it waited, and goes without none."""
        if not call.capped or (await self._take(call.under_way, timedelta(0))).kept:
            return True
        await self._give_back(call.over_time)
        return False

    async def _take(self, call: RedisCall, longest: timedelta, asks_for: float = 0.0) -> Answer:
        provider, asked_at = call.wanted.provider, self._clock.monotonic()
        heard = self._servers.of(provider, asked_at)
        words = call.words(
            self._server_time(), longest, _GRACE, (heard.began, heard.seen), self._share, self._lateness.now, asks_for
        )
        answer = call.read(await self._scripts.run(_TAKE, call.keys, [words]))
        answered_at = self._clock.monotonic()
        self._lateness.answered_after(answered_at - asked_at)
        began_anew = self._servers.hear(provider, answer, answered_at, call.longest_period, heard)
        if answer.kept:
            self._recall.keep(call, answered_at, answer.wait)
            call.on_kept(answer.wait)
        if answer.forgot or began_anew:  # the first to meet that tells it for all
            with suppress(*AWAY):
                await self._remind(provider)
        return answer

    async def _wait(self, call: RedisCall, wait: timedelta) -> bool:
        """Sleep until the kept place; `False` when it has been frozen meanwhile and was given back."""
        went = False
        self._frost.listen()
        at = self._clock.monotonic() + wait.total_seconds()
        try:
            await self._clock.sleep(wait.total_seconds())
            self._lateness.woke_after(self._clock.monotonic() - at)
            went = not self._frost.holds(call.freezes, at)
            return went
        finally:
            if not went:
                await self._give_back(call.over_time)

    async def _give_back(self, kept: RedisCall) -> None:
        """Where Redis is away the place passes by itself, and whoever is cancelled is not to go for that."""
        self._recall.forget(kept)
        if kept.meter_keys:
            with suppress(*AWAY):
                await self._scripts.run(_GIVE_BACK, kept.meter_keys, [self._server_time(), kept.name, *kept.weights])

    def _server_time(self) -> Word:
        return "" if self._now is None else self._now()


def _reason(answer: Answer) -> str:
    return _NO_SLOT if answer.lacks_a_slot else answer.reason or USED_UP
