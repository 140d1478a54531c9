"""Whose limits the calls of a login count for, which nobody knows before it is made."""

from __future__ import annotations

from typing import Protocol

from brokersync.types import AuthResult


class CountsLogins(Protocol):
    """Has the calls of a login count for who it turns out to be of."""

    def begin_login(self) -> None:
        """What is sent from now on is of a login that is being made."""

    async def logged_in(self, auth: AuthResult) -> AuthResult:
        """The login that it was of, as it came."""


class Uncounted:
    """Where there are no limits."""

    def begin_login(self) -> None:
        """See `CountsLogins`."""

    async def logged_in(self, auth: AuthResult) -> AuthResult:
        """See `CountsLogins`."""
        return auth
