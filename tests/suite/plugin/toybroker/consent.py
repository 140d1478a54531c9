"""The way in at the broker's own page, which a variant of the toy has."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from urllib.parse import urlencode

from brokersync.plugin import (
    AuthResult,
    BrokerAPIError,
    BrokerAuthError,
    BrokerConfigError,
    BrokerCredentials,
    Challenge,
    ProviderContext,
    Secret,
)
from toybroker.client import ToyClient


class ToyConsent:
    def __init__(self, context: ProviderContext) -> None:
        self._context, self._client = context, ToyClient(context)

    async def begin(self, credentials: BrokerCredentials, redirect_uri: str | None) -> Challenge:
        if redirect_uri is None:
            raise BrokerConfigError("The broker sends its answer to an address.", remedy="Give it as redirect_uri.")
        state = Secret(secrets.token_urlsafe(24))
        query = urlencode({"redirect_uri": redirect_uri, "state": state.reveal()})
        url = f"{self._context.hosts['api']}/authorize?{query}"
        return Challenge(kind="browser", message="Sign in at Toy Brokers.", url=url, state={"state": state})

    async def complete(self, challenge: Challenge, answers: Mapping[str, str]) -> AuthResult | Challenge:
        if answers.get("state") != challenge.state["state"].reveal():
            raise BrokerAuthError("What came back is no answer to the login that was begun.")
        if "code" not in answers:
            declined = answers.get("error") == "access_denied"
            raise BrokerAuthError("Nothing was allowed.", code="access_denied" if declined else None)
        return await self._client.exchange(answers["code"])

    async def revoke(self, auth: AuthResult) -> None:
        raise BrokerAPIError("Toy Brokers knows no way.")
