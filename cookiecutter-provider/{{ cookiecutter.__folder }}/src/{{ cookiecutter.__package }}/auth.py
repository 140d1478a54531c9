{% if cookiecutter.auth_kind == "api_key" %}
"""A login with an API key: the key is the token, and nobody but the user can renew it."""

from __future__ import annotations

from brokersync.plugin import AuthResult, BrokerAuthError, Secret

_UNKNOWN = "not known yet"


def unnamed(api_key: Secret) -> AuthResult:
    """A login with this key, of which it is not yet known whose it is."""
    return AuthResult(identity=_UNKNOWN, access_token=api_key)


def key_refused(code: str) -> BrokerAuthError:
    """The user is asked at once, and the key is not sent again."""
    return BrokerAuthError(
        "{{ cookiecutter.display_name }} does not accept this API key.",
        # FILL IN: where the user makes a new one
        remedy="Make a new key and connect again.",
        code=code,
    )
{% else %}
"""From the broker's answer to a login or a renewal: what core keeps of it."""

from __future__ import annotations

from datetime import datetime

from brokersync.plugin import AuthResult, BrokerAuthError, BrokerTokenExpiredError
from {{ cookiecutter.__package }}.payloads import Login


def auth_result(login: Login, now: datetime) -> AuthResult:
    """What a login gives. The identity never changes: core refuses a new login of somebody else by it."""
    return AuthResult(
        identity=f"user:{login.user_id}",
        access_token=login.access_token,
        refresh_token=login.refresh_token,
        expires_at=now + login.expires_in,
    )


def login_refused(code: str) -> BrokerAuthError:
    """The user is asked at once, and the password is not sent again."""
    return BrokerAuthError(
        "{{ cookiecutter.display_name }} does not accept this user name and password.",
        # FILL IN: what a user does whose login is locked
        remedy="Check both and connect again.",
        code=code,
    )


def session_ended(code: str | None = None) -> BrokerTokenExpiredError:
    """Core logs in again with what the user gave."""
    message = "The session at {{ cookiecutter.display_name }} has ended."
    return BrokerTokenExpiredError(message, code=code)
{% endif %}
