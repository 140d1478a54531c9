"""Fees are certain only where no other way of booking them would show the same."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from brokersync_tradovate.cash_history import read_cash_history
from brokersync_tradovate.charges import FillCharges, charges_by_fill
from brokersync_tradovate.fills_report import FillsReport

from .conftest import Exports

MORNING = datetime(2026, 3, 9, 14, 31, 2, tzinfo=UTC)  # a Monday
LATER = date(2026, 3, 20)
RATES = {"Commission": Decimal("0.79"), "Exchange Fee": Decimal("1.38"), "Nfa Fee": Decimal("0.02")}
SAME = "no other fill of the contract shows the same fees"
OTHER = "other fills of the contract had other fees"
STEADY = "the quantities of the contract's fills grow steadily"
_exports = Exports()


class Books:
    """Fills and what was booked for them, which the two reports tell."""

    def __init__(self) -> None:
        self.fills: list[dict[str, str]] = []
        self.cash: list[tuple[datetime, dict[str, str]]] = []

    def trade(self, at: datetime, quantity: int = 2, *, trade_date: str | None = None, contract: str = "ZNM6") -> int:
        number = 21 + len(self.fills)
        commission = str(RATES["Commission"] * quantity)
        told = {"_qty": str(quantity), "commission": commission, "Contract": contract}
        day = f"{at:%Y-%m-%d}" if trade_date is None else trade_date
        stamps = {"_timestamp": f"{at:%Y-%m-%d %H:%M:%S}.125Z", "Timestamp": f"{at:%m/%d/%Y %H:%M:%S}"}
        self.fills.append(_exports.fill(number, _tradeDate=day, **told, **stamps))
        return number

    def book(self, kind: str, amount: Decimal, at: datetime, contract: str = "ZNM6") -> None:
        row = _exports.cash(kind, str(-amount), Timestamp=f"{at:%m/%d/%Y %H:%M:%S}", Contract=contract)
        self.cash.append((at, row))

    def sell(self, at: datetime, quantity: int = 2, rates: Mapping[str, Decimal] = RATES, **facts: Any) -> int:
        """A fill with all of its fees in its second."""
        for kind, rate in rates.items():
            self.book(kind, rate * quantity, at, facts.get("contract", "ZNM6"))
        return self.trade(at, quantity, **facts)

    def charges(self, until: date = LATER, *, seen_from: date = date.min) -> dict[int, FillCharges]:
        """As the reports tell them that begin on a day."""
        rows = [row for row in self.fills if date.fromisoformat(row["_timestamp"][:10]) >= seen_from]
        cash = _exports.cash_history(*(row for at, row in self.cash if seen_from <= at.date()))
        unmapped: Counter[str] = Counter()
        history = read_cash_history(io.StringIO(cash, newline=""), "77001", unmapped)
        assert not unmapped
        report = FillsReport(io.StringIO(_exports.text(*rows), newline=""))
        return charges_by_fill(report.rows(), history, until)[0]

    def doubt(self, number: int, until: date = LATER) -> str | None:
        return self.charges(until)[number].doubt


@pytest.fixture
def books() -> Books:
    return Books()


@pytest.mark.parametrize(
    ("before", "doubt"),
    [
        (timedelta(minutes=1), None),
        (timedelta(days=7), None),
        (timedelta(days=8), SAME),
        (timedelta(days=-1), None),
        (timedelta(days=-2), SAME),
    ],
)
def test_the_fees_of_a_fill_are_certain_where_another_of_those_days_had_the_same(
    books: Books, before: timedelta, doubt: str | None
) -> None:
    books.sell(MORNING - before)
    assert books.doubt(books.sell(MORNING)) == doubt


def test_nothing_confirms_the_fees_of_a_fill_that_is_alone(books: Books) -> None:
    number = books.sell(MORNING)
    books.sell(MORNING - timedelta(hours=1), contract="ZNU6")
    assert books.doubt(number) == SAME


@pytest.mark.parametrize(
    "rates",
    [
        {"Commission": Decimal("0.79"), "Exchange Fee": Decimal("1.38")},
        {**RATES, "Clearing Fee": Decimal("0.10")},
        {**RATES, "Exchange Fee": Decimal("1.39")},
        {"Commission": Decimal("0.79")},
        {},
    ],
    ids=["a kind less", "a kind more", "another rate", "the commission alone", "booked elsewhere"],
)
def test_one_other_fill_with_other_fees_is_enough_to_doubt(books: Books, rates: Mapping[str, Decimal]) -> None:
    books.sell(MORNING - timedelta(hours=2))
    books.sell(MORNING - timedelta(hours=1), rates=rates)
    assert books.doubt(books.sell(MORNING)) == OTHER


def test_another_commission_is_no_reason_to_doubt_since_the_fills_report_confirms_it(books: Books) -> None:
    books.sell(MORNING - timedelta(hours=1), rates={**RATES, "Commission": Decimal("0.50")})
    books.fills[0]["commission"] = "1.00"
    assert books.doubt(books.sell(MORNING)) is None


def test_fees_of_the_fills_of_one_second_confirm_those_of_another(books: Books) -> None:
    books.sell(MORNING - timedelta(hours=1), 1)
    books.sell(MORNING - timedelta(hours=1), 1)
    assert books.doubt(books.sell(MORNING)) is None


@pytest.mark.parametrize(
    ("quantities", "doubt"),
    [((1, 2), STEADY), ((1, 2, 4), STEADY), ((4, 2, 1), STEADY), ((1, 2, 3), None), ((2, 2), None), ((3, 1, 1), None)],
)
def test_quantities_that_grow_steadily_would_hide_fees_of_the_fill_before(
    books: Books, quantities: Sequence[int], doubt: str | None
) -> None:
    numbers = [books.sell(MORNING + timedelta(hours=hour), many) for hour, many in enumerate(quantities)]
    assert {books.doubt(number) for number in numbers} == {doubt}


@pytest.mark.parametrize(
    ("rates", "doubt"),
    [
        (RATES, None),
        ({"Commission": Decimal("0.79")}, None),
        ({"Commission": Decimal("0.79"), "Exchange Fee": Decimal("1.39")}, OTHER),
        ({**RATES, "Clearing Fee": Decimal("0.10")}, OTHER),
    ],
)
def test_a_fill_whose_fees_are_still_to_come_may_lack_some_and_have_no_others(
    books: Books, rates: Mapping[str, Decimal], doubt: str | None
) -> None:
    books.sell(MORNING - timedelta(hours=1))
    number = books.sell(MORNING)
    books.sell(MORNING + timedelta(days=1), rates=rates)
    assert books.doubt(number, date(2026, 3, 11)) == doubt


def test_a_fill_without_a_trade_date_may_get_fees_for_as_long_as_any(books: Books) -> None:
    books.sell(MORNING - timedelta(hours=1))
    number = books.sell(MORNING, trade_date="")
    assert books.doubt(number, date(2026, 3, 14)) == "read when more could still be booked, until the end of 2026-03-14"
    assert books.doubt(number, date(2026, 3, 15)) is None


@settings(max_examples=300, deadline=None)
@given(
    quantities=st.lists(st.integers(1, 5), min_size=1, max_size=6),
    late=st.sets(st.sampled_from(["Exchange Fee", "Nfa Fee"]), min_size=1),
    seen=st.integers(0, 5),
)
@example(quantities=[1, 2, 4, 8, 16, 32, 64], late={"Exchange Fee"}, seen=1)
def test_fees_that_are_booked_at_the_close_are_not_called_those_of_a_fill_at_the_next_open(
    quantities: list[int], late: set[str], seen: int
) -> None:
    """Both are one second, every day. `seen` is where the reports begin."""
    books = Books()
    opening = datetime(2026, 3, 1, 22, 0, 0, tzinfo=UTC)
    truth = {}
    for day, many in enumerate(quantities):
        opened, closed = opening + timedelta(days=day), opening + timedelta(days=day + 1)
        for kind, rate in RATES.items():
            books.book(kind, rate * many, closed if kind in late else opened)
        number = books.trade(opened, many, trade_date=f"{closed:%Y-%m-%d}")
        truth[number] = sum(RATES.values()) * many
    told = books.charges(seen_from=opening.date() + timedelta(days=seen))
    for number, one in told.items():
        assert not one.certain or sum(one.amounts.values()) == truth[number]
