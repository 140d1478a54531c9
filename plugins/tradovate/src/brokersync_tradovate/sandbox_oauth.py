"""OAuth of the simulated broker: its consent page, codes that are good once, and refresh tokens that rotate."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from html import escape
from random import Random
from urllib.parse import urlencode, urlsplit

import attrs

from brokersync.plugin import SandboxSettings
from brokersync_tradovate.sandbox_auth import TOKEN_LIFE, Sessions
from brokersync_tradovate.sandbox_logins import User
from brokersync_tradovate.sandbox_wire import MALFORMED, Answer, RefusedError, Row, answer

_CODE_LIFE = timedelta(minutes=5)
_REFRESH_LIFE = timedelta(hours=26)
_HTML = "text/html"
_PAGE = """<!DOCTYPE html><html><head><title>Sign in</title></head><body><h1>An invented Tradovate</h1>
<form method="post"><label>User name <input name="username"></label>
<label>Password <input name="password" type="password"></label>
<button name="answer" value="allow">Allow</button> <button name="answer" value="deny">Deny</button></form>
<p>{told}</p></body></html>"""


@attrs.frozen
class _Code:
    user: User
    redirect_uri: str
    ends: datetime


@attrs.frozen
class _Refresh:
    user: User
    session_token: str
    ends: datetime


class OAuthPages:
    """One registered app; any address on this machine or behind https may be the one its users are sent back to."""

    def __init__(self, settings: SandboxSettings, users: Sequence[User], sessions: Sessions) -> None:
        rng = Random(f"{settings.seed}:app")
        self.app = {"client_id": str(9_001), "client_secret": str(uuid.UUID(int=rng.getrandbits(128), version=4))}
        self._now: Callable[[], datetime] = settings.now
        self._users = {user.name: user for user in users}
        self._sessions = sessions
        self._codes: dict[str, _Code] = {}
        self._refreshes: dict[str, _Refresh] = {}

    def page(self, query: Mapping[str, str]) -> Answer:
        """The form; for an app or address that is not registered nobody is sent anywhere."""
        if not self._is_registered(query):
            return Answer(400, "The app or its redirect_uri is not registered.", "text/plain")
        return Answer(text=_PAGE.format(told=escape("Nothing here is real.")), content_type=_HTML)

    def decide(self, query: Mapping[str, str], form: Mapping[str, object]) -> Answer | str:
        """Where the user is sent after pressing a button; the form again after a wrong password."""
        if not self._is_registered(query):
            return self.page(query)
        back: dict[str, str] = {"state": query["state"]} if "state" in query else {}
        if form.get("answer") != "allow":
            return _with(query["redirect_uri"], {"error": "access_denied", **back})
        user = self._users.get(str(form.get("username")))
        if user is None or form.get("password") != user.password:
            return Answer(text=_PAGE.format(told="Incorrect username or password."), content_type=_HTML)
        code = secrets.token_urlsafe(24)
        self._codes[code] = _Code(user, query["redirect_uri"], self._now() + _CODE_LIFE)
        return _with(query["redirect_uri"], {"code": code, **back})

    def token(self, form: Mapping[str, object]) -> Answer:
        """The answer of oauthtoken; what it refuses it refuses with status 200."""
        if any(form.get(name) != value for name, value in self.app.items()):
            return _refused("invalid_client")
        if form.get("grant_type") == "authorization_code":
            return self._by_code(form)
        if form.get("grant_type") == "refresh_token":
            return self._by_refresh(str(form.get("refresh_token")))
        return _refused("unsupported_grant_type")

    def _by_code(self, form: Mapping[str, object]) -> Answer:
        code = self._codes.pop(str(form.get("code")), None)
        if code is None or code.ends <= self._now() or form.get("redirect_uri") != code.redirect_uri:
            return _refused("invalid_grant", f"the code {form.get('code')} is not valid")
        return self._granted(code.user, self._sessions.open(code.user))

    def _by_refresh(self, token: str) -> Answer:
        kept = self._refreshes.get(token)
        if kept is None or kept.ends <= self._now():
            return _refused("invalid_token")
        del self._refreshes[token]
        try:
            return self._granted(kept.user, self._sessions.prolong(kept.session_token))
        except RefusedError:  # a login beyond the second has closed it meanwhile
            return self._granted(kept.user, self._sessions.open(kept.user))

    def _granted(self, user: User, access_token: str) -> Answer:
        refresh_token = secrets.token_urlsafe(48)
        self._refreshes[refresh_token] = _Refresh(user, access_token, self._now() + _REFRESH_LIFE)
        row: Row = {
            "access_token": access_token,
            "token_type": "bearer",
            "expires_in": int(TOKEN_LIFE.total_seconds()),
            "refresh_token": refresh_token,
            "refresh_token_expires_in": int(_REFRESH_LIFE.total_seconds()),
        }
        return answer(row)

    def _is_registered(self, query: Mapping[str, str]) -> bool:
        address = urlsplit(query.get("redirect_uri", ""))
        allowed = address.scheme == "https" or (address.scheme == "http" and address.hostname in ("127.0.0.1", "::1"))
        return allowed and query.get("response_type") == "code" and query.get("client_id") == self.app["client_id"]


def form_of(fields: Mapping[str, object]) -> Row:
    """A body that came as a form. Raises `RefusedError` for a file in it."""
    if not all(isinstance(value, str) for value in fields.values()):
        raise RefusedError(MALFORMED)
    return {name: str(value) for name, value in fields.items()}


def _refused(error: str, description: str = "The request was refused.") -> Answer:
    return answer({"error": error, "error_description": description})


def _with(uri: str, query: Mapping[str, str]) -> str:
    return f"{uri}{'&' if urlsplit(uri).query else '?'}{urlencode(query)}"
