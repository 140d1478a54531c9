"""Tradovate's endpoints, one method each; the broker's names end here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from types import MappingProxyType
from typing import Any

from brokersync.plugin import (
    AuthResult,
    BrokerAccount,
    BrokerAPIError,
    BrokerTokenExpiredError,
    HttpResponse,
    ProviderContext,
)
from brokersync_tradovate.auth import credential_of, home_of
from brokersync_tradovate.credentials import TradovateCredentials
from brokersync_tradovate.exchange import Exchange
from brokersync_tradovate.payloads import Login
from brokersync_tradovate.refusals import (
    Meaning,
    MovedError,
    login_refused,
    object_in,
    renewal_refused,
    report_refused,
    request_refused,
    token_refused,
    unexpected,
)
from brokersync_tradovate.rows import Row, RowError

# 41 ids at once have been answered with 404, 10 never (measured by several teams; undocumented)
_ITEMS_AT_ONCE = 10
_UTC_MINUTES = 0
_NONE: Mapping[str, str] = MappingProxyType({})


class TradovateClient:
    """Tradovate's REST and Reporting API, reading only; it holds nothing of any user."""

    def __init__(self, context: ProviderContext) -> None:
        self._context = context

    async def log_in(self, credentials: TradovateCredentials) -> Login:
        """A new session. The broker closes a user's oldest one beyond two, so this is never repeated blindly."""
        body = {
            "name": credentials.username,
            "password": credentials.password.reveal(),
            "appId": credentials.app_id,
            "appVersion": credentials.app_version,
            "deviceId": credentials.device,
            "cid": _number_if_possible(credentials.cid),
            "sec": credentials.sec.reveal(),
        }
        operation = "auth/accesstokenrequest"
        exchange = Exchange(operation, login_refused, hide=(credentials.password, credentials.sec))
        role = self._context.environment
        response = await self._send(
            exchange, "POST", role, self._context.hosts[role], json=body, credential=credentials.username.lower()
        )
        return _login(operation, response)

    async def renew(self, auth: AuthResult) -> Login:
        """The same session with a new token. Raises `BrokerTokenExpiredError` when a new login is needed."""
        if auth.access_token is None:
            raise BrokerTokenExpiredError("There is no token to renew.")
        operation = "auth/renewaccesstoken"
        exchange = Exchange(operation, renewal_refused, hide=(auth.access_token,))
        # without `auth`: this very call is how core gets the token that it would put in there
        role = home_of(auth, self._context)
        headers = {"Authorization": f"Bearer {auth.access_token.reveal()}"}
        response = await self._send(
            exchange, "GET", role, self._base_url(auth, role), headers=headers, credential=credential_of(auth)
        )
        return _login(operation, response)

    async def who(self, auth: AuthResult, meaning: Meaning = token_refused) -> Row:
        """The user whom a token belongs to.

        Only the live side answers `auth/me`; the list of users holds no other than the one who asks.
        """
        environment = home_of(auth, self._context)
        if environment != "live":
            users = await self.list_all(auth, environment, "user", meaning=meaning)
            if len(users) != 1:
                raise unexpected("user/list", "does not say which of its users is logged in")
            return users[0]
        operation = "auth/me"
        return object_in(operation, await self._get(auth, environment, operation, {}, meaning))

    async def list_all(
        self,
        auth: AuthResult,
        environment: str,
        entity: str,
        *,
        meaning: Meaning = request_refused,
        params: Mapping[str, str] = _NONE,
    ) -> Sequence[Row]:
        """All rows of an entity that the login sees; for orders, fills and fees those of the current session only."""
        return await self._rows(auth, environment, f"{entity}/list", params, meaning)

    async def list_items(self, auth: AuthResult, environment: str, entity: str, ids: Iterable[int]) -> Sequence[Row]:
        """Those of the rows that still exist, in any order."""
        rows: list[Row] = []
        for batch in _batches(sorted(set(ids)), _ITEMS_AT_ONCE):
            rows += await self._existing(auth, environment, f"{entity}/items", batch)
        return rows

    async def report(
        self,
        auth: AuthResult,
        account: BrokerAccount,
        name: str,
        first: date,
        last: date,
        *,
        meaning: Meaning | None = None,
    ) -> str:
        """A report as CSV over whole UTC days, the last one included, for one account under its present name."""
        operation = "reports/requestReport"
        params = {"startDate": _american(first), "endDate": _american(last), "account": account.name}
        role = f"reporting-{account.environment}"
        response = await self._send(
            Exchange(operation, meaning or report_refused(account.name or account.account_id)),
            "POST",
            role,
            self._base_url(auth, role),
            json={
                "name": name,
                "representationType": "csv",
                "timezone": _UTC_MINUTES,
                "params": [{"name": key, "value": value} for key, value in params.items()],
            },
            auth=auth,
            credential=credential_of(auth),
            account=account.account_id,
            repeatable=True,  # a question, although it is put with POST
        )
        body = response.json()
        if not isinstance(body, dict) or not isinstance(body.get("data"), str):
            raise unexpected(operation, "holds no report")
        return str(body["data"])

    async def _existing(self, auth: AuthResult, environment: str, operation: str, ids: Sequence[int]) -> Sequence[Row]:
        """One unknown id, or too many ids, make the whole batch a 404: halve it down to single ids."""
        try:
            params = {"ids": ",".join(str(one) for one in ids)}
            return await self._rows(auth, environment, operation, params, request_refused)
        except BrokerAPIError as error:
            if error.status != 404:
                raise
        if len(ids) == 1:
            return []
        middle = len(ids) // 2
        return [
            *await self._existing(auth, environment, operation, ids[:middle]),
            *await self._existing(auth, environment, operation, ids[middle:]),
        ]

    async def _rows(
        self, auth: AuthResult, environment: str, operation: str, params: Mapping[str, str], meaning: Meaning
    ) -> Sequence[Row]:
        body = (await self._get(auth, environment, operation, params, meaning)).json()
        if not isinstance(body, list) or not all(isinstance(row, dict) for row in body):
            raise unexpected(operation, "is no list of rows")
        return body

    async def _get(
        self, auth: AuthResult, environment: str, operation: str, params: Mapping[str, str], meaning: Meaning
    ) -> HttpResponse:
        exchange, base = Exchange(operation, meaning), self._base_url(auth, environment)
        credential = credential_of(auth)
        return await self._send(exchange, "GET", environment, base, params=params, auth=auth, credential=credential)

    async def _send(self, exchange: Exchange, method: str, role: str, base: str, **what: Any) -> HttpResponse:
        """The answer of the host, or of that which it names instead, if a token may be sent there.

        Core follows no redirect. This one is followed once, with the token, as a request of its own; the next renewal
        tells the new hosts.
        """
        try:
            return await self._sent(exchange, method, base, what)
        except MovedError as moved:
            base = self._context.hosts.accept(role, moved.base)
        return await self._sent(exchange, method, base, what)

    async def _sent(self, exchange: Exchange, method: str, base: str, what: Mapping[str, Any]) -> HttpResponse:
        return await self._context.http.request(
            exchange.operation,
            method,
            f"{base}/{exchange.operation}",
            prepare=exchange.prepare,
            check=exchange.check,
            **what,
        )

    def _base_url(self, auth: AuthResult, role: str) -> str:
        """The host the login was told to use, unless the operator or a sandbox has set another."""
        given = self._context.hosts[role]
        if given != self._context.manifest.hosts[role]:
            return given
        return auth.hosts.get(role, given)


def _login(operation: str, response: HttpResponse) -> Login:
    try:
        return Login.of(object_in(operation, response))
    except RowError as error:
        raise unexpected(operation, f"lacks what a login needs: {error}") from None


def _number_if_possible(cid: str) -> int | str:
    """The schema says text and every example sends a number, which some servers insist on."""
    return int(cid) if cid.isascii() and cid.isdigit() else cid


def _american(day: date) -> str:
    return f"{day.month}/{day.day}/{day.year}"


def _batches(ids: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(ids), size):
        yield ids[start : start + size]
