"""What the broker means by its codes, where core can not tell it by the status."""

from __future__ import annotations

from brokersync.plugin import BrokerAuthError, BrokerError, BrokerUnavailableError

BROKER = "{{ cookiecutter.display_name }}"


# FILL IN: the broker's own codes; one that only its status explains stays out
def meaning_of(code: str) -> BrokerError | None:
    """The error that a code stands for."""
    if code in ("unknown_key", "bad_signature"):
        return BrokerAuthError(
            f"{BROKER} does not accept this API key with this secret.",
            # FILL IN: where the user makes a new pair
            remedy="Check both, or make a new pair, and connect again.",
            code=code,
        )
    if code == "bad_timestamp":
        # what its answer tells of the time has been noted by now, so core's next attempt is in time
        return BrokerUnavailableError("The clocks of the broker and of this machine differ.", code=code)
    if code == "used_nonce":
        return BrokerUnavailableError("The broker has seen this request before.", code=code)
    return None
