"""Events as log records; the only file that knows loguru, and it adds no sink unless `enable_logs` is called."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TextIO

import attrs
from loguru import logger

from brokersync.converter import instant_text, to_json
from brokersync.events import (
    BrokerHeld,
    ConnectionNeedsOperator,
    ConnectionNeedsUser,
    Event,
    EventSink,
    HistoryLost,
    HostRefused,
    IncidentOpened,
    JobsCounted,
    LimitWaited,
    LoginEnding,
    PluginDeprecated,
    PluginRefused,
    PluginSeen,
    RequestSent,
    RetryScheduled,
    ScopeFrozen,
    SharedLimitsLost,
    SyncDeferred,
    SyncFailed,
    WakeUpsLost,
    WebhookLost,
    WindowStarted,
)
from brokersync.records import SyncReport
from brokersync.redaction import Redactor
from brokersync.types import TimeWindow

if TYPE_CHECKING:
    import loguru

logger.disable("brokersync")

_LEVELS: dict[type[Event], str] = {
    RequestSent: "DEBUG",
    WindowStarted: "DEBUG",
    LimitWaited: "DEBUG",
    JobsCounted: "DEBUG",
    RetryScheduled: "INFO",
    SyncDeferred: "INFO",
    ScopeFrozen: "WARNING",
    PluginRefused: "WARNING",
    PluginSeen: "WARNING",
    PluginDeprecated: "WARNING",
    BrokerHeld: "WARNING",
    HostRefused: "ERROR",
    WebhookLost: "WARNING",
    HistoryLost: "WARNING",
    ConnectionNeedsUser: "WARNING",
    LoginEnding: "WARNING",
    ConnectionNeedsOperator: "WARNING",
    IncidentOpened: "WARNING",
    SharedLimitsLost: "WARNING",
    WakeUpsLost: "WARNING",
    SyncFailed: "ERROR",
}
_FORMAT = "{time:YYYY-MM-DDTHH:mm:ss.SSS!UTC}Z {level: <7} {message}"
_DEFAULT_HANDLER = 0


def log_events(log: loguru.Logger | logging.Logger, *, enable: bool = False) -> EventSink:
    """A sink that makes a record of each event: its name and its fields stand beside the text.

    In loguru's records they are in `extra`, the name as `event`; the records belong to `brokersync`, so they are seen
    only with `enable` or after `logger.enable("brokersync")`. A record of the standard library holds them as one
    mapping, `brokersync`.
    """
    if isinstance(log, logging.Logger):
        return _to_logging(log)
    if enable:
        logger.enable(__name__)

    def write(event: Event) -> None:
        name, fields, text = _record(event)
        # Text of others is an argument, never the message: loguru reads braces in a message.
        log.bind(event=name, **fields).log(_level(event), "{} {}", name, text)

    return write


def bridge_to_logging() -> Callable[[], None]:
    """Hand the library's loguru records to the loggers of the standard library, by name; the answer ends it.

    loguru's own handler, which would show them a second time and with the values of variables, is taken away.
    """

    def to_its_logger(message: loguru.Message) -> None:
        record = message.record
        facts = {"brokersync": dict(record["extra"])}
        target = logging.getLogger(record["name"])
        if target.isEnabledFor(record["level"].no):
            target.log(record["level"].no, "%s", record["message"], extra=facts)

    _take_away_default_handler()
    handler = logger.add(to_its_logger, level=0, filter="brokersync", format="{message}", catch=False)
    logger.enable("brokersync")
    return _ending(handler)


def _to_logging(log: logging.Logger) -> EventSink:
    def write(event: Event) -> None:
        level = logging.getLevelNamesMapping()[_level(event)]
        if log.isEnabledFor(level):
            name, fields, text = _record(event)
            log.log(level, "%s %s", name, text, extra={"brokersync": {"event": name, **fields}})

    return write


def _level(event: Event) -> str:
    if isinstance(event, ScopeFrozen) and event.again:
        return "DEBUG"  # each of a thousand connections may meet the same refusal
    return _LEVELS.get(type(event), "INFO")


def _record(event: Event) -> tuple[str, dict[str, Any], str]:
    """An event's name, its fields, and these as text."""
    fields = {field.name: _plain(getattr(event, field.name)) for field in attrs.fields(type(event))}
    return type(event).__name__, fields, " ".join(_words(fields))


def _words(fields: Mapping[str, Any]) -> Iterator[str]:
    """Each field as name=value; the counters of a report stand there like fields, but for those that counted none."""
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from _words(
                {key: number for key, number in value.items() if isinstance(number, int | float) and number}
            )
        elif value not in (None, ""):
            yield f"{name}={_shown(value)}"


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

    _take_away_default_handler()
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
    return _ending(handler)


def _take_away_default_handler() -> None:
    with suppress(ValueError):
        logger.remove(_DEFAULT_HANDLER)


def _ending(handler: int) -> Callable[[], None]:
    def end() -> None:
        logger.disable("brokersync")
        with suppress(ValueError):
            logger.remove(handler)

    return end


def event_log(sink: TextIO, level: str, *, json_lines: bool = False) -> EventSink:
    """An `EventSink` that writes structured lines to `sink`; for a program that owns its process, such as ours."""
    enable_logs(sink, level.upper(), json_lines=json_lines)
    return log_events(logger)


def _plain(value: Any) -> Any:
    if isinstance(value, SyncReport):
        return to_json(value)
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
