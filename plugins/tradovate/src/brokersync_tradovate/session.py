"""The source `session`: the fills of the running session, joined with their orders, fees and contracts.

Tradovate's lists hold the current session only; what is not read before it rolls has to come from the reports.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

import attrs

from brokersync.plugin import (
    AuthResult,
    BrokerAccount,
    BrokerAuthError,
    CoveredSpan,
    Finality,
    ProviderContext,
    QuarantinedRow,
    TimeWindow,
    TradeBooking,
    TradePage,
    TradeRequest,
)
from brokersync_tradovate.accounts import list_accounts
from brokersync_tradovate.client import TradovateClient
from brokersync_tradovate.identity import id_in
from brokersync_tradovate.instruments import ReferenceData
from brokersync_tradovate.normalise import ENVIRONMENTS, fee_doubts, length_warnings
from brokersync_tradovate.outcomes import session_outcome, unreadable
from brokersync_tradovate.payloads import Fill, FillFee, Order, by_id
from brokersync_tradovate.references import Reference
from brokersync_tradovate.rows import Row, RowError

_NOT_GRANTED = (401, 403)

_T = TypeVar("_T")


async def session_pages(
    context: ProviderContext, client: TradovateClient, auth: AuthResult, request: TradeRequest
) -> AsyncGenerator[TradePage, None]:
    """A page for each environment that one of the accounts is in."""
    for environment in ENVIRONMENTS:
        accounts = [one for one in request.accounts if one.environment == environment]
        if accounts:
            session = _Session(context, client, auth, environment)
            yield await session.page(accounts, request.window)


def _read(window: TimeWindow, asked_at: datetime, answered_at: datetime) -> TimeWindow | None:
    """What a list proves of the session: all up to when it was asked for, if the session had not ended by the answer.

    Else the list may be that of the next one.
    """
    return TimeWindow(window.start, asked_at) if window.start < asked_at and answered_at < window.end else None


def _covered(
    accounts: Iterable[BrokerAccount], listed: Iterable[BrokerAccount], span: TimeWindow | None
) -> tuple[CoveredSpan, ...]:
    """What was read of each account that the login still sees; of the others the lists show nothing, traded or not."""
    if span is None:
        return ()
    seen = {account.account_id for account in listed}
    return tuple(
        CoveredSpan(account_id=one.account_id, environment=one.environment, window=span, finality=Finality.PROVISIONAL)
        for one in accounts
        if one.account_id in seen
    )


@attrs.frozen(kw_only=True)
class _Known:
    """What the other lists tell of the fills, each by the id under which a fill names it, or has it."""

    environment: str
    account_ids: Mapping[int, str]
    fees: Mapping[int, FillFee]
    fee_rows: Mapping[int, Row]
    contracts: Mapping[int, Reference]
    currencies: Mapping[int, str]

    def outcome(self, fill: Fill, row: Row) -> TradeBooking | QuarantinedRow:
        fee = self.fees.get(fill.id)
        return session_outcome(
            fill,
            row,
            fee,
            self.fee_rows.get(fill.id),
            self.contracts[fill.contract_id].with_codes(self.currencies, fee),
            environment=self.environment,
            account_id=self.account_ids.get(fill.order_id),
        )

    def unreadable(self, row: Row, reason: str) -> QuarantinedRow:
        """The row with all that would be needed, were it read."""
        reference, fee = _of(row, "contractId", self.contracts), _of(row, "id", self.fees)
        return unreadable(
            row,
            reason,
            _of(row, "id", self.fee_rows),
            reference.with_codes(self.currencies, fee) if reference else None,
            self.environment,
            _of(row, "orderId", self.account_ids),
        )


class _Session:
    """One read of the session in one environment."""

    def __init__(self, context: ProviderContext, client: TradovateClient, auth: AuthResult, environment: str) -> None:
        self._client, self._auth, self._environment, self._clock = client, auth, environment, context.clock
        self._unmapped: Counter[str] = Counter()
        self._references = ReferenceData(context, client, auth, environment, self._unmapped)

    async def page(self, known: Sequence[BrokerAccount], window: TimeWindow) -> TradePage:
        """The fills of all accounts, `known` or not, for the broker lists them together."""
        asked_at = self._clock.now()
        rows = await self._list("fill")
        span = _read(window, asked_at, self._clock.now())
        # read after the fills: what is still listed then was so when they were
        listed = await list_accounts(self._client, self._auth, self._environment, unmapped=self._unmapped)
        covered = _covered(known, listed, span)
        if not rows:
            return TradePage(covered=covered, unmapped=dict(self._unmapped))
        outcomes = await self._outcomes(rows)
        bookings = tuple(one for one in outcomes if isinstance(one, TradeBooking))
        return TradePage(
            bookings=bookings,
            covered=covered,
            accounts=_first_seen(bookings, known, listed),
            quarantined=tuple(one for one in outcomes if isinstance(one, QuarantinedRow)),
            unmapped=dict(self._unmapped),
            rows=len(rows),
        )

    async def _list(self, entity: str) -> Sequence[Row]:
        rows = await self._client.list_all(self._auth, self._environment, entity)
        self._unmapped.update(length_warnings({f"{entity}/list": len(rows)}))
        return rows

    async def _outcomes(self, rows: Sequence[Row]) -> list[TradeBooking | QuarantinedRow]:
        # read after the fills, so that the order and the fees of each of them can be there
        orders, fee_rows = await self._list("order"), await self._fees()
        fills, bad = _parsed(rows)
        known = await self._known(rows, fills, orders, fee_rows)
        return [*(known.outcome(*one) for one in fills), *(known.unreadable(*one) for one in bad)]

    async def _fees(self) -> Sequence[Row]:
        """The fees; none for a key without the right to them, whose login is as good as any for all the rest."""
        try:
            return await self._list("fillFee")
        except BrokerAuthError as error:
            # the token has just read the fills, so a refusal here is about this right and not about the login
            if error.status not in _NOT_GRANTED:
                raise
            self._unmapped["the API key lacks the right to Fees: the fees of the session stay pending"] += 1
            return ()

    async def _known(
        self, rows: Sequence[Row], fills: Sequence[tuple[Fill, Row]], orders: Iterable[Row], fee_rows: Sequence[Row]
    ) -> _Known:
        fees = by_id(FillFee, fee_rows, self._unmapped)
        self._unmapped.update(fee_doubts(fees, [fill.id for fill, _ in fills]))
        return _Known(
            environment=self._environment,
            account_ids=await self._account_ids(_ids(rows, "orderId"), orders),
            fees=fees,
            fee_rows={one: row for row in fee_rows if (one := id_in(row, "id")) is not None},
            # also of the fills that can not be read
            contracts=await self._references.contracts(dict.fromkeys(_ids(rows, "contractId"))),
            currencies=await self._references.currencies(
                currency for fee in fees.values() for _, currency in fee.amounts.values() if currency is not None
            ),
        )

    async def _account_ids(self, wanted: set[int], rows: Iterable[Row]) -> dict[int, str]:
        """The account of each order; an order that the list does not hold is asked for by its id."""
        orders = by_id(Order, rows, self._unmapped)
        missing = wanted - orders.keys()
        if missing:
            found = await self._client.list_items(self._auth, self._environment, "order", missing)
            orders |= by_id(Order, found, self._unmapped)
        return {order.id: str(order.account_id) for order in orders.values()}


def _parsed(rows: Iterable[Row]) -> tuple[list[tuple[Fill, Row]], list[tuple[Row, str]]]:
    """The fills in the order of execution, which the list does not keep, and the rows that are none, with why."""
    fills, bad = [], []
    for row in rows:
        try:
            fills.append((Fill.of(row), row))
        except RowError as error:
            bad.append((row, str(error)))
    return sorted(fills, key=lambda pair: (pair[0].timestamp, pair[0].id)), bad


def _ids(rows: Iterable[Row], name: str) -> set[int]:
    return {one for row in rows if (one := id_in(row, name)) is not None}


def _first_seen(
    bookings: Iterable[TradeBooking], known: Iterable[BrokerAccount], listed: Iterable[BrokerAccount]
) -> tuple[BrokerAccount, ...]:
    new = {booking.account_id for booking in bookings} - {account.account_id for account in known}
    return tuple(account for account in listed if account.account_id in new)


def _of(row: Row, name: str, known: Mapping[int, _T]) -> _T | None:
    """What is known under an id of a row of which nothing is sure."""
    told = id_in(row, name)
    return None if told is None else known.get(told)
