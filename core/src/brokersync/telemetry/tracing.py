"""Spans: a sync, in it the windows it asks for, in these the requests; what else happens is told where it does."""

from __future__ import annotations

import time
from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs
from opentelemetry import context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, get_tracer, set_span_in_context

from brokersync.converter import instant_text
from brokersync.events import Event, RequestSent, SyncFailed, SyncRecorded, SyncStarted, WindowStarted
from brokersync.records import SyncReport
from brokersync.telemetry.metrics import BROKER
from brokersync.types import TimeWindow
from brokersync.version import VERSION

if TYPE_CHECKING:
    from contextvars import Token

    from opentelemetry.context import Context
    from opentelemetry.trace import TracerProvider

_CONNECTION: Final = "brokersync.connection_id"
# whose they are is for the store to say
_LEFT_OUT: Final = ("provider", "connection_id", "owner")
_NANOSECONDS: Final = 10**9

_Attribute: TypeAlias = str | int | float


@attrs.define
class _Sync:
    """The spans of a sync that is under way; tasks that it begins see them too."""

    span: Span
    token: Token[Context]
    window: Span | None = None
    failed: str = ""

    def end_window(self) -> None:
        if self.window is not None:
            self.window.end()
        self.window = None


# a sync that is put off because another task is at the connection begins no span, and must not end that one's
_UNDER_WAY: ContextVar[_Sync | None] = ContextVar("the sync of this task", default=None)


class Tracing:
    """Makes spans of events, in whichever task they are told."""

    def __init__(self, provider: TracerProvider | None) -> None:
        self._tracer = get_tracer("brokersync", VERSION, provider)

    def __call__(self, event: Event) -> None:
        """Begin, end or add to a span."""
        sync = _UNDER_WAY.get()
        if isinstance(event, SyncStarted):
            span = self._tracer.start_span("brokersync.sync", attributes=_names(event))
            _UNDER_WAY.set(_Sync(span, context.attach(set_span_in_context(span))))
        elif isinstance(event, RequestSent):
            self._request(event, sync)
        elif sync is None:
            return
        elif isinstance(event, SyncRecorded):
            _UNDER_WAY.set(None)
            _end(sync, event)
        elif isinstance(event, WindowStarted):
            sync.end_window()
            sync.window = self._tracer.start_span(
                "brokersync.window",
                context=set_span_in_context(sync.span),
                attributes={**_names(event), **_facts(event)},
            )
        else:
            if isinstance(event, SyncFailed):
                sync.failed = event.error
            (sync.window or sync.span).add_event(type(event).__name__, _facts(event))

    def _request(self, event: RequestSent, sync: _Sync | None) -> None:
        within = None if sync is None else set_span_in_context(sync.window or sync.span)
        ended = time.time_ns()
        facts: dict[str, _Attribute] = {**_names(event), "url.full": event.url, "brokersync.attempt": event.attempt}
        if event.status is not None:
            facts["http.response.status_code"] = event.status
        if event.error is not None:
            facts["error.type"] = event.error
        span = self._tracer.start_span(
            f"{event.provider} {event.operation}",
            context=within,
            kind=SpanKind.CLIENT,
            attributes=facts,
            start_time=ended - int(event.duration.total_seconds() * _NANOSECONDS),
        )
        if event.error is not None:
            span.set_status(Status(StatusCode.ERROR, event.error))
        span.end(ended)


def _end(sync: _Sync, event: SyncRecorded) -> None:
    sync.end_window()
    report = event.report
    sync.span.set_attributes(
        {
            "brokersync.outcome": event.outcome,
            "brokersync.added": report.added,
            "brokersync.modified": report.modified,
            "brokersync.removed": report.removed,
            "brokersync.requests": report.requests,
            "brokersync.waited": report.waited.total_seconds(),
        }
    )
    if event.reason:
        sync.span.set_attribute("brokersync.reason", event.reason)
    if event.outcome == "failed":
        sync.span.set_attribute("error.type", sync.failed or "bug")
        sync.span.set_status(Status(StatusCode.ERROR, event.reason))
    sync.span.end()
    context.detach(sync.token)


def _names(event: Event) -> dict[str, _Attribute]:
    return {name: value for name, value in ((BROKER, event.provider), (_CONNECTION, event.connection_id)) if value}


def _facts(event: Event) -> dict[str, _Attribute]:
    fields = {field.name: getattr(event, field.name) for field in attrs.fields(type(event))}
    return {
        f"brokersync.{name}": _plain(value)
        for name, value in fields.items()
        if name not in _LEFT_OUT and value is not None and not isinstance(value, SyncReport)
    }


def _plain(value: Any) -> _Attribute:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, datetime):
        return instant_text(value)
    if isinstance(value, TimeWindow):
        return f"{instant_text(value.start)}/{instant_text(value.end)}"
    return value if isinstance(value, str | int | float) else str(value)
