"""A login at Tradovate's own page: the way in for everybody, and for traders of prop firms the only one."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from datetime import timedelta

from brokersync.plugin import (
    AuthResult,
    BrokerAPIError,
    BrokerAuthError,
    BrokerConfigError,
    BrokerCredentials,
    BrokerError,
    Challenge,
    ProviderContext,
    Secret,
)
from brokersync_tradovate.auth import consented, named_after, session_of
from brokersync_tradovate.client import TradovateClient
from brokersync_tradovate.oauth import OAuth

_TIME = timedelta(minutes=10)
_ERROR_NAME = re.compile(r"[a-z_]{1,40}")
_BEGIN_AGAIN = "Begin the login again."


class TradovateConsent:
    """OAuth 2 with an authorization code, tied to its question by `state` and to the app by its secret.

    Without PKCE: Tradovate documents a `code_verifier` for the exchange, and no challenge for its page.
    """

    def __init__(self, context: ProviderContext) -> None:
        self._context = context
        self._client = TradovateClient(context)

    async def begin(self, credentials: BrokerCredentials, redirect_uri: str | None) -> Challenge:
        if redirect_uri is None:
            raise BrokerConfigError(
                "Tradovate sends its answer to an address that is registered for the app.",
                remedy="Give that address as redirect_uri.",
            )
        state = Secret(secrets.token_urlsafe(32))
        return Challenge(
            kind="browser",
            message="Sign in at Tradovate's page and allow this app to read your trades.",
            url=OAuth(self._context).page(redirect_uri, state),
            expires_at=self._context.clock.now() + _TIME,
            state={"state": state, "redirect_uri": Secret(redirect_uri)},
        )

    async def complete(self, challenge: Challenge, answers: Mapping[str, str]) -> AuthResult | Challenge:
        code = _code_in(answers, challenge.state["state"])
        tokens = await OAuth(self._context).exchange(code, challenge.state["redirect_uri"].reveal())
        auth = consented(tokens, self._context)
        return await (self._named(auth) if tokens.api_hosts else self._with_hosts(auth))

    async def revoke(self, auth: AuthResult) -> None:
        raise BrokerAPIError(
            "Tradovate documents no way for an app to end a login.",
            remedy="Take its rights from the app in Tradovate's settings; the login ends by itself within about a day.",
        )

    async def _with_hosts(self, auth: AuthResult) -> AuthResult:
        """With what a renewal tells: hosts, user and state. Where there is none now, the next one tells the hosts."""
        try:
            login = await self._client.renew(auth)
        except BrokerError:
            return named_after(await self._client.who(auth), auth)
        return session_of(login, auth, self._context)

    async def _named(self, auth: AuthResult) -> AuthResult:
        """Under the name of its user, whom also a renewal tells, should the app lack the right to ask for users."""
        try:
            return named_after(await self._client.who(auth), auth)
        except (BrokerAuthError, BrokerAPIError):
            return session_of(await self._client.renew(auth), auth, self._context)


def _code_in(answers: Mapping[str, str], state: Secret) -> Secret:
    """Raises `BrokerAuthError`; nothing that came back is shown but the name of an error."""
    # half of a pair of surrogates, which no text of a page has, is no state either
    if not secrets.compare_digest(answers.get("state", "").encode(errors="replace"), state.reveal().encode()):
        raise BrokerAuthError("What came back is no answer to the login that was begun.", remedy=_BEGIN_AGAIN)
    error, code = answers.get("error", ""), answers.get("code", "")
    if error == "access_denied":
        raise BrokerAuthError(
            "Access was declined at Tradovate's page, so nothing was connected.",
            remedy="Begin the login again to allow it.",
            code=error,
        )
    if error or not code or not code.isascii():
        named = error if _ERROR_NAME.fullmatch(error) else "no code"
        raise BrokerAuthError(f"Tradovate's page answered with {named}.", remedy=_BEGIN_AGAIN, code=named)
    return Secret(code)
