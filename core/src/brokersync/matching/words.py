"""The reasons, in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date

from brokersync.converter import decimal_text
from brokersync.matching.items import Fill, Leg, Target
from brokersync.matching.times import SECOND
from brokersync.matching.values import Doubt

_MOST_NAMED = 3


def id_reason(own: Sequence[Fill], unsure: Sequence[Fill], lost: Sequence[Fill], rest: Sequence[Fill]) -> str:
    """What the ids of a row name."""
    said = []
    if own:
        said.append(
            f"It carries an id of the trade {_ids(own)}." if len(own) == 1 else f"Its ids name the trades {_ids(own)}."
        )
    if rest:
        said.append(f"Its quantity is that of the whole order: {_ids(rest)} too.")
    if unsure:
        said.append(f"Its id is a name of each of {_ids(unsure)}, and nothing tells which of them it is.")
    for fill in lost:
        if fill.row_id is not None:
            said.append(f"It carries an id of {_id(fill)}, which row {fill.row_id} carries too and agrees with in all.")
        else:
            said.append(f"The rows {_some(fill.wanted_by)} all carry an id of {_id(fill)}.")
    return " ".join(said)


def differs(leg: Leg, whole: Target, doubts: Sequence[Doubt]) -> str:
    """In what a row contradicts the trades whose ids it carries; nothing where it does not."""
    first = whole.fills[0].trade
    said = {
        Doubt.SIDE: (leg.side.value, first.side.value),
        Doubt.SYMBOL: (leg.row.symbol, first.instrument.symbol),
        Doubt.QUANTITY: (f"quantity {decimal_text(leg.quantity)}", decimal_text(whole.quantity)),
        Doubt.PRICE: (f"price {decimal_text(leg.price)}", _short(whole.price)),
        Doubt.DAY: (date.fromordinal(leg.day).isoformat(), first.executed_at.date().isoformat()),
    }
    told = [f"says {said[doubt][0]} where the broker says {said[doubt][1]}" for doubt in doubts]
    return f" But it {' and '.join(told)}." if told else ""


def sum_reason(rest: Sequence[Fill]) -> str:
    """Why a row may stand for more than the trades whose ids it carries."""
    return (
        f" It looks like a sum: with {_ids(rest)}, to which no row is linked, they add up to its quantity. "
        "If it is, these must not be imported beside it."
    )


def order_reason(leg: Leg, fills: Sequence[Fill], *, price_differs: bool) -> str:
    """What a row and an order have in common."""
    if len(fills) > 1:
        reason = f"It is of the order {leg.row.order_id}, {len(fills)} fills of which add up to its quantity"
        return f"{reason}, but not to its price." if price_differs else f"{reason} and its average price."
    reason = f"It is of the order {leg.row.order_id}, and side, quantity"
    return f"{reason} agree, but not the price." if price_differs else f"{reason} and price agree."


def order_part_reason(leg: Leg, fills: Sequence[Fill]) -> str:
    """What else of an order a row may be that is not what its fills add up to."""
    return (
        f"It is of the order {leg.row.order_id}, of which no row is linked to {_ids(fills)}, and nothing tells "
        "which of these it stands for."
    )


def content_reason(leg: Leg, target: Target, shift: int, doubts: Sequence[Doubt]) -> str:
    """What agrees, and what had to be tolerated."""
    said = [f"Side, quantity and price agree {_when(leg, shift, doubts)}."]
    if Doubt.MINUTES in doubts and _was_rounded(leg, target, shift):
        said.append("Its time was rounded to the minute, as its journal keeps no seconds.")
    if Doubt.SUM in doubts:
        said.append(f"It stands for {len(target.fills)} {target.what}, which add up to it.")
    if Doubt.ROUNDED in doubts:
        said.append(f"The price {_short(target.price)} was rounded.")
    if Doubt.SYMBOL in doubts:
        said.append(f"The symbol {leg.row.symbol} is taken for {target.fills[0].trade.instrument.symbol}.")
    if Doubt.CANCELLED in doubts:
        said.append("The broker has cancelled that trade.")
    return " ".join(said)


def tie_reason(leg: Leg, rows: int, targets: Sequence[Target], doubts: Sequence[Doubt]) -> str:
    """Why nothing is linked where something fits."""
    of_rows = "1 row" if rows == 1 else f"{rows} rows alike"
    fits = "1 trade fits" if len(targets) == 1 else f"{len(targets)} trades fit"
    names = _ids([target.fills[0] for target in targets])
    return f"{fits} {of_rows} {_when(leg, 0, doubts)}, and nothing tells which belong together: {names}."


def taken_reason(fills: Sequence[Fill]) -> str:
    rows = sorted({row for fill in fills for row in ((fill.row_id,) if fill.row_id else fill.wanted_by)})
    return f"What would fit, {_ids(fills)}, belongs to {_rows(rows)}: perhaps a double of it."


def left_reason(leg: Leg, left: Sequence[Fill], fitting: Sequence[Fill], doubts: Sequence[Doubt]) -> str:
    """Why a row may be what other rows may be as well, or have in part."""
    rows = sorted({row for fill in fitting for row in ((fill.row_id,) if fill.row_id else fill.wanted_by)})
    return (
        f"It fits {_ids(fitting)} {_when(leg, 0, doubts)}, and so does what is said of {_rows(rows)}. "
        f"No row is linked to {_ids(left)}, and nothing tells which belong together."
    )


def fits_too_reason(fills: Sequence[Fill]) -> str:
    """What a row may be just as well as the trade it is linked to."""
    return f" But the order of {_ids(fills)}, to which no row is linked, fits as well."


def part_reason(leg: Leg, fills: Sequence[Fill]) -> str:
    return (
        f"It may be a part of {_ids(fills)}: symbol, side, price and time agree, but its quantity is only "
        f"{decimal_text(leg.quantity)} of {decimal_text(fills[0].trade.quantity)}."
    )


def unknown_reason(what: str, name: str, known: Iterable[str]) -> str:
    """Why no trade can fit: the row is of a broker or account that the owner does not have in the store."""
    return f"The owner has no {what} {name!r} in the store; known are: {_some(sorted(known)) or 'none'}."


def nothing_reason() -> str:
    return "No trade in the store has its id or fits its content."


def round_trip_reason(entry: str, exit_: str) -> str:
    return f"It is a round trip and stands for several fills. Entry: {entry} Exit: {exit_}"


def _was_rounded(leg: Leg, target: Target, shift: int) -> bool:
    """Whether the row tells the minute after that of the trade."""
    return leg.moment is not None and leg.moment // SECOND - shift > max(target.moments) // SECOND


def _when(leg: Leg, shift: int, doubts: Sequence[Doubt]) -> str:
    if Doubt.DATE_ONLY in doubts:
        return "on the day next to it" if Doubt.SHIFTED in doubts else "on the same day"
    unit = "minute" if Doubt.MINUTES in doubts else "second"
    if Doubt.SHIFTED not in doubts:
        return f"at the same {unit}"
    hours = f"{abs(shift) / 3600:g}"
    way = "later" if shift > 0 else "earlier"
    return f"to the {unit} once its time is taken as {hours} hours {way} than the broker's, as of another time zone"


def _id(fill: Fill) -> str:
    return f"{fill.key.trade_id} (cancelled by the broker)" if fill.cancelled else fill.key.trade_id


def _ids(fills: Sequence[Fill]) -> str:
    return _some([_id(fill) for fill in fills])


def _rows(rows: Sequence[str]) -> str:
    return f"row {rows[0]}" if len(rows) == 1 else f"the rows {_some(rows)}"


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_MOST_NAMED])
    return shown if len(names) <= _MOST_NAMED else f"{shown} and {len(names) - _MOST_NAMED} more"


def _short(price: object) -> str:
    return f"{price:.10f}".rstrip("0").rstrip(".")
