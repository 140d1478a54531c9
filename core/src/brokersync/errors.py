"""The errors of brokersync, grouped by what happens next."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Any


class Fault(StrEnum):
    """Whose fault an error is, so that it is reported to the right place."""

    CORE = "core"
    PLUGIN = "plugin"
    BROKER = "broker"
    USER = "user"
    OPERATOR = "operator"


class LimitScope(StrEnum):
    """What a broker meters, and so what a refusal freezes."""

    APP = "app"
    EGRESS = "egress"
    CREDENTIAL = "credential"
    ACCOUNT = "account"
    ENDPOINT = "endpoint"


class DataUnavailableReason(StrEnum):
    """Why a span of history can not be read."""

    BEFORE_ACCOUNT = "before_account"
    EXPIRED = "expired"
    NO_SUCH_DATA = "no_such_data"


class BrokerError(Exception):
    """The root of everything brokersync raises.

    `message` is written for a user and holds no secret; `remedy` says what to do next. `provider` and `operation` are
    completed by core where the raiser did not know them.
    """

    fault = Fault.CORE
    remedy_by_default = ""

    def __init__(
        self,
        message: str,
        *,
        remedy: str | None = None,
        provider: str | None = None,
        operation: str | None = None,
        status: int | None = None,
        code: str | None = None,
        fault: Fault | None = None,
        report_to: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = self.remedy_by_default if remedy is None else remedy
        self.provider = provider
        self.operation = operation
        self.status = status
        self.code = code
        self.fault = fault or type(self).fault
        self.report_to = report_to

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".rstrip()

    def describe(self) -> dict[str, Any]:
        """Everything a program needs to act on the error, as JSON values."""
        facts = {
            "error": type(self).__name__,
            "message": self.message,
            "remedy": self.remedy,
            "provider": self.provider,
            "operation": self.operation,
            "status": self.status,
            "code": self.code,
            "fault": self.fault.value,
            "report_to": self.report_to,
        }
        return {name: value for name, value in facts.items() if value not in (None, "")}


class BrokerConfigError(BrokerError):
    """The configuration is wrong: stop and tell the operator."""

    fault = Fault.OPERATOR


class BrokerNotInstalledError(BrokerConfigError):
    """No installed distribution offers this broker."""


class BrokerPluginError(BrokerConfigError):
    """A plugin is broken, incompatible, or offers a key that another one offers too."""

    fault = Fault.PLUGIN


class BrokerHeldError(BrokerConfigError):
    """The broker waits for an operator's approval; none of its code was run."""


class BrokerTokenExpiredError(BrokerError):
    """The access token is dead: refresh once and go on."""

    fault = Fault.BROKER


class BrokerAuthError(BrokerError):
    """The user must act: wrong, revoked or expired credentials, or a locked login.

    `certain` is false where only core concludes it: from a bare status, or from a new token that was refused. `freeze`
    is what the broker will not be asked by anybody for `retry_after`, whoever is to blame. A plugin says `opened` of a
    login that opened a session all the same.
    """

    fault = Fault.USER
    remedy_by_default = "Check the credentials and connect again."
    opened: bool = False

    def __init__(
        self,
        message: str,
        *,
        certain: bool = True,
        retry_after: timedelta | None = None,
        freeze: LimitScope | None = None,
        **facts: Any,
    ) -> None:
        super().__init__(message, **facts)
        self.certain = certain
        self.retry_after = retry_after
        self.freeze = freeze


