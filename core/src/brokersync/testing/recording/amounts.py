"""Amounts, multiplied by one whole number: decimal places and signs stay, and sums and products still agree."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from random import Random
from typing import Final

from brokersync.testing.recording.bodies import Number

_DIGITS: Final = re.compile(r"[0-9][0-9,]*(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|\.[0-9]+")
_LOWEST, _END = 101, 997
_TRIES: Final = 200


def number_in(text: str) -> Decimal:
    """The size of an amount, without its sign."""
    found = _DIGITS.search(text)
    return Decimal(found[0].replace(",", "")) if found else Decimal(0)


def draw_factor(amounts: Iterable[str], random: Random) -> int:
    """A factor by which none of the amounts becomes another one of them, where there is such a one."""
    sizes = {size for text in amounts if (size := number_in(text))}
    factor = random.randrange(_LOWEST, _END, 2)
    for _ in range(_TRIES):
        if not any(size * factor in sizes for size in sizes):
            break
        factor = random.randrange(_LOWEST, _END, 2)
    return factor


def scaled(text: str, factor: int) -> str:
    """The amount times the factor, written as it was."""

    def one(found: re.Match[str]) -> str:
        written = found[0]
        size = Decimal(written.replace(",", "")) * factor
        if "e" in written.lower():
            return f"{size}"
        places = len(written.partition(".")[2])
        return f"{size:,.{places}f}" if "," in written else f"{size:.{places}f}"

    changed = _DIGITS.sub(one, text, count=1)
    return Number(changed) if isinstance(text, Number) else changed
