"""How long a number may be."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

MOST_DIGITS: Final = 60  # "1e999999999" is short in an answer and fills the memory when it is written out


def check_length(number: Decimal, what: str) -> None:
    """Raises `ValueError` that names `what` for a number with too many digits before or after the point."""
    if abs(number.adjusted()) > MOST_DIGITS:
        raise ValueError(f"{what} has more than {MOST_DIGITS} digits before or after the point")
