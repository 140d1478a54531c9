"""What the simulated broker keeps of `provider.toml`, so that each fact stands in one place."""

from __future__ import annotations

import tomllib
{% if cookiecutter.history_kind == "session" %}
from datetime import time, timedelta
{% else %}
from datetime import timedelta
{% endif %}
from importlib.resources import files
from typing import Any
{% if cookiecutter.history_kind == "session" %}
from zoneinfo import ZoneInfo
{% endif %}

_UNITS = {"s": timedelta(seconds=1), "m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
_MANIFEST: dict[str, Any] = tomllib.loads(files(__package__).joinpath("provider.toml").read_text(encoding="utf-8"))


def _span(text: str) -> timedelta:
    """As provider.toml writes it, such as 30s or 7d."""
    return int(text[:-1]) * _UNITS[text[-1]]


def _holds_for_each_call(limit: dict[str, Any]) -> bool:
    return limit["scope"] == "credential" and limit.get("kind", "window") == "window" and "operations" not in limit


ENVIRONMENTS: tuple[str, ...] = tuple(_MANIFEST["environments"])
# how many calls a login may make, and within which time; limits of another kind the sandbox does not keep
# FILL IN: limits of single `operations`, where the broker has some: `Meter.count` in sandbox_wire.py counts calls
LIMITS = [(one["amount"], _span(one["period"])) for one in _MANIFEST["limits"] if _holds_for_each_call(one)]
{% if cookiecutter.history_kind == "windows" %}
LONGEST_WINDOW = _span(_MANIFEST["sources"][0]["longest_window"])
{% elif cookiecutter.history_kind == "session" %}
_CALENDAR = _MANIFEST["sources"][0]["calendar"]
SESSION_ZONE, SESSION_BEGINS = ZoneInfo(_CALENDAR["zone"]), time.fromisoformat(_CALENDAR["day_starts"])
{% endif %}
