"""Who is logged in at the simulated broker: tokens that end, and refresh tokens that are good for one use."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta

import attrs

from {{ cookiecutter.__package }}.sandbox_books import User
from {{ cookiecutter.__package }}.sandbox_wire import RefusedError

# FILL IN: how long the broker's tokens live, and whether a refresh token may be used again
_TOKEN_LIFE = timedelta(minutes=30)
_SESSION_LIFE = timedelta(days=30)


@attrs.frozen
class Grant:
    """What a client is given; `lasts` and `ends_in` are seconds."""

    user: User
    token: str
    refresh_token: str
    lasts: int
    ends_in: int


@attrs.frozen
class _Session:
    user: User
    token: str
    token_ends: datetime
    ends: datetime


class Sessions:
    """A login begins a session, which is renewed until it ends."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._by_token: dict[str, _Session] = {}
        self._by_refresh_token: dict[str, _Session] = {}

    def begin(self, user: User) -> Grant:
        return self._grant(user, self._now() + _SESSION_LIFE)

    def renew(self, refresh_token: str) -> Grant | None:
        """Other tokens in place of those that were; none for a refresh token that is none any more."""
        session = self._by_refresh_token.pop(refresh_token, None)
        if session is None or session.ends <= self._now():
            return None
        self.expire(session.token)
        return self._grant(session.user, session.ends)

    def user(self, token: str) -> User:
        session = self._by_token.get(token)
        if session is None or session.token_ends <= self._now():
            raise RefusedError(401, "token_expired")
        return session.user

    def expire(self, token: str) -> None:
        """Ends the token as if its time had come."""
        self._by_token.pop(token, None)

{% if cookiecutter.auth_kind == "oauth2" %}
    def end(self, token: str) -> None:
        """Ends the session of a token or a refresh token for good."""
        session = self._by_refresh_token.pop(token, None) or self._by_token.get(token)
        if session is not None:
            self.expire(session.token)
            self._by_refresh_token = {name: one for name, one in self._by_refresh_token.items() if one != session}

{% endif %}
    def _grant(self, user: User, ends: datetime) -> Grant:
        token, refresh_token = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        session = _Session(user, token, self._now() + _TOKEN_LIFE, ends)
        self._by_token[token] = self._by_refresh_token[refresh_token] = session
        return Grant(
            user=user,
            token=token,
            refresh_token=refresh_token,
            lasts=int(_TOKEN_LIFE.total_seconds()),
            ends_in=int((ends - self._now()).total_seconds()),
        )
