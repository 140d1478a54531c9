"""Days of which the reports tell too little: what they lack, and when each is asked for again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, TypeAlias

import attrs

from brokersync.plugin import BrokerAccount, ProviderContext
from brokersync_tradovate.cash_asks import account_key

FIRST_WAIT: Final = timedelta(days=1)
"""How long each sync asks again."""
FEES_WAIT: Final = timedelta(days=64)
"""How long fees are waited for that the Cash History, though it was read, does not tell."""

Lacking: TypeAlias = Mapping[date, Mapping[str, int]]
"""What each day lacks, in words, and how often."""

_A_DAY, _A_MINUTE = timedelta(days=1), timedelta(minutes=1)
_LONGEST_PAUSE = timedelta(days=32)
_EPOCH = datetime(2020, 1, 1, tzinfo=UTC)


@attrs.frozen
class _Wait:
    """Since when a day waits, until when each sync asks for it, when it was asked for last, and what it lacks."""

    since: datetime
    eager_until: datetime
    at: datetime
    lacks: Mapping[str, int]

    def rests(self, now: datetime, origin: datetime) -> bool:
        """Whether its turn has not come; turns are twice as far apart when it has waited twice as long.

        They are counted from one `origin` for all days, or a window of many would be asked for at the turn of each.
        """
        if self.at == self.since or not max(self.at, self.eager_until) <= now:
            return False
        pause = _A_DAY
        while pause * 2 <= min(self.at - self.since, _LONGEST_PAUSE):
            pause *= 2
        return (self.at - origin) // pause == (now - origin) // pause

    def kept(self) -> dict[str, Any]:
        moments = {"since": self.since, "eager_until": self.eager_until, "at": self.at}
        return {name: moment.isoformat() for name, moment in moments.items()} | {"lacks": dict(self.lacks)}

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> _Wait:
        since, eager_until, at = (datetime.fromisoformat(kept[name]) for name in ("since", "eager_until", "at"))
        return cls(since, eager_until, at, kept["lacks"])


class WaitingDays:
    """Those of one account, kept where all who read it find them."""

    def __init__(self, context: ProviderContext, account: BrokerAccount) -> None:
        self._cache, self._clock, self._account = context.cache, context.clock, account_key(account)
        # each account's own, so that not all of them are asked for on one day
        self._origin = _EPOCH + int(self._account, 16) % (_LONGEST_PAUSE // _A_MINUTE) * _A_MINUTE

    async def while_all_rest(self, days: Collection[date]) -> Mapping[str, int] | None:
        """What these days lack, where none of them is to be asked for now."""
        waits, now = await self._waits(days), self._clock.now()
        if len(waits) < len(days) or not all(one.rests(now, self._origin) for one in waits.values()):
            return None
        lacks: Counter[str] = Counter()
        for one in waits.values():
            lacks.update(one.lacks)
        return lacks

    async def waited(self, days: Collection[date]) -> Mapping[date, timedelta]:
        """How long each of these days has waited."""
        waits, now = await self._waits(days), self._clock.now()
        return {day: now - waits[day].since if day in waits else timedelta(0) for day in days}

    async def known(self, days: Collection[date]) -> Lacking:
        """What those of these days lack that wait."""
        return {day: one.lacks for day, one in (await self._waits(days)).items()}

    async def asked_in_vain(
        self, days: Iterable[date], lacking: Lacking, *, eager: timedelta, among: Collection[date]
    ) -> None:
        """Of `among` these days wait on, and no others; of those that are new each sync asks for so long."""
        before, now = await self._waits(among), self._clock.now()
        kept: dict[date, Any] = dict.fromkeys(before)
        for day in days:
            known = before.get(day) or _Wait(now, now + eager, now, {})
            kept[day] = attrs.evolve(known, at=now, lacks=lacking.get(day, {})).kept()
        if kept:
            await self._cache.put_many({self._key(day): one for day, one in kept.items()})

    async def _waits(self, days: Collection[date]) -> Mapping[date, _Wait]:
        """But what was written by a clock that was ahead."""
        keys, now = {self._key(day): day for day in days}, self._clock.now()
        kept: Mapping[str, Any] = await self._cache.get_many(list(keys)) if keys else {}
        waits = {keys[key]: _Wait.of(one) for key, one in kept.items() if one is not None}
        return {day: one for day, one in waits.items() if one.since <= one.at <= now}

    def _key(self, day: date) -> str:
        return f"{self._account}:{day.isoformat()}:waits"


def days_between(first: date, last: date) -> Iterator[date]:
    return (first + number * _A_DAY for number in range((last - first).days + 1))
