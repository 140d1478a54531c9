"""Numbers as Flex writes them."""

from __future__ import annotations

import re
from decimal import Decimal
from functools import lru_cache
from typing import Final

NULLS: Final = frozenset({"", "-", "--", "N/A"})
_GROUPED = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d*)?")
_PLAIN = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,2})?", re.ASCII)


@lru_cache(maxsize=1 << 14)
def number(text: str | None) -> Decimal | None:
    """The exact number, or `None` where Flex writes none. Raises `ValueError` for anything else.

    Commas are accepted as thousands separators only, so that a decimal comma never becomes a hundredfold amount.
    """
    if text is None:
        return None
    text = text.strip()
    if text in NULLS:
        return None
    if "," in text:
        if not _GROUPED.fullmatch(text):
            raise ValueError(f"{text!r} is no number")
        text = text.replace(",", "")
    if not _PLAIN.fullmatch(text):
        raise ValueError(f"{text!r} is no number")
    return Decimal(text) or Decimal(0)  # Flex writes -0 as well
