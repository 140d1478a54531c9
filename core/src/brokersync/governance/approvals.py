"""Which brokers somebody has approved or revoked, in a file that is deployed like a lock file."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs

from brokersync.governance.facts import BrokerFacts
from brokersync.governance.state_file import Facts, StateFile

_FORMAT = 1


class Approvals:
    """Read again whenever the file has changed, so that a running process follows."""

    def __init__(self, path: Path) -> None:
        self._file = StateFile(path, "The approvals of brokers")

    @property
    def path(self) -> Path:
        """Where they are kept."""
        return self._file.path

    def of(self, key: str) -> Mapping[str, Any] | None:
        """What was decided of a broker. Raises `BrokerConfigError` for a file that can not be read."""
        brokers = self._file.facts().get("brokers", {})
        found = brokers.get(key) if isinstance(brokers, Mapping) else None
        return found if isinstance(found, Mapping) else None

    def distribution(self, key: str) -> str | None:
        """The distribution that was approved for a broker."""
        found = self.of(key)
        return str(found.get("distribution")) if found and found.get("state") == "approved" else None

    def approve(self, facts: BrokerFacts, now: datetime) -> None:
        """From now on the broker runs as it is now."""
        self._set(facts.key, {"state": "approved", "at": now.isoformat(timespec="seconds"), **attrs.asdict(facts)})

    def revoke(self, key: str, now: datetime) -> None:
        """From now on the broker is held, in every mode."""
        self._set(key, {"state": "revoked", "at": now.isoformat(timespec="seconds")})

    def _set(self, key: str, entry: Mapping[str, Any]) -> None:
        def change(facts: Facts) -> None:
            facts["format"] = _FORMAT
            facts.setdefault("brokers", {})[key] = {name: value for name, value in entry.items() if name != "key"}

        self._file.change(change)
