"""The model broker: it answers on the virtual clock, out of its books, and goes wrong as the weather has it."""

from __future__ import annotations

import asyncio
import random
from asyncio import Future
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import Final, TypeVar

import attrs

from brokersync.sync.days import day_floor
from brokersync.types import TimeWindow

from .books import Books, Row, Seen
from .logins import BY_THE_USER, Asked, Logins, Pair, RefusedError
from .loop import Process, VirtualLoop
from .shape import DAY, HOUR, START, Shape, Weather

T = TypeVar("T")

_ASKED: ContextVar[Asked] = ContextVar("what is asked now")

_GIVES_UP: Final = 60.0


class DownError(Exception):
    """5xx."""


class LimitedError(Exception):
    """429, with the wait it asks for."""

    def __init__(self, wait: timedelta) -> None:
        super().__init__(f"wait {wait}")
        self.wait = wait


class ForgottenError(Exception):
    """The page's token or the report's ticket is not known."""


class TooMuchError(Exception):
    """A window over which the broker sits for longer than its own gateway waits."""


class ExpiredError(Exception):
    """That part of the history is kept no longer."""


@attrs.frozen
class Ticket:
    """A report that was ordered: what it will hold is what stood in the books at that moment."""

    identity: str
    accounts: tuple[str, ...]
    rows: tuple[Seen, ...]
    ready_at: datetime


