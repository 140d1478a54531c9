"""What the invented traders do: the orders of an account and a session day, from nothing but seed, account and day."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from random import Random

import attrs

from brokersync.plugin import SandboxSettings
from brokersync_tradovate.sandbox_logins import Account
from brokersync_tradovate.sandbox_market import PRODUCTS, Contract, closes, front, next_session, opens, variants

# Two orders a round trip, and half of the orders for more than one contract fill in two parts.
_FILLS_PER_TRIP = 2.5
_QUANTITIES = (1, 1, 2, 3)
_LAST_ENTRY = timedelta(hours=22)


@attrs.frozen
class Part:
    """A part of an order that was executed; the price is in ticks."""

    at: datetime
    quantity: int
    ticks: int


@attrs.frozen(kw_only=True, eq=False)
class Intent:
    """An order; without parts it was cancelled before it was filled."""

    placed_at: datetime
    contract: Contract
    side: str
    quantity: int
    parts: tuple[Part, ...]


def plan(settings: SandboxSettings, account: Account, day: date) -> list[Intent]:
    """The orders of the round trips that begin on a session day; those that close one may lie in the next session.

    Of the accounts of a login one, in turn, trades in the first quarter of an hour, so that a session that has begun
    is not empty; not so where less than one trade a day is asked for.
    """
    rng = Random(f"{settings.seed}:{account.id}:{day}")
    early = settings.trades_per_day >= 1 and (day.toordinal() + account.turn) % settings.accounts_per_login == 0
    usual = settings.trades_per_day / _FILLS_PER_TRIP
    if settings.trades_per_day >= 1:
        usual = max(0.0, usual - 1 / settings.accounts_per_login)
    trips = int(usual) + (rng.random() < usual % 1)
    intents = list(_trip(rng, day, early=True)) if early else []
    for _ in range(trips):
        intents.extend(_trip(rng, day, early=False))
    return intents


def _trip(rng: Random, day: date, *, early: bool) -> Iterator[Intent]:
    product = rng.choice(PRODUCTS)
    contract = front(product, day, rng.randrange(variants(product)))
    quantity = rng.choice(_QUANTITIES)
    entry_side, exit_side = rng.choice((("Buy", "Sell"), ("Sell", "Buy")))
    entry_at, exit_at = _times(rng, day, early=early)
    entry_ticks = product.price_ticks(day) + rng.randint(-product.swing // 4, product.swing // 4)
    exit_ticks = entry_ticks + rng.randint(-product.swing // 5, product.swing // 5)
    yield _order(rng, entry_at, contract, entry_side, quantity, entry_ticks)
    if rng.random() < 0.25:
        stop_at = entry_at + timedelta(seconds=2)
        yield Intent(placed_at=stop_at, contract=contract, side=exit_side, quantity=quantity, parts=())
    yield _order(rng, exit_at, contract, exit_side, quantity, exit_ticks)


def _times(rng: Random, day: date, *, early: bool) -> tuple[datetime, datetime]:
    if early:
        entry = opens(day) + _between(rng, timedelta(minutes=2), timedelta(minutes=15))
        return entry, entry + _between(rng, timedelta(minutes=1), timedelta(minutes=30))
    entry = opens(day) + _between(rng, timedelta(minutes=2), _LAST_ENTRY)
    if rng.random() < 0.1:
        return entry, opens(next_session(day)) + _between(rng, timedelta(minutes=5), timedelta(hours=2))
    held = entry + _between(rng, timedelta(seconds=10), timedelta(hours=3))
    return entry, min(held, closes(day) - timedelta(seconds=30))


def _between(rng: Random, low: timedelta, high: timedelta) -> timedelta:
    step = timedelta(milliseconds=1)
    return step * rng.randrange(low // step, high // step)


def _order(rng: Random, at: datetime, contract: Contract, side: str, quantity: int, ticks: int) -> Intent:
    sizes = [quantity]
    if quantity > 1 and rng.random() < 0.5:
        first = rng.randint(1, quantity - 1)
        sizes = [first, quantity - first]
    parts: list[Part] = []
    done = at
    for size in sizes:
        done += _between(rng, timedelta(milliseconds=40), timedelta(milliseconds=900))
        parts.append(Part(done, size, ticks + len(parts) * rng.randint(0, 1)))
    return Intent(placed_at=at, contract=contract, side=side, quantity=quantity, parts=tuple(parts))
