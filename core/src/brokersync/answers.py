"""What breaks the contract in what a plugin answers: pure, and no text of the plugin's in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs

from brokersync.hosts import is_this_machine
from brokersync.manifest import Manifest
from brokersync.types import BrokerAccount, Challenge, TradeBooking, TradePage

_YEARS: Final = range(1900, 2200)


def accounts_fault(accounts: Sequence[object], manifest: Manifest) -> str:
    """What is wrong with a list of accounts; else nothing."""
    seen = set()
    for account in accounts:
        if not isinstance(account, BrokerAccount):
            return f"it gave {kind_of(account)} instead of a BrokerAccount"
        if account.environment not in manifest.environments:
            return f"its manifest has no environment {account.environment!r}"
        if (account.environment, account.account_id) in seen:
            return "it gave one account twice"
        seen.add((account.environment, account.account_id))
    return ""


def page_fault(page: TradePage, manifest: Manifest) -> str:
    """What is wrong with a page; else nothing."""
    if fault := accounts_fault(page.accounts, manifest):
        return fault
    if page.resume_at is not None and page.cursor is None:
        return "a page with resume_at needs a cursor to go on from"
    strange = {row.environment for row in page.bookings} | {span.environment for span in page.covered}
    strange -= set(manifest.environments)
    if strange:
        return f"its manifest has no environment {', '.join(sorted(strange))}"
    if not all(_belongs(booking, manifest) for booking in page.bookings):
        return "a booking and its trade differ in provider, environment or account"
    return ""


def challenge_fault(challenge: Challenge) -> str:
    """What is wrong with the page that a user is to be sent to; else nothing."""
    page = challenge.url
    safe = page is None or page.startswith("https://") or is_this_machine(page)
    return "" if safe else "the page that it sends a user to is no https address"


def kind_of(value: object) -> str:
    """What kind of thing it is, never its content."""
    return "nothing" if value is None else f"a {type(value).__name__}"


def _belongs(booking: TradeBooking, manifest: Manifest) -> bool:
    trade = booking.trade
    return trade is None or (
        (trade.provider, trade.environment, trade.account_id) == (manifest.key, booking.environment, booking.account_id)
    )


def dated(accounts: Sequence[BrokerAccount]) -> tuple[BrokerAccount, ...]:
    """Brokers write the first or the last day of all for no date, and no day can be counted on from there."""
    return tuple(
        attrs.evolve(one, opened_at=None) if one.opened_at and one.opened_at.year not in _YEARS else one
        for one in accounts
    )


def dated_page(page: TradePage) -> TradePage:
    """The same of the accounts in a page."""
    accounts = dated(page.accounts)
    return page if accounts == tuple(page.accounts) else attrs.evolve(page, accounts=accounts)
