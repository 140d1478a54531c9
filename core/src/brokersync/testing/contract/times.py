"""How a broker writes times: ISO 8601 with a zone, or a form of wall times that the author declares."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from brokersync.testing.answers import Body
from brokersync.testing.contract.nested import everywhere

_SHORTEST = 16

Written = tuple[datetime, Callable[[datetime], str]]


def time_in(value: Any, forms: Iterable[str] = ()) -> Written | None:
    """The instant that a cell holds, and how another one is written there.

    Each of the `forms` is one of `strptime`, with the zone behind its last space: `%Y%m%d;%H%M%S America/New_York`.
    """
    if not isinstance(value, str):
        return None
    return _iso(value) or next((found for form in forms if (found := _wall(value, form))), None)


def unseen_form(found: Iterable[Body], forms: Iterable[str]) -> str | None:
    """The first of the forms that no cell of any answer is written in."""
    unseen = list(forms)
    for body in found if unseen else ():
        texts = [str(holder[name]) for name, holder in everywhere(body)]
        unseen = [form for form in unseen if not any(_wall(text, form) for text in texts)]
    return unseen[0] if unseen else None


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
