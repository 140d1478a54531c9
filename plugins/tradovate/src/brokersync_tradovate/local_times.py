"""Times as Tradovate shows them to people: month first, and without a zone."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo

from brokersync_tradovate.rows import RowError

_SHOWN = "%m/%d/%Y %H:%M:%S"


def instant(text: str, zone: tzinfo) -> datetime:
    """The instant at which clocks in `zone` showed `text`.

    Raises `RowError` for what is no such time, and for one that those clocks showed twice or never: which of the two
    was meant would be a guess.
    """
    try:
        shown = datetime.strptime(text, _SHOWN)  # noqa: DTZ007  the zone is put to it in the next line
        first, second = (shown.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    except (ValueError, OverflowError):  # in UTC it may lie before the first year or after the last
        raise RowError("Timestamp is no time like 06/10/2026 16:00:05") from None
    if first != second:
        how_often = "twice" if first < second else "never"
        raise RowError(f"clocks in {zone} showed the time of Timestamp {how_often} on that day")
    return first
