"""What the errors of asyncpg mean for a store: to be repeated, or told with what to do, and never with a secret."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from brokersync.errors import StoreError

_REPEATED: Final = {
    "40001",  # serialization failure
    "40P01",  # deadlock
}
_LOST: Final = {
    "57P01",  # the server is shut down
    "57P02",  # the server has crashed
    "57P03",  # the server is starting
    "57P05",  # idle for too long
    "25P03",  # idle for too long within a transaction, as a process is that was stopped
}
_CONNECTION: Final = "08"

_REMEDIES: Final = {
    "28": "Check the user, the password and pg_hba.conf.",
    "3D": "Create the database, or name another one in the URL.",
    "40": "Others worked on the same rows at the same time; nothing is lost, run it again.",
    "53": "Give the server more room or connections; nothing is lost, run it again then.",
    "54": "The server's own limits are too small for this write; raise them.",
    "55": "Another process holds what is needed; wait for it or stop it.",
    "57": "Something ended the statement, such as statement_timeout; nothing is lost, run it again.",
    "58": "The server can not read or write its files; look into its log.",
    "XX": "The server reports damage or a bug of its own; look into its log.",
    "25006": "The server is read-only, as a standby is; name the primary in the URL.",
    "42501": "Give the role its rights: `brokersync migrate --sql --role NAME` prints them.",
    "42P01": "Run `brokersync migrate`.",
    "42703": "Run `brokersync migrate`.",
    "3F000": "Run `brokersync migrate`.",
}
_REPORT: Final = "Report it with the server's log; nothing was written."
_UNREACHABLE: Final = "See that the server runs and can be reached; nothing is lost, run it again then."


def is_lost(error: BaseException) -> bool:
    """Whether the connection has ended, so that the server has undone whatever was not committed."""
    state = _state(error)
    if state:
        return state in _LOST or state.startswith(_CONNECTION)
    if isinstance(error, TimeoutError):  # which is an OSError, and leaves the connection as it is
        return False
    if not _is_asyncpg(error):
        return isinstance(error, OSError)
    # asyncpg no longer knows what the connection is at, as after a process stood still for long
    return "clos" in str(error) or type(error).__name__ == "InternalClientError"


def is_answer(error: BaseException) -> bool:
    """Whether the server itself has refused, so that the outcome is known."""
    return bool(_state(error)) and not is_lost(error)


def is_repeated(error: BaseException) -> bool:
    """Whether the same transaction may succeed when it is run again."""
    # the plan of a statement is out of date after another release has migrated the tables
    return is_lost(error) or _state(error) in _REPEATED or type(error).__name__ == "InvalidCachedStatementError"


def is_refused(error: BaseException) -> bool:
    """Whether the role lacks the right."""
    return _state(error) == "42501"


@contextmanager
def explaining(where: str) -> Iterator[None]:
    """Turn what asyncpg and the network raise into errors for the operator."""
    try:
        yield
    except OSError as error:
        raise explained(error, where) from None
    except Exception as error:
        if not _is_asyncpg(error):
            raise
        raise explained(error, where) from None


def explained(error: BaseException, where: str) -> StoreError:
    """The error for the operator."""
    state = _state(error)
    if is_lost(error) or isinstance(error, TimeoutError):
        return StoreError(f"The store in {where} can not be reached ({_kind(error)}).", remedy=_UNREACHABLE)
    if state:
        remedy = _REMEDIES.get(state) or _REMEDIES.get(state[:2]) or _REPORT
        # a detail or a hint may hold values of rows, the message of these does not
        said = f": {getattr(error, 'message', '')}" if remedy is not _REPORT else ""
        return StoreError(f"The store in {where} refused ({_kind(error)} {state}{said}).", remedy=remedy, code=state)
    if isinstance(error, ValueError) and type(error).__name__ == "ClientConfigurationError":
        return StoreError(f"The store's URL is not understood ({where}).", remedy="Write postgresql://user@host/name.")
    return StoreError(f"The store in {where} can not be used ({_kind(error)}).", remedy=_REPORT)


def unknown_outcome(where: str) -> StoreError:
    """The connection was lost while a commit was under way, and the server could not be asked what became of it."""
    return StoreError(
        f"The store in {where} was lost during a commit, and whether it was kept could not be learned.",
        remedy="Run it again when the server is back: what was kept is not written twice.",
    )


def _state(error: BaseException) -> str:
    state: Any = getattr(error, "sqlstate", None)
    return state if isinstance(state, str) else ""


def _kind(error: BaseException) -> str:
    return type(error).__name__


def _is_asyncpg(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] == "asyncpg"
