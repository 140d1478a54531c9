"""Tokens of a login that somebody else has made: who it belongs to."""

from __future__ import annotations

from datetime import timedelta

import attrs

from brokersync.plugin import (
    AuthResult,
    BrokerAuthError,
    BrokerConfigError,
    BrokerError,
    BrokerTokenExpiredError,
    ProviderContext,
)
from brokersync_tradovate.auth import named_after
from brokersync_tradovate.client import TradovateClient
from brokersync_tradovate.refusals import Refusal, token_refused

_RENEWED_AT_ONCE = timedelta(minutes=1)


async def adopt(context: ProviderContext, auth: AuthResult) -> AuthResult:
    """The login under the name of its user, as a login of our own would have it.

    What only a renewal tells, such as hosts and whether the user is active, is missing: so the token is said to end in
    a minute, for which core renews it before any other use.
    """
    if auth.access_token is None and auth.refresh_token is not None:
        raise BrokerTokenExpiredError("Whose a refresh token is can only be told once it is used.")
    if auth.access_token is None:
        raise BrokerConfigError(
            "Tradovate's logins are taken over by their tokens.", remedy="Give access_token, refresh_token or both."
        )
    now = context.clock.now()
    if auth.expires_at is not None and auth.expires_at <= now:
        raise BrokerTokenExpiredError("The token has expired, and Tradovate does not renew an expired one.")
    # apps are registered on the live side only, so a refresh token is of a login that was made there
    home = "live" if auth.refresh_token is not None else context.environment
    auth = attrs.evolve(auth, expires_at=now + _RENEWED_AT_ONCE, state={"environment": home})
    return named_after(await TradovateClient(context).who(auth, _not_taken), auth)


def _not_taken(refusal: Refusal) -> BrokerError:
    """A token may have ended on its way here; core knows whether there is anything to make a new one of."""
    meant = token_refused(refusal)
    if isinstance(meant, BrokerAuthError):
        return BrokerTokenExpiredError(meant.message, remedy=meant.remedy, **refusal.facts)
    return meant
