"""Random Flex documents read by the plugin and, the plainest way, as a tree: both must say the same of every row."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from typing import Any

from brokersync.plugin import BrokerConfigError
from brokersync_ibkr.pages import Reading, read_pages

from . import flex_plain
from .flex_fuzz import FuzzedDocuments

_ROWS = 400


class Trickling(BytesIO):
    """Gives less than it is asked for, as a network does."""

    def __init__(self, body: bytes, chance: random.Random) -> None:
        super().__init__(body)
        self._chance, self._most = chance, chance.choice([len(body) // 1000 + 7, 5_000, 1 << 20])

    def read(self, amount: int | None = -1, /) -> bytes:
        return super().read(self._chance.randint(1, self._most))


Facts = dict[str, Any]
Row = tuple[tuple[str, str], ...]


def row_of(raw: Any) -> Row:
    """The attributes that say something, without what we keep beside them: a dot is in no such name of IBKR's."""
    return tuple(sorted((name, value) for name, value in raw.items() if value and not name.startswith("statement.")))


def ours(body: bytes, chance: random.Random) -> dict[Row, Facts]:
    """What the plugin reads of each row; of one in quarantine the reason."""
    pages = list(read_pages(Trickling(body, chance), Reading()))
    assert all(page.rows == page.disposed for page in pages[:-1])
    found = {row_of(one.raw): flex_plain.as_told(one) for page in pages for one in page.bookings}
    left = {row_of(one.raw): {"quarantined": one.reason} for page in pages for one in page.quarantined}
    assert not found.keys() & left.keys()
    return found | left


def plain(body: bytes) -> dict[Row, Facts]:
    read: dict[Row, Facts] = {}
    for row, account in flex_plain.rows_of(body):
        try:
            read[row_of(row.attrib)] = flex_plain.read(row, account)
        except ValueError as error:
            read[row_of(row.attrib)] = {"quarantined": str(error)}
    return read


def differing(mine: Facts, theirs: Facts) -> Facts:
    if "quarantined" in mine and "quarantined" in theirs:
        return {}
    differs = {name: (mine.get(name), theirs.get(name)) for name in mine.keys() | theirs.keys()}
    return {name: both for name, both in differs.items() if both[0] != both[1]}


def test_a_plain_reading_of_random_documents_agrees_on_every_row(sized: Callable[[str, int, int], int]) -> None:
    wanted = sized("rows of fuzzed Flex documents, read twice", 6_000, 1_000_000)
    seen, quarantined, seed = 0, 0, 0
    while seen < wanted:
        chance = random.Random(seed)
        made = FuzzedDocuments(chance).document(chance.choice([1, 5, 60, _ROWS]))
        theirs, seed = plain(made.body), seed + 1
        if not theirs:
            # sums and no execution are refused, other rows than fills are not
            with suppress(BrokerConfigError):
                assert not ours(made.body, chance)
            continue
        mine = ours(made.body, chance)
        assert mine.keys() == theirs.keys(), f"seed {seed - 1}"
        for row, facts in theirs.items():
            differs = differing(mine[row], facts)
            assert not differs, f"seed {seed - 1}: {differs} of {dict(row)}"
        seen += len(theirs)
        quarantined += sum("quarantined" in facts for facts in mine.values())
    assert 0.01 < quarantined / seen < 0.3, "hardly a row was refused, or hardly one was read"
