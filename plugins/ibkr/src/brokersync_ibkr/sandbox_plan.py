"""What an account of the sandbox does: ordinary trading, and in turn each thing that makes statements difficult."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import date
from decimal import Decimal

from brokersync_ibkr.sandbox_bookings import Booking, IdMint
from brokersync_ibkr.sandbox_calendar import next_business_day, weekday_number
from brokersync_ibkr.sandbox_instruments import (
    BOND,
    BRITISH,
    EURO_DOLLAR,
    EVENING_SESSION,
    FUND,
    GERMAN,
    JAPANESE,
    POUND_DOLLAR,
    STOCKS,
    Contract,
    future,
    option,
)
from brokersync_ibkr.sandbox_orders import OrderDesk, Style

_MEAN_OF_A_SCENARIO = 2.2
_SPREAD = 5
_LOT = Decimal(100)


def plan_day(
    *, seed: int, account: str, slot: int, base_currency: str, day: date, trades_per_day: float
) -> list[Booking]:
    """All bookings that begin with a decision of that business day; some are dated up to six weeks later.

    They depend on these arguments only, so a day never changes whenever and however often it is asked for.
    """
    rng = random.Random(f"{seed}:{account}:{day}")
    planner = _Planner(OrderDesk(rng, IdMint(seed, slot, day), base_currency), day, base_currency)
    if trades_per_day <= 0:
        return []
    spacing = max(1, round(2 * _MEAN_OF_A_SCENARIO / trades_per_day))
    turn, rest = divmod(weekday_number(day), spacing)
    if rest == slot % spacing:
        scenario = _SCENARIOS[(turn + slot * _SPREAD) % len(_SCENARIOS)]
        scenario(planner)
    wanted = rng.random() * 2 * max(0.0, trades_per_day - _MEAN_OF_A_SCENARIO / spacing)
    planner.trade(int(wanted) + (rng.random() < wanted % 1))
    return planner.desk.bookings


class _Planner:
    def __init__(self, desk: OrderDesk, day: date, base_currency: str) -> None:
        self.desk = desk
        self._rng = desk.rng
        self._day = day
        self._base = base_currency

    def trade(self, budget: int) -> None:
        """Ordinary round trips of about that many fills; each position that is opened is closed."""
        while budget > 0:
            if budget == 1 and self._rng.random() < 0.5:
                return  # a round trip takes two, so with one left every other one keeps the mean
            contract, size = self._choice()
            fills = min(max(1, budget - 1), self._rng.choice((1, 1, 1, 2, 3)))
            quantity = size if self._rng.random() < 0.75 else -size
            self.desk.order(contract, self._day, self._parts(quantity, fills), _early(contract))
            if self._rng.random() < 0.6:
                self.desk.order(contract, self._day, [-quantity], _late(contract))
            else:
                self._close(contract, quantity)
            budget -= fills + 1

    def _choice(self) -> tuple[Contract, Decimal]:
        rng = self._rng
        kind = rng.choices(("us", "de", "gb", "jp", "option", "future", "forex"), (40, 10, 8, 5, 16, 10, 11))[0]
        makers: dict[str, Callable[[], tuple[Contract, Decimal]]] = {
            "us": lambda: (rng.choice(STOCKS), Decimal(rng.randint(5, 400))),
            "de": lambda: (GERMAN, Decimal(rng.randint(5, 150))),
            "gb": lambda: (BRITISH, Decimal(rng.randint(50, 900))),
            "jp": lambda: (JAPANESE, _LOT * rng.randint(1, 4)),
            "option": lambda: (self._option(rng.randint(2, 4)), Decimal(rng.randint(3, 9))),
            "future": lambda: (future(rng.randint(0, 1), self._day), Decimal(rng.randint(3, 5))),
            "forex": lambda: (rng.choice((EURO_DOLLAR, POUND_DOLLAR)), Decimal(rng.randint(5, 60)) * 1000),
        }
        return makers[kind]()

    def _option(self, weeks: int, put_call: str | None = None) -> Contract:
        side = put_call or self._rng.choice("CP")
        return option(
            self._rng.randrange(len(STOCKS)), self._day, weeks=weeks, steps=self._rng.randint(-6, 6), put_call=side
        )

    def _parts(self, quantity: Decimal, fills: int) -> list[Decimal]:
        """The quantity in that many whole parts, often equal ones."""
        share = quantity // fills
        return [share] * (fills - 1) + [quantity - share * (fills - 1)]

    def _later(self, most: int = 6) -> date:
        return next_business_day(self._day, self._rng.randint(1, most))

    def _close(self, contract: Contract, quantity: Decimal, day: date | None = None) -> None:
        self.desk.order(contract, day or self._later(), [-quantity], Style(open_close="C"))

    # Each scenario below leaves the position flat unless the broker itself does.

    def rebooked_the_same_day(self) -> None:
        contract = self._option(2)
        original = self.desk.order(contract, self._day, [Decimal(2)])[0]
        self.desk.cancel(original, self._day)
        self.desk.replace(original, self._day, Decimal(1), original.price, Decimal("0.3333412"))
        self._close(contract, Decimal(1))

    def rebooked_days_later(self) -> None:
        quantity = -Decimal(self._rng.randint(100_000, 900_000)).scaleb(-2) - Decimal("0.00313142")
        original = self.desk.order(EURO_DOLLAR, self._day, [quantity])[0]
        seen = self._later(3)
        self.desk.cancel(original, seen)
        again = self.desk.replace(
            original, seen, quantity - Decimal("2.65"), original.price - Decimal("0.0031"), Decimal(0)
        )
        self._close(EURO_DOLLAR, again.quantity, next_business_day(seen))

    def voided(self) -> None:
        original = self.desk.order(self._rng.choice(STOCKS), self._day, [Decimal(self._rng.randint(2, 90))])[0]
        refund = self._rng.choice((Decimal(0), -original.commission, Decimal("0.28696525")))
        self.desk.cancel(original, self._later(3), refund)

    def corrected_twice(self) -> None:
        contract = self._rng.choice(STOCKS)
        original = self.desk.order(contract, self._day, [Decimal(30)])[0]
        first, cent = original, contract.tick
        second_day = self._later(2)
        self.desk.cancel(first, self._day)
        middle = self.desk.replace(first, self._day, Decimal(32), first.price + cent, Decimal("-0.0124"))
        self.desk.cancel(middle, second_day)
        self.desk.replace(middle, second_day, Decimal(31), middle.price + cent, Decimal("0.25"))
        self._close(contract, Decimal(31), next_business_day(second_day))

    def expired(self) -> None:
        contract = self._option(1)
        quantity = Decimal(self._rng.choice((-3, -1, 1, 2)))
        self.desk.order(contract, self._day, [quantity])
        self.desk.book_entry(contract, _expiry(contract), -quantity, "Ep")

    def exercised(self) -> None:
        self._delivered(self._option(1, "C"), Decimal(1), "Ex")

    def assigned(self) -> None:
        self._delivered(self._option(1, "P"), Decimal(-2), "A")

    def _delivered(self, contract: Contract, quantity: Decimal, code: str) -> None:
        expiry, under = _expiry(contract), contract.underlying
        assert under is not None
        self.desk.order(contract, self._day, [quantity])
        self.desk.book_entry(contract, expiry, -quantity, code)
        shares = abs(quantity) * contract.multiplier
        self.desk.book_entry(under, expiry, shares, code, price=contract.strike or Decimal(0), effect="O")
        self._close(under, shares, next_business_day(expiry))

    def paid_out_fraction(self) -> None:
        self.desk.cash_in_lieu(self._rng.choice(STOCKS), self._day, self._later(2), Decimal("-0.276942"))

    def paid_out_fraction_in_error(self) -> None:
        paid = self.desk.cash_in_lieu(self._rng.choice(STOCKS), self._day, self._later(2), Decimal("-0.4118"))
        self.desk.cancel(paid, next_business_day(paid.report_date, 2))

    def recurring_investment(self) -> None:
        quantity = Decimal(self._rng.randint(10_000_000, 900_000_000)).scaleb(-8)
        self.desk.order(FUND, self._day, [quantity], Style(notes="FP;RI"))

    def bond(self) -> None:
        self.desk.order(BOND, self._day, [Decimal(5000)])
        self._close(BOND, Decimal(5000))

    def traded_in_the_evening(self) -> None:
        contract = future(0, self._day)
        self.desk.order(contract, self._day, [Decimal(1)], Style(window=EVENING_SESSION))
        self._close(contract, Decimal(1))

    def turned(self) -> None:
        contract = future(1, self._day)
        first, last = contract.session
        third = (last - first) // 3
        for step, (quantity, effect) in enumerate(((1, "O"), (-2, "C;O"), (1, "C"))):
            window = (first + step * third, first + (step + 1) * third - 1)
            self.desk.order(contract, self._day, [Decimal(quantity)], Style(window=window, open_close=effect))

    def converted(self) -> None:
        dollars = self._base == "USD"
        contract, size = (GERMAN, Decimal(20)) if dollars else (STOCKS[0], Decimal(25))
        for day, quantity, effect in ((self._day, size, "O"), (self._later(), -size, "C")):
            fill = self.desk.order(contract, day, [quantity], Style(open_close=effect))[0]
            euros = fill.money if dollars else -fill.money / EURO_DOLLAR.price
            self.desk.convert(EURO_DOLLAR, fill, euros.quantize(Decimal("0.01")))

    def filled_in_parts_of_one_name(self) -> None:
        contract = self._rng.choice(STOCKS)
        self.desk.order(contract, self._day, [Decimal(40), Decimal(40), Decimal(20)], Style(one_name=True))
        self._close(contract, Decimal(100))

    def rebated(self) -> None:
        contract = self._rng.choice(STOCKS)
        self.desk.order(contract, self._day, [Decimal(120)], Style(rebate=True))
        self.desk.order(contract, self._later(), [Decimal(-120)], Style(rebate=True, open_close="C"))


_SCENARIOS: tuple[Callable[[_Planner], None], ...] = (
    _Planner.rebooked_the_same_day,
    _Planner.exercised,
    _Planner.voided,
    _Planner.paid_out_fraction,
    _Planner.traded_in_the_evening,
    _Planner.rebooked_days_later,
    _Planner.filled_in_parts_of_one_name,
    _Planner.expired,
    _Planner.recurring_investment,
    _Planner.rebated,
    _Planner.paid_out_fraction_in_error,
    _Planner.assigned,
    _Planner.corrected_twice,
    _Planner.bond,
    _Planner.converted,
    _Planner.turned,
)


def _expiry(contract: Contract) -> date:
    assert contract.expiry is not None
    return contract.expiry


def _early(contract: Contract) -> Style:
    first, last = contract.session
    return Style(window=(first, (first + last) // 2))


def _late(contract: Contract) -> Style:
    first, last = contract.session
    return Style(window=((first + last) // 2 + 60, last), open_close="C")
