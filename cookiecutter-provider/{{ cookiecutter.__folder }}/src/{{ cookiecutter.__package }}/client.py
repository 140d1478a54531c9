"""The broker's endpoints, one method each; the broker's names end here."""

from __future__ import annotations

{% if cookiecutter.auth_kind == "oauth2" %}
from collections.abc import Callable, Sequence
{% else %}
from collections.abc import Sequence
{% endif %}
{% if cookiecutter.history_kind == "session" %}
from datetime import datetime
{% endif %}
{% if cookiecutter.auth_kind in ("api_key", "signed") %}
from hashlib import sha256
{% endif %}
from typing import Any

{% if cookiecutter.history_kind in ("cursor", "session") %}
import attrs

{% endif %}
from brokersync.plugin import (
    AuthResult,
{% if cookiecutter.history_kind == "cursor" %}
    BrokerCursorError,
{% endif %}
{% if cookiecutter.auth_kind in ("api_key", "oauth2") %}
    BrokerError,
{% endif %}
    BrokerResponseError,
    HttpResponse,
    ProviderContext,
{% if cookiecutter.auth_kind == "api_key" %}
    RequestDraft,
{% endif %}
{% if cookiecutter.history_kind in ("windows", "cursor") %}
    TimeWindow,
{% endif %}
)
{% if cookiecutter.history_kind == "session" %}
from {{ cookiecutter.__package }}.payloads import Row, RowError, User, moment_in
{% else %}
from {{ cookiecutter.__package }}.payloads import Row, RowError, User
{% endif %}
from {{ cookiecutter.__package }}.refusals import meaning_of
{% if cookiecutter.auth_kind == "signed" %}
from {{ cookiecutter.__package }}.signing import Signer
{% endif %}
{% if cookiecutter.auth_kind == "api_key" %}

# FILL IN: the header that the key is sent in; `Authorization: Bearer` core sends without `prepare`, and for `Basic` see
# docs/adding-a-broker.md, HTTP Basic
KEY_HEADER = "X-Api-Key"
{% endif %}
{% if cookiecutter.history_kind == "cursor" %}


@attrs.frozen
class Executions:
    """A page of executions, and the cursor that leads on from behind it; the last page has none."""

    rows: Sequence[Row]
    cursor: str | None
{% elif cookiecutter.history_kind == "session" %}


@attrs.frozen
class Session:
    """All executions since the session began, of all the accounts that it names."""

    begins: datetime
    account_ids: frozenset[str]
    rows: Sequence[Row]
{% endif %}


class {{ cookiecutter.__class }}Client:
    """Reads only, and holds nothing of any user.

    Core waits for the limits, sends, repeats what helps, renews a token that has ended, and judges the status.
    """

    def __init__(self, context: ProviderContext) -> None:
        self.context = context
{% if cookiecutter.auth_kind == "signed" %}
        self._signer = Signer(context)
{% endif %}

    # FILL IN: the path at which the broker tells who is logged in
    async def who(self, auth: AuthResult) -> User:
        """Whom a login belongs to."""
        body = await self._get("who", "/me", auth)
        try:
            return User.of(body)
        except RowError as error:
            raise _unexpected("who", str(error)) from None

    # FILL IN: the path of the accounts, and the name of the list in its answer
    async def list_accounts(self, auth: AuthResult) -> Sequence[Row]:
        """All accounts of the login."""
        return _rows("list_accounts", await self._get("list_accounts", "/accounts", auth), "accounts")

{% if cookiecutter.history_kind == "windows" %}
    # FILL IN: the path, the names and forms of the span, and the name of the list
    async def list_executions(self, auth: AuthResult, account_id: str, window: TimeWindow) -> Sequence[Row]:
        """All executions of an account in a span, whose end the broker leaves out as core does."""
        operation = "list_executions"
        params = {"from": window.start.isoformat(), "to": window.end.isoformat()}
        body = await self._get(operation, f"/accounts/{account_id}/executions", auth, params, account=account_id)
        return _rows(operation, body, "executions")

{% elif cookiecutter.history_kind == "cursor" %}
    # FILL IN: the path, the names and forms of span and cursor, and where the next cursor stands in the answer
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

{% elif cookiecutter.history_kind == "session" %}
    # FILL IN: the path, and what the answer tells of the session beside its executions
    async def read_session(self, auth: AuthResult) -> Session:
        """The running session; what was before it is gone."""
        operation = "read_session"
        body = await self._get(operation, "/session", auth)
        told = body.get("accounts")
        if not isinstance(told, list) or not all(type(one) in (int, str) for one in told):
            raise _unexpected(operation, "accounts is no list of ids")
        try:
            begins = moment_in(body, "begins")
        except RowError as error:
            raise _unexpected(operation, str(error)) from None
        return Session(begins, frozenset(map(str, told)), _rows(operation, body, "executions"))

