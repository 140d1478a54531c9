"""The books of the simulated broker: invented orders, fills, pairs, positions and cash, never rewritten."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from itertools import count

import attrs

from brokersync.plugin import SandboxSettings
from brokersync_tradovate.sandbox_logins import Account
from brokersync_tradovate.sandbox_market import Contract, next_session, previous_session, session_of
from brokersync_tradovate.sandbox_plan import Intent, Part, plan

_ID_ORIGIN = date(1917, 7, 15)
_IDS_A_DAY = 10_000_000
_PAIR_IDS = 5_000_000
_DEPOSIT = Decimal("50000.00")


@attrs.frozen(kw_only=True, eq=False)
class Order:
    id: int
    account: Account
    intent: Intent


@attrs.frozen(kw_only=True, eq=False)
class Fill:
    """The execution report of an order has the order's id plus one, that of a fill the fill's id plus one."""

    id: int
    order: Order
    at: datetime
    session: date
    quantity: int
    price: Decimal

    @property
    def account(self) -> Account:
        return self.order.account

    @property
    def contract(self) -> Contract:
        return self.order.intent.contract

    @property
    def side(self) -> str:
        return self.order.intent.side

    @property
    def fees(self) -> dict[str, Decimal]:
        return {kind: amount * self.quantity for kind, amount in self.contract.product.fees}


@attrs.frozen(kw_only=True, eq=False)
class Position:
    """A session's row of an account and a contract; `previous` is what was held before, shorts negative."""

    id: int
    account: Account
    contract: Contract
    previous: int


@attrs.frozen(kw_only=True, eq=False)
class Pair:
    id: int
    position: Position
    buy: Fill
    sell: Fill
    quantity: int

    @property
    def at(self) -> datetime:
        return max(self.buy.at, self.sell.at)

    @property
    def profit(self) -> Decimal:
        return (self.sell.price - self.buy.price) * self.quantity * self.position.contract.product.value_per_point


@attrs.frozen(kw_only=True, eq=False)
class Cash:
    """A movement of cash; `balance` is what the account has of the currency after it."""

    id: int
    account: Account
    at: datetime
    kind: str
    delta: Decimal
    currency: str
    contract: Contract | None = None
    balance: Decimal = Decimal(0)


@attrs.define
class Session:
    day: date
    orders: list[Order] = attrs.Factory(list)
    fills: list[Fill] = attrs.Factory(list)
    pairs: list[Pair] = attrs.Factory(list)
    positions: list[Position] = attrs.Factory(list)
    cash: list[Cash] = attrs.Factory(list)


@attrs.define
class _Lot:
    fill: Fill
    left: int


@attrs.frozen
class _Event:
    """An order placed, or with a part an order executed; events are numbered also where the books begin after them."""

    at: datetime
    account: Account
    place: int
    part_place: int
    intent: Intent
    part: Part | None
    kept: bool


