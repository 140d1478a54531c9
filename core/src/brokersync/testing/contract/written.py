"""How the broker writes an id that a booking's name holds in part: `E-00123`, where the name is `execution:123`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from brokersync.enums import IdQuality
from brokersync.testing.contract.expecting import raw_of
from brokersync.types import TradeBooking

HOW_ROWS_ARE_KNOWN: Final = (
    "a row is known as a trade's by a cell that is an id in its booking_id, or holds that as its one number, as"
    " E-00123 does for execution:123: keep the broker's id in the name"
    " (docs/contract-suite.md, How rows are recognised)"
)
_PARTS: Final = re.compile(r"[:|/ ]")
_SHORTEST: Final = 3
# no spaces, points, commas or colons: a time, an amount or a sentence is no id
_ID: Final = re.compile(r"([A-Za-z_#/-]*)0*([1-9][0-9]*)([A-Za-z_#/-][A-Za-z_#/-]*)?", re.ASCII)


def parts_of(name: str) -> set[str]:
    """The name, and what stands between its separators."""
    return {name, *_PARTS.split(name)}


def written_ids(booking: TradeBooking) -> frozenset[str]:
    """The cell of a booking's own raw row that holds the number of its name with more around it, where one alone does.

    Sure, since the row is the one that the booking was made from: a number of two of its cells is taken for neither.
    """
    if booking.id_quality is not IdQuality.BROKER:
        return frozenset()
    numbers = {found for part in parts_of(booking.booking_id) if (found := number_of(part))}
    cells = {text for text in _texts(raw_of(booking)) if number_of(text) in numbers}
    if len(cells) != 1 or any(part in cells for part in parts_of(booking.booking_id)):
        return frozenset()
    return frozenset(cells)


@lru_cache(maxsize=100_000)
def number_of(text: str) -> str | None:
    """The one number in a text that may be an id, without the zeros that lead it."""
    found = _ID.fullmatch(text)
    return found[2] if found is not None and len(text) >= _SHORTEST else None


def digits_in(text: str) -> str:
    """The same number, as it is written."""
    return "".join(sign for sign in text if sign.isdigit())


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping | list | tuple):
        for one in _inside(value):
            yield from _texts(one)
    elif isinstance(value, str | int) and not isinstance(value, bool):
        yield str(value)


def _inside(value: Mapping[str, Any] | list[Any] | tuple[Any, ...]) -> Iterable[Any]:
    return value.values() if isinstance(value, Mapping) else value
