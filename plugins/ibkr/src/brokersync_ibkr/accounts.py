"""What statements say about the accounts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from brokersync.plugin import BrokerAccount
from brokersync_ibkr.dates import FlexDates, new_york_midnight
from brokersync_ibkr.instruments import text_of

# U live, DU and of late DUM paper; F and I are accounts of advisors and brokers, a letter behind is the old futures
# segment; US1 and FX2 are names that people give
_ACCOUNT_ID = re.compile(r"(?P<paper>D)?(?P<kind>[UFI])(?:[A-Z](?=\d{4}))?\d+[A-Z]?")
# to clients of wealth managers IBKR shows the id with the short names of both managers behind it
_MANAGED = re.compile(r"(?P<id>[^-]+)-[^-]+-[^-]+")
_MASTERS: Final = ("F", "I")
# and what a user may give as an id, should IBKR have one of another shape
_LIKE_AN_ID = re.compile(r"[A-Z]{1,4}\d{4,}[A-Z]?")
# where an account's facts keep its alias
ALIAS: Final = "alias"
# a statement of several that was made so soon after another is of the same accounts
_HOLDS_STILL: Final = timedelta(hours=6)
# longer without a row, and the account may have left the query and come back
_STAYS_IN: Final = timedelta(days=30)


def is_account_id(text: str) -> bool:
    """Whether this looks like an account's id and not like the alias that a query can show in its place."""
    return _ACCOUNT_ID.fullmatch(text) is not None


def may_be_account_id(text: str) -> bool:
    """Whether a user who gives this as an account's id may be right; an alias that they gave it themselves is none."""
    return is_account_id(text) or _LIKE_AN_ID.fullmatch(text) is not None


def account_id_of(text: str) -> str | None:
    """The id that this is or begins with; `None` for an alias."""
    if is_account_id(text):
        return text
    managed = _MANAGED.fullmatch(text)
    return managed["id"] if managed and is_account_id(managed["id"]) else None


def is_master(account_id: str, kind: str | None) -> bool:
    """Whether the account may have traded for its sub-accounts: IBKR says `Advisor Master`, or its id begins so."""
    found = _ACCOUNT_ID.fullmatch(account_id)
    return "Master" in (kind or "") or (found is not None and found["kind"] in _MASTERS)


def is_consolidated(kind: str | None) -> bool:
    """Whether a statement of this kind of account holds the rows of several: `Advisor Master Consolidated`."""
    return kind is not None and kind.endswith("Consolidated")


class Held(Enum):
    """Whether a statement of several tells of an account of which it has no row."""

    NO = "no"
    DOUBTFUL = "doubtful"
    SURE = "sure"


def together_in(query_id: str, head: str) -> str:
    """Under which name an account's facts keep when statements of several, headed so, had rows of it."""
    return f"together_in {query_id} {head}"


def held_in(account: BrokerAccount, query_id: str, head: str, made: datetime) -> dict[str, str]:
    """The account's facts of a statement of several that was made then and has a row of it."""
    name = together_in(query_id, head)
    since, last = _together(account, name) or (made, made)
    since = made if made - last > _STAYS_IN else min(since, made)
    return {name: f"{since.isoformat()} {max(made, last).isoformat()}"}


def is_held_in(account: BrokerAccount, query_id: str, head: str, made: datetime) -> Held:
    """Whether a statement of several that was made then tells of the account without a row of it.

    The user may take an account out of a query and put it back within hours, but hardly do so again at the next sync.
    """
    found = _together(account, together_in(query_id, head))
    if found is None or made - found[1] > _HOLDS_STILL:
        return Held.NO
    return Held.SURE if made - found[0] > _HOLDS_STILL else Held.DOUBTFUL


def _together(account: BrokerAccount, name: str) -> tuple[datetime, datetime] | None:
    told = account.state.get(name)
    if told is None:
        return None
    times = [datetime.fromisoformat(part) for part in told.split()]
    return times[0], times[-1]


def environment_of(account_id: str, otherwise: str) -> str:
    """Live or paper by the id's first letters; an alias tells neither."""
    found = _ACCOUNT_ID.fullmatch(account_id)
    if found is None:
        return otherwise
    return "paper" if found["paper"] else "live"


def account_of(account_id: str, environment: str, facts: Mapping[str, str], dates: FlexDates) -> BrokerAccount:
    """The account that an AccountInformation element tells of. Raises `ValueError` for an unreadable opening date."""
    opened, currency = text_of(facts, "dateOpened"), text_of(facts, "currency")
    alias, shown = text_of(facts, "acctAlias"), text_of(facts, "accountId")
    # what shows the alias in place of the id does not say that it was given up
    given_up = "acctAlias" in facts and (shown is None or account_id_of(shown) is not None)
    return BrokerAccount(
        account_id=account_id,
        environment=environment,
        name=alias or text_of(facts, "name"),
        currency=currency.upper() if currency else None,
        kind=text_of(facts, "accountType"),
        opened_at=new_york_midnight(dates.day(opened)) if opened else None,
        closed=text_of(facts, "dateClosed") is not None if "dateClosed" in facts else None,
        # one that was given up is told as well, since the account it is given to next would be taken for this one
        state={ALIAS: alias or ""} if alias or given_up else {},
    )
