"""Events as log records; the only file that knows loguru, and it adds no sink unless `enable_logs` is called."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TextIO

import attrs
from loguru import logger

from brokersync.converter import instant_text
from brokersync.events import (
    ConnectionNeedsUser,
    Event,
    EventSink,
    HistoryLost,
    LimitWaited,
    PluginRefused,
    RequestSent,
    RetryScheduled,
    ScopeFrozen,
    SyncDeferred,
    SyncFailed,
    WindowStarted,
)
from brokersync.redaction import Redactor
from brokersync.types import TimeWindow

if TYPE_CHECKING:
    import loguru

logger.disable("brokersync")

_LEVELS: dict[type[Event], str] = {
    RequestSent: "DEBUG",
    WindowStarted: "DEBUG",
    LimitWaited: "DEBUG",
    RetryScheduled: "INFO",
    SyncDeferred: "INFO",
    ScopeFrozen: "WARNING",
    PluginRefused: "WARNING",
    HistoryLost: "WARNING",
    ConnectionNeedsUser: "WARNING",
    SyncFailed: "ERROR",
}
_FORMAT = "{time:YYYY-MM-DDTHH:mm:ss.SSS!UTC}Z {level: <7} {message}"
_DEFAULT_HANDLER = 0


def log_events(log: loguru.Logger) -> EventSink:
    """A sink that makes a record of each event: its name as `event` and its fields beside it in `extra`.

    The records belong to `brokersync`, so they are seen only after `logger.enable("brokersync")`.
    """

    def write(event: Event) -> None:
        name = type(event).__name__
        fields = {field.name: _plain(getattr(event, field.name)) for field in attrs.fields(type(event))}
        shown = [f"{key}={_shown(value)}" for key, value in fields.items() if value not in (None, "")]
        # Text of others is an argument, never the message: loguru reads braces in a message.
        log.bind(event=name, **fields).log(_LEVELS.get(type(event), "INFO"), "{} {}", name, " ".join(shown))

    return write


def enable_logs(
    sink: TextIO | Callable[[str], object],
    level: str = "INFO",
    secrets: Callable[[], Iterable[str]] = tuple,
    *,
    json_lines: bool = False,
) -> Callable[[], None]:
    """Show the library's records in `sink`, for a program that owns its process; the answer ends it.

    The finished line is redacted, so that exception texts are too; `secrets` is asked at every line. loguru's own
    handler, which shows the values of variables, is taken away.
    """
    write = sink if callable(sink) else sink.write
    known: tuple[frozenset[str], Redactor] = (frozenset(), Redactor(()))

    def redacted(line: str) -> None:
        nonlocal known
        now = frozenset(secrets())
        if now != known[0]:
            known = now, Redactor(now)
        with suppress(OSError, ValueError):  # a closed or full sink must not end a sync
            write(known[1](str(line)))

    with suppress(ValueError):
        logger.remove(_DEFAULT_HANDLER)
    handler = logger.add(
        redacted,
        level=level,
        format=_FORMAT,
        serialize=json_lines,
        diagnose=False,
        backtrace=False,
        colorize=False,
        catch=False,  # loguru would print the record that failed as it is, with its secrets
    )
    logger.enable("brokersync")

    def disable() -> None:
        logger.disable("brokersync")
        with suppress(ValueError):
            logger.remove(handler)

    return disable


def event_log(sink: TextIO, level: str, *, json_lines: bool = False) -> EventSink:
    """An `EventSink` that writes structured lines to `sink`; for a program that owns its process, such as ours."""
    enable_logs(sink, level.upper(), json_lines=json_lines)
    return log_events(logger)


def _plain(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, datetime):
        return instant_text(value)
    if isinstance(value, TimeWindow):
        return f"{instant_text(value.start)}/{instant_text(value.end)}"
    return value


def _shown(value: object) -> str:
    """One word: text with spaces or control signs is quoted, so that no value can look like a line of its own."""
    text = str(value)
    return text if text.isprintable() and " " not in text else repr(text)