class Book:
    """The books of one environment from its first session on.

    Ids and times of orders and fills depend on the seed, the logins and the day only, not on when the books begin or
    how far they were read; ids grow with time.
    """

    def __init__(self, settings: SandboxSettings, accounts: Sequence[Account], first: date) -> None:
        self._settings = settings
        self._accounts = tuple(accounts)
        self.first = first
        self._sessions: dict[date, Session] = {}
        self._next = first
        self._plans: dict[tuple[int, date], list[Intent]] = {}
        self._lots: dict[tuple[int, Contract], deque[_Lot]] = {}
        self._balances: dict[tuple[int, str], Decimal] = {}

    def session(self, day: date) -> Session:
        """The whole session, what lies in the future included; an empty one before the books begin."""
        while self._next <= day:
            self._sessions[self._next] = self._build(self._next)
            self._next = next_session(self._next)
        return self._sessions.get(day, Session(day))

    def sessions(self, start: datetime, end: datetime) -> Iterator[Session]:
        """All sessions that may hold something of a time, in order."""
        day, last = max(self.first, session_of(start)), session_of(end)
        while day <= last:
            yield self.session(day)
            day = next_session(day)

    def _build(self, day: date) -> Session:
        first_id = (day - _ID_ORIGIN).days * _IDS_A_DAY
        ids, pair_ids = count(first_id, 2), count(first_id + _PAIR_IDS)
        session = Session(day)
        orders: dict[tuple[int, int], Order] = {}
        for event, number in zip(self._events(day), ids, strict=False):
            if not event.kept:
                continue
            key = (event.account.index, event.place)
            if event.part is None:
                orders[key] = Order(id=number, account=event.account, intent=event.intent)
                continue
            price = event.part.ticks * event.intent.contract.product.tick
            quantity = event.part.quantity
            session.fills.append(
                Fill(id=number, order=orders[key], at=event.at, session=day, quantity=quantity, price=price)
            )
        session.orders.extend(orders.values())
        if day == self.first:
            for account in self._accounts:
                self._pay(session, _deposit(next(pair_ids), account))
        self._settle(session, pair_ids)
        return session

    def _events(self, day: date) -> list[_Event]:
        before = previous_session(day)
        events: list[_Event] = []
        for account in self._accounts:
            planned = [
                (intent, start >= self.first) for start in (before, day) for intent in self._plan(account, start)
            ]
            for place, (intent, kept) in enumerate(planned):
                if session_of(intent.placed_at) != day:
                    continue
                events.append(_Event(intent.placed_at, account, place, 0, intent, None, kept))
                for part_place, part in enumerate(intent.parts, 1):
                    events.append(_Event(part.at, account, place, part_place, intent, part, kept))
        return sorted(events, key=lambda event: (event.at, event.account.index, event.place, event.part_place))

    def _plan(self, account: Account, day: date) -> list[Intent]:
        """Each plan is wanted for its own session and for the next one."""
        key = (account.index, day)
        return self._plans.pop(key, None) or self._plans.setdefault(key, plan(self._settings, account, day))

    def _settle(self, session: Session, ids: Iterator[int]) -> None:
        accounts = {account.id: account for account in self._accounts}
        traded = {(fill.account.id, fill.contract): None for fill in session.fills}
        held = {key: sum(_signed(lot) for lot in lots) for key, lots in self._lots.items() if lots}
        rows: dict[tuple[int, Contract], Position] = {}
        for key in {**held, **traded}:
            account_id, contract = key
            rows[key] = Position(
                id=next(ids), account=accounts[account_id], contract=contract, previous=held.get(key, 0)
            )
        session.positions.extend(rows.values())
        for fill in session.fills:
            for kind, amount in fill.fees.items():
                self._pay(session, _movement(next(ids), fill, kind[0].upper() + kind[1:], -amount))
            for pair in self._pair(fill, rows[fill.account.id, fill.contract], ids):
                session.pairs.append(pair)
                self._pay(session, _movement(next(ids), fill, "TradePaired", pair.profit))

    def _pair(self, fill: Fill, position: Position, ids: Iterator[int]) -> Iterator[Pair]:
        """First in, first out."""
        lots = self._lots.setdefault((fill.account.id, fill.contract), deque())
        left = fill.quantity
        while left and lots and lots[0].fill.side != fill.side:
            lot = lots[0]
            quantity = min(left, lot.left)
            buy, sell = (fill, lot.fill) if fill.side == "Buy" else (lot.fill, fill)
            yield Pair(id=next(ids), position=position, buy=buy, sell=sell, quantity=quantity)
            left -= quantity
            lot.left -= quantity
            if not lot.left:
                lots.popleft()
        if left:
            lots.append(_Lot(fill, left))

    def _pay(self, session: Session, row: Cash) -> None:
        balance = self._balances.get((row.account.id, row.currency), Decimal("0.00")) + row.delta
        self._balances[row.account.id, row.currency] = balance
        session.cash.append(attrs.evolve(row, balance=balance))


def _signed(lot: _Lot) -> int:
    return lot.left if lot.fill.side == "Buy" else -lot.left


def _deposit(number: int, account: Account) -> Cash:
    return Cash(id=number, account=account, at=account.created, kind="FundTransaction", delta=_DEPOSIT, currency="USD")


def _movement(number: int, fill: Fill, kind: str, delta: Decimal) -> Cash:
    return Cash(
        id=number,
        account=fill.account,
        at=fill.at,
        kind=kind,
        delta=delta,
        currency=fill.contract.product.currency,
        contract=fill.contract,
    )
