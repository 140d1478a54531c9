"""The accounts of a document, as they are met and described while it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from datetime import datetime
from typing import Final

import attrs

from brokersync.plugin import BrokerAccount, QuarantinedRow
from brokersync_ibkr.accounts import (
    ALIAS,
    Held,
    account_of,
    environment_of,
    held_in,
    is_account_id,
    is_held_in,
    is_master,
)
from brokersync_ibkr.dates import FlexDates
from brokersync_ibkr.payloads import FlexSyntaxError

_NO_ACCOUNT: Final = "the row names no account"
_OF_SEVERAL: Final = (
    "the statement is of several accounts together and the row names none: tick Account ID in the section Trades"
)
_MOST_ACCOUNTS: Final = 50_000


def check_number(accounts: int) -> None:
    """Raises `FlexSyntaxError` for more accounts than any document has."""
    if accounts > _MOST_ACCOUNTS:
        raise FlexSyntaxError(f"The XML has more than {_MOST_ACCOUNTS:,} accounts.")


def of_nobody(raw: Mapping[str, str], *, several: bool) -> QuarantinedRow:
    """A row that names no account, in a statement that does not either or is of several accounts."""
    return QuarantinedRow(reason=_OF_SEVERAL if several else _NO_ACCOUNT, raw=raw)


class AccountBook:
    """Keeps each account once.

    `environment` is that of ids which tell none, `before` are the accounts that were told of before, and `kinds_ahead`
    says what the whole document calls each.
    """

    def __init__(
        self, environment: str, before: Iterable[BrokerAccount], kinds_ahead: Callable[[], Mapping[str, str | None]]
    ) -> None:
        self._environment, self._kinds_ahead = environment, kinds_ahead
        self._before = {account.account_id: account for account in before}
        self._accounts: dict[str, BrokerAccount] = {}
        self._fresh: set[str] = set()

    @property
    def all(self) -> tuple[BrokerAccount, ...]:
        return tuple(self._accounts.values())

    @property
    def has_news(self) -> bool:
        return bool(self._fresh)

    def take_fresh(self) -> tuple[BrokerAccount, ...]:
        """Those of which there was news since it was last asked."""
        names, self._fresh = sorted(self._fresh), set()
        return tuple(self._accounts[name] for name in names)

    def knew(self, account_id: str | None) -> bool:
        """Whether the account was told of before this document."""
        return account_id in self._before

    def is_master(self, account_id: str) -> bool:
        """By what was told of its kind so far, or before, or else stands further on in the document."""
        told = [book[account_id].kind for book in (self._accounts, self._before) if account_id in book]
        return is_master(account_id, next(filter(None, told), None) or self._kinds_ahead().get(account_id))

    def meet(self, account_id: str, alias: str | None = None, *, beside_id: bool = True) -> BrokerAccount:
        """The account, with the alias that a row tells: of a master's row without an id it may be another account's."""
        if alias is not None and not beside_id and self.is_master(account_id):
            alias = None
        known = self._accounts.get(account_id)
        if known is None:
            known = self._new(account_id)
        if alias is not None and known.state.get(ALIAS) != alias and not is_account_id(alias):
            known = attrs.evolve(known, name=alias, state={**known.state, ALIAS: alias})
            self._keep(known)
        return known

    def together(
        self, query_id: str | None, head: str, made: datetime | None, met: Set[str], before: Iterable[BrokerAccount]
    ) -> Mapping[str, Held]:
        """Of which accounts a statement of several tells without a row: those `before` in one of the same accounts.

        Those `met` in it are kept as its accounts. Which accounts a query has may be changed at any time, and no
        statement names those without a row.
        """
        if query_id is None or made is None:
            return {}
        found = {one.account_id: is_held_in(one, query_id, head, made) for one in before if one.account_id not in met}
        for known in [self.meet(account_id) for account_id in sorted(met)]:
            before_it = self._before.get(known.account_id, known)
            self._keep(attrs.evolve(known, state={**known.state, **held_in(before_it, query_id, head, made)}))
        return {account_id: held for account_id, held in found.items() if held is not Held.NO}

    def describe(self, account_id: str, facts: Mapping[str, str], dates: FlexDates) -> None:
        """Take what an AccountInformation element tells. Raises `ValueError` for an opening day that is none."""
        account = account_of(account_id, self.meet(account_id).environment, facts, dates)
        if account.name is None and account.state.get(ALIAS) == "" and not self._is_named_by_holder(account_id):
            # a name that is not told would leave the alias that was given up
            account = attrs.evolve(account, name=account_id)
        if account != self._accounts[account_id]:
            self._keep(account)

    def _is_named_by_holder(self, account_id: str) -> bool:
        before = self._before.get(account_id)
        return before is not None and before.name not in (None, account_id, before.state.get(ALIAS))

    def _new(self, account_id: str) -> BrokerAccount:
        try:
            account = BrokerAccount(account_id=account_id, environment=environment_of(account_id, self._environment))
        except ValueError:
            raise FlexSyntaxError("The XML names an account by what can be no account's id.") from None
        self._keep(account)
        check_number(len(self._accounts))
        return account

    def _keep(self, account: BrokerAccount) -> None:
        self._accounts[account.account_id] = account
        self._fresh.add(account.account_id)
