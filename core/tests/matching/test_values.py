from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from brokersync.converter import from_json, to_json
from brokersync.matching import Match, match_rows

from .given import AT, only, row, trade


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"quantity": "0"}, "quantity must be positive"),
        ({"quantity": "-1"}, "the side says the direction"),
        ({"price": "NaN"}, "finite"),
        ({"exit_price": "1"}, "together"),
        ({"exited_at": AT}, "together"),
        ({"executed_at": datetime(2026, 3, 4, 12)}, "no time zone"),
        ({"executed_at": "2026-03-04"}, "aware datetime or a date"),
        ({"symbol": " "}, "symbol"),
        ({"provider": ""}, "provider"),
        ({"account_id": ""}, "account_id"),
        ({"trade_ids": "123"}, "tuple"),
        ({"trade_ids": ("",)}, "trade_ids"),
        ({"side": "buy"}, "side"),
    ],
)
def test_a_row_that_can_not_be_meant_is_refused(facts: dict[str, Any], said: str) -> None:
    with pytest.raises((ValueError, TypeError), match=said):
        row(**facts)


def test_a_float_is_refused() -> None:
    with pytest.raises(TypeError, match="Decimal"):
        row().__class__(
            row_id="r",
            provider="acme",
            symbol="X",
            side=row().side,
            quantity=2.0,  # type: ignore[arg-type]  # what is refused
            price=Decimal(1),
            executed_at=AT,
        )


def test_a_time_of_any_zone_is_the_same_instant() -> None:
    there = AT.astimezone(timezone(timedelta(hours=-5)))
    assert row(executed_at=there).executed_at == AT
    assert row(executed_at=there).executed_at.tzinfo is UTC  # type: ignore[union-attr]  # a datetime, as given
    assert row(executed_at=date(2026, 3, 4)).executed_at == date(2026, 3, 4)


def test_row_ids_are_unique() -> None:
    with pytest.raises(ValueError, match="not unique"):
        match_rows([row("a"), row("a")], [])


def test_a_trade_comes_once() -> None:
    with pytest.raises(ValueError, match="twice"):
        match_rows([row()], [trade(), trade()])


def test_an_answer_is_json_and_back() -> None:
    match = only(row(), trade())
    assert from_json(to_json(match), Match) == match
