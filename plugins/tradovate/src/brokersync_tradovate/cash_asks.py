"""When a Cash History that fails is asked for again: in growing pauses."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import date, datetime, timedelta
from hashlib import sha256
from typing import Any

import attrs

from brokersync.plugin import BrokerAccount, BrokerUnavailableError, ProviderContext

_FIRST_PAUSE = timedelta(minutes=30)
_LONGEST_PAUSE = timedelta(hours=5)  # a sync every six hours, as core has it by itself, always asks
_A_ROUND = timedelta(minutes=15)  # within which each window is asked for
_LONG_AGO = timedelta(days=1)


@attrs.frozen
class _Round:
    """When it was last asked for in vain, and how many times in a row that was so."""

    at: datetime
    number: int

    @property
    def over(self) -> datetime:
        return self.at + min(_FIRST_PAUSE * (1 << min(self.number - 1, 8)), _LONGEST_PAUSE)

    def rests(self, now: datetime) -> bool:
        return self.at + _A_ROUND <= now < self.over

    def counts(self, now: datetime) -> bool:
        """Not if it has been back since, or if that was written by a clock that was ahead."""
        return self.at <= now < self.over + _LONG_AGO


class CashHistoryAsks:
    """The asks for one account's Cash History: of `settled` days, which fail or pass apart from the last ones.

    They are kept where all who read the account find them.
    """

    def __init__(self, context: ProviderContext, account: BrokerAccount, *, settled: bool) -> None:
        self._cache, self._clock = context.cache, context.clock
        self._account = f"cashHistory:{account_key(account)}"
        self._whole = f"{self._account}:{'settled' if settled else 'last'}"

    async def check(self) -> None:
        """Raises `BrokerUnavailableError` while it is not to be asked for."""
        if any(one.rests(self._clock.now()) for one in (await self._rounds([self._whole])).values()):
            raise BrokerUnavailableError("The Cash History has failed, and is left alone for a while.")

    async def failed(self) -> None:
        """Note that nothing of it could be read."""
        await self._note([self._whole])

    async def failing(self, days: Iterable[date]) -> Mapping[date, bool]:
        """Those of the days that have failed while others were read, and whether each is to be left alone now."""
        names = {self._of(day): day for day in days}
        now = self._clock.now()
        return {names[name]: one.rests(now) for name, one in (await self._rounds(names)).items()}

    async def days_failed(self, days: Iterable[date]) -> None:
        """Note that nothing of these days could be read, while others were."""
        await self._note([self._of(day) for day in days])

    def _of(self, day: date) -> str:
        return f"{self._account}:{day.isoformat()}"

    async def _note(self, names: Collection[str]) -> None:
        """A failure, once a round."""
        now, rounds = self._clock.now(), await self._rounds(names)
        numbers = {name: rounds[name].number if name in rounds else 0 for name in names}
        begun = {name: one for name, one in numbers.items() if name not in rounds or now >= rounds[name].over}
        if begun:
            await self._cache.put_many({k: {"at": now.isoformat(), "rounds": one + 1} for k, one in begun.items()})

    async def _rounds(self, names: Iterable[str]) -> Mapping[str, _Round]:
        asked = list(names)
        kept: Mapping[str, Any] = await self._cache.get_many(asked) if asked else {}
        rounds = {name: _Round(datetime.fromisoformat(one["at"]), int(one["rounds"])) for name, one in kept.items()}
        return {name: one for name, one in rounds.items() if one.counts(self._clock.now())}


def account_key(account: BrokerAccount) -> str:
    """A name that does not show whose account it is, for what all who read it share."""
    return sha256(f"{account.environment}/{account.account_id}".encode()).hexdigest()[:32]
