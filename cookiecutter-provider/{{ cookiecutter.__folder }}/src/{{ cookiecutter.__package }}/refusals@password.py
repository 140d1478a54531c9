"""What the broker means by its codes, where core can not tell it by the status."""

from __future__ import annotations

from brokersync.plugin import BrokerAuthError, BrokerError, BrokerTokenExpiredError

BROKER = "{{ cookiecutter.display_name }}"


# FILL IN: the broker's own codes; one that only its status explains stays out
def meaning_of(code: str) -> BrokerError | None:
    """The error that a code stands for."""
    if code == "wrong_password":
        # the user is asked at once, and the password is not sent again
        return BrokerAuthError(
            f"{BROKER} does not accept this user name and password.",
            # FILL IN: what a user does whose login is locked
            remedy="Check both and connect again.",
            code=code,
        )
    if code == "session_ended":
        return session_ended(code)
    return None


def session_ended(code: str | None = None) -> BrokerTokenExpiredError:
    """Core logs in again with what the user gave."""
    return BrokerTokenExpiredError(f"The session at {BROKER} has ended.", code=code)
