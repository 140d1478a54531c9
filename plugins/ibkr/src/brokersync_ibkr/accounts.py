"""What statements say about the accounts."""

from __future__ import annotations

import re
from collections.abc import Mapping

from brokersync.plugin import BrokerAccount
from brokersync_ibkr.dates import FlexDates, new_york_midnight
from brokersync_ibkr.instruments import text_of

# U live, DU and of late DUM paper; F and I are accounts of advisors and brokers, a letter behind is the old futures
# segment
_ACCOUNT_ID = re.compile(r"(?P<paper>D)?[UFI][A-Z]?\d+[A-Z]?")


def is_account_id(text: str) -> bool:
    """Whether this looks like an account's id and not like the alias that a query can show in its place."""
    return _ACCOUNT_ID.fullmatch(text) is not None


def environment_of(account_id: str, otherwise: str) -> str:
    """Live or paper by the id's first letters; an alias tells neither."""
    found = _ACCOUNT_ID.fullmatch(account_id)
    if found is None:
        return otherwise
    return "paper" if found["paper"] else "live"


def account_of(account_id: str, environment: str, facts: Mapping[str, str], dates: FlexDates) -> BrokerAccount:
    """The account that an AccountInformation element tells of. Raises `ValueError` for an unreadable opening date."""
    opened, currency = text_of(facts, "dateOpened"), text_of(facts, "currency")
    return BrokerAccount(
        account_id=account_id,
        environment=environment,
        name=text_of(facts, "acctAlias") or text_of(facts, "name"),
        currency=currency.upper() if currency else None,
        kind=text_of(facts, "accountType"),
        opened_at=new_york_midnight(dates.day(opened)) if opened else None,
        closed=text_of(facts, "dateClosed") is not None,
    )
