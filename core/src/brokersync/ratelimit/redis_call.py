"""One call as the scripts in Redis know it: its keys, its words, and what they answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import lru_cache

import attrs

from brokersync.errors import LimitScope
from brokersync.limits import LimitKind, RateLimit
from brokersync.ratelimit.applying import Counted, LimitedCall, apart
from brokersync.ratelimit.keys import began_key, digest, freeze_key, meter_keys, queue_key
from brokersync.ratelimit.pace import RISES

_MICRO = timedelta(microseconds=1)
_KEYS_BEFORE_FREEZES = 2
_KEYS_OF_A_METER = 3


@attrs.frozen
class Answer:
    """What `take.lua` says."""

    wait: timedelta
    what: int
    scope: LimitScope
    began: str
    seen: int
    forgot: bool
    reason: str

    @property
    def kept(self) -> bool:
        """The call has its place, and asks no more."""
        return self.what in (1, 3)

    @property
    def has_its_slots(self) -> bool:
        """It keeps them while it waits."""
        return self.what == 3

    @property
    def lacks_a_slot(self) -> bool:
        """All but the number of calls under way lets it go, and it stands in line."""
        return self.what == 2


@attrs.frozen(kw_only=True)
class RedisCall:
    """A call under a name of its own. All of its keys stand in one slot of a cluster, that of its provider."""

    name: str
    wanted: LimitedCall
    meters: Sequence[Counted]
    freezes: Sequence[str]
    place_has_come: bool = False
    on_kept: Callable[[timedelta], None] = lambda _: None

    meter_keys: Sequence[str] = attrs.field(init=False)
    """Three keys of each meter."""

    def __attrs_post_init__(self) -> None:
        named: dict[tuple[str, ...], Counted] = {}
        for one in self.meters:
            keys = meter_keys(self.wanted.provider, one.limit, one.key)
            # limits that count the same are one: the tighter
            if keys not in named or _leaves(one.limit) < _leaves(named[keys].limit):
                named[keys] = one
        object.__setattr__(self, "meters", tuple(named.values()))
        object.__setattr__(self, "meter_keys", [key for keys in named for key in keys])

    @property
    def keys(self) -> list[bytes]:
        """In bytes, since the client would encode each of them again for each call, and that is dear."""
        provider = self.wanted.provider
        keys = [queue_key(provider), began_key(provider), *self.freezes, *self.meter_keys]
        return [*map(_encoded, keys)]

    @property
    def capped(self) -> bool:
        """Whether it counts anywhere as long as it is under way."""
        return any(one.limit.kind is LimitKind.CONCURRENCY for one in self.meters)

    @property
    def weights(self) -> list[int]:
        """As how many it counts in each meter."""
        return [one.weight for one in self.meters]

    @property
    def longest_period(self) -> timedelta:
        return max([_period(one.limit, self.wanted.lasts) for one in self.meters], default=timedelta(0))

    @property
    def over_time(self) -> RedisCall:
        """The same call, as far as calls are counted over time."""
        return attrs.evolve(self, meters=apart(self.meters)[0])

    @property
    def under_way(self) -> RedisCall:
        """The same call, as far as those under way are counted, when its place over time has come."""
        return attrs.evolve(self, meters=apart(self.meters)[1], freezes=(), place_has_come=True, on_kept=lambda _: None)

    @property
    def freeze_places(self) -> dict[LimitScope, int]:
        """Which freeze is whose, counted from one."""
        return {scope: place for place, scope in enumerate(self.wanted.scopes, 1)}

    def words(
        self,
        now: int | str,
        longest: timedelta,
        grace: timedelta,
        heard: tuple[str, int],
        share: int,
        lateness: timedelta,
        asks_for: float,
    ) -> str:
        """The words of `take.lua`; `heard` is since when the server counts and when it was last seen to.

        `asks_for` is in seconds.
        """
        # what is promised under other limits is void
        waiter = digest(self.wanted.waiter, self.wanted.operation, *map(str, self.weights), *self.meter_keys)
        told = {"p": self.wanted.pressing, "c": self.wanted.continues, "s": self.place_has_come}
        asked = "".join(word for word, is_so in told.items() if is_so) or "-"
        period = self.longest_period // _MICRO
        words = [f"{now or '-'} {self.name} {waiter} {asked} {longest // _MICRO} {grace // _MICRO}"]
        began, seen = heard
        words.append(f"{began or '-'} {seen} {share} {period} {len(self.meters)} {lateness // _MICRO} {RISES}")
        words.append(str(round(asks_for / _MICRO.total_seconds())))
        freezes = self.freeze_places
        app = freezes.get(LimitScope.APP, len(freezes) + 1)
        freezes[LimitScope.APP] = -app  # which all share
        for limit, _, weight, _ in self.meters:
            facts = _facts(limit, self.wanted.lasts)
            words.append(f"{facts} {weight} {limit.reserve} {freezes.get(limit.scope, 0)}")
        return " ".join(words)

    def read(self, answer: str | bytes) -> Answer:
        """The answer of `take.lua`."""
        text = answer if isinstance(answer, str) else answer.decode()
        wait, what, key, _, began, seen, forgot, reason = text.split(" ", 7)
        scope = self._scope_of(int(key))
        return Answer(int(wait) * _MICRO, int(what), scope, began, int(seen), forgot == "1", reason)

    def _scope_of(self, key: int) -> LimitScope:
        """What stands behind the key at this position, which counts from one."""
        if key == 0:
            return LimitScope.APP
        position = key - 1 - _KEYS_BEFORE_FREEZES
        if position < len(self.freezes):
            return list(self.wanted.scopes)[position]
        return self.meters[(position - len(self.freezes)) // _KEYS_OF_A_METER].limit.scope


def _leaves(limit: RateLimit) -> tuple[int, int]:
    """What it leaves to routine calls, and to those that somebody waits for."""
    return limit.amount - limit.reserve, limit.amount


@lru_cache(maxsize=4096)
def _encoded(key: str) -> bytes:
    return key.encode()


def _period(limit: RateLimit, lasts: timedelta) -> timedelta:
    """For how long a call counts; under way it does until its worker is sure to have ended it."""
    return lasts if limit.kind is LimitKind.CONCURRENCY else limit.period


@lru_cache(maxsize=1024)
def _facts(limit: RateLimit, lasts: timedelta) -> str:
    return f"{limit.kind.value} {limit.amount} {_period(limit, lasts) // _MICRO}"


def freezes_of(call: LimitedCall) -> list[str]:
    """The keys of all freezes that keep it from going, in the order of its scopes."""
    return [freeze_key(call.provider, scope, key) for scope, key in call.scopes.items()]
