"""Tokens of a login that somebody else has made: who it belongs to."""

from __future__ import annotations

from datetime import timedelta

import attrs

from brokersync.plugin import AuthResult, BrokerConfigError, BrokerTokenExpiredError, ProviderContext
from brokersync_tradovate.client import TradovateClient
from brokersync_tradovate.refusals import unexpected

_RENEWED_AT_ONCE = timedelta(minutes=1)


async def adopt(context: ProviderContext, auth: AuthResult) -> AuthResult:
    """The login under the name of its user, as a login of our own would have it.

    What only a renewal tells, such as hosts and whether the user is active, is missing: so the token is said to end in
    a minute, for which core renews it before any other use.
    """
    if auth.access_token is None:
        raise BrokerConfigError(
            "Tradovate's logins are taken over by their access token.", remedy="Give it as access_token."
        )
    now = context.clock.now()
    if auth.expires_at is not None and auth.expires_at <= now:
        raise BrokerTokenExpiredError("The token has expired, and Tradovate does not renew an expired one.")
    user = await TradovateClient(context).who(auth)
    number, name = user.get("userId", user.get("id")), user.get("name")
    if type(number) is not int:
        raise unexpected("auth/me", "does not say who is logged in")
    return attrs.evolve(
        auth,
        identity=f"user:{number}",
        expires_at=now + _RENEWED_AT_ONCE,
        state={"environment": context.environment, "name": str(name or "")},
    )
