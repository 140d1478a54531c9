"""Two trades that name each other by what their rows have in common, in any order and split over pages."""

from __future__ import annotations

import itertools
from typing import Any

import attrs

from brokersync.types import TradeBooking

from .rows import CANCEL, START, folded, row
from .runs import Runs


def leg(name: str, other: str, *, own: str | None = None, **facts: Any) -> TradeBooking:
    """A row that looks for the one that `other` names, and is found by the name `own`."""
    names = (own or f"{name} of L", f"{other} of L")
    booking = row(facts.pop("booking_id", name), loose_refs=names, **facts)
    assert booking.trade is not None
    return attrs.evolve(booking, trade=attrs.evolve(booking.trade, related=(names[1],)))


OPTION, DELIVERY = leg("option", "delivery"), leg("delivery", "option")


def related(*rows: TradeBooking) -> dict[str, tuple[str, ...]]:
    return {one.trade_id: one.related for one in folded(*rows)}


def test_two_legs_name_each_other_and_stay_two_trades() -> None:
    assert related(OPTION, DELIVERY) == {"option": ("delivery",), "delivery": ("option",)}


def test_a_leg_alone_names_nothing() -> None:
    assert related(OPTION) == {"option": ()}
    assert related(OPTION, row("c", CANCEL, refs=("older",))) == {"option": ()}


def test_where_two_fit_none_is_linked() -> None:
    twin = leg("delivery", "option", booking_id="twin")
    assert set(related(OPTION, DELIVERY, twin).values()) == {()}
    assert set(related(OPTION, leg("option", "delivery", booking_id="twin"), DELIVERY).values()) == {()}


def test_a_cancelled_leg_takes_no_part() -> None:
    twin, cancel = leg("delivery", "option", booking_id="twin"), row("c", CANCEL, refs=("twin",))
    assert related(OPTION, DELIVERY, twin, cancel) == {"option": ("delivery",), "delivery": ("option",), "twin": ()}
    assert set(related(OPTION, DELIVERY, row("c", CANCEL, refs=("delivery",))).values()) == {()}


def test_a_trade_id_that_a_plugin_gives_itself_stays() -> None:
    told = row("a")
    assert told.trade is not None
    named = attrs.evolve(told, trade=attrs.evolve(told.trade, related=("another",)))
    assert related(named) == {"a": ("another",)}
    assert related(named, row("b", CANCEL, refs=("x",))) == {"a": ("another",)}


def test_the_store_links_legs_in_any_order_and_split(runs: Runs) -> None:
    rows = (
        leg("option", "delivery", key="o", order=(1,)),
        row("c", CANCEL, refs=("option",), order=(2,)),
        leg("option", "delivery", booking_id="again", key="o", order=(3,)),
        DELIVERY,
    )
    ends = []
    for order, (first, second) in itertools.product(itertools.permutations(rows), ((4, 4), (1, 2), (1, 3), (2, 3))):
        run = runs.new()
        for part in (order[:first], order[first:second], order[second:]):
            run.commit("service", *part, as_of=START)
        ends.append(run.trades())
    assert {name: one.related for name, one in ends[0].items()} == {"o": ("delivery",), "delivery": ("o",)}
    assert all(end == ends[0] for end in ends)


def test_a_leg_read_again_alone_keeps_its_link(runs: Runs) -> None:
    run = runs.new()
    run.commit("service", OPTION, DELIVERY)
    position = run.position
    assert run.commit("service", OPTION).unchanged == 1
    assert (run.trades()["option"].related, run.position) == (("delivery",), position)
