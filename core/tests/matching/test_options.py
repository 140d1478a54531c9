from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from brokersync.matching import Doubt, Verdict
from brokersync.types import AssetClass, Instrument, Right

from .given import ids, only, row, trade


def _option(symbol: str = "AAPL  260320C00150000", underlying: str | None = "AAPL", day: int = 20) -> Instrument:
    return Instrument(
        symbol=symbol,
        asset_class=AssetClass.OPTION,
        underlying=underlying,
        expiry=date(2026, 3, day),
        strike=Decimal("150.00"),
        right=Right.CALL,
    )


SPELLINGS = [
    "AAPL260320C00150000",
    "O:AAPL260320C00150000",
    "AAPL260320C150",
    ".AAPL260320C150",
    "AAPL 20MAR26 150 C",
    "AAPL 20 Mar 2026 150 Call",
    "AAPL Mar 20 2026 150 Call",
    "AAPL Mar 20, '26 $150 CALL",
    "AAPL 03/20/2026 150.00 C",
    "AAPL 3/20/26 C150",
    "AAPL 2026-03-20 150 C",
    "AAPL 20260320 150.0 C",
]


@pytest.mark.parametrize("symbol", SPELLINGS)
@pytest.mark.parametrize("instrument", [_option(), _option(underlying=None), _option("#4711")])
def test_an_option_is_known_by_all_of_its_spellings(symbol: str, instrument: Instrument) -> None:
    match = only(row(symbol=symbol), trade(instrument=instrument))
    assert (match.verdict, ids(match), match.doubts) == (Verdict.LIKELY, ["fill:1"], ())


@pytest.mark.parametrize(
    "symbol",
    [
        "AAPL",
        "AAPL260320P150",
        "AAPL260320C15",
        "AAPL260320C150.5",
        "AAPL 21MAR26 150 C",
        "AAPL 20MAR27 150 C",
        "AAPL1 20MAR26 150 C",
        "AAPL 99/99/2026 150 C",
        "MSFT Mar 20 2026 150 Call",
    ],
)
def test_another_option_is_new(symbol: str) -> None:
    assert only(row(symbol=symbol), trade(instrument=_option())).verdict is Verdict.NEW


@pytest.mark.parametrize("symbol", ["AAPL 03/06/2026 150 C", "AAPL 06/03/2026 150 C"])
def test_a_day_that_may_be_the_month_is_a_doubt(symbol: str) -> None:
    match = only(row(symbol=symbol), trade(instrument=_option("AAPL  260306C00150000", day=6)))
    assert (ids(match), match.doubts) == (["fill:1"], (Doubt.SYMBOL,))


def test_the_root_of_a_weekly_option_may_be_that_of_its_index() -> None:
    match = only(row(symbol="SPX 20MAR26 150 C"), trade(instrument=_option("SPXW  260320C00150000", "SPX")))
    assert (ids(match), match.doubts) == (["fill:1"], (Doubt.SYMBOL,))
