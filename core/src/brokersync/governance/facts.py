"""What is known of a broker's plugin without running its code, and what was approved of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import attrs


@attrs.frozen(kw_only=True)
class Candidate:
    """An installed distribution's word that one of its packages is the plugin for a broker.

    `folder` is that of its metadata, where it lies on a plain file system.
    """

    key: str
    package: str
    distribution: str
    version: str
    folder: Path | None

    @classmethod
    def of(cls, key: str, module: str, distribution: str, version: str, *, folder: str | None) -> Self:
        """That of an entry point which names this module."""
        return cls(
            key=key,
            package=module.partition(".")[0],
            distribution=distribution,
            version=version,
            folder=None if folder is None else Path(folder),
        )


@attrs.frozen(kw_only=True)
class BrokerFacts:
    """What an approval pins, and a notice tells: the files by their hash, and what the manifest declares.

    `files` is empty where they can not be known. `development` says that it was installed in place.
    """

    key: str
    distribution: str
    version: str
    files: str = ""
    hosts: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    development: bool = False

    def wider_than(self, approved: Mapping[str, Any]) -> tuple[str, ...]:
        """What it may do and the approved one might not."""
        known = {*approved.get("hosts", ()), *approved.get("capabilities", ())}
        return tuple(one for one in (*self.hosts, *self.capabilities) if one not in known)
