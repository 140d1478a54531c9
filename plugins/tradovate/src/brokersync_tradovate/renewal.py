"""A new token for a login that lives: by its session, or by a refresh token that rotates."""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs

from brokersync.plugin import AuthResult, BrokerNotReadyError, BrokerTokenExpiredError, ProviderContext
from brokersync_tradovate.auth import consented, session_of
from brokersync_tradovate.client import TradovateClient
from brokersync_tradovate.oauth import OAuth

_FIRST_PAUSE = timedelta(seconds=30)
_LONGEST_PAUSE = timedelta(minutes=15)


async def renewed(context: ProviderContext, client: TradovateClient, auth: AuthResult) -> AuthResult:
    """Raises `BrokerTokenExpiredError` when only a new login helps."""
    if auth.refresh_token is None:
        return await _session_prolonged(context, client, auth)
    try:
        tokens = await OAuth(context).refresh(auth)
    except BrokerTokenExpiredError as refusal:
        return await _in_spite_of(refusal, context, client, auth)
    return consented(tokens, context, auth)


async def _session_prolonged(context: ProviderContext, client: TradovateClient, auth: AuthResult) -> AuthResult:
    """The same session with a new token, so that no further one is opened."""
    if auth.expires_at is not None and auth.expires_at <= context.clock.now():
        raise BrokerTokenExpiredError("The token has expired, and Tradovate does not renew an expired one.")
    return session_of(await client.renew(auth), auth, context)


async def _in_spite_of(
    refusal: BrokerTokenExpiredError, context: ProviderContext, client: TradovateClient, auth: AuthResult
) -> AuthResult:
    """Tradovate refuses a good refresh token now and then, and takes it later.

    Until then the session is prolonged while it lives. The user is asked only when the refresh token has lived as long
    as it was promised to. Of one that another program has made nothing was promised, and it may be none at all.
    """
    try:
        return attrs.evolve(await _session_prolonged(context, client, auth), refresh_refused=True)
    except BrokerTokenExpiredError:
        now = context.clock.now()
        if auth.grant_expires_at is None or auth.grant_expires_at <= now:
            raise refusal from None
        raise BrokerNotReadyError(
            "Tradovate does not renew this login now, though it is to last longer; it is asked again.",
            retry_after=_pause(auth, now),
            operation=refusal.operation,
            status=refusal.status,
        ) from refusal


def _pause(auth: AuthResult, now: datetime) -> timedelta:
    """As long as the login has been dead already, within bounds: so the pauses double."""
    dead = timedelta(0) if auth.expires_at is None else now - auth.expires_at
    return min(max(dead, _FIRST_PAUSE), _LONGEST_PAUSE)
