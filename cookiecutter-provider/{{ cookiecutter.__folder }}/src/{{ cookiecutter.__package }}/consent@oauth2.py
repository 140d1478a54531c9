"""The login at the broker's own page, in two steps that may be made by two processes."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from datetime import timedelta

from brokersync.plugin import (
    AuthResult,
    BrokerAuthError,
    BrokerConfigError,
    BrokerCredentials,
    Challenge,
    ProviderContext,
    Secret,
)
from {{ cookiecutter.__package }}.auth import consented
from {{ cookiecutter.__package }}.client import {{ cookiecutter.__class }}Client
from {{ cookiecutter.__package }}.oauth import OAuth
from {{ cookiecutter.__package }}.refusals import BROKER

# FILL IN: how long the broker's page waits for its user
_TIME = timedelta(minutes=10)
_ERROR_NAME = re.compile(r"[a-z_]{1,40}")
_BEGIN_AGAIN = "Begin the login again."


class {{ cookiecutter.__class }}Consent:
    """OAuth 2 with an authorization code, which `state` and PKCE tie to the question that it answers."""

    def __init__(self, context: ProviderContext) -> None:
        self._client, self._clock = {{ cookiecutter.__class }}Client(context), context.clock

    async def begin(self, credentials: BrokerCredentials, redirect_uri: str | None) -> Challenge:
        if redirect_uri is None:
            raise BrokerConfigError(
                "The broker sends its answer to an address that is registered for the app.",
                remedy="Give that address as redirect_uri.",
            )
        state, verifier = Secret(secrets.token_urlsafe(32)), Secret(secrets.token_urlsafe(48))
        return Challenge(
            kind="browser",
            message=f"Sign in at the page of {BROKER} and allow this app to read your trades.",
            url=OAuth(self._client).page(redirect_uri, state, verifier),
            expires_at=self._clock.now() + _TIME,
            state={"state": state, "verifier": verifier, "redirect_uri": Secret(redirect_uri)},
        )

    async def complete(self, challenge: Challenge, answers: Mapping[str, str]) -> AuthResult | Challenge:
        kept = challenge.state
        code = _code_in(answers, kept["state"])
        tokens = await OAuth(self._client).exchange(code, kept["redirect_uri"].reveal(), kept["verifier"])
        return await consented(self._client, tokens)

    async def revoke(self, auth: AuthResult) -> None:
        token = auth.refresh_token or auth.access_token
        if token is not None:
            await OAuth(self._client).revoke(token)


def _code_in(answers: Mapping[str, str], state: Secret) -> Secret:
    """Raises `BrokerAuthError`; nothing that came back is shown but the name of an error."""
    if not secrets.compare_digest(answers.get("state", "").encode(), state.reveal().encode()):
        raise BrokerAuthError("What came back is no answer to the login that was begun.", remedy=_BEGIN_AGAIN)
    error = answers.get("error", "")
    if error == "access_denied":
        raise BrokerAuthError(
            f"Access was declined at the page of {BROKER}, so nothing was connected.",
            remedy="Begin the login again to allow it.",
            code=error,
        )
    if error or not answers.get("code"):
        named = error if _ERROR_NAME.fullmatch(error) else "no code"
        raise BrokerAuthError(f"The broker's page answered with {named}.", remedy=_BEGIN_AGAIN, code=named)
    return Secret(answers["code"])
