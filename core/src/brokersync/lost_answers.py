"""What is said of a renewal whose answer was lost, which may have held the only good refresh token."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from brokersync.errors import BrokerAuthError, BrokerError, BrokerInteractionRequiredError
from brokersync.events import LoginEnding
from brokersync.records import Connection, Grant

# a broker that refuses a good token now and then has taken it by then, if it was asked
LONGEST_DOUBT: Final = timedelta(hours=12)
MAY_BE_LOST: Final = (
    "Report it to the plugin's authors. The broker may have replaced the refresh token by that answer: if it refuses "
    "the one that is held from now on, only the user can make another login."
)
_LOG_IN_AGAIN: Final = "Log in again: the connection, its accounts and its history stay."


def refused_in_doubt(grant: Grant) -> datetime | None:
    """Since when its refresh token is refused, which may be used up."""
    doubt, refused = grant.renewing_since, grant.refused_since
    # an older release beside this one begins and ends doubts, and leaves the refusals of earlier ones
    return refused if doubt is not None and refused is not None and refused >= doubt else None


def ending(connection: Connection, grant: Grant, *, lives: bool) -> LoginEnding | None:
    """The session `lives` on without its refresh token, or is over; `None` where that is not refused in doubt."""
    auth, doubt, refused = grant.auth, grant.renewing_since, refused_in_doubt(grant)
    if doubt is None or refused is None:
        return None
    asked = refused + LONGEST_DOUBT
    until = auth.expires_at if lives else min(asked, auth.grant_expires_at or asked)
    meanwhile = "Syncs go on while its session can be prolonged" if lives else "Its session is over, so no sync gets on"
    return LoginEnding(
        provider=connection.provider,
        connection_id=connection.connection_id,
        until=until or asked,
        reason=f"A renewal of the login of {connection.label} was interrupted on {doubt:%Y-%m-%d at %H:%M} UTC, and "
        f"the broker refuses its refresh token since {refused:%Y-%m-%d at %H:%M} UTC: it has probably replaced it by "
        f"one that never reached us. {meanwhile}; only its user can make another login.",
    )


def interrupted(error: BrokerError, since: datetime) -> BrokerAuthError:
    """What a refusal means that nothing more is waited for."""
    message = (
        f"A renewal of this login was interrupted on {since:%Y-%m-%d at %H:%M} UTC, and the broker may have replaced "
        f"the token without its answer reaching us. It refuses the old one, and what is stored to log in with does not "
        f"help: {error.message}"
    )
    facts = {"provider": error.provider, "operation": error.operation, "status": error.status, "code": error.code}
    if isinstance(error, BrokerInteractionRequiredError):
        return BrokerInteractionRequiredError(message, challenge=error.challenge, remedy=_LOG_IN_AGAIN, **facts)
    return BrokerAuthError(
        message,
        remedy=_LOG_IN_AGAIN,
        provider=error.provider,
        operation=error.operation,
        status=error.status,
        code=error.code,
        certain=isinstance(error, BrokerAuthError) and error.certain,
        retry_after=error.retry_after if isinstance(error, BrokerAuthError) else None,
    )
