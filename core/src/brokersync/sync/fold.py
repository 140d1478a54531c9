"""Bookings to trades: pure, and the same for any order of arrival."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

import attrs

from brokersync.dispositions import Folded, Rule, Ruling
from brokersync.records import KeptBooking
from brokersync.sync.amending import whole
from brokersync.sync.cancels import aims, row_names
from brokersync.sync.fees import fees_of
from brokersync.sync.links import linked
from brokersync.sync.rulings import Rulings, name_of, rule_cancel, rule_row, rule_steps, rule_withdrawals
from brokersync.sync.withdrawals import is_withdrawal, standing
from brokersync.types import BookingEffect, BrokerTrade, FeesState, TradeBooking, TradeStatus

_STEPS = {BookingEffect.NEW: 0, BookingEffect.REPLACE: 1, BookingEffect.AMEND: 2}


def fold(rows: Sequence[KeptBooking]) -> Folded:
    """The trades that a joined set of bookings stands for, ordered by trade id, and what each booking is to them.

    A set holds every booking that shares an id with another one of it. Cancels without a target give no trade. The
    revision grows with each row of the set and each new content of one, and never goes back.
    """
    if len(rows) == 1 and not _is_cancel(rows[0]):
        return _alone(rows[0])
    return _joined(rows)


def _joined(rows: Sequence[KeptBooking]) -> Folded:
    held = {name for row in rows if not _is_cancel(row) for name in row.booking.names}
    groups = _attach_loose_cancels(_connected(rows, lambda booking: _joining(booking, held)))
    revision = sum(row.version for row in rows)
    rulings: Rulings = {}
    trades = linked([_fold_group(group, revision, rulings) for group in groups if _has_target(group)])
    for row in rows:
        if name_of(row) not in rulings:
            rule_row(rulings, row, Rule.WAITS)
    return Folded(tuple(sorted(trades, key=lambda trade: trade.trade_id)), tuple(rulings.values()))


def _alone(row: KeptBooking) -> Folded:
    """What the rules come to for one row that is no cancel, as nearly every set is; a test compares it with them."""
    trade, name = _content(row.booking), name_of(row)
    told = attrs.evolve(
        trade,
        revision=row.version,
        status=TradeStatus.ACTIVE,
        fees=fees_of([row.booking], [], cancelled=False),
        sources=(row.source,),
    )
    (told,) = linked([(told, row.booking.loose_refs)])
    return Folded((told,), (Ruling(booking=name, rule=Rule.GIVES_CONTENT, trade_id=trade.trade_id),))


def _joining(booking: TradeBooking, held: set[str]) -> Sequence[str]:
    """The names that join: the booking's own, and of the loose ones those that a row of a trade holds as its own."""
    return (*booking.names, *(name for name in booking.loose_refs if name in held))


def _rank(row: KeptBooking) -> tuple[object, ...]:
    return (-row.precedence, row.booking.order, row.source, row.booking.booking_id)


def _connected(
    rows: Iterable[KeptBooking], names_of: Callable[[TradeBooking], Sequence[str]]
) -> list[list[KeptBooking]]:
    """The rows in groups that share a name, directly or through others, each group in the order of rank."""
    parents: dict[str, str] = {}

    def root(name: str) -> str:
        while (parent := parents.setdefault(name, name)) != name:
            parents[name] = name = parents[parent]
        return name

    ordered = sorted(rows, key=_rank)
    if len(ordered) == 1:
        return [ordered]
    for row in ordered:
        names = names_of(row.booking)
        for name in names:
            parents[root(name)] = root(names[0])
    groups: defaultdict[str, list[KeptBooking]] = defaultdict(list)
    for row in ordered:
        groups[root(row.booking.booking_id)].append(row)
    return list(groups.values())


def _attach_loose_cancels(groups: list[list[KeptBooking]]) -> list[list[KeptBooking]]:
    """Lead cancels that share no id with a trade to the one that has their name as a loose one.

    Of several, that which the fewest cancels have met, so that each of two equal rows gets its own.
    """
    bare = [group for group in groups if not _has_target(group)]
    whole = sorted((group for group in groups if _has_target(group)), key=_first_id)
    for cancels in sorted(bare, key=_first_id):
        wanted = {name for row in cancels for name in (*row.booking.names, *row.booking.loose_refs)}
        fitting = [group for group in whole if any(wanted.intersection(row.booking.loose_refs) for row in group)]
        if fitting:
            min(fitting, key=_number_of_cancels).extend(cancels)
    return whole


