"""Whether a row that was not understood speaks of a trade: by the words that stand in it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from brokersync.records import AccountKey


def of_account(row: Mapping[str, Any], key: AccountKey) -> bool:
    """Whether a row in quarantine is of this account, or may be since it names none."""
    place = (row["environment"], row["account_id"])
    return row["provider"] == key.provider and all(
        told in (None, mine) for told, mine in zip(place, (key.environment, key.account_id), strict=True)
    )


def words_of(value: Any) -> Iterable[str]:
    """Every word of a raw row."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from words_of(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from words_of(item)
    elif value is not None:
        yield str(value).strip()


def holds(row: Mapping[str, Any], name: str) -> bool:
    """Whether the row has this id, be it behind the kind of a name, or with a revision after it."""
    ids = [one for one in (name, name.partition(":")[2]) if one]
    return any(word == one or word.startswith(f"{one}.") for word in words_of(row["raw"]) for one in ids)
