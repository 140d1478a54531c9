"""What statements say about the accounts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
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
# and when a statement of several last had a row of it, by the query and the account it was headed with
_TOGETHER_IN = "together_in {query_id} {head}"
# one that was made soon after is of the same accounts, and tells of one without a row that there was none
_HOLDS_STILL: Final = timedelta(hours=6)


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


def held_in(query_id: str, head: str, made: datetime) -> dict[str, str]:
    """An account's facts, of which a statement of several had a row that was made then."""
    return {_TOGETHER_IN.format(query_id=query_id, head=head): made.isoformat()}


def is_held_in(account: BrokerAccount, query_id: str, head: str, made: datetime) -> bool:
    """Whether a statement of several that was made then tells of an account of which it has no row."""
    told = account.state.get(_TOGETHER_IN.format(query_id=query_id, head=head))
    return told is not None and made - datetime.fromisoformat(told) <= _HOLDS_STILL


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
