"""The broker's answer at its token endpoint, in the words of OAuth 2."""

from __future__ import annotations

from datetime import timedelta
from typing import Self

import attrs

from brokersync.plugin import Secret
from {{ cookiecutter.__package }}.payloads import Row, seconds_in, text_in


# FILL IN: what the broker's answer has beside what OAuth 2 says, such as the end of the refresh token
@attrs.frozen(kw_only=True)
class Tokens:
    """The answer to a code and to a refresh token, which the new one replaces; without a new one the old is good."""

    access_token: Secret
    refresh_token: Secret | None
    expires_in: timedelta
    refresh_expires_in: timedelta | None

    @classmethod
    def of(cls, row: Row) -> Self:
        """Raises `RowError`, which shows no value."""
        ends = row.get("refresh_token_expires_in")
        return cls(
            access_token=Secret(text_in(row, "access_token")),
            refresh_token=None if row.get("refresh_token") is None else Secret(text_in(row, "refresh_token")),
            expires_in=seconds_in(row, "expires_in"),
            refresh_expires_in=None if ends is None else seconds_in(row, "refresh_token_expires_in"),
        )
