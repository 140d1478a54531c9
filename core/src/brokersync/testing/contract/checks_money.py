"""Checks of money: cash, costs, multipliers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from functools import partial
from typing import Any, Final

from brokersync.enums import AssetClass, PriceUnit, Side, TradeEvent
from brokersync.testing.answers import Body, like, shown_number
from brokersync.testing.contract.base import ContractBase
from brokersync.testing.contract.changing import (
    answers_of,
    cell_is,
    changed,
    main_rows,
    native_ids,
    number_in,
    samples,
)
from brokersync.testing.contract.expecting import costs_of, expect
from brokersync.testing.contract.nested import cells, everywhere, put_inside
from brokersync.testing.contract.reading import Reading
from brokersync.testing.contract.stage import Stage
from brokersync.testing.contract.written import HOW_ROWS_ARE_KNOWN
from brokersync.types import AuthResult, BrokerTrade, TradeBooking

_BOOKINGS: Final = 5
_CENT: Final = Decimal("0.02")
_PAID_IN_FULL: Final = frozenset(
    {AssetClass.STOCK, AssetClass.ETF, AssetClass.OPTION, AssetClass.FUND, AssetClass.WARRANT, AssetClass.BOND}
)
_WITH_MULTIPLIER: Final = frozenset({AssetClass.FUTURE, AssetClass.OPTION, AssetClass.FUTURE_OPTION})


class MoneyChecks(ContractBase):
    """Of what a trade costs and is worth."""

    async def test_cash_is_what_quantity_price_and_costs_make(self) -> None:
        """Where the broker tells the cash of a trade: quantity x price x multiplier and the costs reconcile with it."""
        async with self.stage() as stage:
            _, readings = await self.readings(stage)
        pairs = [
            (trade, cash) for reading in readings for trade in reading.trades if (cash := _cash(trade)) is not None
        ]
        if not pairs:
            self.cannot_try("no trade tells its cash")
        for trade, cash in pairs:
            assert trade.net_cash is not None
            # brokers differ in whether the interest is in it
            apart = min(abs(trade.net_cash - cash), abs(trade.net_cash - cash - (trade.accrued_interest or 0)))
            expect(
                apart <= max(_CENT, abs(cash) / 10_000),
                f"net_cash of {trade.trade_id} is {trade.net_cash}, and {trade.side} {trade.quantity} at {trade.price}"
                f" with costs of {costs_of(trade)} makes {cash}: look at the signs",
            )

    async def test_a_cost_is_positive_and_a_rebate_negative(self) -> None:
        """A cost that the broker writes with the other sign has the other sign, also inside of a row."""
        async with self.stage() as stage:
            auth, readings = await self.readings(stage)
            tried = False
            for sample in samples(one for one in readings if any(map(_costs, one.bookings))):
                before, found = await answers_of(stage, auth, sample.request)
                for booking in [one for one in before.bookings if _costs(one)][:_BOOKINGS]:
                    if outcomes := await self._with_costs_turned(stage, auth, before, found, booking):
                        tried = True
                        _check_costs(booking, outcomes)
                        break
            if not tried:
                self.cannot_try(
                    f"no cost of a trade is found in the broker's rows, nor in objects, lists and elements inside;"
                    f" {HOW_ROWS_ARE_KNOWN}"
                )

    async def _with_costs_turned(
        self, stage: Stage, auth: AuthResult, before: Reading, found: list[Body], booking: TradeBooking
    ) -> dict[str, tuple[Decimal, list[Decimal]]]:
        """By the place of a cost: the cost, and what the costs are once it is written there with the other sign."""
        ids, outcomes = native_ids(booking), {}
        rows = main_rows(found, ids)
        for amount in _costs(booking):
            fits = partial(cell_is, number=amount)
            places = {
                (table.path, place)
                for table, row in rows
                for place, holder in cells(table, row)
                if fits(holder[place[-1]])
            }
            for path, place in sorted(places):
                change = put_inside(path, place, ids, fits, _negated)
                now = _fees_after(await changed(stage, auth, before.request, change), booking)
                if now is not None:
                    outcomes[f"{amount} in {'.'.join(place)}"] = amount, now
        return outcomes

    async def test_multipliers_come_from_the_broker(self) -> None:
        """A multiplier of futures and options changes with what the broker says, or it is a guess."""
        async with self.stage() as stage:
            auth, readings = await self.readings(stage)
            tried = False
            for sample in samples(one for one in readings if any(map(_is_multiplied, one.trades))):
                before, found = await answers_of(stage, auth, sample.request)
                trade = next(one for one in before.trades if _is_multiplied(one))
                multiplier = trade.instrument.multiplier
                assert multiplier is not None
                tried = True
                # it may stand in an object inside of a row, such as that of the instrument
                names = {
                    name for body in found for name, holder in everywhere(body) if cell_is(holder[name], multiplier)
                }
                expect(
                    [name for name in sorted(names) if await self._follows(stage, auth, before, trade, name)],
                    f"the multiplier {multiplier} of {trade.instrument.symbol} does not come from the broker's answers:"
                    " leave it None where the broker does not tell it",
                )
            if not tried:
                self.cannot_try("the sandbox has no futures and no options")

    async def _follows(self, stage: Any, auth: Any, before: Reading, trade: BrokerTrade, name: str) -> bool:
        multiplier = trade.instrument.multiplier
        assert multiplier is not None

        def change(body: Any) -> int:
            found = [one for of, one in everywhere(body) if of == name and cell_is(one[name], multiplier)]
            # one cell may be held twice: as a cell of a row, and as a text inside of another
            for holder in found:
                if cell_is(holder[name], multiplier):
                    holder[name] = like(holder[name], str(multiplier * 3))
            return len(found)

        reading, _ = await changed(stage, auth, before.request, change)
        return any(
            one.trade_id == trade.trade_id and one.instrument.multiplier == multiplier * 3 for one in reading.trades
        )


def _of(reading: Reading, name: str) -> TradeBooking | None:
    return next((one for one in reading.bookings if one.booking_id == name), None)


def _costs(booking: TradeBooking) -> list[Decimal]:
    """Costs with cents, which are less likely to be some other number, too, and of which there is but one of a size."""
    amounts = [fee.amount for fee in booking.row_fees]
    sizes = Counter(map(abs, amounts))
    return [one for one in amounts if one % 1 and sizes[abs(one)] == 1]


def _check_costs(booking: TradeBooking, outcomes: Mapping[str, tuple[Decimal, list[Decimal]]]) -> None:
    """Each cost that is found must turn with one of its places; it may stand in others that nobody reads."""
    for amount in {one for one, _ in outcomes.values()}:
        mine = {place: now for place, (one, now) in outcomes.items() if one == amount}
        expect(
            # others of the row may go, where they were found by this one
            any(-amount in now and amount not in now for now in mine.values()),
            f"the cost {amount} of {booking.booking_id} is written with the other sign, and its costs become {mine}: a"
            " cost is positive and a rebate negative",
        )


def _fees_after(again: tuple[Reading, int], booking: TradeBooking) -> list[Decimal] | None:
    """The costs of a booking that was read again, unless something else of it changed, too."""
    after = _of(again[0], booking.booking_id)
    if after is None or after.trade is None or booking.trade is None:
        return None
    now, then = after.trade, booking.trade
    if (now.quantity, now.price, now.side) != (then.quantity, then.price, then.side):
        return None
    return [fee.amount for fee in after.row_fees]


def _negated(value: Any) -> Any:
    number = number_in(value)
    assert number is not None
    text = shown_number(value)
    return like(value, text[1:] if text.startswith("-") else f"-{text}")


def _is_multiplied(trade: BrokerTrade) -> bool:
    return trade.instrument.asset_class in _WITH_MULTIPLIER and trade.instrument.multiplier is not None


def _cash(trade: BrokerTrade) -> Decimal | None:
    """What a trade brings in, where that can be computed and compared."""
    instrument = trade.instrument
    if trade.net_cash is None or trade.event is not TradeEvent.EXECUTION or instrument.multiplier is None:
        return None
    if instrument.asset_class not in _PAID_IN_FULL or any(fee.currency != instrument.currency for fee in trade.fees):
        return None
    price = trade.price / 100 if trade.price_unit is PriceUnit.PERCENT_OF_PAR else trade.price
    paid = trade.quantity * price * instrument.multiplier
    return (paid if trade.side is Side.SELL else -paid) - costs_of(trade)
