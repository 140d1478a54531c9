"""Who calls the simulated broker: whoever shows a token that its user allowed at the consent page."""

from __future__ import annotations

import secrets
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from urllib.parse import urlencode, urlsplit

import attrs
from aiohttp import web

from brokersync.plugin import SandboxSettings
from {{ cookiecutter.__package }}.sandbox_books import User
from {{ cookiecutter.__package }}.sandbox_sessions import Grant, Sessions
from {{ cookiecutter.__package }}.sandbox_wire import Handler, RefusedError, bearer

_CODE_LIFE = timedelta(minutes=5)
_PAGE = """<!DOCTYPE html><html><head><title>Sign in</title></head><body><h1>An invented broker</h1>
<form method="post"><label>User name <input name="username"></label>
<label>Password <input name="password" type="password"></label>
<button name="answer" value="allow">Allow</button> <button name="answer" value="deny">Deny</button></form>
</body></html>"""


@attrs.frozen
class _Code:
    user: User
    redirect_uri: str
    challenge: str
    ends: datetime


class Logins:
    """One registered app, its consent page, and the faults that have to do with tokens.

    Any address on this machine or behind https may be the one that users are sent back to.
    """

    overcome = ("expired_token",)
    asks_user = ("revoked",)

    def __init__(self, settings: SandboxSettings, users: Sequence[User]) -> None:
        self.app = {"client_id": "app-of-the-sandbox", "client_secret": "secret-of-the-app"}
        self._now, self._users = settings.now, users
        self._sessions = Sessions(settings.now)
        self._codes: dict[str, _Code] = {}

    def routes(self) -> Iterable[tuple[str, str, Handler]]:
        return (
            ("GET", "/oauth/authorize", self._page),
            ("POST", "/oauth/authorize", self._decide),
            ("POST", "/oauth/token", self._token),
            ("POST", "/oauth/revoke", self._revoke),
        )

    def page_of(self, user: User) -> Mapping[str, str]:
        """What the user types at the page, and the button that is pressed there."""
        return {"username": user.name, "password": user.secret, "answer": "allow"}

    def caller(self, request: web.Request) -> str:
        """Whose calls are counted together."""
        return bearer(request)

    def user(self, request: web.Request, environment: str) -> User:
        """A token is good in its own environment only."""
        user = self._sessions.user(bearer(request))
        if user.environment != environment:
            raise RefusedError(401, "token_expired")
        return user

    def show(self, fault: str, request: web.Request) -> None:
        """The token ends as if its time had come; `revoked`: and the refresh token with it."""
        if fault == "revoked":
            self._sessions.end(bearer(request))
        self._sessions.expire(bearer(request))

    async def _page(self, request: web.Request) -> web.Response:
        """The form; for an app or address that is not registered nobody is sent anywhere."""
        self._check_app(request)
        return web.Response(text=_PAGE, content_type="text/html")

    async def _decide(self, request: web.Request) -> web.Response:
        """Where the user is sent after pressing a button; the form again after a wrong password."""
        self._check_app(request)
        form, query = await request.post(), request.query
        back = {"state": query["state"]} if "state" in query else {}
        if form.get("answer") != "allow":
            return _sent_to(query["redirect_uri"], {"error": "access_denied", **back})
        given = (request.match_info["environment"], form.get("username"), form.get("password"))
        for user in self._users:
            if (user.environment, user.name, user.secret) == given:
                code = secrets.token_urlsafe(24)
                ends = self._now() + _CODE_LIFE
                self._codes[code] = _Code(user, query["redirect_uri"], query.get("code_challenge", ""), ends)
                return _sent_to(query["redirect_uri"], {"code": code, **back})
        return web.Response(text=_PAGE, content_type="text/html")

    async def _token(self, request: web.Request) -> web.Response:
        form = await self._form(request)
        if form.get("grant_type") == "authorization_code":
            return _answer(self._sessions.begin(self._by_code(form)))
        if form.get("grant_type") == "refresh_token":
            grant = self._sessions.renew(form.get("refresh_token", ""))
            if grant is not None:
                return _answer(grant)
        raise RefusedError(400, "invalid_grant")

    async def _revoke(self, request: web.Request) -> web.Response:
        form = await self._form(request)
        self._sessions.end(form.get("token", ""))
        return web.json_response({})

    def _by_code(self, form: Mapping[str, str]) -> User:
        """A code is good once, for whoever asked for it and can show it."""
        code = self._codes.pop(form.get("code", ""), None)
        proof = urlsafe_b64encode(sha256(form.get("code_verifier", "").encode()).digest()).rstrip(b"=").decode()
        if code is None or code.ends <= self._now() or code.challenge != proof:
            raise RefusedError(400, "invalid_grant")
        if form.get("redirect_uri") != code.redirect_uri:
            raise RefusedError(400, "invalid_grant")
        return code.user

    async def _form(self, request: web.Request) -> dict[str, str]:
        form = {name: str(value) for name, value in (await request.post()).items()}
        if any(form.get(name) != value for name, value in self.app.items()):
            raise RefusedError(401, "invalid_client")
        return form

    def _check_app(self, request: web.Request) -> None:
        query, address = request.query, urlsplit(request.query.get("redirect_uri", ""))
        allowed = address.scheme == "https" or (address.scheme == "http" and address.hostname in ("127.0.0.1", "::1"))
        if not allowed or (query.get("response_type"), query.get("client_id")) != ("code", self.app["client_id"]):
            raise RefusedError(400, "not_registered")


def _answer(grant: Grant) -> web.Response:
    return web.json_response(
        {
            "access_token": grant.token,
            "token_type": "bearer",
            "expires_in": grant.lasts,
            "refresh_token": grant.refresh_token,
            "refresh_token_expires_in": grant.ends_in,
        }
    )


def _sent_to(uri: str, query: Mapping[str, str]) -> web.Response:
    address = f"{uri}{'&' if urlsplit(uri).query else '?'}{urlencode(query)}"
    return web.Response(status=302, headers={"Location": address})
