"""What a backend's OpenTelemetry sees of syncs, windows and requests."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from brokersync import BrokerConfigError, BrokerSync
from brokersync.events import (
    ConnectionNeedsUser,
    Event,
    PageCommitted,
    RequestSent,
    SyncDeferred,
    SyncFailed,
    SyncRecorded,
    SyncStarted,
    WindowStarted,
)
from brokersync.records import Done, SyncReport
from brokersync.telemetry import otel_events
from brokersync.testing import run_sandbox
from brokersync.types import TimeWindow

OWNER = "alice-of-the-backend"
NOW = datetime(2030, 1, 2, 3, tzinfo=UTC)
NAMES: Any = {"provider": "toy", "connection_id": "c1"}
REPORT = SyncReport(owner=OWNER, provider="toy", connection_id="c1", started_at=NOW, duration=timedelta(seconds=4))
STARTED, DONE = SyncStarted(**NAMES, owner=OWNER), SyncRecorded(**NAMES, outcome="done", report=REPORT)
WINDOW = WindowStarted(
    **NAMES, source="fills", account_id=None, window=TimeWindow(NOW, NOW + timedelta(days=1)), done=0, total=2
)
REQUEST = RequestSent(
    **NAMES, operation="list", url="https://h.example/?t=***", attempt=2, status=503, error="BrokerUnavailableError",
    duration=timedelta(seconds=2),
)  # fmt: skip


@attrs.frozen
class Sdk:
    """What an SDK was handed."""

    tracers: TracerProvider
    meters: MeterProvider
    exporter: InMemorySpanExporter
    reader: InMemoryMetricReader

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        return self.exporter.get_finished_spans()

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == name]

    def points(self, metric: str) -> list[Any]:
        data: Any = self.reader.get_metrics_data()
        return [
            point
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for one in scope.metrics
            if one.name == metric
            for point in one.data.data_points
        ]


@pytest.fixture
def sdk() -> Iterator[Sdk]:
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers, meters = TracerProvider(), MeterProvider([reader])
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    yield Sdk(tracers, meters, exporter, reader)
    tracers.shutdown()
    meters.shutdown()


def sink(sdk: Sdk) -> Any:
    return otel_events(meter_provider=sdk.meters, tracer_provider=sdk.tracers)


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def is_within(span: ReadableSpan, other: ReadableSpan) -> bool:
    return span.parent is not None and other.context is not None and span.parent.span_id == other.context.span_id


async def test_a_sync_is_a_span_with_its_windows_and_their_requests_and_is_measured(tmp_path: Path, sdk: Sdk) -> None:
    tell = sink(sdk)
    async with run_sandbox("tradovate") as broker:
        login = broker.logins[0]
        async with BrokerSync.open(tmp_path / "s.db", settings=broker.settings(), events=tell) as bs:
            connection = await bs.connect("tradovate", owner=OWNER, fields=login.fields)
            before = sum(point.count for point in sdk.points("brokersync.request.duration"))
            with sdk.tracers.get_tracer("backend").start_as_current_span("task of the backend") as own:
                outcome = await bs.run(connection.connection_id)
    assert isinstance(outcome, Done)
    report = outcome.report
    (sync,) = sdk.named("brokersync.sync")
    assert sync.parent is not None
    assert sync.parent.span_id == own.get_span_context().span_id
    assert attributes(sync)["brokersync.outcome"] == "done"
    assert attributes(sync)["brokersync.added"] == report.added > 0
    windows = sdk.named("brokersync.window")
    assert windows
    assert all(is_within(window, sync) for window in windows)
    requests = [span for span in sdk.spans if span.kind is SpanKind.CLIENT]
    inside = [span for span in requests if any(is_within(span, one) for one in (sync, *windows))]
    assert len(inside) == report.requests > 1
    assert sum(point.count for point in sdk.points("brokersync.request.duration")) - before == report.requests
    assert sum(point.value for point in sdk.points("brokersync.trades")) == report.added
    (took,) = sdk.points("brokersync.sync.duration")
    assert (took.count, dict(took.attributes)) == (
        1, {"brokersync.broker": "tradovate", "brokersync.outcome": "done"},
    )  # fmt: skip
    shown = "".join(span.to_json() for span in sdk.spans) + str(sdk.reader.get_metrics_data())
    # not the app's number: its four digits stand in random ids and times by chance
    private = {login.fields[name] for name in ("username", "password", "sec")} | {OWNER}
    assert [value for value in private if value in shown] == []


def test_an_attempt_that_fails_is_a_span_of_its_time_with_what_went_wrong(sdk: Sdk) -> None:
    tell = sink(sdk)
    for event in (STARTED, WINDOW, REQUEST, WINDOW, DONE):
        tell(event)
    first, second = sdk.named("brokersync.window")
    (request,) = sdk.named("toy list")
    assert is_within(request, first)
    assert not is_within(request, second)
    assert request.status.status_code is StatusCode.ERROR
    assert request.end_time is not None
    assert request.start_time == request.end_time - 2 * 10**9
    assert attributes(request) == {
        "brokersync.broker": "toy", "brokersync.connection_id": "c1", "url.full": "https://h.example/?t=***",
        "brokersync.attempt": 2, "http.response.status_code": 503, "error.type": "BrokerUnavailableError",
    }  # fmt: skip


def test_a_sync_that_fails_says_of_what_and_its_events_are_told_where_they_happen(sdk: Sdk) -> None:
    tell = sink(sdk)
    page = PageCommitted(**NAMES, source="fills", fetched=3, added=2, modified=0, removed=1, unchanged=0, quarantined=4)
    told: list[Event] = [
        STARTED, WINDOW, page, ConnectionNeedsUser(**NAMES, reason="refused"),
        SyncFailed(**NAMES, error="BrokerAuthError", message="refused"),
        SyncRecorded(**NAMES, outcome="failed", report=REPORT, reason="refused"),
    ]  # fmt: skip
    for event in told:
        tell(event)
    (sync,), (window,) = sdk.named("brokersync.sync"), sdk.named("brokersync.window")
    assert (sync.status.status_code, sync.status.description) == (StatusCode.ERROR, "refused")
    assert attributes(sync)["error.type"] == "BrokerAuthError"
    assert [one.name for one in window.events] == ["PageCommitted", "ConnectionNeedsUser", "SyncFailed"]
    assert {dict(point.attributes)["brokersync.change"]: point.value for point in sdk.points("brokersync.trades")} == {
        "added": 2,
        "removed": 1,
    }
    assert [point.value for point in sdk.points("brokersync.rows.quarantined")] == [4]
    (stopped,) = sdk.points("brokersync.connections.stopped")
    assert dict(stopped.attributes) == {"brokersync.broker": "toy", "brokersync.state": "needs_user"}


async def test_syncs_side_by_side_do_not_end_each_others_spans(sdk: Sdk) -> None:
    tell, turn = sink(sdk), asyncio.Event()

    async def first() -> None:
        tell(STARTED)
        tell(WINDOW)
        await turn.wait()
        await asyncio.create_task(told_in_a_task_of_its_own())
        tell(DONE)

    async def told_in_a_task_of_its_own() -> None:
        tell(REQUEST)

    async def put_off() -> None:
        tell(SyncDeferred(**NAMES, until=NOW, reason="Another worker is syncing this connection."))
        tell(attrs.evolve(DONE, outcome="deferred"))
        assert sdk.spans == ()
        turn.set()

    await asyncio.gather(first(), put_off())
    (sync,), (window,), (request,) = (sdk.named(name) for name in ("brokersync.sync", "brokersync.window", "toy list"))
    assert is_within(window, sync)
    assert is_within(request, window)
    assert attributes(sync)["brokersync.outcome"] == "done"
    assert sorted(dict(point.attributes)["brokersync.outcome"] for point in sdk.points("brokersync.sync.duration")) == [
        "deferred",
        "done",
    ]


def test_without_an_sdk_nothing_happens() -> None:
    tell = otel_events()
    for event in (STARTED, WINDOW, REQUEST, DONE):
        tell(event)


def test_where_opentelemetry_is_not_installed_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("opentelemetry", "brokersync.telemetry."))]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(BrokerConfigError) as caught:
        otel_events()
    assert "brokersync[otel]" in caught.value.remedy
