"""What the broker means by its codes, where core can not tell it by the status."""

from __future__ import annotations

from brokersync.plugin import BrokerAuthError, BrokerConfigError, BrokerError, BrokerTokenExpiredError

BROKER = "{{ cookiecutter.display_name }}"


# FILL IN: the broker's own codes; one that only its status explains stays out
def meaning_of(code: str) -> BrokerError | None:
    """The error that a code of the API stands for."""
    if code == "token_expired":
        return BrokerTokenExpiredError("The access token has ended.", code=code)
    return None


def code_refused(code: str) -> BrokerError | None:
    """A code that is refused was used before, is too old, or belongs to another app or address."""
    if code == "invalid_grant":
        return BrokerAuthError(
            f"{BROKER} did not take what its page had answered.",
            remedy="Begin the login again, and finish it within a few minutes.",
            code=code,
        )
    return _app_refused(code)


def refresh_refused(code: str) -> BrokerError | None:
    """Only the user can log in again, at the broker's page."""
    if code == "invalid_grant":
        return BrokerTokenExpiredError(f"{BROKER} does not take the refresh token.", code=code)
    return _app_refused(code)


def _app_refused(code: str) -> BrokerError | None:
    if code == "invalid_client":
        return BrokerConfigError(
            f"{BROKER} does not take this app.",
            remedy="Check client_id and client_secret in [brokers.{{ cookiecutter.key }}.settings].",
            code=code,
        )
    return None