{% endif %}
{% if cookiecutter.auth_kind == "password" %}
    async def exchange(self, operation: str, path: str, body: dict[str, str], *, credential: str) -> Row:
        """The answer to what a login is made or renewed with; `credential` names the login to the limits."""
        # without `auth`, and not repeatable: a refresh token that was used is no longer good
        response = await self.context.http.request(
            operation, "POST", self._url(path), json=body, credential=credential, check=_check
        )
        return _body(operation, response)

{% elif cookiecutter.auth_kind == "oauth2" %}
    async def exchange(
        self,
        operation: str,
        path: str,
        form: dict[str, str],
        refused: Callable[[str], BrokerError | None],
        *,
        credential: str | None = None,
    ) -> Row:
        """The answer to a code or a token, whose refusals are told by `refused`; `credential` names the login."""

        def check(response: HttpResponse) -> None:
            code = _code(response)
            if code is not None and (error := refused(code)) is not None:
                raise error

        # without `auth`, and not repeatable: a code or a refresh token that was used is no longer good
        response = await self.context.http.request(
            operation, "POST", self._url(path), form=form, credential=credential, check=check
        )
        return _body(operation, response)

{% endif %}
    async def _get(
        self,
        operation: str,
        path: str,
        auth: AuthResult,
        params: dict[str, str] | None = None,
        account: str | None = None,
    ) -> Row:
{% if cookiecutter.auth_kind == "signed" %}
        response = await self.context.http.request(
            operation,
            "GET",
            self._url(path),
            params=params,
            auth=auth,
            bearer=False,
            credential=_counted_as(auth),
            account=account,
            prepare=self._signer.prepare,
            check=self._check,
        )
        return _body(operation, response)

    def _check(self, response: HttpResponse) -> None:
        if _code(response) == "bad_timestamp":
            self._signer.check_clock(response)
        _check(response)
{% elif cookiecutter.auth_kind == "api_key" %}
        response = await self.context.http.request(
            operation,
            "GET",
            self._url(path),
            params=params,
            auth=auth,
            bearer=False,
            credential=_counted_as(auth),
            account=account,
            prepare=_with_key,
            check=_check,
        )
        return _body(operation, response)
{% else %}
        # core sends the token as `Authorization: Bearer`; where it goes elsewhere, pass bearer=False and prepare=
        response = await self.context.http.request(
            operation, "GET", self._url(path), params=params, auth=auth, account=account, check=_check
        )
        return _body(operation, response)
{% endif %}

    def _url(self, path: str) -> str:
        return self.context.hosts[self.context.environment] + path


{% if cookiecutter.auth_kind in ("api_key", "signed") %}
# FILL IN: by what the broker counts calls; where that is the user and no key, leave out `credential` above, and this
def _counted_as(auth: AuthResult) -> str | None:
    """The key, before the broker has told whose it is as well as after."""
    return None if auth.access_token is None else sha256(auth.access_token.reveal().encode()).hexdigest()


{% endif %}
{% if cookiecutter.auth_kind == "api_key" %}
def _with_key(draft: RequestDraft, _: BrokerError | None) -> None:
    """Places the key, at each attempt anew."""
    if draft.auth is not None and draft.auth.access_token is not None:
        draft.headers[KEY_HEADER] = draft.auth.access_token.reveal()


{% endif %}
def _check(response: HttpResponse) -> None:
    """Raises what the broker says in words; what it only says by a status is judged by core.

    No text of the broker's is shown, since it may repeat what was sent.
    """
    code = _code(response)
{% if cookiecutter.history_kind == "cursor" %}
    # FILL IN: what the broker answers to a cursor that it does not know any more
    if code == "unknown_cursor":
        raise BrokerCursorError("The broker does not know this cursor any more.", code=code)
{% endif %}
    if code is not None and (error := meaning_of(code)) is not None:
        raise error


# FILL IN: where an error of the broker has its code; one that means "no" with status 200 is found here, too
def _code(response: HttpResponse) -> str | None:
    if response.status < 400:
        return None
    try:
        body: Any = response.json()
    except BrokerResponseError:
        return None  # such as the page of a proxy
    code = body.get("error") if isinstance(body, dict) else None
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
