"""Who calls the simulated broker: whoever shows the key of one of its users."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from aiohttp import web

from brokersync.plugin import SandboxSettings
from {{ cookiecutter.__package }}.sandbox_books import User
from {{ cookiecutter.__package }}.sandbox_wire import Handler, RefusedError, key_in


class Logins:
    """The keys, and the faults that have to do with them."""

    overcome = ("denied",)
    asks_user = ("revoked",)

    def __init__(self, settings: SandboxSettings, users: Sequence[User]) -> None:
        self._users = {user.secret: user for user in users}

    def routes(self) -> Iterable[tuple[str, str, Handler]]:
        return ()

    def fields_of(self, user: User) -> Mapping[str, str]:
        return {"api_key": user.secret}

    def caller(self, request: web.Request) -> str:
        """Whose calls are counted together."""
        return key_in(request)

    def user(self, request: web.Request, environment: str) -> User:
        """A key is good in its own environment only."""
        user = self._users.get(key_in(request))
        if user is None or user.environment != environment:
            raise RefusedError(401, "unknown_key")
        return user

    def show(self, fault: str, request: web.Request) -> None:
        """`denied` says nothing of the key, as a broker's hiccup does; `revoked` says that it is none any more."""
        raise RefusedError(401, "unknown_key" if fault == "revoked" else "denied")
