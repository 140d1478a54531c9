"""From the broker's answer to a login or a renewal: what core keeps of it."""

from __future__ import annotations

from datetime import datetime

from brokersync.plugin import AuthResult, BrokerResponseError
from {{ cookiecutter.__package }}.client import {{ cookiecutter.__class }}Client
from {{ cookiecutter.__package }}.credentials import {{ cookiecutter.__class }}Credentials
from {{ cookiecutter.__package }}.normalise import identity_of
from {{ cookiecutter.__package }}.payloads import Row, RowError
from {{ cookiecutter.__package }}.refusals import session_ended
from {{ cookiecutter.__package }}.tokens import Tokens


# FILL IN: the path of a login, and what it is sent
async def log_in(
    client: {{ cookiecutter.__class }}Client,
    credentials: {{ cookiecutter.__class }}Credentials,
) -> AuthResult:
    """A new session. Raises `BrokerAuthError` when the broker refuses the password."""
    body = {"username": credentials.username, "password": credentials.password.reveal()}
    answer = await client.exchange("log_in", "/login", body, credential=credentials.username)
    return _auth_result(answer, client.context.clock.now())


# FILL IN: the path of a renewal, and what it is sent; without renewals it only raises `session_ended()`
async def renew(client: {{ cookiecutter.__class }}Client, auth: AuthResult) -> AuthResult:
    """The session with new tokens. Raises `BrokerTokenExpiredError` when only a new login helps.

    Core sees to it that nobody else renews this login meanwhile, and stores the answer before it is used.
    """
    if auth.refresh_token is None:
        raise session_ended()
    body = {"refreshToken": auth.refresh_token.reveal()}
    answer = await client.exchange("renew", "/token", body, credential=auth.identity)
    return _auth_result(answer, client.context.clock.now())


def _auth_result(answer: Row, now: datetime) -> AuthResult:
    """The identity never changes: core refuses a new login of somebody else by it."""
    try:
        tokens = Tokens.of(answer)
    except RowError as error:
        raise BrokerResponseError(f"The answer to a login lacks what is needed: {error}.") from None
    return AuthResult(
        identity=identity_of(tokens.user),
        access_token=tokens.access_token,
        refresh_token=tokens.refresh_token,
        # no `grant_expires_at`: when no token can be renewed any more, core logs in with the password by itself
        expires_at=now + tokens.expires_in,
    )
