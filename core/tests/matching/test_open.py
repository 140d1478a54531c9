"""What more than one row may be, and rows for which others leave nothing."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from brokersync.matching import Doubt, Verdict

from .given import AT, answers, at, candidates, ids, only, row, trade

TWINS = [trade("fill:1", price="10.123"), trade("fill:2", price="10.123")]
EXACT = row("a", price="10.123", zone_doubtful=False)


@pytest.mark.parametrize(
    ("told", "doubts"),
    [
        ({"symbol": "MES"}, (Doubt.SYMBOL,)),
        ({"price": "10.12"}, (Doubt.ROUNDED,)),
        ({"executed_at": at("15:30:00")}, (Doubt.MINUTES,)),
        ({"executed_at": date(2026, 3, 4)}, (Doubt.DATE_ONLY,)),
        ({"account_id": None, "zone_doubtful": True}, ()),
    ],
)
def test_equal_fills_go_to_as_many_rows_that_tell_them_in_their_own_ways(
    told: dict[str, Any], doubts: tuple[Doubt, ...]
) -> None:
    looser = row("b", **({"price": "10.123", "zone_doubtful": False} | told))
    found = answers([EXACT, looser], TWINS)
    assert sorted(ids(found["a"]) + ids(found["b"])) == ["fill:1", "fill:2"]
    assert (found["a"].doubts, found["b"].doubts) == ((), doubts)


def test_a_looser_row_does_not_take_from_a_stricter_one_what_both_may_be() -> None:
    loose = [row(name, price="10.123", symbol="MES", zone_doubtful=False) for name in "bc"]
    for match in answers([EXACT, *loose], TWINS).values():
        assert (match.verdict, match.trades, candidates(match)) == (Verdict.LIKELY, (), ["fill:1", "fill:2"])


def test_a_row_that_fits_more_than_a_stricter_one_is_open_as_well() -> None:
    by_day = row("b", price="10.123", executed_at=date(2026, 3, 4), zone_doubtful=False)
    found = answers([EXACT, by_day], [*TWINS, trade("fill:3", price="10.123", executed_at=at("18:00:00"))])
    assert candidates(found["a"]) == ["fill:1", "fill:2"]
    assert (found["b"].trades, candidates(found["b"])) == ((), ["fill:1", "fill:2", "fill:3"])


def test_a_row_of_an_order_one_of_whose_fills_is_open_for_other_rows_is_not_new() -> None:
    fills = [trade("fill:1", order_id="9"), trade("fill:2", order_id="9"), trade("fill:3")]
    whole = row("a", quantity="4", zone_doubtful=False)
    found = answers([whole, row("b")], fills)
    assert (found["a"].verdict, found["a"].trades, candidates(found["a"])) == (
        Verdict.LIKELY,
        (),
        ["fill:1", "fill:2"],
    )
    assert Doubt.AMBIGUOUS in found["a"].doubts
    assert "row b" in found["a"].reason


ORDER = [trade(f"fill:{n}", order_id="9", quantity="1", executed_at=AT + timedelta(seconds=40 * n)) for n in (1, 2)]
OF_ANOTHER = [trade("fill:3", order_id="8"), trade("fill:4", order_id="8", quantity="1", price="5013")]


def test_an_order_that_fits_as_well_as_the_single_fill_is_named() -> None:
    match = only(row(executed_at=AT.date()), *ORDER, *OF_ANOTHER)
    assert (ids(match), candidates(match)) == (["fill:3"], ["fill:1", "fill:2"])
    assert match.doubts == (Doubt.DATE_ONLY, Doubt.AMBIGUOUS)
    assert "the order of fill:1, fill:2" in match.reason


def test_an_order_that_has_a_row_is_not_named_for_another() -> None:
    found = answers([row("a", executed_at=AT.date()), row("b", trade_ids=("1", "2"))], [*ORDER, *OF_ANOTHER])
    assert (ids(found["a"]), found["a"].doubts) == (["fill:3"], (Doubt.DATE_ONLY,))


def test_a_row_of_an_order_with_a_fill_that_was_linked_to_another_is_not_new() -> None:
    rows = [row("a", executed_at=AT.date()), row("b", executed_at=AT.date(), quantity="3", price="5012.5")]
    found = answers(rows, [*ORDER, *OF_ANOTHER])
    assert (ids(found["a"]), candidates(found["a"])) == (["fill:3"], ["fill:1", "fill:2"])
    assert (found["b"].verdict, candidates(found["b"])) == (Verdict.LIKELY, ["fill:4"])
