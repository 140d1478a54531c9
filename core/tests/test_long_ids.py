"""Ids of plugins have a length that every store takes."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import attrs
import pytest

from brokersync.sync.occurrences import numbered
from brokersync.typed import LONGEST_ID, TooLongError
from brokersync.types import (
    AssetClass,
    AuthResult,
    BrokerAccount,
    BrokerTrade,
    CoveredSpan,
    IdQuality,
    Instrument,
    Side,
    TimeWindow,
    TradeBooking,
)

NOW = datetime(2030, 3, 1, tzinfo=UTC)
LONG = "x" * (LONGEST_ID + 1)
TRADE = BrokerTrade(
    provider="toy",
    environment="live",
    account_id="a",
    trade_id="t",
    instrument=Instrument(symbol="S", asset_class=AssetClass.STOCK),
    side=Side.BUY,
    quantity=Decimal(1),
    price=Decimal(1),
    executed_at=NOW,
)
BOOKING = TradeBooking.of(TRADE)
ACCOUNT = BrokerAccount(account_id="a", environment="live")
SPAN = CoveredSpan(account_id="a", environment="live", window=TimeWindow(NOW, NOW.replace(day=2)))


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (AuthResult(identity="me"), "identity"),
        *((one, name) for one in (ACCOUNT, SPAN, TRADE, BOOKING) for name in ("account_id", "environment")),
        (TRADE, "trade_id"),
        (BOOKING, "booking_id"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_an_id_that_is_too_long_is_refused_with_its_field_and_not_shown(value: Any, field: str) -> None:
    attrs.evolve(value, **{field: LONG[1:]})
    with pytest.raises(TooLongError, match=f"{type(value).__name__}.{field} has 513 characters") as caught:
        attrs.evolve(value, **{field: LONG})
    assert "xx" not in str(caught.value)


@pytest.mark.parametrize("field", ["aliases", "refs", "loose_refs"])
def test_a_name_among_others_that_is_too_long_is_refused(field: str) -> None:
    attrs.evolve(BOOKING, **{field: ("a", LONG[1:])})
    with pytest.raises(TooLongError, match=f"{field}.* has 513 characters"):
        attrs.evolve(BOOKING, **{field: ("a", LONG)})


def test_equal_rows_with_the_longest_of_ids_are_numbered_and_stay_apart() -> None:
    names = [end.join(("x" * (LONGEST_ID - 1), "")) for end in "ab"]
    rows = [attrs.evolve(BOOKING, booking_id=name, refs=(), id_quality=IdQuality.SYNTHETIC) for name in names]
    made = {numbered(row, number).booking_id for row in rows for number in (1, 2, 3)}
    assert len(made) == 6
    assert all(len(name) <= LONGEST_ID for name in made)
