"""What the statements of a document prove: which days of which account, and whether for good."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta

from brokersync.plugin import BrokerAccount, CoveredSpan, Finality
from brokersync_ibkr.accounts import is_account_id
from brokersync_ibkr.coverage import FINALITY_LAG, Days, proved, told_until
from brokersync_ibkr.dates import new_york_day

_DAY = timedelta(days=1)


class Proof:
    """Takes the statements' periods, and when they were made; `asked` are the days that were ordered, if any were."""

    def __init__(self, asked: Days | None) -> None:
        self._asked = asked
        self._stated: dict[str, list[Days]] = {}
        self._doubtful: dict[str, list[Days]] = {}
        self._made: datetime | None = None
        self._undated = False

    def made(self, moment: datetime | None) -> None:
        """When a statement was made; `None` where it does not say."""
        if moment is None:
            self._undated = True
        else:
            self._made = min(moment, self._made) if self._made else moment

    def stated(self, account_id: str, days: Days | None, *, doubtful: bool = False) -> None:
        """The period of a statement for this account; `None` where it tells none."""
        if days is not None:
            stated = self._doubtful if doubtful else self._stated
            stated.setdefault(account_id, []).append(days)

    def covered(self, accounts: Iterable[BrokerAccount], *, provisional: bool) -> Iterator[CoveredSpan]:
        """The spans that are proved for these accounts."""
        known = {account.account_id: account.environment for account in accounts}
        for account_id, environment in sorted(known.items()):
            for stated, no_proof in ((self._stated, provisional), (self._doubtful, True)):
                of_account = stated.get(account_id) or stated.get(_whole(account_id), [])
                for part, finality in self._parts(of_account, provisional=no_proof):
                    yield CoveredSpan(
                        account_id=account_id, environment=environment, window=part.window, finality=finality
                    )

    def _parts(self, stated: Iterable[Days], *, provisional: bool) -> Iterator[tuple[Days, Finality]]:
        for days in proved(stated, self._asked):
            yield from self._by_finality(days, provisional=provisional)

    def _by_finality(self, days: Days, *, provisional: bool) -> Iterator[tuple[Days, Finality]]:
        """What had not been over for long when the statement was made is provisional in any case."""
        told = Days(date.min, new_york_day(self._made)).overlap(days) if self._made else days
        if told is None:
            return
        final = None if provisional else told.overlap(Days(date.min, self._last_final_day()))
        if final is not None:
            yield final, Finality.FINAL
        if final != told:
            yield Days(final.last + _DAY if final else told.first, told.last), Finality.PROVISIONAL

    def _last_final_day(self) -> date:
        if self._made is not None and not self._undated:
            return told_until(new_york_day(self._made - FINALITY_LAG) - _DAY)
        # the service was asked just now, and core knows when; when a file was made nobody knows
        return date.min if self._asked is None else date.max


def _whole(account_id: str) -> str:
    """The account that this one is a segment of: a statement of U1 also tells about U1F, and not the other way."""
    return account_id.rstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ") if is_account_id(account_id) else account_id
