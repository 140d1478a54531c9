"""Executions of a master account that its sub-accounts' own statements tell: booked here, they would count twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# a dot is in no name of an attribute that IBKR uses; kept in the raw row
ALLOCATED: Final = "statement.allocated"
_CODE: Final = "Al"
_AWAY: Final = "to another account"
_BY_MASTER: Final = "by a master"
# who was given the whole of it tells it
TOLD_THERE: Final = "allocated to another account, whose own statements tell it"
_REASONS: Final = {
    _AWAY: (
        "it was allocated to an account that this query does not tell of, and is no trade of the account it stands"
        " under: select that account, too, for the query"
    ),
    _BY_MASTER: (
        "a master account allocated it to others, whose own statements tell it, or took it back from them: which of the"
        " two is not told, and it could count twice"
    ),
}


def is_allocation(raw: Mapping[str, str]) -> bool:
    """Whether IBKR's codes say so."""
    text = raw.get("notes") or raw.get("code") or ""
    return _CODE in text and _CODE in [code.strip() for code in text.replace(",", ";").split(";")]


def mark_of(*, elsewhere: bool, by_master: bool) -> str | None:
    """How to mark an allocation that is not booked where it stands: `elsewhere` is that it names another account."""
    if elsewhere:
        return _AWAY
    return _BY_MASTER if by_master else None


def reason_not_to_book(raw: Mapping[str, str]) -> str | None:
    """Why a row with a mark is quarantined."""
    mark = raw.get(ALLOCATED)
    return None if mark is None else _REASONS.get(mark, _REASONS[_BY_MASTER])
