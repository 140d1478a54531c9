"""How the sandbox's orders become bookings: fills, commissions, corrections, book entries."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import date
from decimal import Decimal

import attrs

from brokersync_ibkr.sandbox_bookings import Booking, IdMint
from brokersync_ibkr.sandbox_calendar import wall_time
from brokersync_ibkr.sandbox_instruments import Contract

_ORDER_TYPES = ("LMT", "LMT", "MKT", "STP", "MIDPX", "LMT;MKT")
_BOOK_ENTRY_SECOND = 58_800
_SELLING_FEE = Decimal("0.0000278")
_REBATE = Decimal("0.0021")
_ACCRUED_PERCENT = Decimal("1.1275")
# Per category or currency: the least, per unit, and the share of the money.
_RATES = {
    "USD": ("0.35", "0.0035", "0"),
    "EUR": ("1.25", "0", "0.0005"),
    "GBP": ("1", "0", "0.0005"),
    "JPY": ("80", "0", "0.0008"),
    "OPT": ("0", "0.6873412", "0"),
    "FUT": ("0", "2.2534", "0"),
    "CASH": ("2", "0", "0.00002"),
    "BOND": ("1", "0", "0.001"),
}


@attrs.frozen(kw_only=True)
class Style:
    """What is special about an order: when it is filled, how its fills are named, what they cost."""

    window: tuple[int, int] | None = None
    one_name: bool = False
    rebate: bool = False
    notes: str = ""
    open_close: str = "O"


PLAIN = Style()


class OrderDesk:
    """Books the orders of one account that were planned on one day; `bookings` is all there is so far."""

    def __init__(self, rng: random.Random, mint: IdMint, base_currency: str) -> None:
        self.rng = rng
        self.bookings: list[Booking] = []
        self._mint = mint
        self._base = base_currency

    def order(self, contract: Contract, day: date, parts: Sequence[Decimal], style: Style = PLAIN) -> list[Booking]:
        """Fills an order in these signed parts, two at a time, near the instrument's usual price.

        Both of a pair have one second and one price, so with equal parts they are twins but for their ids.
        """
        order_id = self._mint.text("order", self._mint.number(day))
        order_type = self.rng.choice(_ORDER_TYPES)
        first, last = style.window or contract.session
        second = self.rng.randint(first, last - len(parts))
        numbers = [self._mint.number(day) for _ in parts]
        prices = [self.price_of(contract) for _ in parts[::2]]
        part_note = "P" if len(parts) > 1 else ""
        fills = [
            Booking(
                contract=contract,
                kind="ExchTrade",
                quantity=quantity,
                price=prices[place // 2],
                executed=wall_time(day, second + place // 2),
                trade_date=day,
                report_date=day,
                transaction_id=self._mint.text("transaction", numbers[place]),
                chain=self._mint.text("transaction", numbers[place]),
                order_id=order_id,
                trade_id=self._mint.text("trade", numbers[place]),
                execution_id=self._execution_id(day, numbers, place, style),
                order_type=order_type,
                commission=_commission(contract, quantity, prices[place // 2], style),
                commission_currency=self._base if contract.category == "CASH" else contract.currency,
                taxes=_tax(contract, quantity, prices[place // 2]),
                accrued_interest=_accrued_interest(contract, quantity),
                open_close="" if contract.category == "CASH" else style.open_close,
                notes=";".join(note for note in (style.notes, part_note) if note),
                venue=contract.venue,
            )
            for place, quantity in enumerate(parts)
        ]
        self.bookings += fills
        return fills

    def _execution_id(self, day: date, numbers: Sequence[int], place: int, style: Style) -> str:
        if style.one_name:
            return self._mint.execution(day, numbers[0], place + 1)
        return self._mint.execution(day, numbers[place], 1)

    def price_of(self, contract: Contract) -> Decimal:
        """Within three percent of the instrument's usual price, on its ticks."""
        reach = max(1, int(contract.price / contract.tick * 3 / 100))
        return contract.price + contract.tick * self.rng.randint(-reach, reach)

    def cancel(self, target: Booking, day: date, refund: Decimal = Decimal(0)) -> None:
        """Takes a booking back: the id of the trade moves to the pointer, quantity and money turn round."""
        identity = self._mint.text("transaction", self._mint.number(day))
        fractional = target.kind == "FracShare"
        self.bookings.append(
            attrs.evolve(
                target,
                kind="FracShareCancel" if fractional else "TradeCancel",
                quantity=-target.quantity,
                report_date=day,
                transaction_id=identity,
                order_id=identity if fractional else target.order_id,
                trade_id="",
                execution_id="",
                commission=refund,
                taxes=-target.taxes,
                accrued_interest=-target.accrued_interest,
                open_close="",
                notes="Ca",
                venue="--",
                voids=target,
            )
        )

    def replace(self, target: Booking, day: date, quantity: Decimal, price: Decimal, cost: Decimal) -> Booking:
        """Books a cancelled trade again: the same trade id, the next revision of the execution id."""
        head, _, revision = target.execution_id.rpartition(".")
        again = attrs.evolve(
            target,
            quantity=quantity,
            price=price,
            report_date=day,
            transaction_id=self._mint.text("transaction", self._mint.number(day)),
            execution_id=f"{head}.{int(revision) + 1:02d}",
            commission=cost,
            taxes=_tax(target.contract, quantity, price),
        )
        self.bookings.append(again)
        return again

    def book_entry(
        self,
        contract: Contract,
        day: date,
        quantity: Decimal,
        notes: str,
        *,
        price: Decimal = Decimal(0),
        effect: str = "C",
    ) -> None:
        """An expiry, exercise or assignment: no execution id, and the order id is the transaction's."""
        number = self._mint.number(day)
        identity = self._mint.text("transaction", number)
        self.bookings.append(
            Booking(
                contract=contract,
                kind="BookTrade",
                quantity=quantity,
                price=price,
                executed=wall_time(day, _BOOK_ENTRY_SECOND),
                trade_date=day,
                report_date=day,
                transaction_id=identity,
                chain=identity,
                order_id=identity,
                trade_id=self._mint.text("trade", number),
                commission_currency=contract.currency,
                open_close=effect,
                notes=notes,
            )
        )

    def cash_in_lieu(self, contract: Contract, trade_date: date, day: date, quantity: Decimal) -> Booking:
        """A fraction paid out after a corporate action; it has no id but the transaction's, and no time of day."""
        identity = self._mint.text("transaction", self._mint.number(day))
        booking = Booking(
            contract=contract,
            kind="FracShare",
            quantity=quantity,
            price=self.price_of(contract),
            executed=wall_time(trade_date, 0),
            trade_date=trade_date,
            report_date=day,
            transaction_id=identity,
            chain=identity,
            order_id=identity,
            commission_currency=contract.currency,
            open_close="C",
        )
        self.bookings.append(booking)
        return booking

    def convert(self, pair: Contract, cause: Booking, quantity: Decimal) -> None:
        """The currency conversion that the broker makes on its own for a trade in another currency."""
        number = self._mint.number(cause.trade_date)
        identity = self._mint.text("transaction", number)
        self.bookings.append(
            attrs.evolve(
                cause,
                contract=pair,
                quantity=quantity,
                price=self.price_of(pair),
                transaction_id=identity,
                chain=identity,
                order_id=self._mint.text("order", number),
                trade_id=self._mint.text("trade", number),
                execution_id=self._mint.conversion(number),
                order_type="MKT",
                commission=Decimal(0),
                commission_currency=self._base,
                taxes=Decimal(0),
                open_close="",
                notes="AFx",
                venue=pair.venue,
            )
        )


def _commission(contract: Contract, quantity: Decimal, price: Decimal, style: Style) -> Decimal:
    """What a fill costs by the sandbox's own price list; negative is a cost, as the broker signs it."""
    if style.rebate:
        return _REBATE * abs(quantity)
    least, unit, share = (Decimal(text) for text in _RATES.get(contract.category) or _RATES[contract.currency])
    money = abs(contract.money(quantity, price))
    cost = max(least, unit * abs(quantity) + share * money)
    if quantity < 0 and contract.currency == "USD" and contract.category in ("STK", "OPT"):
        cost += _SELLING_FEE * money
    return -cost.quantize(Decimal("0.0000001"))


def _accrued_interest(contract: Contract, quantity: Decimal) -> Decimal:
    return -contract.money(quantity, _ACCRUED_PERCENT) if contract.category == "BOND" else Decimal(0)


def _tax(contract: Contract, quantity: Decimal, price: Decimal) -> Decimal:
    """Stamp duty on purchases where the instrument's country takes one; negative, as the broker signs it."""
    if quantity <= 0 or not contract.buy_tax:
        return Decimal(0)
    return -(contract.money(quantity, price) * contract.buy_tax).quantize(Decimal("0.01"))
