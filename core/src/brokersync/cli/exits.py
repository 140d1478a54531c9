"""The exit codes."""

from __future__ import annotations

from enum import IntEnum

from brokersync.errors import (
    BrokerAuthError,
    BrokerConfigError,
    BrokerError,
    BrokerInputNeededError,
    BrokerRetryableError,
    BrokerTokenExpiredError,
    StoreError,
)


class UsageError(BrokerConfigError):
    """The words of a command could never mean anything, whatever is in the store."""


class Exit(IntEnum):
    """What a command's exit code says; documented in `--help` and in the reference."""

    DONE = 0
    BUG = 1
    USAGE = 2
    CONFIG = 3
    LOG_IN = 4
    LATER = 5
    PARTLY = 6
    STORE = 7
    STOPPED = 130


def exit_of(error: BrokerError) -> Exit:
    """The exit code for an error that ended a command."""
    if isinstance(error, UsageError):
        return Exit.USAGE
    if isinstance(error, StoreError):
        return Exit.STORE
    if isinstance(error, BrokerConfigError | BrokerInputNeededError):
        return Exit.CONFIG
    if isinstance(error, BrokerAuthError | BrokerTokenExpiredError):
        return Exit.LOG_IN
    if isinstance(error, BrokerRetryableError):
        return Exit.LATER
    return Exit.PARTLY
