"""How a broker writes times: ISO 8601 with a zone, or a form of wall times that the author declares."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

_SHORTEST = 16

Written = tuple[datetime, Callable[[datetime], str]]


def time_in(value: Any, forms: Iterable[str] = ()) -> Written | None:
    """The instant that a cell holds, and how another one is written there.

    Each of the `forms` is one of `strptime`, with the zone behind its last space: `%Y%m%d;%H%M%S America/New_York`.
    """
    if not isinstance(value, str):
        return None
    return _iso(value) or next((found for form in forms if (found := _wall(value, form))), None)


def _iso(text: str) -> Written | None:
    if len(text) < _SHORTEST:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    zone, precise = moment.tzinfo, "milliseconds" if "." in text else "seconds"
    if zone is None:
        return None

    def write(other: datetime) -> str:
        written = other.astimezone(zone).isoformat(timespec=precise)
        return written.replace("+00:00", "Z") if text.endswith("Z") else written

    return moment, write


def _wall(text: str, declared: str) -> Written | None:
    form, _, name = declared.rpartition(" ")
    zone = ZoneInfo(name)
    try:
        moment = datetime.strptime(text, form).replace(tzinfo=zone)
    except ValueError:
        return None
    return moment, lambda other: other.astimezone(zone).strftime(form)
