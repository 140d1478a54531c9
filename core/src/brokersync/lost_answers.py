"""What is said of a renewal whose answer was lost, which may have held the only good refresh token."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from brokersync.errors import BrokerAuthError, BrokerError, BrokerInteractionRequiredError
from brokersync.events import LoginEnding
from brokersync.records import Connection
from brokersync.types import AuthResult

# a broker that refuses a good token now and then has taken it by then
LONGEST_DOUBT: Final = timedelta(hours=12)
MAY_BE_LOST: Final = (
    "Report it to the plugin's authors. The broker may have replaced the refresh token by that answer: if it refuses "
    "the one that is held from now on, only the user can make another login."
)
_LOG_IN_AGAIN: Final = "Log in again: the connection, its accounts and its history stay."


def ending(connection: Connection, auth: AuthResult, doubt: datetime, *, lives: bool) -> LoginEnding:
    """The refresh token is refused since; the session `lives` on without it, or is over."""
    asked = doubt + LONGEST_DOUBT
    until = auth.expires_at if lives else min(asked, auth.grant_expires_at or asked)
    meanwhile = "Syncs go on while its session can be prolonged" if lives else "Its session is over, so no sync gets on"
    return LoginEnding(
        provider=connection.provider,
        connection_id=connection.connection_id,
        until=until or asked,
        reason=f"A renewal of the login of {connection.label} was interrupted on {doubt:%Y-%m-%d at %H:%M} UTC, and "
        "the broker refuses its refresh token since: it has probably replaced it by one that never reached us. "
        f"{meanwhile}; only its user can make another login.",
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
    )
