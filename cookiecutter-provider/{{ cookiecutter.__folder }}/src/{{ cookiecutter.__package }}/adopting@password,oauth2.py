"""Tokens of a login that another program has made: who it belongs to."""

from __future__ import annotations

import attrs

from brokersync.plugin import AuthResult, BrokerConfigError, BrokerTokenExpiredError, ProviderContext
from {{ cookiecutter.__package }}.client import {{ cookiecutter.__class }}Client
from {{ cookiecutter.__package }}.normalise import identity_of
from {{ cookiecutter.__package }}.refusals import BROKER


async def adopt(context: ProviderContext, auth: AuthResult) -> AuthResult:
    """The login under the name of its user, as a login of our own would have it. Renews nothing."""
    if auth.access_token is None and auth.refresh_token is None:
        raise BrokerConfigError(
            f"Logins of {BROKER} are taken over by their tokens.",
            remedy="Give access_token, refresh_token or both.",
        )
    if auth.access_token is None or _has_ended(context, auth):
        raise BrokerTokenExpiredError("Whose tokens these are can only be told by one that lives.")
    return attrs.evolve(auth, identity=identity_of(await {{ cookiecutter.__class }}Client(context).who(auth)))


def _has_ended(context: ProviderContext, auth: AuthResult) -> bool:
    return auth.expires_at is not None and auth.expires_at <= context.clock.now()
