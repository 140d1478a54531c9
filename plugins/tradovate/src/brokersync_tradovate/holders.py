"""Whose fills a file holds: accounts by the number that never changes, else by their name."""

from __future__ import annotations

from collections.abc import Collection

import attrs

from brokersync.plugin import BrokerAccount, BrokerConfigError, BrokerInputNeededError, Fault, StatementHints


@attrs.frozen
class Told:
    """What a row tells of its account."""

    account_id: str | None
    name: str | None


def check_holders(told: Collection[Told], hints: StatementHints) -> None:
    """Raises `BrokerInputNeededError` where only the user can say which accounts these are, or which side they are on.

    Raises `BrokerConfigError` where what the user says can not be so.
    """
    if hints.account_id is not None and not (hints.account_id.isascii() and hints.account_id.isdigit()):
        raise BrokerConfigError(
            f"{hints.account_id!r} is no account of Tradovate's, which are numbers and have a name besides.",
            remedy="Give the number that a connection lists the account under.",
            fault=Fault.USER,
        )
    for one in told:
        holder(one, hints)
    known = {one.name for one in hints.accounts}
    if len({one.name for one in told if one.account_id is None and one.name not in known}) > 1:
        raise BrokerConfigError(
            "The file holds fills of several accounts and does not tell their numbers.",
            remedy="Export the fills of one account at a time.",
            fault=Fault.USER,
        )


def holder(told: Told, hints: StatementHints) -> BrokerAccount:
    """The account, as it is known or else as the file calls it.

    No file says whether an account is a live or a demo one; the owner's accounts or the user do. An account that has
    another name now than in the file is the same one, unless the user says that it is on the other side.
    """
    known = _known(told, hints)
    here = [one for one in known if hints.environment in (None, one.environment)]
    if len(here) == 1:
        return here[0]
    account_id = told.account_id or hints.account_id
    if account_id is None:
        raise BrokerInputNeededError(
            "The file does not tell the number of its account.",
            fields={"account_id": "What is the number of the account whose fills these are?"},
            remedy="Connect Tradovate, which tells it, or name the account's number.",
        )
    if not here and any(told.name in (None, one.name) for one in known):
        raise BrokerConfigError(
            f"The account {account_id} is a {known[0].environment} one, and {hints.environment} was named for it.",
            remedy="Leave the environment out: it is only for accounts that are not known yet.",
            fault=Fault.USER,
        )
    if hints.environment is None:
        raise BrokerInputNeededError(
            f"The file does not tell whether the account {account_id} is a live or a demo one.",
            fields={"environment": "Is it a live account or a demo one? Those of prop firms are demo accounts."},
            remedy="Connect Tradovate, which tells it, or name the environment: live or demo.",
        )
    return BrokerAccount(account_id=account_id, environment=hints.environment, name=told.name)


def _known(told: Told, hints: StatementHints) -> list[BrokerAccount]:
    """The owner's accounts that this may be: by its number, else by its name, else by the number the user gives."""
    if told.account_id is not None:
        return [one for one in hints.accounts if one.account_id == told.account_id]
    named = [one for one in hints.accounts if told.name is not None and one.name == told.name]
    return named or [one for one in hints.accounts if one.account_id == hints.account_id]
