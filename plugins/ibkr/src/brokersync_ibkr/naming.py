"""Which account a statement means: by its id, or by an alias where it is told whose that is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from typing import Final, TypeAlias

from brokersync.plugin import BrokerAccount
from brokersync_ibkr.accountbook import check_number
from brokersync_ibkr.accounts import ALIAS, account_id_of, is_consolidated, is_master, together_in
from brokersync_ibkr.instruments import text_of

Aliases: TypeAlias = Mapping[str, Set[str]]

_CONSOLIDATED: Final = "Consolidated"


def known_aliases(accounts: Iterable[BrokerAccount]) -> Aliases:
    """The ids of the accounts that were last told under each alias."""
    found: dict[str, set[str]] = {}
    for account in accounts:
        if alias := account.state.get(ALIAS):
            found.setdefault(alias, set()).add(account.account_id)
    return found


def usable_aliases(own: Iterable[BrokerAccount], elsewhere: Iterable[BrokerAccount]) -> Aliases:
    """The ids under each alias; of one that only accounts `elsewhere` have, none while one of the `own` was not told.

    The users choose the aliases, so it may be that account's as well.
    """
    own = tuple(own)
    aliases, found = known_aliases(own), known_aliases((*own, *elsewhere))
    if all(ALIAS in account.state for account in own):
        return found
    return {alias: ids for alias, ids in found.items() if alias in aliases}


def is_of_several(head: str, query_id: str | None = None, accounts: Iterable[BrokerAccount] = ()) -> bool:
    """Whether this names several accounts together: by itself, or since rows of these were told below it before."""
    ids = [account_id_of(name.strip()) for name in head.split(",")]
    if head == _CONSOLIDATED or (len(ids) > 1 and all(ids)):
        return True
    return query_id is not None and any(together_in(query_id, head) in one.state for one in accounts)


class ToldNames:
    """Collects what a document calls its accounts.

    `aliases` are those that it tells the id of, and `likely` those that stand for the one account of a statement; `ids`
    are the accounts and `kinds` what they are. `needed` are the aliases without whose ids a row or a period would be
    nobody's, and `nameless` says that a fill of several accounts names none.
    """

    def __init__(self) -> None:
        self.aliases: dict[str, set[str]] = {}
        self.likely: dict[str, set[str]] = {}
        self.ids: set[str] = set()
        self.kinds: dict[str, str | None] = {}
        self.needed: set[str] = set()
        self.nameless = False
        self._head: str | None = None
        self._heads: set[str] = set()
        self._rows: set[str] = set()
        self._head_needed = False
        self._consolidated = False
        self._of_several: set[str] = set()

    @property
    def several(self) -> bool:
        """Whether a statement is of several accounts together."""
        return bool(self._of_several - self.aliases.keys() - self.likely.keys())

    def statement(self, head: str | None) -> None:
        self._heads, self._rows = set(), set()
        self._consolidated, self._head_needed = False, False
        self._head = head
        self._note(head, self._heads)

    def information(self, attributes: Mapping[str, str]) -> None:
        """What an AccountInformation element says."""
        told, kind = text_of(attributes, "accountId"), text_of(attributes, "accountType")
        self._note(told, self._heads)
        _pair(self.aliases, told, text_of(attributes, "acctAlias"))
        if is_consolidated(kind):
            self._consolidated = True
        for name in map(account_id_of, self._heads):
            if name is not None:
                self.kinds[name] = kind

    def row(self, told: str | None, alias: str | None) -> None:
        """What a fill says."""
        if told is None:
            self._head_needed = True
            self.nameless = self.nameless or self._consolidated
        elif told not in self._rows:
            self._note(told, self._rows)
        if alias is not None and (told or not (self._consolidated or self._is_of_master())):
            _pair(self.aliases, told or self._head, alias)

    def statement_ends(self) -> None:
        heads, rows = ({name for name in names if account_id_of(name)} for names in (self._heads, self._rows))
        others = (self._heads | self._rows) - heads - rows
        if len(heads) == len(others) == 1 and rows <= heads and not self._consolidated and not self._is_of_master():
            # a statement is of one account, so its other name for it is this one's; a master's may be of others, too
            _pair(self.likely, *heads, *others)
        self.needed |= self._rows - rows
        together = self._consolidated or any(map(is_of_several, self._heads))
        if self._head_needed or not (heads or rows or together):
            self.needed |= self._heads - heads
        elif together or not heads:
            self._of_several |= self._heads
        check_number(len(self.needed))

    def _is_of_master(self) -> bool:
        ids = filter(None, map(account_id_of, self._heads))
        return any(is_master(one, self.kinds.get(one)) for one in ids)

    def _note(self, told: str | None, names: set[str]) -> None:
        if told is None:
            return
        names.add(told)
        check_number(len(names))
        if (account_id := account_id_of(told)) is not None:
            self.ids.add(account_id)
            check_number(len(self.ids))


class AccountNames:
    """Says whose a name is: by the document's own word, by the user's for a single alias, or by what was told before.

    `told` is what the document says as a whole, looked up when an alias is first met. An alias that two accounts have
    is nobody's, and so is one that seems to be of another account than it was told of before.
    """

    def __init__(self, told: Callable[[], ToldNames], before: Aliases, by_user: str | None) -> None:
        self._told, self._before, self._by_user = told, before, by_user
        self._found: dict[str, str | None] = {}

    def find(self, name: str) -> str | None:
        """The id of the account; `None` for an alias of which nobody knows."""
        if name not in self._found:
            self._found[name] = self._look_up(name)
        return self._found[name]

    def unplaced(self) -> set[str]:
        """The aliases of the document of which nobody knows whose they are."""
        return {name for name in self._told().needed if self.find(name) is None}

    def _look_up(self, name: str) -> str | None:
        account_id = account_id_of(name)
        if account_id is not None:
            return account_id
        told = self._told()
        if name in told.aliases:
            return _only(told.aliases[name])
        strange = {one for one in told.needed - told.aliases.keys() if one not in told.likely or not self._guess(one)}
        if self._by_user is not None and len(strange) != 1:
            strange = {one for one in strange if self._guess(one) is None}
        if self._by_user is not None and strange == {name}:
            return self._by_user
        return self._guess(name)

    def _guess(self, name: str) -> str | None:
        return _only({*self._told().likely.get(name, ()), *self._before.get(name, ())})


def _only(ids: Iterable[str]) -> str | None:
    found = set(ids)
    return found.pop() if len(found) == 1 else None


def _pair(names: dict[str, set[str]], told: str | None, alias: str | None) -> None:
    account_id = account_id_of(told) if told else None
    if account_id and alias and account_id_of(alias) is None:
        names.setdefault(alias, set()).add(account_id)
        check_number(len(names))
