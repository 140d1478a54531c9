from __future__ import annotations

import csv
import io
from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokersync_tradovate.cash_history import CashHistory, Charge, read_cash_history
from brokersync_tradovate.charges import FillCharges, charges_by_fill, charges_of
from brokersync_tradovate.fills_report import BadRow, FillsReport, ReportFill
from brokersync_tradovate.tables import TableError

SETTLED = date(2026, 3, 11)
SECOND = datetime(2026, 3, 9, 14, 31, 2, tzinfo=UTC)
COMMISSION = ("Commission", "-1.58")
EXCHANGE = ("Exchange Fee", "-2.76")


def history(exports: Any, *rows: Any, account: str = "77001") -> tuple[CashHistory, Counter[str]]:
    unmapped: Counter[str] = Counter()
    lines = io.StringIO(exports.cash_history(*rows), newline="")
    return read_cash_history(lines, account, unmapped), unmapped


def read_rows(exports: Any, *rows: Any) -> list[ReportFill | BadRow]:
    return list(FillsReport(io.StringIO(exports.text(*rows), newline="")).rows())


def fills(exports: Any, *rows: Any) -> list[ReportFill]:
    found = read_rows(exports, *rows)
    assert all(isinstance(one, ReportFill) for one in found)
    return [one for one in found if isinstance(one, ReportFill)]