class Broker:
    """One broker with its logins, accounts and books."""

    def __init__(
        self,
        shape: Shape,
        weather: Weather,
        books: Books,
        accounts: Mapping[tuple[str, str], Sequence[str]],
        opened: Mapping[str, datetime],
        loop: VirtualLoop,
        chance: random.Random,
        tell: Callable[[str], None],
        stop: Callable[[Process], None],
    ) -> None:
        self.shape, self.books, self.accounts, self.opened = shape, books, accounts, opened
        self.logins = Logins(shape, loop)
        self.calm = False
        self._weather, self._loop, self._chance, self._tell, self._stop = weather, loop, chance, tell, stop
        self._tickets: dict[str, Ticket] = {}
        self.outages: list[TimeWindow] = []
        self._down_until = START
        self._totters = False
        self._refused_at: dict[str, datetime] = {}
        self._nobody = loop.context_of(None)

    def now(self) -> datetime:
        return self._loop.now()

    async def ask(self, what: str, answer: Callable[[], T], *, access: str | None = None, deadly: bool = False) -> T:
        """Send a request. The broker acts upon it even when who asked is gone by then."""
        answered: Future[T] = self._loop.create_future()
        asked = Asked(what, access, Process.current(), BY_THE_USER.get())
        self._later(self._act, asked, answer, answered)
        try:
            return await answered
        except asyncio.CancelledError:
            asked.lost = True
            raise
        finally:
            self._endanger(asked.process, deadly=deadly)

    def _endanger(self, process: Process | None, *, deadly: bool) -> None:
        """Let the process crash or stand still, now that it holds what only it knows."""
        if process is None or self.calm:
            return
        if process.mortal and self._chance.random() < self._weather.deadly * (4 if deadly else 1):
            process.light_fuse(self._chance.randrange(16))
        elif self._chance.random() < (0.3 if deadly else 0.05):
            self._stop(process)

    def _later(self, act: Callable[..., None], *args: object, seconds: float = 0.0) -> None:
        wait = seconds + self._chance.random() * self._chance.choice((0.05, 0.05, 3.0))
        self._loop.call_later(wait, act, *args, context=self._nobody)

    def _act(self, asked: Asked, answer: Callable[[], T], answered: Future[T]) -> None:
        trouble = self._trouble(asked.access)
        if trouble is not None:
            self._tell(f"broker: {asked.what}: {trouble!r}")
            self._later(_fail, answered, trouble)
            return
        asked.lost = asked.lost or (not self.calm and self._chance.random() < self._weather.lost)
        token = _ASKED.set(asked)
        try:
            result = answer()
        except (RefusedError, ForgottenError, ExpiredError, TooMuchError) as error:
            self._tell(f"broker: {asked.what}: {error!r}")
            self._later(_fail, answered, error)
            return
        finally:
            _ASKED.reset(token)
        self._tell(f"broker: {asked.what}{': the answer is lost' if asked.lost else ''}")
        if asked.lost:
            self._later(_fail, answered, TimeoutError(), seconds=_GIVES_UP)
        else:
            self._later(_succeed, answered, result)

    def _trouble(self, access: str | None) -> Exception | None:
        now, draw = self._loop.now(), self._chance.random()
        if self.calm:
            return None
        weather = self._weather
        if self._totters and now >= self._down_until and self._chance.random() < 0.2:
            self._totters = False
            self._down_until = now + self._chance.choice((HOUR, 6 * HOUR, 15 * HOUR))
            self.outages.append(TimeWindow(now, self._down_until))
        if now < self._down_until or draw < weather.down:
            return DownError()
        if draw < weather.down + weather.limited:
            return LimitedError(timedelta(seconds=self._chance.choice((1, 4, 40, 900))))
        if access is not None and draw < weather.down + weather.limited + weather.refused:
            return self._refuse(access)
        return None

    def _refuse(self, access: str) -> Exception | None:
        """Answer 401 once; never to a login again within the hour, or a new token would look dead, too."""
        try:
            identity = self.logins.check(access)
        except RefusedError:
            return None
        if self.now() - self._refused_at.get(identity, START - DAY) < HOUR:
            return None
        self._refused_at[identity] = self.now()
        self.logins.refuse(access)
        return RefusedError("the access token, this once")

    def collapse(self) -> None:
        """Go down for hours, soon and in the middle of something."""
        self._totters = True

    # what it is asked

    def log_in(self, user: str, password: str) -> Pair:
        return self.logins.log_in(user, password, _ASKED.get())

    def refresh(self, token: str) -> Pair:
        return self.logins.refresh(token, _ASKED.get())

    def list_accounts(self, access: str, environment: str) -> Sequence[str]:
        return self._accounts(self.logins.check(access), environment)

    def session(self, access: str, environment: str) -> tuple[Sequence[str], tuple[Seen, ...]]:
        """The rows booked in the running session, without their fees."""
        accounts = self._accounts(self.logins.check(access), environment)
        now = self.now()
        begin = day_floor(now, self.shape.calendar)
        rows = (row for row in self._rows(accounts) if begin <= row.booked_at <= now)
        return accounts, tuple(Seen(row, with_fee=False) for row in rows)

    def history(
        self, access: str, account: str, start: datetime, end: datetime, token: str | None
    ) -> tuple[tuple[Seen, ...], str | None]:
        """A page of an account's rows by day of execution, and the token of the next."""
        self.logins.check(access)
        self._still_kept(end)
        self._digested(start, end)
        self._remembered(token)
        found = self._sorted(self._executed([account], start, end))
        first = int(token or 0) if self.shape.named else _behind(found, token)
        last = first + self.shape.page
        if last >= len(found):
            return tuple(found[first:]), None
        following = str(last - self.shape.overlap) if self.shape.named else found[last - 1].row.name
        return tuple(found[first:last]), following

    def order(
        self, access: str, environment: str, account: str | None, start: datetime, end: datetime
    ) -> tuple[str, datetime]:
        """Order a report of one account, or of all; it is made from the books as they are now."""
        identity = self.logins.check(access)
        accounts = self._accounts(identity, environment) if account is None else [account]
        self._still_kept(end)
        self._digested(start, end)
        ready = self.now() + self._chance.choice((timedelta(0), timedelta(seconds=3), timedelta(minutes=4)))
        name = f"ticket{len(self._tickets)}"
        rows = self._sorted(self._executed(accounts, start, end))
        self._tickets[name] = Ticket(identity, tuple(accounts), tuple(rows), ready)
        return name, ready

    def report(self, access: str, name: str, first: int) -> tuple[Sequence[str], tuple[Seen, ...], bool] | datetime:
        """A report's accounts, some of its rows and whether there are more; or when to come back."""
        identity = self.logins.check(access)
        self._remembered(name)
        ticket = self._tickets.get(name)
        if ticket is None or ticket.identity != identity or self.now() - ticket.ready_at > 10 * HOUR:
            raise ForgottenError(name)
        if self.now() < ticket.ready_at:
            return ticket.ready_at
        last = first + self.shape.page
        return ticket.accounts, ticket.rows[first:last], last < len(ticket.rows)

    def since(self, access: str, environment: str, number: int) -> tuple[Sequence[str], tuple[Seen, ...], bool]:
        """The rows behind a number, some at a time."""
        accounts = self._accounts(self.logins.check(access), environment)
        now = self.now()
        rows = [row for row in self._rows(accounts) if row.booked_at <= now and row.number > number]
        return accounts, tuple(row.seen(now) for row in rows[: self.shape.page]), len(rows) > self.shape.page

    def kept_from(self) -> datetime:
        """How far back the history reaches."""
        if self.shape.look_back is None:
            return datetime.min.replace(tzinfo=START.tzinfo)
        return day_floor(self.now() - self.shape.look_back, self.shape.calendar)

    def _still_kept(self, end: datetime) -> None:
        if end <= self.kept_from():
            raise ExpiredError

    def _digested(self, start: datetime, end: datetime) -> None:
        if self.shape.digests is not None and end - start > self.shape.digests:
            raise TooMuchError

    def _remembered(self, token: str | None) -> None:
        if token is not None and not self.calm and self._chance.random() < self._weather.forgotten:
            raise ForgottenError(token)

    def _accounts(self, identity: str, environment: str) -> Sequence[str]:
        return [name for name in self.accounts[identity, environment] if self.opened[name] <= self.now()]

    def _rows(self, accounts: Sequence[str]) -> list[Row]:
        return [row for row in self.books.rows if row.account in accounts]

    def _executed(self, accounts: Sequence[str], start: datetime, end: datetime) -> list[Seen]:
        now, kept = self.now(), self.kept_from()
        return [
            row.seen(now)
            for row in self._rows(accounts)
            if row.booked_at <= now and max(start, kept) <= row.executed_at < end
        ]

    def _sorted(self, rows: list[Seen]) -> list[Seen]:
        if self.shape.sort == "scrambled":
            return sorted(rows, key=lambda one: (one.row.number * 7919 % 101, one.row.number))
        return sorted(rows, key=lambda one: (one.row.executed_at, one.row.number), reverse=self.shape.sort == "newest")


def _behind(rows: Sequence[Seen], token: str | None) -> int:
    """Where a reading of rows without numbers goes on: behind the row that the token names."""
    if token is None:
        return 0
    for place, one in enumerate(rows, 1):
        if one.row.name == token:
            return place
    raise ForgottenError(token)


def _succeed(answered: Future[T], result: T) -> None:
    if not answered.done():
        answered.set_result(result)


def _fail(answered: Future[T], error: Exception) -> None:
    if not answered.done():
        answered.set_exception(error)
