"""What the broker means by its codes, where core can not tell it by the status."""

from __future__ import annotations

from brokersync.plugin import BrokerAuthError, BrokerError

BROKER = "{{ cookiecutter.display_name }}"


# FILL IN: the broker's own codes; one that only its status explains stays out
def meaning_of(code: str) -> BrokerError | None:
    """The error that a code stands for."""
    if code == "unknown_key":
        return BrokerAuthError(
            f"{BROKER} does not accept this API key.",
            # FILL IN: where the user makes a new one
            remedy="Make a new key and connect again.",
            code=code,
        )
    return None
