"""One window of a source, asked on from cursor to cursor until it is read."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from datetime import datetime, timedelta

import attrs

from brokersync.errors import BrokerCursorError, BrokerError, BrokerResponseError, Fault
from brokersync.events import EventSink, LimitWaited
from brokersync.manifest import SourceScope
from brokersync.provider import Clock
from brokersync.records import Connection, OpenRequest
from brokersync.store import Store
from brokersync.sync.commit import PageWriter
from brokersync.sync.ledger import read_windows, reopen
from brokersync.sync.places import Places
from brokersync.sync.plan import Ask
from brokersync.types import BrokerAccount, TradePage, TradeRequest

Reader = Callable[[TradeRequest], AsyncGenerator[TradePage, None]]

_POLLS_IN_A_ROW = 12
_PAUSE = timedelta(seconds=30)
_PREPARING = "The broker is still preparing its answer."


@attrs.frozen
class Wait:
    """The broker needs until then; the request keeps its place."""

    until: datetime
    reason: str


@attrs.frozen
class _Read:
    """A page and when it came; it is committed when the next one is there."""

    page: TradePage
    at: datetime


class WindowReader:
    """Reads windows through a plugin's generator into the store, each page as soon as the next one is there."""

    def __init__(
        self,
        *,
        connection: Connection,
        read: Reader,
        store: Store,
        writer: PageWriter,
        clock: Clock,
        events: EventSink,
        long_wait: timedelta,
        with_bookmarks: bool,
        in_halves: Callable[[Ask], Awaitable[bool]],
    ) -> None:
        self._connection, self._read, self._store, self._writer = connection, read, store, writer
        self._clock, self._events = clock, events
        self._long_wait, self._with_bookmarks, self._in_halves = long_wait, with_bookmarks, in_halves
        self._cursor: str | None = None

    async def read(self, ask: Ask, opened: OpenRequest | None) -> Wait | None:
        """Read one window to its end, or as far as it goes without a long wait.

        Raises what the plugin raises; the pages before it are committed.
        """
        bookmark = await self._bookmark(ask)
        try:
            return await self._follow(ask, opened, bookmark)
        except BrokerCursorError:
            if self._cursor is None and bookmark is None:
                raise
        # once: a broker that never knows its own cursors would be asked for ever
        await self._store.drop_request(self._connection.connection_id, ask.source.name, ask.account, reopen)
        if opened is not None and await self._in_halves(ask):
            # a report that was never ready is ordered in halves, and those are planned by the next sync
            return Wait(self._clock.now(), "The window was too long for the broker, and is asked for in halves.")
        return await self._follow(ask, None, None)

    async def _follow(self, ask: Ask, opened: OpenRequest | None, bookmark: str | None) -> Wait | None:
        self._cursor = opened.cursor if opened else None
        resume_at = opened.resume_at if opened else None
        seen, polls = {self._cursor}, 0
        self._writer.begin(ask, opened)
        while True:
            if resume_at is not None:
                polls += 1
                if wait := await self._wait(resume_at, polls):
                    return wait
            last = await self._read_pages(ask, bookmark)
            if last is None or last.cursor is None:
                return None
            self._cursor, resume_at = last.cursor, last.resume_at
            if resume_at is None:
                if self._cursor in seen:
                    raise _does_not_move_on()
                seen.add(self._cursor)

    async def _bookmark(self, ask: Ask) -> str | None:
        """What the last finished request left, where this one begins in what such requests have covered.

        It says nothing of the time before them, of a hole that is left in them, nor of an account that they did not
        know.
        """
        if not self._with_bookmarks or not ask.accounts:
            return None
        left = await self._store.bookmark(self._connection.connection_id, ask.source.name, ask.account)
        if left is None:
            return None
        spans = await self._store.spans(self._connection.owner, self._connection.provider, ask.source.name)
        for account in ask.accounts:
            newest = read_windows(spans.get((account.environment, account.account_id), ()))[-1:]
            if not any(one.start <= ask.window.start <= one.end for one in newest):
                return None
        return left

    async def _others(self, ask: Ask) -> tuple[BrokerAccount, ...]:
        if ask.source.scope is not SourceScope.LOGIN:
            return ()
        own = self._connection
        known = await self._store.known_accounts(own.owner, own.provider, not_read_but_by=own.connection_id)
        asked = {(account.environment, account.account_id) for account in ask.accounts}
        return tuple(one for one in known if (one.environment, one.account_id) not in asked)

    async def _read_pages(self, ask: Ask, bookmark: str | None) -> TradePage | None:
        request = TradeRequest(
            source=ask.source.name,
            window=ask.window,
            accounts=ask.accounts,
            others=await self._others(ask),
            cursor=self._cursor,
            bookmark=bookmark,
            may_rest=ask.may_rest,
        )
        last: _Read | None = None
        places = Places(self._cursor)
        async with aclosing(self._read(request)) as pages:
            while (page := await self._next(pages, last)) is not None:
                if last is not None:
                    await self._commit(last, going_on=True)
                if not places.lead_on(page):
                    # its rows may be there already, and those without an id would be taken for new ones
                    raise _does_not_move_on()
                last = _Read(page, self._clock.now())
                if page.resume_at is not None:
                    break
        if last is None:
            await self._writer.commit(TradePage(), going_on=False)
            return None
        await self._commit(last, going_on=last.page.cursor is not None)
        return last.page

    async def _next(self, pages: AsyncGenerator[TradePage, None], last: _Read | None) -> TradePage | None:
        try:
            return await anext(pages, None)
        except BrokerError:
            # what came before the failure is paid for, and may be all that the limit allows in one sync
            if last is not None:
                await self._commit(last, going_on=True)
            raise

    async def _commit(self, read: _Read, *, going_on: bool) -> None:
        await self._writer.commit(read.page, going_on=going_on, read_at=read.at)

    async def _wait(self, until: datetime, polls: int) -> Wait | None:
        """Sleep through a short wait; a long one, or one short one after another, is given back."""
        now = self._clock.now()
        if polls > _POLLS_IN_A_ROW:
            until = max(until, now + _PAUSE)
        if until - now > self._long_wait or polls > _POLLS_IN_A_ROW:
            return Wait(until, _PREPARING)
        if until > now:
            self._events(
                LimitWaited(
                    provider=self._connection.provider,
                    connection_id=self._connection.connection_id,
                    operation="get_trades",
                    scope="report",
                    attempt=polls + 1,
                    wait=until - now,
                    reason=_PREPARING,
                )
            )
            await self._clock.sleep((until - now).total_seconds())
        return None


def _does_not_move_on() -> BrokerResponseError:
    return BrokerResponseError("The broker's paging does not move on.", fault=Fault.PLUGIN)
