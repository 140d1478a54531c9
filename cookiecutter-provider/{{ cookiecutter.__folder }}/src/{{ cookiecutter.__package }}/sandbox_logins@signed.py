"""Who calls the simulated broker: whoever signs with the secret of one of its users' keys, once and in time."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from hashlib import sha256
from urllib.parse import urlencode

from aiohttp import web

from brokersync.plugin import SandboxSettings
from {{ cookiecutter.__package }}.sandbox_books import User
from {{ cookiecutter.__package }}.sandbox_wire import Handler, RefusedError
from {{ cookiecutter.__package }}.signing import KEY_HEADER, NONCE_HEADER, SIGNATURE_HEADER, TIME_HEADER

# FILL IN: how far the broker lets a client's clock be from its own
_APART = timedelta(seconds=5)
_MILLISECOND = timedelta(milliseconds=1)
# on the clock of this broker, where a test sets it wrong
_WRONG = timedelta(minutes=3)


class Logins:
    """The keys with their secrets, the nonces that were used, and the faults that have to do with them."""

    overcome = ("denied", "wrong_clock")
    asks_user = ("revoked",)

    def __init__(self, settings: SandboxSettings, users: Sequence[User]) -> None:
        self._now, self._ahead = settings.now, timedelta(0)
        self._users = {f"key-of-{user.name}": user for user in users}
        self._used: set[str] = set()

    def routes(self) -> Iterable[tuple[str, str, Handler]]:
        return (("POST", "/me", self._me),)

    def fields_of(self, user: User) -> Mapping[str, str]:
        return {"api_key": f"key-of-{user.name}", "api_secret": user.secret}

    def caller(self, request: web.Request) -> str:
        """Whose calls are counted together."""
        return request.headers.get(KEY_HEADER, "")

    # FILL IN: what the broker's signature is made of, as its documentation says and not as signing.py does
    def user(self, request: web.Request, environment: str, body: bytes = b"") -> User:
        """A key is good in its own environment only."""
        user = self._users.get(self.caller(request))
        if user is None or user.environment != environment:
            raise RefusedError(401, "unknown_key")
        at, nonce = request.headers.get(TIME_HEADER, ""), request.headers.get(NONCE_HEADER, "")
        path = request.path
        signed = (at, nonce, request.method, path, urlencode(sorted(request.query.items())), sha256(body).hexdigest())
        proper = hmac.new(user.secret.encode(), "\n".join(signed).encode(), sha256).hexdigest()
        if not hmac.compare_digest(proper, request.headers.get(SIGNATURE_HEADER, "")):
            raise RefusedError(401, "bad_signature")
        self._check_time(int(at))
        if nonce in self._used:
            raise RefusedError(400, "used_nonce")
        self._used.add(nonce)
        return user

    def show(self, fault: str, request: web.Request) -> None:
        """`denied` says nothing of the key, as a broker's hiccup does; `revoked` says that it is none any more.

        From `wrong_clock` on the clock of the broker goes wrong, and is right in its own eyes.
        """
        if fault == "wrong_clock":
            self._ahead += _WRONG
            return
        raise RefusedError(401, "unknown_key" if fault == "revoked" else "denied")

    def _check_time(self, at: int) -> None:
        here = int((self._now() + self._ahead).timestamp() * 1000)
        if abs(here - at) > _APART / _MILLISECOND:
            raise RefusedError(400, "bad_timestamp", serverTime=here)

    async def _me(self, request: web.Request) -> web.Response:
        """The same as without a body, for signatures over one."""
        user = self.user(request, request.match_info["environment"], await request.read())
        return web.json_response({"id": user.id, "rights": user.rights})
