"""The quality levels of plugins."""

from __future__ import annotations

from enum import StrEnum


class Level(StrEnum):
    """How good a plugin has been shown to be; each level holds what those before it do."""

    NONE = "none"
    BRONZE = "bronze"
    SILVER = "silver"
    GOLD = "gold"

    @property
    def reaches(self) -> int:
        """A number to compare levels by."""
        return list(Level).index(self)
