"""Who calls the simulated broker: whoever shows the token of a session that began with a password."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from aiohttp import web

from brokersync.plugin import SandboxSettings
from {{ cookiecutter.__package }}.sandbox_books import User
from {{ cookiecutter.__package }}.sandbox_sessions import Grant, Sessions
from {{ cookiecutter.__package }}.sandbox_wire import Handler, RefusedError, bearer


class Logins:
    """Passwords and sessions, and the faults that have to do with them."""

    overcome = ("expired_token",)
    asks_user: tuple[str, ...] = ()

    def __init__(self, settings: SandboxSettings, users: Sequence[User]) -> None:
        self._users = users
        self._sessions = Sessions(settings.now)

    def routes(self) -> Iterable[tuple[str, str, Handler]]:
        return (("POST", "/login", self._log_in), ("POST", "/token", self._renew))

    def fields_of(self, user: User) -> Mapping[str, str]:
        return {"username": user.name, "password": user.secret}

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
        """The only one: the token ends as if its time had come."""
        self._sessions.expire(bearer(request))

    async def _log_in(self, request: web.Request) -> web.Response:
        body = await request.json()
        given = (request.match_info["environment"], body.get("username"), body.get("password"))
        for user in self._users:
            if (user.environment, user.name, user.secret) == given:
                return _answer(self._sessions.begin(user))
        raise RefusedError(401, "wrong_password")

    async def _renew(self, request: web.Request) -> web.Response:
        body = await request.json()
        grant = self._sessions.renew(str(body.get("refreshToken")))
        if grant is None:
            raise RefusedError(400, "session_ended")
        return _answer(grant)


def _answer(grant: Grant) -> web.Response:
    return web.json_response(
        {
            "accessToken": grant.token,
            "refreshToken": grant.refresh_token,
            "expiresIn": grant.lasts,
            "userId": grant.user.id,
        }
    )