class BrokerInteractionRequiredError(BrokerAuthError):
    """The login needs a human; `challenge` is the provider's `Challenge`."""

    def __init__(self, message: str, *, challenge: object, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.challenge = challenge


class BrokerRetryableError(BrokerError):
    """The same request may succeed later.

    `retry_after` is the least wait, where the broker told one. `freeze` names the scope that must stay silent until
    then, for every worker. `sent` is false where core knows that nothing has reached the broker.
    """

    fault = Fault.BROKER
    remedy_by_default = "Try again later; what a worker syncs is tried again by itself."
    sent: bool = True

    def __init__(
        self,
        message: str,
        *,
        retry_after: timedelta | None = None,
        freeze: LimitScope | None = None,
        **facts: Any,
    ) -> None:
        super().__init__(message, **facts)
        self.retry_after = retry_after
        self.freeze = freeze

    def describe(self) -> dict[str, Any]:
        seconds = None if self.retry_after is None else self.retry_after.total_seconds()
        return super().describe() | ({} if seconds is None else {"retry_after_seconds": seconds})


class BrokerRateLimitError(BrokerRetryableError):
    """The broker, or our own limiter on its behalf, refuses further requests for a while.

    `scope` is that of the limit that let a call of ours not through, where it lets nobody else through either. `ours`
    says that our limiter refused it, which keeps the time by itself. A plugin says `ticketed` of a request that holds
    what lets its next attempt in: it is waited for up to `page_wait`, since another one would be refused again.
    """

    scope: LimitScope | None = None
    ours: bool = False
    ticketed: bool = False


class BrokerTimeoutError(BrokerRetryableError):
    """The broker did not answer in time."""


class BrokerUnavailableError(BrokerRetryableError):
    """The broker can not be reached or fails on its side."""


class BrokerMaintenanceError(BrokerRetryableError):
    """The broker is closed for maintenance."""


class BrokerNotReadyError(BrokerRetryableError):
    """What was asked for is not finalised yet; asking later is neither an attempt nor a failure."""


class BrokerAPIError(BrokerError):
    """The broker refused this request or answered nonsense: report it, do not hammer."""

    fault = Fault.BROKER
    remedy_by_default = "Report it to the plugin's authors; nothing was lost."


class BrokerResponseError(BrokerAPIError):
    """The answer is not what the broker documents."""


class BrokerCursorError(BrokerAPIError):
    """The cursor is not one of ours: the window is started again."""

    fault = Fault.PLUGIN


class BrokerDataUnavailableError(BrokerError):
    """This span of history can not be had; coverage says so."""

    fault = Fault.BROKER

    def __init__(self, message: str, *, reason: DataUnavailableReason, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.reason = reason


class BrokerInputNeededError(BrokerError):
    """A file does not tell something that only the user knows; `fields` maps each name to its question."""

    fault = Fault.USER

    def __init__(self, message: str, *, fields: Mapping[str, str], **facts: Any) -> None:
        super().__init__(message, **facts)
        self.fields = dict(fields)

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"fields": self.fields}


class StoreError(BrokerError):
    """The store can not be opened, read or written."""

    fault = Fault.OPERATOR


class ClosedError(StoreError):
    """brokersync was closed before this had come to its end; what was committed until then is kept."""

    fault = Fault.CORE


class LeaseLostError(StoreError):
    """Another worker has taken over what this one was doing; nothing of this one's is committed any more."""

    fault = Fault.CORE
    remedy_by_default = "Nothing is lost: the other worker goes on from what was committed."

    def __init__(self, lease: str) -> None:
        super().__init__(f"Another worker has taken over {lease.partition('|')[2] or lease}.")


class ErasedError(StoreError):
    """History of the owner at the broker, of whichever account, was erased meanwhile; nothing more is written."""

    fault = Fault.USER

    def __init__(self, provider: str) -> None:
        super().__init__(
            "History of this owner at this broker was erased while this was written, so it was broken off. What it had"
            " written of accounts that were not erased stays.",
            remedy="Repeat it where it is wanted still; what is there already stays as it is.",
            provider=provider,
        )


class FeedPositionError(StoreError):
    """The feed can not be followed from this position: it begins behind `kept_from`, or ends at `newest` before it."""

    def __init__(self, position: int, kept_from: int, newest: int | None = None) -> None:
        said = f"The feed begins behind position {kept_from}; what came after {position} is not kept any more."
        if newest is not None:
            said = f"The feed ends at position {newest}; {position} is of another store or of one restored since."
        super().__init__(
            said,
            remedy="Take feed_position(), read all trades, and follow the feed from that position on.",
        )
        self.kept_from = kept_from
