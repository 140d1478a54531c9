"""From Tradovate's answer to a login: what core keeps of it, and which hosts it may lead to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta

import attrs

from brokersync.plugin import AuthResult, BrokerAuthError, BrokerResponseError, ProviderContext
from brokersync_tradovate.payloads import Login
from brokersync_tradovate.refusals import unexpected
from brokersync_tradovate.rows import Row
from brokersync_tradovate.tokens import Tokens

# Keys of `apiHosts` and our roles; the others lead to market data, replay and what may come (Dynamic API hosts).
_ROLES = {
    "live": "live",
    "demo": "demo",
    "reportingLive": "reporting-live",
    "reportingDemo": "reporting-demo",
}
_USER = "user"
_UNNAMED = "a user whose name is not told yet"
# where the answer does not say, what two teams have measured
_LIFE_OF_A_REFRESH_TOKEN = timedelta(hours=26)
_HOST_NAME = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+", re.ASCII | re.IGNORECASE)


def home_of(auth: AuthResult, context: ProviderContext) -> str:
    """The side that a login was made on, which is not that of every connection that it serves."""
    return auth.state.get("environment", context.environment)


def credential_of(auth: AuthResult) -> str:
    """What the limits of a login are kept under: its user's name, known before a login too, or else the identity."""
    return auth.state.get("name", "").lower() or auth.identity


def auth_result(
    login: Login, context: ProviderContext, known_hosts: Mapping[str, str], home: str, name: str
) -> AuthResult:
    """What a login gives. Raises `BrokerAuthError` for a user who may not trade.

    The identity is the user, not the owner of an account, whom all traders of a prop firm share. `name` is what he
    logs in with, who may be called otherwise by Tradovate: a silence that it asks for holds for the next login, too.
    """
    if login.user_status != "Active":
        error = BrokerAuthError(
            f"Tradovate says that this user is not active but {login.user_status}.",
            remedy="Sign in to Tradovate's web application, which says what to do; then connect again.",
            code=login.user_status,
        )
        error.opened = True
        raise error
    return AuthResult(
        identity=f"{_USER}:{login.user_id}",
        access_token=login.access_token,
        expires_at=login.expiration_time,
        hosts={**known_hosts, **learned_hosts(login.api_hosts, context)},
        state={"environment": home, "name": name},
    )


def session_of(login: Login, auth: AuthResult, context: ProviderContext) -> AuthResult:
    """What a renewal of `auth` gives: the same session under a new token. A refresh token that it has stays."""
    name = auth.state.get("name") or login.name
    new = auth_result(login, context, auth.hosts, home_of(auth, context), name)
    return attrs.evolve(new, refresh_token=auth.refresh_token, grant_expires_at=auth.grant_expires_at)


def consented(tokens: Tokens, context: ProviderContext, before: AuthResult | None = None) -> AuthResult:
    """What OAuth gives, in place of the tokens `before`. Whose it is the first answer does not say."""
    now = context.clock.now()
    refresh_token = tokens.refresh_token or (before.refresh_token if before else None)
    lasts = tokens.refresh_token_expires_in or _LIFE_OF_A_REFRESH_TOKEN
    return AuthResult(
        identity=before.identity if before else _UNNAMED,
        access_token=tokens.access_token,
        expires_at=now + tokens.expires_in,
        refresh_token=refresh_token,
        grant_expires_at=None if refresh_token is None else now + lasts,
        hosts={**(before.hosts if before else {}), **learned_hosts(tokens.api_hosts, context)},
        state={"environment": "live", **(before.state if before else {})},
    )


def user_of(auth: AuthResult) -> str | None:
    """The id of who is logged in, where that is known yet."""
    kind, _, number = auth.identity.partition(":")
    return number if kind == _USER else None


def named_after(user: Row, auth: AuthResult) -> AuthResult:
    """The login under the name of its user, out of `auth/me` or `user/list`. Raises `BrokerResponseError`."""
    number = user.get("userId", user.get("id"))
    if type(number) is not int:
        raise unexpected("auth/me", "does not say who is logged in")
    return attrs.evolve(auth, identity=f"{_USER}:{number}", state={**auth.state, "name": str(user.get("name") or "")})


def learned_hosts(api_hosts: Mapping[str, str], context: ProviderContext) -> dict[str, str]:
    """Base URLs by role. The token is sent there, so anything but a bare name of an allowed host is refused."""
    learned = {}
    for key, role in _ROLES.items():
        if key not in api_hosts:
            continue
        if not _HOST_NAME.fullmatch(api_hosts[key]):
            raise BrokerResponseError(f"Tradovate named a host for {role} that is no bare host name.")
        learned[role] = context.hosts.accept(role, f"https://{api_hosts[key]}/v1")
    return learned
