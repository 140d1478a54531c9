"""What is said of a window that could not be read. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from brokersync.records import FailedWindow
from brokersync.sync.halving import is_only_not_ready

_WORDS: Final[Mapping[str, str]] = {
    "BrokerAPIError": "the broker refused the request",
    "BrokerAuthError": "the broker refused the login",
    "BrokerConfigError": "the configuration is wrong",
    "BrokerCursorError": "the place to go on from was not understood",
    "BrokerMaintenanceError": "the broker was closed for maintenance",
    "BrokerNotReadyError": "the broker had not finished it",
    "BrokerPluginError": "the plugin broke the contract",
    "BrokerRateLimitError": "a limit of the broker was reached",
    "BrokerResponseError": "the broker's answer was not understood",
    "BrokerRetryableError": "the broker asked to be tried again later",
    "BrokerTimeoutError": "the broker did not answer in time",
    "BrokerTokenExpiredError": "the broker refused the token",
    "BrokerUnavailableError": "the broker could not be reached, or failed",
    "NeverReady": "the report that was ordered never got ready",
    "NotReadInTime": "its first days were gone before it was read to its end",
    "Refused": "the broker refused so much at once",
}


def failed(one: FailedWindow) -> str:
    """What happened to it, how often and when last, as a clause."""
    last = f"{one.at:%Y-%m-%d %H:%M} UTC"
    if is_only_not_ready(one):
        return f"is not ready at the broker, as it said on {last}"
    why = _WORDS.get(one.reason, one.reason)
    if one.not_before is not None:
        why += f", which wants to be left alone until {one.not_before:%Y-%m-%d %H:%M} UTC"
    if not one.failures:
        return f"was put off, last on {last}: {why}"
    times = "once" if one.failures == 1 else f"in {one.failures} syncs"
    return f"could not be read {times}, last on {last}: {why}"
