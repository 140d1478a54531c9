"""Tradovate's OAuth: the consent page, the exchange of its code, and refresh tokens that rotate."""

from __future__ import annotations

from urllib.parse import urlencode

from brokersync.plugin import (
    AuthResult,
    BrokerAuthError,
    BrokerConfigError,
    BrokerError,
    BrokerTokenExpiredError,
    ProviderContext,
    Secret,
)
from brokersync_tradovate.auth import credential_of
from brokersync_tradovate.exchange import Exchange
from brokersync_tradovate.refusals import Meaning, Refusal, object_in, unavailable, unexpected
from brokersync_tradovate.rows import RowError
from brokersync_tradovate.tokens import Tokens

_OPERATION = "auth/oauthtoken"


class OAuth:
    """The app that the operator registered with Tradovate. Raises `BrokerConfigError` where there is none."""

    def __init__(self, context: ProviderContext) -> None:
        self._context = context
        self._client_id = context.settings.get("client_id", "")
        self._client_secret = Secret(context.settings.get("client_secret", ""))
        if not self._client_id or not self._client_secret:
            raise BrokerConfigError(
                "To log in at Tradovate's own page an app is needed that is registered with Tradovate.",
                remedy="Set client_id and client_secret in [brokers.tradovate.settings] of the configuration, or "
                "connect with an API key.",
            )

    def page(self, redirect_uri: str, state: Secret) -> str:
        """Where the user says yes or no. What the app may read stands in its registration, so no scope is asked for."""
        query = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": redirect_uri,
            "state": state.reveal(),
        }
        return f"{self._context.hosts['consent']}?{urlencode(query)}"

    async def exchange(self, code: Secret, redirect_uri: str) -> Tokens:
        """The tokens for a code, which is good once and so never sent twice."""
        form = {"grant_type": "authorization_code", "code": code.reveal(), "redirect_uri": redirect_uri}
        return await self._tokens(form, code, code_refused, once=True)

    async def refresh(self, auth: AuthResult) -> Tokens:
        """New tokens, of which the refresh token replaces the one that is sent.

        Raises `BrokerTokenExpiredError` when that one is refused, which Tradovate does now and then to a good one.
        """
        if auth.refresh_token is None:
            raise BrokerTokenExpiredError("There is no refresh token.")
        form = {"grant_type": "refresh_token", "refresh_token": auth.refresh_token.reveal()}
        return await self._tokens(form, auth.refresh_token, refresh_refused, credential=credential_of(auth))

    async def _tokens(
        self, form: dict[str, str], sent: Secret, meaning: Meaning, *, once: bool = False, credential: str | None = None
    ) -> Tokens:
        # as a form: one team reports that JSON, which the published description asks for, is refused
        exchange = Exchange(_OPERATION, meaning, hide=(sent, self._client_secret), once=once)
        response = await self._context.http.request(
            _OPERATION,
            "POST",
            f"{self._context.hosts['oauth']}/oauthtoken",
            form={**form, "client_id": self._client_id, "client_secret": self._client_secret.reveal()},
            credential=credential,
            prepare=exchange.prepare,
            check=exchange.check,
        )
        try:
            return Tokens.of(object_in(_OPERATION, response))
        except RowError as error:
            raise unexpected(_OPERATION, f"lacks what a login needs: {error}") from None


def code_refused(refusal: Refusal) -> BrokerError:
    """A code that is refused was used before, is too old, or belongs to another app or address."""
    return _common(refusal) or BrokerAuthError(
        f"Tradovate did not take what its page had answered.{refusal.quoted}",
        remedy="Begin the login again, and finish it within a few minutes.",
        **refusal.facts,
    )


def refresh_refused(refusal: Refusal) -> BrokerError:
    """What it means for the login is for who knows how long the refresh token was promised to live."""
    return _common(refusal) or BrokerTokenExpiredError(
        f"Tradovate does not take the refresh token.{refusal.quoted}", **refusal.facts
    )


def _common(refusal: Refusal) -> BrokerError | None:
    if refusal.says("client"):
        return BrokerConfigError(
            f"Tradovate does not take this app.{refusal.quoted}",
            remedy="Check client_id and client_secret in [brokers.tradovate.settings], and the addresses that are "
            "registered for the app.",
            **refusal.facts,
        )
    return unavailable(refusal)
