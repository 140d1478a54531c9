"""The broker's answer to a login, in the broker's own words."""

from __future__ import annotations

from datetime import timedelta
from typing import Self

import attrs

from brokersync.plugin import Secret
from {{ cookiecutter.__package }}.payloads import Row, User, id_in, seconds_in, text_in


# FILL IN: the names in the answer to a login, and which id never changes
@attrs.frozen(kw_only=True)
class Tokens:
    """The answer to a login and to a renewal; one that names no refresh token leaves the old one good."""

    access_token: Secret
    refresh_token: Secret | None
    expires_in: timedelta
    user: User

    @classmethod
    def of(cls, row: Row) -> Self:
        """Raises `RowError`, which shows no value."""
        return cls(
            access_token=Secret(text_in(row, "accessToken")),
            refresh_token=None if row.get("refreshToken") is None else Secret(text_in(row, "refreshToken")),
            expires_in=seconds_in(row, "expiresIn"),
            user=User(id=id_in(row, "userId")),
        )