def _first_id(group: Sequence[KeptBooking]) -> str:
    return min(row.booking.booking_id for row in group)


def _number_of_cancels(group: Iterable[KeptBooking]) -> int:
    return sum(_is_cancel(row) for row in group)


def _is_cancel(row: KeptBooking) -> bool:
    return row.booking.effect is BookingEffect.CANCEL


def _has_target(group: Iterable[KeptBooking]) -> bool:
    return not all(_is_cancel(row) for row in group)


def _fold_group(group: Sequence[KeptBooking], revision: int, rulings: Rulings) -> tuple[BrokerTrade, Sequence[str]]:
    """The group's trade, and the loose names of the row that gives its content."""
    told: list[tuple[KeptBooking, KeptBooking]] = []
    withdrawals = [row for row in group if is_withdrawal(row)]
    cancels = _one_of_each_cancel([row for row in group if _is_cancel(row) and row not in withdrawals], told)
    steps = _in_order(_one_of_each_row([row for row in group if not _is_cancel(row)], told), cancels)
    key = min(steps, key=lambda row: (-row.precedence, _STEPS[row.booking.effect], _rank(row)))
    chain = [row for row in steps if row.booking.effect is not BookingEffect.AMEND] or [steps[-1]]
    aimed = aims(chain, cancels)
    counted = [aim.cancel for aim in aimed if aim.by is None]
    void = {aim.place: aim.cancel for aim in reversed(aimed) if aim.place is not None and aim.by is None}
    withdrawn = standing(withdrawals, steps)
    cancelled = len(chain) - 1 in void or bool(withdrawn)
    trade_id = _content(key.booking).trade_id
    stands = whole([row.booking for row in steps])
    rule_withdrawals(rulings, trade_id, steps, withdrawals, withdrawn)
    rule_steps(rulings, trade_id, steps, chain, void)
    for aim in aimed:
        rule_cancel(rulings, trade_id, chain, aim)
    for row, better in told:
        rule_row(rulings, row, Rule.TOLD_BETTER, trade_id, better)
    trade = attrs.evolve(
        _content(stands),
        trade_id=trade_id,
        revision=revision,
        status=TradeStatus.CANCELLED if cancelled else TradeStatus.ACTIVE,
        fees=()
        if withdrawn
        else fees_of(
            [*(row.booking for row in steps[:-1]), stands], [row.booking for row in counted], cancelled=cancelled
        ),
        sources=tuple(sorted({row.source for row in group})),
    )
    return trade, stands.loose_refs


def _content(booking: TradeBooking) -> BrokerTrade:
    if booking.trade is None:
        raise AssertionError("only a cancel has no trade")
    return booking.trade


def _one_of_each_row(
    group: Sequence[KeptBooking], told_better: list[tuple[KeptBooking, KeptBooking]]
) -> list[KeptBooking]:
    """Where sources tell of the same row, the best one's, under every name of the row.

    That is the source of the highest precedence, and of several the one whose row the broker made later.

    The others go to `told_better`, each with the row that is kept in its place.
    """
    kept: list[KeptBooking] = []
    held = {name for row in group for name in row_names(row.booking)}
    for tellers in _connected(group, lambda booking: _telling_names(booking, held)):
        best = [row for row in tellers if row.precedence == tellers[0].precedence]
        latest = _latest_of_each(best)
        told = _without_poorer(list(latest.values()))
        told_better += ((row, _better(row, latest, told)) for row in tellers if row not in told)
        if len(told) == 1 < len(tellers):
            names = {name for row in tellers for name in row_names(row.booking)}
            aliases = tuple(sorted(names - {told[0].booking.booking_id}))
            booking = attrs.evolve(_with_known_fees(told[0].booking, tellers), aliases=aliases)
            told = [attrs.evolve(told[0], booking=booking)]
        kept += told
    return sorted(kept, key=_rank)


