"""What the fold says of each booking."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from brokersync.dispositions import BookingName, Rule, Ruling
from brokersync.records import KeptBooking
from brokersync.sync.cancels import Aim
from brokersync.types import BookingEffect

Rulings: TypeAlias = dict[BookingName, Ruling]


def name_of(row: KeptBooking) -> BookingName:
    return BookingName(row.source, row.booking.booking_id)


def rule_row(
    rulings: Rulings, row: KeptBooking, rule: Rule, trade_id: str | None = None, by: KeptBooking | None = None
) -> None:
    name = name_of(row)
    rulings[name] = Ruling(booking=name, rule=rule, trade_id=trade_id, by=None if by is None else name_of(by))


def rule_steps(
    rulings: Rulings,
    trade_id: str,
    steps: Sequence[KeptBooking],
    chain: Sequence[KeptBooking],
    void: Mapping[int, KeptBooking],
) -> None:
    """What each step is: cancelled, followed by another one, or what the trade says."""
    for place, row in enumerate(chain):
        if place in void and name_of(row) not in rulings:
            rule_row(rulings, row, Rule.CANCELLED, trade_id, void[place])
    for row, following in itertools.pairwise(steps):
        if name_of(row) not in rulings:
            amended = following.booking.effect is BookingEffect.AMEND
            rule_row(rulings, row, Rule.AMENDED if amended else Rule.REPLACED, trade_id, following)
    if name_of(steps[-1]) not in rulings:
        rule_row(rulings, steps[-1], Rule.GIVES_CONTENT, trade_id)


def rule_withdrawals(
    rulings: Rulings,
    trade_id: str,
    steps: Sequence[KeptBooking],
    withdrawals: Iterable[KeptBooking],
    withdrawn: Sequence[KeptBooking],
) -> None:
    for row in withdrawals:
        rule_row(rulings, row, Rule.CANCELS if row in withdrawn else Rule.TOLD_BETTER, trade_id, steps[-1])
    if withdrawn:
        rule_row(rulings, steps[-1], Rule.CANCELLED, trade_id, withdrawn[0])


def rule_cancel(rulings: Rulings, trade_id: str, chain: Sequence[KeptBooking], aim: Aim) -> None:
    if aim.by is not None:
        rule_row(rulings, aim.cancel, Rule.TOLD_BETTER, trade_id, aim.by)
    else:
        rule_row(rulings, aim.cancel, Rule.CANCELS, trade_id, None if aim.place is None else chain[aim.place])
