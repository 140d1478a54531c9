"""Reading a Cash History: as a whole, or in parts where Tradovate can not give all of it."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterator, Sequence
from datetime import date, timedelta
from io import StringIO
from typing import TypeAlias

from brokersync.plugin import (
    AuthResult,
    BrokerAccount,
    BrokerAPIError,
    BrokerAuthError,
    BrokerError,
    BrokerNotReadyError,
    BrokerRateLimitError,
    BrokerResponseError,
    BrokerRetryableError,
    BrokerTokenExpiredError,
    BrokerUnavailableError,
)
from brokersync_tradovate.aside import aside
from brokersync_tradovate.cash_asks import CashHistoryAsks
from brokersync_tradovate.cash_history import CashHistory, read_cash_history
from brokersync_tradovate.client import TradovateClient
from brokersync_tradovate.refusals import Refusal, request_refused
from brokersync_tradovate.tables import DamagedTableError, TableError

_A_DAY = timedelta(days=1)
_DOWN_AFTER = 3  # it fails as a whole and in both of its halves
_MOST_FAILURES = 16

_Days: TypeAlias = tuple[date, date]


class UnreadError(Exception):
    """That nothing of a Cash History could be read: why, in words, and whether that is as an outage, which passes."""

    def __init__(self, reason: str, *, passes: bool) -> None:
        super().__init__(reason)
        self.passes = passes


class CashHistoryReading:
    """Reads the Cash History of one account, whose Fills report has just been given by the same token."""

    def __init__(
        self, client: TradovateClient, auth: AuthResult, account: BrokerAccount, asks: CashHistoryAsks
    ) -> None:
        self._client, self._auth, self._account, self._asks = client, auth, account, asks

    async def read(self, first: date, last: date, unmapped: Counter[str]) -> CashHistory:
        """What can be read of these days, with those that can not.

        Raises `UnreadError` where that is nothing, and `BrokerError` for what concerns every request.
        """
        try:
            await self._asks.check()
            return await self._in_parts(first, last, unmapped)
        except (BrokerError, TableError) as error:
            if not _is_of_one_report(error):
                raise
            raise UnreadError(_reason(error), passes=_passes(error)) from None

    async def _in_parts(self, first: date, last: date, unmapped: Counter[str]) -> CashHistory:
        """Halved where it fails, so that one bad day takes no other days along."""
        failing = await self._asks.failing(_days(first, last))
        unread = {day for day, rests in failing.items() if rests}
        parts = deque(_around(failing, unread, first, last))
        told, failures, alone = list[CashHistory](), list[BrokerError | TableError](), set[date]()
        while parts and (told or len(failures) < _DOWN_AFTER):
            part = parts.popleft()
            try:
                told.append(await self._part(*part, unmapped))
            except (BrokerError, TableError) as error:
                if not _is_of_one_report(error) or not (told or failures or _passes(error)):
                    raise
                failures.append(error)
                if part[0] == part[1]:
                    alone.add(part[0])
                if part[0] == part[1] or len(failures) > _MOST_FAILURES:
                    unread.update(_days(*part))
                else:
                    parts.extend(_halves(*part))
        if not told:
            await self._asks.failed()
            raise failures[0] if failures else BrokerUnavailableError("Each of these days has failed.")
        await self._asks.days_failed(alone)
        charges = tuple(charge for one in told for charge in one.charges)
        return CashHistory(charges, all(one.whole for one in told), frozenset(unread))

    async def _part(self, first: date, last: date, unmapped: Counter[str]) -> CashHistory:
        text = await self._client.report(
            self._auth, self._account, "Cash History", first, last, meaning=_refused_beside
        )
        odd: Counter[str] = Counter()
        lines = StringIO(text, newline="")
        history = await aside(lambda each: read_cash_history(each(lines), self._account.name, odd))
        unmapped.update(odd)
        return history


def _days(first: date, last: date) -> Iterator[date]:
    return (first + n * _A_DAY for n in range((last - first).days + 1))


def _halves(first: date, last: date) -> tuple[_Days, _Days]:
    middle = first + (last - first) // 2
    return (first, middle), (middle + _A_DAY, last)


def _around(failing: Collection[date], resting: Collection[date], first: date, last: date) -> Sequence[_Days]:
    """The days between those that have failed, then each of these that is not to rest."""
    parts, start = list[_Days](), first
    for day in sorted(failing):
        if start < day:
            parts.append((start, day - _A_DAY))
        start = day + _A_DAY
    if start <= last:
        parts.append((start, last))
    return [*parts, *((day, day) for day in sorted(failing) if day not in resting)]


def _refused_beside(refusal: Refusal) -> BrokerError:
    """A report that is denied right after another one was given: renewing the token would not help, and costs one of
    the few renewals that an address has."""
    meant = request_refused(refusal)
    if isinstance(meant, BrokerTokenExpiredError) and refusal.status != 408 and not refusal.names_a_dead_token:
        return BrokerAPIError(meant.message, **refusal.facts)
    return meant


def _is_of_one_report(error: BrokerError | TableError) -> bool:
    """Whether it says nothing of the next request, since another report has just been given by the same token."""
    if isinstance(error, BrokerAuthError):
        return error.status == 403
    if isinstance(error, BrokerRetryableError):
        return not isinstance(error, BrokerRateLimitError | BrokerNotReadyError)
    return isinstance(error, BrokerAPIError | TableError)


def _passes(error: BrokerError | TableError) -> bool:
    return isinstance(error, BrokerRetryableError | BrokerResponseError | DamagedTableError)


def _reason(error: BrokerError | TableError) -> str:
    why = f"the Cash History {error}" if isinstance(error, TableError) else "Tradovate gives no Cash History"
    return f"{why}: reported fees are the commission alone until it does"