def twin(exports: Any, *booked: tuple[str, str]) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Another sale of as many on the same morning, and what was booked for it, as the rows of both reports."""
    at = {"Timestamp": "03/09/2026 13:00:00"}
    sale = exports.fill(20, _timestamp="2026-03-09 13:00:00.500Z", **at)
    return [sale], [exports.cash(*one, **at) for one in booked]


def amounts(charges: FillCharges) -> dict[str, str]:
    assert {currency for _, currency in charges.amounts} == {"USD"}
    return {fee: str(amount) for (fee, _), amount in charges.amounts.items()}


def test_the_fees_in_the_second_of_a_fill_are_its_own_when_the_commissions_agree(exports: Any) -> None:
    booked = [COMMISSION, EXCHANGE, ("Clearing Fee", "-0.20"), ("Nfa Fee", "-0.04")]
    sale, booked_for_it = twin(exports, *booked)
    told, unmapped = history(exports, *booked_for_it, *(exports.cash(*one) for one in booked))

    charges, left = charges_by_fill(fills(exports, *sale, exports.fill()), told, SETTLED)

    expected = {"commission": "1.58", "exchangeFee": "2.76", "clearingFee": "0.20", "nfaFee": "0.04"}
    assert amounts(charges[21]) == expected
    assert (charges[21].certain, left, unmapped) == (True, [], Counter())


@pytest.mark.parametrize(
    "changes",
    [
        {"Timestamp": "03/09/2026 14:31:03"},
        {"Contract": "ZNU6"},
    ],
)
def test_fees_of_another_second_or_contract_are_no_fills(exports: Any, changes: dict[str, str]) -> None:
    told, _ = history(exports, *(exports.cash(*one, **changes) for one in (COMMISSION, EXCHANGE)))

    assert charges_by_fill(fills(exports, exports.fill()), told, SETTLED) == ({}, list(told.charges))


@pytest.mark.parametrize("shown", ["03/09/2026 14:31:03", "03/09/2026 09:31:02"], ids=["rounded up", "in another zone"])
def test_both_reports_show_the_second_of_a_fill_in_the_same_way(exports: Any, shown: str) -> None:
    told, _ = history(exports, *(exports.cash(*one, Timestamp=shown) for one in (COMMISSION, EXCHANGE)))

    charges, left = charges_by_fill(fills(exports, exports.fill(Timestamp=shown)), told, SETTLED)

    assert (amounts(charges[21])["exchangeFee"], left) == ("2.76", [])


@pytest.mark.parametrize("commission", [(), (("Commission", "-1.59"),), (("Commission", "1.58"),)])
def test_nothing_is_joined_where_the_commissions_do_not_agree(exports: Any, commission: Any) -> None:
    told, _ = history(exports, *(exports.cash(*one) for one in (*commission, EXCHANGE)))

    charges, left = charges_by_fill(fills(exports, exports.fill()), told, SETTLED)

    assert (charges, len(left)) == ({}, len(commission) + 1)


def test_a_fill_without_a_commission_gets_no_fees_by_guessing(exports: Any) -> None:
    told, _ = history(exports, exports.cash(*EXCHANGE))

    assert charges_by_fill(fills(exports, exports.fill(commission="")), told, SETTLED)[0] == {}
    assert charges_by_fill(fills(exports, exports.fill(commission="0")), told, SETTLED)[0] == {}


def test_the_fills_of_one_second_share_by_quantity_and_are_estimates(exports: Any) -> None:
    two = [exports.fill(21, _qty="1", commission="0.79"), exports.fill(22, _qty="2", commission="1.58")]
    told, _ = history(
        exports,
        exports.cash("Commission", "-0.79"),
        exports.cash("Commission", "-1.58"),
        exports.cash("Exchange Fee", "-4.14"),
    )

    charges, left = charges_by_fill(fills(exports, *two), told, SETTLED)

    assert [amounts(charges[one])["exchangeFee"] for one in (21, 22)] == ["1.38", "2.76"]
    assert [charges[one].doubt for one in (21, 22)] == ["they are its share of the fees of one second"] * 2
    assert left == []


@pytest.mark.parametrize(
    ("second", "exchange"),
    [
        ({"_qty": "1", "commission": "0.79"}, "-0.05"),
        ({"_qty": "1", "commission": "0.80"}, "-2.76"),
    ],
    ids=["a cent can not be halved", "one contract costs more than the other"],
)
def test_fees_that_can_not_be_shared_evenly_are_left(exports: Any, second: dict[str, str], exchange: str) -> None:
    two = [exports.fill(21, _qty="1", commission="0.79"), exports.fill(22, **second)]
    booked = [exports.cash("Commission", f"-{one['commission']}") for one in two]
    told, _ = history(exports, *booked, exports.cash("Exchange Fee", exchange))

    assert charges_by_fill(fills(exports, *two), told, SETTLED) == ({}, list(told.charges))


@pytest.mark.parametrize(
    ("trade_date", "day", "certain"),
    [
        ("2026-03-09", "03/08/2026", True),
        ("2026-03-09", "03/09/2026", False),
        ("2026-03-09", "03/10/2026", False),
        ("2026-03-09", "03/11/2026", True),
        ("2026-03-10", "03/11/2026", False),
        ("2026-03-12", "03/12/2026", False),
        ("2026-03-12", "03/14/2026", True),
        ("", "03/10/2026", False),
    ],
)
def test_a_fee_that_is_no_fills_may_be_any_of_which_it_may_be_booked_then(
    exports: Any, trade_date: str, day: str, certain: bool
) -> None:
    lost = exports.cash("Exchange Fee", "-1.00", Timestamp=f"{day} 21:00:00")
    sale, booked_for_it = twin(exports, COMMISSION, EXCHANGE)
    told, _ = history(exports, *booked_for_it, exports.cash(*COMMISSION), exports.cash(*EXCHANGE), lost)

    charges, left = charges_by_fill(fills(exports, *sale, exports.fill(_tradeDate=trade_date)), told, date(2026, 3, 20))

    assert (amounts(charges[21])["exchangeFee"], charges[21].certain, len(left)) == ("2.76", certain, 1)


def test_other_fees_that_are_booked_as_the_trade_date_closes_leave_its_fills_uncertain(exports: Any) -> None:
    evening = exports.fill(
        _timestamp="2026-03-09 23:30:02.125Z", Timestamp="03/09/2026 23:30:02", _tradeDate="2026-03-10"
    )
    told, _ = history(
        exports,
        exports.cash(*COMMISSION, Timestamp="03/09/2026 23:30:02"),
        exports.cash(*EXCHANGE, Timestamp="03/09/2026 23:30:02"),
        exports.cash("Nfa Fee", "-0.04", Timestamp="03/10/2026 22:00:00"),
    )

    charges, _ = charges_by_fill(fills(exports, evening), told, date(2026, 3, 20))

    assert charges[21].doubt == "a fee was booked that is no fill's, or twice"


def test_a_fee_that_is_booked_a_second_later_over_midnight_leaves_its_fill_uncertain(exports: Any) -> None:
    late = exports.fill(_timestamp="2026-03-09 23:59:59.990Z", Timestamp="03/09/2026 23:59:59")
    told, _ = history(
        exports,
        exports.cash(*COMMISSION, Timestamp="03/09/2026 23:59:59"),
        exports.cash("Nfa Fee", "-0.04", Timestamp="03/09/2026 23:59:59"),
        exports.cash(*EXCHANGE, Timestamp="03/10/2026 00:00:00"),
    )

    charges, _ = charges_by_fill(fills(exports, late), told, date(2026, 3, 20))

    assert charges[21].doubt == "a fee was booked that is no fill's, or twice"


def test_a_commission_alone_is_not_known_to_be_all(exports: Any) -> None:
    sale, booked_for_it = twin(exports, COMMISSION)
    told, _ = history(exports, *booked_for_it, exports.cash(*COMMISSION))

    charges, left = charges_by_fill(fills(exports, *sale, exports.fill()), told, SETTLED)

    assert (amounts(charges[21]), left) == ({"commission": "1.58"}, [])
    assert charges[21].doubt == "the commission stands alone"


def test_a_fee_that_was_booked_twice_may_be_that_of_another_fill(exports: Any) -> None:
    """The other one is not certain, either: what it lacks may be what this one has too much."""
    other = {"Timestamp": "03/09/2026 15:00:00"}
    told, _ = history(
        exports,
        *(exports.cash(*one) for one in (COMMISSION, EXCHANGE, EXCHANGE, ("Nfa Fee", "-0.04"))),
        *(exports.cash(*one, **other) for one in (COMMISSION, ("Nfa Fee", "-0.04"))),
    )
    two = fills(exports, exports.fill(21), exports.fill(22, _timestamp="2026-03-09 15:00:00.000Z", **other))

    charges, left = charges_by_fill(two, told, SETTLED)

    assert [charges[one].doubt for one in (21, 22)] == ["a fee was booked that is no fill's, or twice"] * 2
    assert left == []


def test_a_fill_that_can_not_be_read_keeps_the_fees_of_its_second_from_others(exports: Any) -> None:
    told, _ = history(exports, exports.cash(*COMMISSION), exports.cash("Exchange Fee", "-5.52"))
    rows = read_rows(exports, exports.fill(21), exports.fill(22, _qty="x", commission="0.00"))

    assert charges_by_fill(rows, told, SETTLED) == ({}, list(told.charges))


@pytest.mark.parametrize("changes", [{"Timestamp": ""}, {"Contract": ""}])
def test_a_row_that_may_stand_in_any_second_leaves_every_fill_uncertain(exports: Any, changes: dict[str, str]) -> None:
    sale, booked_for_it = twin(exports, COMMISSION, EXCHANGE)
    told, _ = history(exports, *booked_for_it, exports.cash(*COMMISSION), exports.cash(*EXCHANGE))
    rows = read_rows(exports, *sale, exports.fill(21), exports.fill(22, _qty="x", **changes))

    charges, _ = charges_by_fill(rows, told, SETTLED)

    assert amounts(charges[21])["exchangeFee"] == "2.76"
    assert charges[21].doubt == "a row of the reports is not understood"


def test_fees_are_certain_once_the_day_is_settled(exports: Any) -> None:
    sale, booked_for_it = twin(exports, COMMISSION, EXCHANGE)
    told, _ = history(exports, *booked_for_it, exports.cash(*COMMISSION), exports.cash(*EXCHANGE))
    both = fills(exports, *sale, exports.fill())

    doubts = [charges_by_fill(both, told, date(2026, 3, day))[0][21].doubt for day in (10, 11)]

    assert doubts == ["read when more could still be booked, until the end of 2026-03-10", None]


def test_a_fee_that_was_given_back_is_negative(exports: Any) -> None:
    told, _ = history(
        exports,
        exports.cash(*COMMISSION),
        exports.cash("Exchange Fee", "$(0.50)"),
        exports.cash("Exchange Fee", "1.25"),
    )

    charges, _ = charges_by_fill(fills(exports, exports.fill()), told, SETTLED)

    assert amounts(charges[21])["exchangeFee"] == "-0.75"


@pytest.mark.parametrize("kind", ["Trade Paired", "Fund Transaction", "Market Data Subscription", "New Session"])
def test_what_is_no_fee_of_a_fill_is_passed_over(exports: Any, kind: str) -> None:
    told, unmapped = history(exports, exports.cash(kind, "1,012.50", Contract="", Currency=""))

    assert (told, unmapped) == (CashHistory((), whole=True), Counter())


@pytest.mark.parametrize(
    ("kind", "changes", "reason"),
    [
        ("Quantum Fee", {}, "'Quantum Fee' may be a fee"),
        ("Liquidation Fee", {}, "may be a fee of a fill"),
        ("", {}, "'' may be a fee"),
        ("Nfa Fee", {"Delta": "n/a"}, "no number"),
        ("Nfa Fee", {"Delta": "-1E+999999"}, "no number"),
        ("Nfa Fee", {"Timestamp": "2026-03-09 14:31:02"}, "no time like"),
        ("Nfa Fee", {"Currency": ""}, "without its currency"),
        ("Nfa Fee", {"Currency": "1E+400"}, "without its currency"),
        ("Nfa Fee", {"Contract": ""}, "without its currency or contract"),
        ("Nfa Fee", {"Account": "77002"}, "another account"),
    ],
)
def test_what_is_not_understood_is_counted_and_nothing_is_certain(
    exports: Any, kind: str, changes: dict[str, str], reason: str
) -> None:
    strange = exports.cash(kind, "-1.00") | changes
    told, unmapped = history(exports, exports.cash(*COMMISSION), strange)

    assert (len(told.charges), told.whole) == (1, False)
    assert [reason in one for one in unmapped] == [True]
    doubt = charges_by_fill(fills(exports, exports.fill()), told, SETTLED)[0][21].doubt
    assert doubt == "a row of the reports is not understood"


def test_another_report_is_not_taken_for_a_cash_history(exports: Any) -> None:
    with pytest.raises(TableError, match="delta"):
        read_cash_history(io.StringIO(exports.text(exports.fill())), "77001", Counter())


@pytest.mark.parametrize("doubt", [None, "", "more may be booked"])
def test_kept_charges_are_read_as_they_were(doubt: str | None) -> None:
    charges = FillCharges({("commission", "USD"): Decimal("1.50"), ("nfaFee", "EUR"): Decimal("-0.02")}, doubt)

    assert charges_of({"cashHistory": charges.kept()}) == charges
    assert charges_of({}) is None


def test_charges_that_were_kept_without_a_doubt_in_words_are_as_certain_as_they_were() -> None:
    kept = {"fees": [], "certain": False}

    assert charges_of({"cashHistory": kept}) == FillCharges({}, "")
    assert charges_of({"cashHistory": kept | {"certain": True}}) == FillCharges({})


_cents = st.integers(0, 400).map(lambda cents: Decimal(cents).scaleb(-2))


@settings(max_examples=100, deadline=None)
@given(
    rates=st.tuples(_cents, _cents),
    quantities=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 9)), min_size=1, max_size=8),
)
def test_what_is_shared_is_all_that_was_booked(
    rates: tuple[Decimal, Decimal], quantities: list[tuple[int, int]]
) -> None:
    """Fees that are the same for each contract are all joined, whichever fills share a second, to the cent."""
    header = ["_id", "_orderId", "_contractId", "_timestamp", "_action", "_qty", "_price", "Contract", "commission"]
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(header)
    charges = []
    for number, (second, quantity) in enumerate(quantities):
        moment = SECOND.replace(second=second)
        time = f"{moment:%Y-%m-%d %H:%M:%S}.{number:03}Z"
        writer.writerow([number, 1, 1, time, 0, quantity, 1, "ZNM6", rates[0] * quantity])
        for fee, rate in zip(("commission", "exchangeFee"), rates, strict=True):
            charges.append(Charge(fee=fee, amount=rate * quantity, currency="USD", contract="ZNM6", second=moment))
    out.seek(0)
    found = [one for one in FillsReport(out).rows() if isinstance(one, ReportFill)]

    shares, left = charges_by_fill(found, CashHistory(tuple(charges), whole=True), SETTLED)

    assert left == []
    assert {number: dict(one.amounts) for number, one in shares.items()} == {
        number: {("commission", "USD"): rates[0] * quantity, ("exchangeFee", "USD"): rates[1] * quantity}
        for number, (_, quantity) in enumerate(quantities)
    }
