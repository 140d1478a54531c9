"""Which bookings belong together: sets that share a name, joined in memory while a page is written."""

from __future__ import annotations

from collections.abc import Iterable


class Sets:
    """The sets that a page's names are known in, and what the page makes of them.

    Of sets that turn out to be one the lowest number stays.
    """

    def __init__(self) -> None:
        self._by_name: dict[tuple[int, str], int] = {}
        self._parents: dict[int, int] = {}
        self._stored: set[int] = set()
        self._new_names: dict[tuple[int, str], None] = {}
        self._touched: dict[int, int] = {}

    def know(self, account: int, name: str, set_id: int) -> None:
        """A name stands in the store with this set."""
        self._by_name[account, name] = set_id
        self._stored.add(set_id)

    def join(self, account: int, names: Iterable[str], number: int) -> int:
        """The set of all that share one of these names; of nothing so far known it becomes set `number`."""
        wanted = sorted(names)
        found = sorted({self.root(self._by_name[account, name]) for name in wanted if (account, name) in self._by_name})
        set_id = found[0] if found else number
        for other in found[1:]:
            self._parents[other] = set_id
            self._touched.pop(other, None)
        for name in wanted:
            if (account, name) not in self._by_name:
                self._by_name[account, name] = set_id
                self._new_names[account, name] = None
        self._touched[set_id] = account
        return set_id

    def root(self, set_id: int) -> int:
        """The set that `set_id` has become."""
        while set_id in self._parents:
            set_id = self._parents[set_id]
        return set_id

    @property
    def stored(self) -> list[int]:
        """The sets that the store held before, by the numbers they had."""
        return sorted(self._stored)

    @property
    def touched(self) -> dict[int, int]:
        """The sets that have to be folded again, with their accounts, in the order in which they were touched."""
        return self._touched

    @property
    def touched_before(self) -> list[int]:
        """Those of them that the store held before."""
        return sorted(set(self._touched) & {self.root(set_id) for set_id in self._stored})

    def merged(self) -> list[tuple[int, int]]:
        """Sets of the store that became part of another one: the old number, the new number."""
        return [(old, self.root(old)) for old in sorted(self._stored) if old in self._parents]

    def new_names(self) -> list[tuple[int, str, int]]:
        """The names to write."""
        return [(account, name, self.root(self._by_name[account, name])) for account, name in self._new_names]