def _one_of_each_cancel(
    group: Sequence[KeptBooking], told_better: list[tuple[KeptBooking, KeptBooking]]
) -> list[KeptBooking]:
    """The cancels as each rank of sources tells them: how many there are of a rank says how many rows are void."""
    ranks: defaultdict[int, list[KeptBooking]] = defaultdict(list)
    for row in group:
        ranks[row.precedence].append(row)
    return [row for rank in ranks.values() for row in _one_of_each_row(rank, told_better)]


def _latest_of_each(rows: Iterable[KeptBooking]) -> dict[str, KeptBooking]:
    latest: dict[str, KeptBooking] = {}
    for row in rows:
        other = latest.setdefault(row.booking.booking_id, row)
        if row.as_of is not None and (other.as_of is None or other.as_of < row.as_of):
            latest[row.booking.booking_id] = row
    return latest


def _better(row: KeptBooking, latest: Mapping[str, KeptBooking], told: Sequence[KeptBooking]) -> KeptBooking:
    same = latest.get(row.booking.booking_id)
    return same if same is not None and same in told else told[0]


def _telling_names(booking: TradeBooking, held: set[str]) -> Sequence[str]:
    """The names of this row, and of its loose ones those that another row has for its own: it is the same row."""
    return (booking.booking_id, *booking.aliases, *(name for name in booking.loose_refs if name in held))


def _without_poorer(rows: list[KeptBooking]) -> list[KeptBooking]:
    """One source's rows without those that another one names as itself: the same row, read with fewer columns."""
    named = {
        name
        for row in rows
        for name in (*row.booking.aliases, *row.booking.loose_refs)
        if name != row.booking.booking_id
    }
    return [row for row in rows if row.booking.booking_id not in named] or rows


def _with_known_fees(booking: TradeBooking, tellers: Sequence[KeptBooking]) -> TradeBooking:
    """The row with the fees of the best source that knows them for good, where its own are to come or an estimate.

    Where none knows them for good, its own stand, or those of the best source that tells all of these and more.
    """
    trade = booking.trade
    if trade is None or trade.fees_state is FeesState.FINAL:
        return booking
    told = [row.booking.trade for row in tellers if row.booking.trade and row.booking.trade.fees]
    knowing = (one for one in told if one.fees_state is FeesState.FINAL)
    known = next(knowing, None) or next((one for one in told if _tells_more(one, trade)), trade)
    return attrs.evolve(booking, trade=attrs.evolve(trade, fees=known.fees, fees_state=known.fees_state))


def _tells_more(other: BrokerTrade, trade: BrokerTrade) -> bool:
    """Whether another source's fees are all of these and some that are not told here; that there are none is told, too,
    where nothing is to come."""
    if not trade.fees:
        return trade.fees_state is FeesState.PENDING
    return len(other.fees) > len(trade.fees) and all(fee in other.fees for fee in trade.fees)


def _in_order(steps: Sequence[KeptBooking], cancels: Sequence[KeptBooking]) -> list[KeptBooking]:
    """The rows as they follow each other: as the broker orders them, where it orders all; else by their effect.

    Where neither tells, a booking that a cancel names comes before the one that was booked instead.
    """
    voided = {ref for cancel in cancels for ref in cancel.booking.refs}
    ordered = all(row.booking.order for row in steps)
    known = _known_to_all([row.booking.order for row in steps])

    def place(row: KeptBooking) -> tuple[object, ...]:
        numbers = row.booking.order
        step, order, source = _STEPS[row.booking.effect], (*(numbers[at] for at in known), *numbers), row.precedence
        stands = step != _STEPS[BookingEffect.NEW] or not voided.intersection(row_names(row.booking))
        told = (order, step, source, stands) if ordered else (step, stands, source, order)
        return (*told, row.booking.booking_id)

    return sorted(steps, key=place)


def _known_to_all(orders: Sequence[Sequence[int]]) -> list[int]:
    """The places of the numbers that none of these lacks, the last one first: it is the finest."""
    return [at for at in reversed(range(min(map(len, orders)))) if all(order[at] for order in orders)]
