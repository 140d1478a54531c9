"""Tokens that another program obtained, as they come in."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256

from brokersync.converter import from_json
from brokersync.errors import BrokerConfigError, Fault
from brokersync.secret import Secret
from brokersync.types import AuthResult

_TOKENS = ("access_token", "refresh_token")
_MOMENTS = ("expires_at", "grant_expires_at")


def foreign_login(provider: str, tokens: Mapping[str, str | Secret | datetime]) -> AuthResult:
    """The tokens as a login of nobody yet; names that mean nothing to core are the plugin's, as `secrets`.

    Raises `BrokerConfigError` where there is no token, or a time without a zone. No value is shown.
    """
    given = {name: value for name, value in tokens.items() if value}
    held = {name: _secret(provider, name, value) for name, value in given.items() if name not in _MOMENTS}
    if not held:
        raise _mistake(provider, "No token is given.", f"Give at least one of {' and '.join(_TOKENS)}.")
    first = held.get("refresh_token") or held.get("access_token") or held[min(held)]
    return AuthResult(
        # the same tokens again have the same name, so what an attempt that broke off has renewed is found again
        identity=f"taken over {sha256(first.reveal().encode()).hexdigest()[:32]}",
        access_token=held.pop("access_token", None),
        refresh_token=held.pop("refresh_token", None),
        secrets=held,
        expires_at=_moment(provider, "expires_at", given),
        grant_expires_at=_moment(provider, "grant_expires_at", given),
    )


def _secret(provider: str, name: str, value: object) -> Secret:
    if isinstance(value, str):
        return Secret(value)
    if not isinstance(value, Secret):
        raise _mistake(provider, f"{name} is no text.", "Give each token as text or as a Secret.")
    return value


def _moment(provider: str, name: str, given: Mapping[str, str | Secret | datetime]) -> datetime | None:
    if name not in given:
        return None
    value = given[name]
    try:
        return from_json(value.reveal() if isinstance(value, Secret) else value, datetime)
    except (ValueError, TypeError, OverflowError):
        remedy = "Give an aware datetime, or text such as 2026-03-04T15:30:12Z."
        raise _mistake(provider, f"{name} is no time with a zone.", remedy) from None


def _mistake(provider: str, message: str, remedy: str) -> BrokerConfigError:
    return BrokerConfigError(message, remedy=remedy, provider=provider, operation="take_over", fault=Fault.USER)
