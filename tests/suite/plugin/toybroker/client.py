"""The broker's endpoints and what a login gives."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import attrs

from brokersync.plugin import (
    AuthResult,
    BrokerAuthError,
    BrokerCredentials,
    BrokerCursorError,
    BrokerResponseError,
    BrokerTokenExpiredError,
    HttpResponse,
    ProviderContext,
    Secret,
)


@attrs.frozen(kw_only=True)
class ToyCredentials(BrokerCredentials):
    username: str
    password: Secret


class ToyClient:
    def __init__(self, context: ProviderContext) -> None:
        self._context = context

    async def log_in(self, credentials: ToyCredentials) -> AuthResult:
        body = {"user": credentials.username, "password": credentials.password.reveal()}
        return self._auth(await self._post("log_in", "/login", body, credentials.username))

    async def exchange(self, code: str) -> AuthResult:
        return self._auth(await self._post("exchange", "/exchange", {"code": code}, "consent"))

    async def renew(self, auth: AuthResult) -> AuthResult:
        if auth.refresh_token is None:
            raise BrokerTokenExpiredError("The session has ended.")
        return self._auth(await self._post("renew", "/renew", {"refresh": auth.refresh_token.reveal()}, auth.identity))

    async def get(self, operation: str, path: str, auth: AuthResult, **params: str) -> Any:
        url = self._context.hosts["api"] + path
        answer = await self._context.http.request(operation, "GET", url, params=params, auth=auth, check=_check)
        return _object(answer)

    async def _post(self, operation: str, path: str, body: dict[str, str], credential: str) -> Any:
        url = self._context.hosts["api"] + path
        answer = await self._context.http.request(
            operation, "POST", url, json=body, credential=credential, check=_check
        )
        return _object(answer)

    def _auth(self, body: Any) -> AuthResult:
        try:
            refresh = body.get("refresh")
            return AuthResult(
                identity=f"user:{body['user']}",
                access_token=Secret(body["token"]),
                refresh_token=None if refresh is None else Secret(refresh),
                expires_at=self._context.clock.now() + timedelta(seconds=int(body["expires_in"])),
            )
        except (KeyError, TypeError, ValueError):
            raise BrokerResponseError("The answer to a login is not what the broker documents.") from None


def rows_in(body: Any, name: str) -> list[dict[str, Any]]:
    rows = body.get(name)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise BrokerResponseError(f"The answer holds no list of {name}.")
    return rows


def _check(response: HttpResponse) -> None:
    code = _code(response)
    if code == "wrong_password":
        raise BrokerAuthError("Toy Brokers does not accept this user name and password.", code=code)
    if code == "code_refused":
        raise BrokerAuthError("Toy Brokers does not take what its page had answered.", code=code)
    if code == "session_ended":
        raise BrokerTokenExpiredError("The session at Toy Brokers has ended.", code=code)
    if code == "unknown_cursor":
        raise BrokerCursorError("The broker does not know this cursor any more.", code=code)


def _code(response: HttpResponse) -> Any:
    if response.status < 400:
        return None
    try:
        body = response.json()
    except BrokerResponseError:
        return None
    return body.get("code") if isinstance(body, dict) else None


def _object(response: HttpResponse) -> Any:
    body = response.json()
    if not isinstance(body, dict):
        raise BrokerResponseError("The answer is no object, which is not what the broker documents.")
    return body
