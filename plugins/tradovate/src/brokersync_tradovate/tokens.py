"""What Tradovate's OAuth answers with, to a code and to a refresh token, in Tradovate's own words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any, Self

import attrs

from brokersync.plugin import Secret
from brokersync_tradovate.rows import Row, RowError, texts_in, whole_number


@attrs.frozen(kw_only=True)
class Tokens:
    """The times count from the moment of the answer. Not every answer renews the refresh token or names hosts."""

    access_token: Secret
    expires_in: timedelta
    refresh_token: Secret | None
    refresh_token_expires_in: timedelta | None
    api_hosts: Mapping[str, str]

    @classmethod
    def of(cls, row: Row) -> Self:
        """Raises `RowError`."""
        access, lasts = _secret(row, "access_token"), _seconds(row, "expires_in")
        if access is None or lasts is None:
            raise RowError("access_token or expires_in is missing")
        return cls(
            access_token=access,
            expires_in=lasts,
            refresh_token=_secret(row, "refresh_token"),
            refresh_token_expires_in=_seconds(row, "refresh_token_expires_in"),
            api_hosts=texts_in(row, "apiHosts"),
        )


def _secret(row: Row, name: str) -> Secret | None:
    value = row.get(name)
    if value is not None and not isinstance(value, str):
        raise RowError(f"{name} is no text")
    return Secret(value) if value else None


def _seconds(row: Row, name: str) -> timedelta | None:
    value: Any = row.get(name)
    if value is None:
        return None
    number = whole_number(value) if isinstance(value, str) else value
    if isinstance(number, bool) or not isinstance(number, int | Decimal) or not 0 < number < 10**9:
        raise RowError(f"{name} is no number of seconds")
    return timedelta(seconds=int(number))
