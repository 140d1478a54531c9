"""What is said of a window that could not be read. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from brokersync.records import FailedWindow
from brokersync.sync.halving import DENIED, is_only_not_ready
from brokersync.sync.untold_notes import closes, is_not_told, is_nothing_there

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
    DENIED: "this login has no right to it",
    "NeverReady": "the report that was ordered never got ready",
    "NotReadInTime": "its first days were gone before it was read to its end",
    "Refused": "the broker refused so much at once",
}


def worst(windows: Iterable[FailedWindow]) -> FailedWindow:
    """The one of some windows that failed most often, and of those the one that did last."""
    return max(windows, key=lambda one: (one.failures, one.at))


def failed_parts(windows: Sequence[FailedWindow]) -> str:
    """What happened to these parts of a source's history, how often and when last, as a sentence without its end."""
    counted = [one for one in windows if one.failures] or [one for one in windows if not closes(one)]
    if not counted:
        return failed(worst([one for one in windows if is_not_told(one)] or windows))
    if len(counted) == 1:
        return f"a part {failed(counted[0])}"
    most, last = worst(counted), max(counted, key=lambda one: one.at)
    if not most.failures:
        return f"{len(counted)} parts wait: the last of them {failed(last)}"
    times = "once each" if most.failures == 1 else f"one of them in {most.failures} syncs"
    return f"{len(counted)} parts could not be read, {times}, last on {_minute(last.at)}: {_why(last)}"


def failed(one: FailedWindow) -> str:
    """What happened to it, how often and when last, as a clause."""
    last = _minute(one.at)
    if is_not_told(one):
        return f"the login's answers tell of its other accounts and not of this one, last on {last}"
    if is_nothing_there(one):
        return f"had no trades at the broker, as it said on {last}, and are asked for once more before that counts"
    if is_only_not_ready(one):
        return f"is not ready at the broker, as it said on {last}"
    if not one.failures:
        return f"was put off, last on {last}: {_why(one)}"
    times = "once" if one.failures == 1 else f"in {one.failures} syncs"
    return f"could not be read {times}, last on {last}: {_why(one)}"


def _why(one: FailedWindow) -> str:
    why = _WORDS.get(one.reason, one.reason)
    if one.not_before is not None:
        why += f", which wants to be left alone until {_minute(one.not_before)}"
    return why


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
