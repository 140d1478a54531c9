"""One request for trades: order a statement, come back for it, read it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, closing
from datetime import timedelta
from typing import BinaryIO

import attrs

from brokersync.plugin import (
    AuthResult,
    BrokerAPIError,
    BrokerConfigError,
    BrokerCursorError,
    BrokerDataUnavailableError,
    BrokerError,
    BrokerResponseError,
    BrokerRetryableError,
    BrokerTimeoutError,
    BrokerUnavailableError,
    ProviderContext,
    TradePage,
    TradeRequest,
)
from brokersync_ibkr.auth import ACTIVITY, query_of
from brokersync_ibkr.client import HOST_ROLE, Fetched, FlexClient, Ordered
from brokersync_ibkr.codes import PENDING, REFERENCE_GONE, UNCHECKED, service_error
from brokersync_ibkr.coverage import Days
from brokersync_ibkr.dates import new_york_day
from brokersync_ibkr.diagnosis import damaged_answer
from brokersync_ibkr.guidance import HOST_REMEDY
from brokersync_ibkr.orders import DEADLINE, FORGOTTEN, MOST_ORDERS, Order, order_of
from brokersync_ibkr.pages import Reading, read_pages
from brokersync_ibkr.payloads import FlexSyntaxError
from brokersync_ibkr.vocabulary import ACTIVITY_TYPE, CONFIRMATION_TYPE

_DAY = timedelta(days=1)
# "no statement" (1003) of so new days may mean that they are not finalised; as far back the end is moved for a part
_UNSETTLED = timedelta(days=7)
_RAISED_AGAIN = timedelta(minutes=5)
_NOT_FOUND = 404


class StatementRequest:
    """Answers one `TradeRequest`: each call of `pages` makes one step and never waits."""

    def __init__(self, context: ProviderContext, client: FlexClient, auth: AuthResult, request: TradeRequest) -> None:
        self._context = context
        self._client = client
        self._auth = auth
        self._request = request
        self._asked = Days.of(request.window)
        self._query_id = query_of(auth, request.source)

    async def pages(self) -> AsyncGenerator[TradePage, None]:
        """Without a cursor the page that says when to come back; with one the statement's, or again such a page."""
        if self._request.cursor is None:
            yield await self._place(self._asked)
            return
        order = order_of(self._request.cursor)
        if order.query_id != self._query_id or order.days.overlap(self._asked) != order.days:
            raise BrokerCursorError("The cursor belongs to another request.")
        if self._context.clock.now() - order.ordered_at > FORGOTTEN:
            raise BrokerCursorError("The statement was ordered too long ago.")
        if not order.reference:
            yield await self._place(order.days, orders=order.orders)
            return
        fetched = await self._fetch(order)
        if fetched.file is None:
            yield await self._without_statement(order, fetched.code)
            return
        with closing(fetched.file) as file:
            async with aclosing(self._read(file, order.days)) as pages:
                async for page in pages:
                    yield page
        if (older := order.older(self._asked)) is not None:
            yield await self._place(older)

    async def _fetch(self, order: Order) -> Fetched:
        """The statement on order from the usual host, or from the one that the service named.

        For some users only that one knows the reference or can be reached, for others only the usual one.
        """
        try:
            fetched = await self._client.fetch(self._auth, order.reference)
        except (BrokerUnavailableError, BrokerTimeoutError, BrokerAPIError) as error:
            away = error.status == _NOT_FOUND if isinstance(error, BrokerAPIError) else error.code is None
            if away and (told := await self._fetch_there(order)) is not None:
                return told
            if away:
                self._name_refused_host(order, error, f"{error.remedy or ''} {HOST_REMEDY}".lstrip())
            raise
        if fetched.code != REFERENCE_GONE:
            return fetched
        return await self._fetch_there(order) or fetched

    async def _fetch_there(self, order: Order) -> Fetched | None:
        """What the host says that the service named; `None` where it may not be asked, or fails as well."""
        if order.base is None:
            return None
        try:
            base = self._context.hosts.accept(HOST_ROLE, order.base)
            if base == self._context.hosts[HOST_ROLE]:
                return None
            return await self._client.fetch(self._auth, order.reference, base)
        except (BrokerRetryableError, BrokerAPIError):
            return None

    async def _without_statement(self, order: Order, code: str) -> TradePage:
        if code in PENDING:
            return await self._come_back(order, code)
        if code == REFERENCE_GONE and order.orders < MOST_ORDERS:
            return await self._place(order.days, orders=order.orders + 1)
        error = service_error(code, "")
        if isinstance(error, BrokerDataUnavailableError):
            return await self._place_shorter(order.days, error)
        if code == REFERENCE_GONE:
            self._name_refused_host(order, error, HOST_REMEDY)
        raise error

    def _name_refused_host(self, order: Order, error: BrokerError, remedy: str) -> None:
        """Have the error say, too, where the service wanted the statement fetched, if that is not allowed."""
        try:
            self._context.hosts.accept(HOST_ROLE, order.base or self._context.hosts[HOST_ROLE])
        except BrokerResponseError as refused:
            error.message, error.remedy = f"{error.message} {refused.message}", remedy

    async def _come_back(self, order: Order, code: str) -> TradePage:
        now = self._context.clock.now()
        if now - order.ordered_at > DEADLINE:
            # the days before the newer half are ordered when that is read
            if (newer := order.days.newer_half) is not None:
                return await self._place(newer)
            raise BrokerUnavailableError(
                "IBKR is still generating the statement.", retry_after=_RAISED_AGAIN, code=code
            )
        order = attrs.evolve(order, polls=order.polls + 1)
        return TradePage(cursor=order.cursor(), resume_at=now + order.wait)

    async def _place(self, days: Days, orders: int = 1) -> TradePage:
        """Order the statement of these days, and say when to come for it."""
        try:
            ordered = await self._client.order(self._auth, self._query_id, days)
        except BrokerDataUnavailableError as error:
            return await self._place_shorter(days, error)
        except BrokerConfigError as error:
            if error.code != UNCHECKED or orders == MOST_ORDERS:
                raise
            ordered, orders = Ordered(reference="", base=None), orders + 1
        now = self._context.clock.now()
        order = Order(
            query_id=self._query_id,
            days=days,
            reference=ordered.reference,
            ordered_at=now,
            orders=orders,
            base=ordered.base,
        )
        return TradePage(cursor=order.cursor(), resume_at=now + order.wait)

    async def _place_shorter(self, days: Days, error: BrokerDataUnavailableError) -> TradePage:
        """Order the statement a day shorter where the newest days may not be finalised; else nothing is covered."""
        oldest = new_york_day(self._context.clock.now()) - _UNSETTLED
        if self._asked.last < oldest:
            raise error
        shorter = days.last - _DAY
        if self._request.source == ACTIVITY and shorter >= max(days.first, self._asked.last - _UNSETTLED):
            return await self._place(Days(days.first, shorter))
        return TradePage()

    async def _read(self, file: BinaryIO, days: Days) -> AsyncGenerator[TradePage, None]:
        pages = read_pages(
            file,
            Reading(
                environment=self._context.environment,
                asked=days,
                expected=ACTIVITY_TYPE if self._request.source == ACTIVITY else CONFIRMATION_TYPE,
                query_id=self._query_id if self._request.source == ACTIVITY else None,
                accounts=self._request.accounts,
                elsewhere=self._request.others,
            ),
        )
        try:
            # a thread reads, so that a large statement does not hold up everything else in the process
            while (page := await asyncio.to_thread(next, pages, None)) is not None:
                yield page
        except FlexSyntaxError as error:
            raise damaged_answer(error) from None
