"""The quality levels of installed plugins as the command line shows them: found out here, or claimed by themselves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from brokersync.registry import ProviderListing
    from brokersync.verified import Verified

_NOT_YET = "not yet"


class KnownLevel(NamedTuple):
    """What `brokersync verify` found, and whether the plugin's files are still those that were tested."""

    found: Verified
    holds: bool


def known_levels(rows: Iterable[ProviderListing]) -> dict[str, KnownLevel]:
    """What was found by key, for the distributions that are installed; hashes the files of those alone."""
    from brokersync.discovery import discover
    from brokersync.folders import data_folder
    from brokersync.verified import holds, load_verified

    verified = load_verified(data_folder())
    if not verified:
        return {}
    packages = {(one.key, one.distribution): one.package for one in discover().offers}
    known = {}
    for row in rows:
        found = verified.get(row.key)
        if found is not None and found.distribution == row.distribution:
            package = packages.get((row.key, row.distribution))
            known[row.key] = KnownLevel(found, package is not None and holds(found, package))
    return known


def level_cell(level: KnownLevel | None) -> str:
    """One word or two for a table."""
    if level is None:
        return _NOT_YET
    return level.found.level.value if level.holds else f"void (was {level.found.level.value})"


def level_facts(level: KnownLevel | None) -> dict[str, Any] | None:
    """The same for programs; `level` is none where the files have changed."""
    from brokersync.converter import to_json

    if level is None:
        return None
    facts: dict[str, Any] = to_json(level.found)
    return facts | {"void": not level.holds, "level": facts["level"] if level.holds else "none"}


def level_sentence(level: KnownLevel | None, claim: str | None, key: str) -> str:
    """A line for a person; what a plugin says of itself is never shown as more than that."""
    claimed = f"; it claims {claim}" if claim else ""
    if level is None:
        return f"quality: not verified here (brokersync verify {key}){claimed}"
    found = level.found
    if not level.holds:
        return (
            f"quality: void, since its files have changed; it was {found.level.value} on {found.at:%Y-%m-%d}{claimed}"
            " (a wheel of what was verified in place has others: verify the wheel)"
        )
    return f"quality: {found.level.value}, verified here on {found.at:%Y-%m-%d} with brokersync {found.by}{claimed}"
