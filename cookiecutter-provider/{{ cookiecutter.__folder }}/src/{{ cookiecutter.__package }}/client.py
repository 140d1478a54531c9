"""The broker's endpoints, one method each; the broker's names end here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

{% if cookiecutter.history_kind == "cursor" %}
import attrs

{% endif %}
from brokersync.plugin import (
    AuthResult,
{% if cookiecutter.history_kind == "cursor" %}
    BrokerCursorError,
{% endif %}
    BrokerResponseError,
    HttpResponse,
    ProviderContext,
    TimeWindow,
)
{% if cookiecutter.auth_kind == "api_key" %}
from {{ cookiecutter.__package }}.auth import key_refused
from {{ cookiecutter.__package }}.payloads import Row, RowError, id_in
{% else %}
from {{ cookiecutter.__package }}.auth import login_refused, session_ended
from {{ cookiecutter.__package }}.credentials import {{ cookiecutter.__class }}Credentials
from {{ cookiecutter.__package }}.payloads import Login, Row, RowError
{% endif %}
{% if cookiecutter.history_kind == "cursor" %}


@attrs.frozen
class Executions:
    """A page of executions, and the cursor that leads on from behind it; the last page has none."""

    rows: Sequence[Row]
    cursor: str | None
{% endif %}


# FILL IN: the paths, parameters and codes of the broker, in this class and below it
class {{ cookiecutter.__class }}Client:
    """Reads only, and holds nothing of any user.

    Core waits for the limits, sends, repeats what helps, renews a token that has ended, and judges the status.
    """

    def __init__(self, context: ProviderContext) -> None:
        self._context = context

{% if cookiecutter.auth_kind == "api_key" %}
    async def who(self, auth: AuthResult) -> str:
        """The id of the user whom a key belongs to. Raises `BrokerAuthError` for a key that is none."""
        body = await self._get("who", "/me", auth)
        try:
            return id_in(body, "id")
        except RowError as error:
            raise _unexpected("who", str(error)) from None
{% else %}
    async def log_in(self, credentials: {{ cookiecutter.__class }}Credentials) -> Login:
        """A new session. Raises `BrokerAuthError` when the broker refuses the password."""
        body = {"username": credentials.username, "password": credentials.password.reveal()}
        return await self._session("log_in", "/login", body, credential=credentials.username)

    async def renew(self, auth: AuthResult) -> Login:
        """The session with new tokens. Raises `BrokerTokenExpiredError` when only a new login helps."""
        if auth.refresh_token is None:
            raise session_ended()
        return await self._session(
            "renew", "/token", {"refreshToken": auth.refresh_token.reveal()}, credential=auth.identity
        )
{% endif %}

    async def list_accounts(self, auth: AuthResult) -> Sequence[Row]:
        """All accounts of the login."""
        return _rows("list_accounts", await self._get("list_accounts", "/accounts", auth), "accounts")

{% if cookiecutter.history_kind == "windows" %}
    async def list_executions(self, auth: AuthResult, account_id: str, window: TimeWindow) -> Sequence[Row]:
        """All executions of an account in a span, whose end the broker leaves out as core does."""
        operation = "list_executions"
        params = {"from": window.start.isoformat(), "to": window.end.isoformat()}
        body = await self._get(operation, f"/accounts/{account_id}/executions", auth, params, account=account_id)
        return _rows(operation, body, "executions")
{% else %}
    async def list_executions(
        self, auth: AuthResult, account_id: str, window: TimeWindow, cursor: str | None
    ) -> Executions:
        """A page of the executions of an account in a span, whose end the broker leaves out as core does.

        Core keeps the cursor, and may come back with it hours later, in another process.
        """
        operation = "list_executions"
        params = {"from": window.start.isoformat(), "to": window.end.isoformat()}
        if cursor is not None:
            params["cursor"] = cursor
        body = await self._get(operation, f"/accounts/{account_id}/executions", auth, params, account=account_id)
        following = body.get("next")
        if following is not None and not isinstance(following, str):
            raise _unexpected(operation, "its cursor is no text")
        return Executions(_rows(operation, body, "executions"), following or None)
{% endif %}

{% if cookiecutter.auth_kind == "password" %}
    async def _session(self, operation: str, path: str, body: dict[str, str], *, credential: str) -> Login:
        # without `auth`, and not repeatable: a refresh token that was used is no longer good
        url = self._context.hosts["api"] + path
        response = await self._context.http.request(
            operation, "POST", url, json=body, credential=credential, check=_check
        )
        try:
            return Login.of(_body(operation, response))
        except RowError as error:
            raise _unexpected(operation, str(error)) from None

{% endif %}
    async def _get(
        self,
        operation: str,
        path: str,
        auth: AuthResult,
        params: dict[str, str] | None = None,
        account: str | None = None,
    ) -> Row:
        # core sends the token as `Authorization: Bearer`; where it goes elsewhere, pass bearer=False and prepare=
        url = self._context.hosts["api"] + path
        response = await self._context.http.request(
            operation, "GET", url, params=params, auth=auth, account=account, check=_check
        )
        return _body(operation, response)


def _check(response: HttpResponse) -> None:
    """Raises what the broker says in words; what it only says by a status is judged by core.

    No text of the broker's is shown, since it may repeat what was sent.
    """
    code = _code(response)
{% if cookiecutter.auth_kind == "api_key" %}
    if code == "unknown_key":
        raise key_refused(code)
{% else %}
    if code == "wrong_password":
        raise login_refused(code)
    if code == "session_ended":
        raise session_ended(code)
{% endif %}
{% if cookiecutter.history_kind == "cursor" %}
    if code == "unknown_cursor":
        raise BrokerCursorError("The broker does not know this cursor any more.", code=code)
{% endif %}


def _code(response: HttpResponse) -> str | None:
    if response.status < 400:
        return None
    try:
        body: Any = response.json()
    except BrokerResponseError:
        return None  # such as the page of a proxy
    code = body.get("code") if isinstance(body, dict) else None
    return code if isinstance(code, str) else None


def _body(operation: str, response: HttpResponse) -> Row:
    body: Any = response.json()
    if not isinstance(body, dict):
        raise _unexpected(operation, "it is no object")
    return body


def _rows(operation: str, body: Row, name: str) -> Sequence[Row]:
    rows = body.get(name)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise _unexpected(operation, f"{name} is no list of objects")
    return rows


def _unexpected(operation: str, why: str) -> BrokerResponseError:
    return BrokerResponseError(f"The answer to {operation} is not what the broker documents: {why}.")
