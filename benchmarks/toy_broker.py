"""What the plugins of the tables have in common: a key is the login, the account and the token."""

from __future__ import annotations

import attrs

from brokersync.plugin import AuthResult, BrokerAccount, BrokerCredentials, ProviderContext, Secret


@attrs.frozen(kw_only=True)
class Credentials(BrokerCredentials):
    api_key: Secret


class ToyProvider:
    """All of a provider but its trades."""

    def __init__(self, context: ProviderContext) -> None:
        self._context = context

    async def authenticate(self, credentials: Credentials) -> AuthResult:
        return AuthResult(identity=credentials.api_key.reveal(), access_token=credentials.api_key)

    async def refresh_token(self, auth: AuthResult) -> AuthResult:
        return auth

    async def get_accounts(self, auth: AuthResult) -> list[BrokerAccount]:
        return [BrokerAccount(account_id=auth.identity, environment="live", currency="USD")]

    async def aclose(self) -> None:
        pass
