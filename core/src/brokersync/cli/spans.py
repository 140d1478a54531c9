"""Stretches of history as days, in the zone of the source they come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias
from zoneinfo import ZoneInfo

from brokersync.errors import BrokerConfigError

if TYPE_CHECKING:
    from brokersync.registry import ProviderRegistry

ZoneOf: TypeAlias = Callable[[str, str], str]


def zones(registry: ProviderRegistry) -> ZoneOf:
    """The zone of a provider's source; UTC where the plugin is gone."""

    def zone_of(provider: str, source: str) -> str:
        try:
            return registry.manifest(provider).source(source).calendar.zone
        except (BrokerConfigError, KeyError):
            return "UTC"

    return zone_of


def days_text(window: Mapping[str, str], zone: str) -> str:
    """The first and the last day of a window; a day that is only begun counts."""
    start, end = (datetime.fromisoformat(window[name]).astimezone(ZoneInfo(zone)) for name in ("start", "end"))
    first, last = start.date(), (end - timedelta(seconds=1)).date()
    return f"{first}" if first >= last else f"{first} to {last}"
