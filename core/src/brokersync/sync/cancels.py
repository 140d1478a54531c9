"""Which row of an execution each cancel takes back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

import attrs

from brokersync.records import KeptBooking
from brokersync.types import BookingEffect, IdQuality, TradeBooking


@attrs.frozen
class Aim:
    """A cancel with the place of the row that it takes back; `None` where no row is left for it.

    `by` is the cancel that counts, where this one is another telling of it.
    """

    cancel: KeptBooking
    place: int | None
    by: KeptBooking | None = None


def aims(chain: Sequence[KeptBooking], cancels: Iterable[KeptBooking]) -> list[Aim]:
    """Where each cancel goes, the ones that count first.

    A telling is what sources of one rank say with ids of one quality, and holds each cancel once. So a telling takes
    back as many rows as it has cancels that name none, and what a second one says of the same row is the same cancel.
    """
    tellings: defaultdict[tuple[object, ...], list[KeptBooking]] = defaultdict(list)
    for cancel in sorted(cancels, key=_worth):
        tellings[_telling(cancel)].append(cancel)
    first: dict[int, KeptBooking] = {}
    known: dict[str, Aim] = {}
    result: list[Aim] = []
    for told in tellings.values():
        again = [Aim(cancel, aim.place, aim.by or aim.cancel) for cancel in told if (aim := _known_as(cancel, known))]
        held = {aim.place: aim.cancel for aim in again if aim.place is not None}
        new = [cancel for cancel in told if _known_as(cancel, known) is None]
        aimed = []
        for cancel, place in _placed(chain, new, held):
            by = cancel if place is None else first.setdefault(place, cancel)
            aimed.append(Aim(cancel, place, None if _telling(by) == _telling(cancel) else by))
        for aim in aimed:
            known |= dict.fromkeys(row_names(aim.cancel.booking), aim)
        result += [*aimed, *again]
    return result


def _known_as(cancel: KeptBooking, known: Mapping[str, Aim]) -> Aim | None:
    """Where a better telling has led this cancel."""
    return next((known[name] for name in sorted(row_names(cancel.booking)) if name in known), None)


def row_names(row: TradeBooking) -> set[str]:
    """What names this row and no other one of its source."""
    return {row.booking_id, *row.aliases}


def _telling(cancel: KeptBooking) -> tuple[object, ...]:
    return (cancel.precedence, cancel.booking.id_quality)


def _worth(cancel: KeptBooking) -> tuple[object, ...]:
    booking = cancel.booking
    poorer = booking.id_quality is IdQuality.SYNTHETIC
    return (-cancel.precedence, poorer, booking.order, cancel.source, booking.booking_id)


def _placed(
    chain: Sequence[KeptBooking], cancels: Sequence[KeptBooking], held: Mapping[int, KeptBooking]
) -> list[tuple[KeptBooking, int | None]]:
    """Where cancels of one telling go, of which it holds some more at the places `held`."""
    places = {id(cancel): place for place, cancel in _void(chain, cancels, held).items()}
    # one that names a row that is void already says nothing new
    return [(cancel, places.get(id(cancel), next(iter(_named(chain, cancel)), None))) for cancel in cancels]


def _void(
    chain: Sequence[KeptBooking], cancels: Sequence[KeptBooking], held: Mapping[int, KeptBooking]
) -> dict[int, KeptBooking]:
    """The places of the chain's rows that one telling makes void, each with its cancel.

    A cancel that the broker orders behind a replacement means the replacement, unless it names what was replaced.
    """
    void = _taken(chain, cancels, held)
    last = len(chain) - 1
    if last in void:
        return void
    replaced = max((place for place, row in enumerate(chain) if row.booking.effect is BookingEffect.REPLACE), default=0)
    since = chain[replaced].booking.order
    late = [
        cancel for cancel in cancels if since and cancel.booking.order > since and not _named(chain[:replaced], cancel)
    ]
    after = {place - replaced: cancel for place, cancel in held.items()}
    meant = _taken(chain[replaced:], late, after) if replaced and late else {}
    if last - replaced not in meant:
        return void
    return {place: cancel for place, cancel in void.items() if cancel is not meant[last - replaced]} | {
        last: meant[last - replaced]
    }


def _taken(
    chain: Sequence[KeptBooking], cancels: Sequence[KeptBooking], held: Mapping[int, KeptBooking]
) -> dict[int, KeptBooking]:
    """Which rows these cancels void: each the row it names, else one whose key it names, else the first that stands."""
    void = dict(held)
    unaimed = []
    for cancel in cancels:
        named = _named(chain, cancel)
        if not named:
            unaimed.append(cancel)
        elif (place := next((place for place in named if place not in void), None)) is not None:
            void[place] = cancel
    rest = []
    for cancel in unaimed:
        refs = cancel.booking.refs
        of_key = (place for place, row in enumerate(chain) if row_names(row.booking).intersection(refs))
        if (place := next((place for place in of_key if place not in void), None)) is not None:
            void[place] = cancel
        else:
            rest.append(cancel)
    standing = [place for place in range(len(chain)) if place not in void]
    return void | dict(zip(standing, rest, strict=False))


def _named(chain: Sequence[KeptBooking], cancel: KeptBooking) -> list[int]:
    """The places of the rows that the cancel names; an id counts more than an alias, which two rows may have."""
    return _places(chain, cancel, lambda row: (row.booking_id,)) or _places(chain, cancel, lambda row: row.aliases)


def _places(
    chain: Sequence[KeptBooking], cancel: KeptBooking, names_of: Callable[[TradeBooking], tuple[str, ...]]
) -> list[int]:
    # by a name of the row alone: the trade's key names the whole execution, replacements and all
    refs = cancel.booking.refs
    return [
        place
        for place, row in enumerate(chain)
        if any(
            name in refs for name in names_of(row.booking) if name != (row.booking.trade and row.booking.trade.trade_id)
        )
    ]
