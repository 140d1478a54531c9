"""How often a Cash History that fails is asked for: in growing pauses, so that it is no burden and fees come soon."""

from __future__ import annotations

from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from brokersync.plugin import BrokerAccount, BrokerUnavailableError, ProviderContext

_FIRST_PAUSE = timedelta(minutes=30)
_LONGEST_PAUSE = timedelta(hours=5)  # a sync every six hours, as core has it by itself, always asks
_A_ROUND = timedelta(minutes=15)  # within which each window is asked for
_LONG_AGO = timedelta(days=1)


class CashHistoryAsks:
    """The asks for one account's Cash History: of `settled` days, which fail or pass apart from the last ones.

    They are kept where all who read the account find them, under a name that does not show whose it is.
    """

    def __init__(self, context: ProviderContext, account: BrokerAccount, *, settled: bool) -> None:
        self._cache, self._clock = context.cache, context.clock
        whose = sha256(f"{account.environment}/{account.account_id}".encode()).hexdigest()[:32]
        self._key = f"cashHistory:{whose}:{'settled' if settled else 'last'}"

    async def check(self) -> None:
        """Raises `BrokerUnavailableError` while it is not to be asked for."""
        round_ = await self._round()
        if round_ is not None and self._clock.now() < round_[0] + _pause(round_[1]) and not self._goes_on(round_[0]):
            raise BrokerUnavailableError("The Cash History has failed, and is left alone for a while.")

    async def failed(self) -> None:
        """Note a failure, once a round."""
        now, round_ = self._clock.now(), await self._round()
        if round_ is None or now >= round_[0] + _pause(round_[1]):
            rounds = 0 if round_ is None else round_[1]
            await self._cache.put_many({self._key: {"at": now.isoformat(), "rounds": rounds + 1}})

    def _goes_on(self, began: datetime) -> bool:
        return self._clock.now() < began + _A_ROUND

    async def _round(self) -> tuple[datetime, int] | None:
        """When it was last asked for in vain, and how many times in a row that was so."""
        kept: Any = (await self._cache.get_many([self._key])).get(self._key)
        if kept is None:
            return None
        at, rounds = datetime.fromisoformat(kept["at"]), int(kept["rounds"])
        # it has been back since; or was written by a clock that was ahead
        return (at, rounds) if at <= self._clock.now() < at + _pause(rounds) + _LONG_AGO else None


def _pause(rounds: int) -> timedelta:
    return min(_FIRST_PAUSE * (1 << min(rounds - 1, 8)), _LONGEST_PAUSE)
