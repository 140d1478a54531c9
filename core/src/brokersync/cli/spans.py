"""Stretches of history as days, in the zone of the source they come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, TypeAlias
from zoneinfo import ZoneInfo

from brokersync.errors import BrokerConfigError

if TYPE_CHECKING:
    from brokersync.registry import ProviderRegistry
    from brokersync.types import TimeWindow

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


def stretch_text(window: TimeWindow, zone: str) -> str:
    """A stretch as days, or to the minute where it does not begin and end with a day of the zone."""
    start, end = (moment.astimezone(ZoneInfo(zone)) for moment in (window.start, window.end))
    if start.time() == end.time() == time(0):
        first, last = start.date(), end.date() - timedelta(days=1)
        return f"{first}" if first == last else f"{first} to {last}"
    until = f"{end:%H:%M}" if start.date() == end.date() else f"{end:%Y-%m-%d %H:%M}"
    return f"{start:%Y-%m-%d %H:%M} to {until} {zone}"
