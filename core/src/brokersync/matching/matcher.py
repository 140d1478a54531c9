"""The rules in their order, strongest first, and one answer for each row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from brokersync.matching.by_content import by_content
from brokersync.matching.by_id import by_broker_id
from brokersync.matching.by_order import by_order_id, say_what_is_of_an_order
from brokersync.matching.items import MOST_CANDIDATES, Answer, Fill, Leg, fills_of, legs_of
from brokersync.matching.leftover import (
    say_what_fits_as_well,
    say_what_is_a_part,
    say_what_is_open,
    say_what_is_taken,
)
from brokersync.matching.sums import say_what_looks_like_a_sum
from brokersync.matching.values import Doubt, ExistingTrade, Match, MatchRule, NamedTrade, TradeKey, Verdict
from brokersync.matching.words import nothing_reason, round_trip_reason


def match_rows(rows: Iterable[ExistingTrade], trades: Iterable[NamedTrade]) -> tuple[Match, ...]:
    """An answer for each row, in the order of the rows, which decides nothing else.

    A trade is linked to one row at most. Raises `ValueError` for a row id or a trade that comes twice.
    """
    rows = tuple(rows)
    ordered = {row.row_id: legs_of(row) for row in sorted(rows, key=lambda row: row.row_id)}
    if len(ordered) < len(rows):
        raise ValueError("the ids of the rows are not unique")
    legs = [leg for of_row in ordered.values() for leg in of_row]
    fills = fills_of(trades)
    by_broker_id(legs, fills)
    by_order_id(legs, fills)
    by_content(legs, fills)
    say_what_fits_as_well(legs, fills)
    say_what_is_of_an_order(legs, fills)
    say_what_is_open(legs, fills)
    say_what_is_a_part(legs, fills)
    say_what_is_taken(legs, fills)
    say_what_looks_like_a_sum(legs, fills)
    return tuple(_match(row, ordered[row.row_id]) for row in rows)


def _match(row: ExistingTrade, legs: Sequence[Leg]) -> Match:
    answers = [leg.answer or Answer(Verdict.NEW, MatchRule.NONE, nothing_reason()) for leg in legs]
    answer = answers[0] if len(answers) == 1 else _of_round_trip(answers)
    return Match(
        row_id=row.row_id,
        verdict=answer.verdict,
        trades=_keys(answer.fills),
        reason=answer.reason,
        rule=answer.rule,
        doubts=answer.doubts,
        candidates=_keys(answer.candidates)[:MOST_CANDIDATES],
    )


def _of_round_trip(answers: Sequence[Answer]) -> Answer:
    """Entry and exit as one answer: as sure as the less sure half, and new only when neither half is known."""
    entry, exit_ = answers
    found = [answer for answer in answers if answer.verdict is not Verdict.NEW]
    doubts = [doubt for answer in answers for doubt in answer.doubts]
    if len(found) == 1:
        doubts.append(Doubt.HALF)
    all_same = all(answer.verdict is Verdict.SAME for answer in answers)
    verdict = Verdict.SAME if all_same else Verdict.LIKELY if found else Verdict.NEW
    return Answer(
        verdict,
        max((answer.rule for answer in answers), key=list(MatchRule).index) if not found else found[-1].rule,
        round_trip_reason(entry.reason, exit_.reason),
        entry.fills + exit_.fills,
        tuple(dict.fromkeys([Doubt.ROUND_TRIP, *doubts])),
        entry.candidates + exit_.candidates,
    )


def _keys(fills: Iterable[Fill]) -> tuple[TradeKey, ...]:
    return tuple(TradeKey(*key) for key in sorted({fill.key for fill in fills}))
