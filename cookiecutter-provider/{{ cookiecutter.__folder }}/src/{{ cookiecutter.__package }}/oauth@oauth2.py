"""The broker's OAuth 2: its page, the exchange of a code, refresh tokens that rotate, and the end of a login."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import sha256
from urllib.parse import urlencode

from brokersync.plugin import (
    AuthResult,
    BrokerConfigError,
    BrokerResponseError,
    BrokerTokenExpiredError,
    Secret,
)
from {{ cookiecutter.__package }}.client import {{ cookiecutter.__class }}Client
from {{ cookiecutter.__package }}.payloads import Row, RowError
from {{ cookiecutter.__package }}.refusals import BROKER, code_refused, refresh_refused
from {{ cookiecutter.__package }}.tokens import Tokens

# FILL IN: what the app asks its user for; reading is enough
SCOPE = "accounts.read executions.read"


# FILL IN: the paths; where they stand at a host of its own, that gets a role of its own in provider.toml
class OAuth:
    """The app that the operator registered with the broker. Raises `BrokerConfigError` where there is none."""

    def __init__(self, client: {{ cookiecutter.__class }}Client) -> None:
        self._client, context = client, client.context
        self._page = context.hosts[context.environment] + "/oauth/authorize"
        self._client_id = context.settings.get("client_id", "")
        self._client_secret = Secret(context.settings.get("client_secret", ""))
        if not self._client_id or not self._client_secret:
            raise BrokerConfigError(
                f"To log in at the page of {BROKER} an app is needed that is registered there.",
                remedy="Set client_id and client_secret in [brokers.{{ cookiecutter.key }}.settings].",
            )

    def page(self, redirect_uri: str, state: Secret, verifier: Secret) -> str:
        """Where the user says yes or no. The answer comes to `redirect_uri`, with `state` in it."""
        query = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": redirect_uri,
            "scope": SCOPE,
            "state": state.reveal(),
            "code_challenge": _challenge(verifier),
            "code_challenge_method": "S256",
        }
        return f"{self._page}?{urlencode(query)}"

    async def exchange(self, code: Secret, redirect_uri: str, verifier: Secret) -> Tokens:
        """The tokens for a code, which is good once and so never sent twice."""
        form = {
            "grant_type": "authorization_code",
            "code": code.reveal(),
            "redirect_uri": redirect_uri,
            "code_verifier": verifier.reveal(),
        }
        answer = await self._client.exchange("exchange_code", "/oauth/token", self._as_app(form), code_refused)
        return _tokens(answer)

    async def refresh(self, auth: AuthResult) -> Tokens:
        """New tokens, of which the refresh token replaces the one that is sent."""
        if auth.refresh_token is None:
            raise BrokerTokenExpiredError("There is no refresh token.")
        form = {"grant_type": "refresh_token", "refresh_token": auth.refresh_token.reveal()}
        answer = await self._client.exchange(
            "refresh", "/oauth/token", self._as_app(form), refresh_refused, credential=auth.identity
        )
        return _tokens(answer)

    async def revoke(self, token: Secret) -> None:
        """Has the broker end the login that a token belongs to; one that is dead already is no error."""
        form = self._as_app({"token": token.reveal()})
        await self._client.exchange("revoke", "/oauth/revoke", form, refresh_refused)

    # where the broker wants them as `Authorization: Basic`: docs/adding-a-broker.md, HTTP Basic
    def _as_app(self, form: dict[str, str]) -> dict[str, str]:
        return {**form, "client_id": self._client_id, "client_secret": self._client_secret.reveal()}


def _challenge(verifier: Secret) -> str:
    """PKCE: who stole the code can do nothing with it, since only we know what this was made of."""
    return urlsafe_b64encode(sha256(verifier.reveal().encode()).digest()).rstrip(b"=").decode()


def _tokens(answer: Row) -> Tokens:
    try:
        return Tokens.of(answer)
    except RowError as error:
        raise BrokerResponseError(f"The answer for tokens lacks what is needed: {error}.") from None
