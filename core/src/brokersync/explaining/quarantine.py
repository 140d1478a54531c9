"""Which rows that were not understood may be the one in question: by the words that stand in them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from brokersync.misread import holds, of_account, words_of
from brokersync.records import AccountKey

_MOST = 20
_FORMS = ("%Y-%m-%d", "%Y%m%d", "%m/%d/%Y", "%d/%m/%Y", "%m/%d/%y", "%d/%m/%y", "%d-%b-%y")
# seconds, or parts of them, since 1970
_MAY_BE_A_TIME = re.compile(r"\d{10,}(\.\d+)?")
_A_DAY = re.compile(
    r"(19|20)\d\d-\d\d-\d\d|(19|20)\d\d(0[1-9]|1[0-2])[0-3]\d(?!\d)|\d\d/\d\d/\d\d|\d\d-[a-z]{3}-\d\d", re.IGNORECASE
)


def suspects(
    rows: Iterable[Mapping[str, Any]], key: AccountKey | None, symbol: str, day: date
) -> tuple[Mapping[str, Any], ...]:
    """The rows of the account that have its symbol, its day or none, the likeliest first.

    `sure` says that both are found, `may_be` that nothing in the row speaks against it.
    """
    found = []
    for row in _of(rows, key):
        words = list(words_of(row["raw"]))
        has_symbol = any(word.upper() == symbol.upper() for word in words)
        has_day = any(_names_day(word, day) for word in words)
        may_be = has_day or not any(map(_A_DAY.match, words)) or any(map(_MAY_BE_A_TIME.fullmatch, words))
        if has_symbol or may_be:
            found.append({**row, "sure": has_symbol and has_day, "may_be": may_be})
    return _likeliest(found)


def suspects_of(rows: Iterable[Mapping[str, Any]], key: AccountKey, trade_id: str) -> tuple[Mapping[str, Any], ...]:
    """The rows of the account, those first, and `sure`, that hold this id, be it behind the kind of a name."""
    return _likeliest({**row, "sure": holds(row, trade_id), "may_be": True} for row in _of(rows, key))


def _likeliest(rows: Iterable[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    return tuple(sorted(rows, key=lambda row: (not row["sure"], not row["may_be"]))[:_MOST])


def _of(rows: Iterable[Mapping[str, Any]], key: AccountKey | None) -> Iterable[Mapping[str, Any]]:
    return (row for row in rows if key is None or of_account(row, key))


def _names_day(word: str, day: date) -> bool:
    forms = (re.escape(day.strftime(form)) for form in _FORMS)
    return any(re.match(rf"{form}(?!\d)", word, re.IGNORECASE) for form in forms)
