"""Which rows that were not understood may be the one in question: by the words that stand in them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from brokersync.records import AccountKey

_MOST = 20
_FORMS = ("%Y-%m-%d", "%Y%m%d", "%m/%d/%Y", "%d/%m/%Y", "%m/%d/%y", "%d/%m/%y", "%d-%b-%y")


def suspects(
    rows: Iterable[Mapping[str, Any]], key: AccountKey | None, symbol: str, day: date
) -> tuple[Mapping[str, Any], ...]:
    """The rows of the account in which symbol or day is found, those with both first; `sure` says that both are."""
    found = []
    for row in rows:
        if key is not None and not _of_account(row, key):
            continue
        words = list(_words(row["raw"]))
        has_symbol = any(word.upper() == symbol.upper() for word in words)
        has_day = any(_names_day(word, day) for word in words)
        if has_symbol or has_day:
            found.append({**row, "sure": has_symbol and has_day})
    return tuple(sorted(found, key=lambda row: not row["sure"])[:_MOST])


def _of_account(row: Mapping[str, Any], key: AccountKey) -> bool:
    if row["provider"] != key.provider:
        return False
    return row["account_id"] in (None, key.account_id)


def _words(value: Any) -> Iterable[str]:
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _words(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _words(item)
    elif value is not None:
        yield str(value).strip()


def _names_day(word: str, day: date) -> bool:
    forms = (re.escape(day.strftime(form)) for form in _FORMS)
    return any(re.match(rf"{form}(?!\d)", word, re.IGNORECASE) for form in forms)
