"""What is counted and timed, by broker; nothing names a connection or its owner, of whom there are too many."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs
from opentelemetry.metrics import Counter, Histogram, _Gauge, get_meter

from brokersync.events import (
    ConnectionNeedsOperator,
    ConnectionNeedsUser,
    Event,
    HistoryLost,
    IncidentClosed,
    IncidentOpened,
    JobsCounted,
    JobStuck,
    LimitWaited,
    PageCommitted,
    PluginRefused,
    RequestSent,
    RetryScheduled,
    ScopeFrozen,
    SharedLimitsLost,
    SyncRecorded,
    TokenRefreshed,
    WakeUpsLost,
)
from brokersync.version import VERSION

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter, MeterProvider

BROKER: Final = "brokersync.broker"

_Meters: TypeAlias = Counter | Histogram | _Gauge
_Measured: TypeAlias = tuple[float, Mapping[str, str]]

# in seconds: from an answer on loopback to a back-fill of ten years
_BOUNDS: Final = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)


@attrs.frozen
class Instrument:
    """One metric: what it measures, and what of which event.

    A `gauge` shows the last number; else a unit of `s` makes it a histogram, and any other one counts.
    """

    name: str
    unit: str
    about: str
    event: type[Event]
    measured: Callable[[Any], Sequence[_Measured]]
    gauge: bool = False


def _once(*fields: str) -> Callable[[Any], Sequence[_Measured]]:
    """One, with these fields of the event as attributes."""
    return lambda event: [(1, {f"brokersync.{field}": str(getattr(event, field)) for field in fields})]


def _of_sync(event: SyncRecorded) -> Sequence[_Measured]:
    return [(event.report.duration.total_seconds(), {"brokersync.outcome": event.outcome})]


def _of_request(event: RequestSent) -> Sequence[_Measured]:
    facts = {"brokersync.operation": event.operation}
    if event.status is not None:
        facts["http.response.status_code"] = str(event.status)
    if event.error is not None:
        facts["error.type"] = event.error
    return [(event.duration.total_seconds(), facts)]


def _of_wait(event: LimitWaited) -> Sequence[_Measured]:
    return [(event.wait.total_seconds(), {"brokersync.scope": event.scope})]


def _of_page(event: PageCommitted) -> Sequence[_Measured]:
    numbers = {"added": event.added, "modified": event.modified, "removed": event.removed}
    return [
        (number, {"brokersync.source": event.source, "brokersync.change": change})
        for change, number in numbers.items()
        if number
    ]


def _of_quarantine(event: PageCommitted) -> Sequence[_Measured]:
    return [(event.quarantined, {"brokersync.source": event.source})] if event.quarantined else []


def _of_jobs(event: JobsCounted) -> Sequence[_Measured]:
    numbers = {"ready": event.ready, "later": event.later, "running": event.running}
    return [(number, {"brokersync.state": state}) for state, number in numbers.items()]


def _state(name: str) -> Callable[[Any], Sequence[_Measured]]:
    return lambda event: [(1, {"brokersync.state": name})]


INSTRUMENTS: Final = (
    Instrument("brokersync.sync.duration", "s", "Syncs, by how they ended.", SyncRecorded, _of_sync),
    Instrument("brokersync.request.duration", "s", "Attempts at requests.", RequestSent, _of_request),
    Instrument(
        "brokersync.request.retries", "{retry}", "Attempts that are repeated, by what went wrong.", RetryScheduled,
        _once("operation", "reason"),
    ),
    Instrument("brokersync.limit.wait", "s", "Waits for a place under a limit.", LimitWaited, _of_wait),
    Instrument(
        "brokersync.limit.freezes", "{freeze}", "Scopes in which a broker refused requests.", ScopeFrozen,
        _once("scope"),
    ),
    Instrument(
        "brokersync.limit.shared_lost", "{time}", "Times at which the Redis of the limits went away.",
        SharedLimitsLost, _once(),
    ),
    Instrument(
        "brokersync.queue.wake_ups_lost", "{time}", "Times at which the Redis of the queue went away.", WakeUpsLost,
        _once(),
    ),
    Instrument("brokersync.trades", "{trade}", "Trades that came into the store or changed.", PageCommitted, _of_page),
    Instrument(
        "brokersync.rows.quarantined", "{row}", "Rows that could not be read.", PageCommitted, _of_quarantine
    ),
    Instrument(
        "brokersync.history.lost", "{window}", "Windows that no source gives any more.", HistoryLost,
        _once("source"),
    ),
    Instrument("brokersync.tokens.renewed", "{token}", "New tokens.", TokenRefreshed, _once("how")),
    Instrument(
        "brokersync.connections.stopped", "{connection}", "Connections that need somebody.", ConnectionNeedsUser,
        _state("needs_user"),
    ),
    Instrument(
        "brokersync.connections.stopped", "{connection}", "Connections that need somebody.", ConnectionNeedsOperator,
        _state("needs_operator"),
    ),
    Instrument(
        "brokersync.incidents.opened", "{incident}", "Brokers that went away.", IncidentOpened,
        _once("environment"),
    ),
    Instrument(
        "brokersync.incidents.duration", "s", "How long brokers were away.", IncidentClosed,
        lambda event: [(event.duration.total_seconds(), {"brokersync.environment": event.environment})],
    ),
    Instrument("brokersync.jobs", "{job}", "Jobs of all workers.", JobsCounted, _of_jobs, gauge=True),
    Instrument(
        "brokersync.jobs.oldest", "s", "For how long the job has waited that might have begun first.", JobsCounted,
        lambda event: [(event.oldest.total_seconds(), {})], gauge=True,
    ),
    Instrument("brokersync.jobs.stuck", "{job}", "Syncs that showed no sign of life.", JobStuck, _once()),
    Instrument("brokersync.plugins.refused", "{plugin}", "Plugins that were left out.", PluginRefused, _once()),
)  # fmt: skip


class Metrics:
    """Measures events."""

    def __init__(self, provider: MeterProvider | None) -> None:
        meter = get_meter("brokersync", VERSION, provider)
        made: dict[str, _Meters] = {}
        self._by_event: dict[type[Event], list[tuple[_Meters, Instrument]]] = {}
        for one in INSTRUMENTS:
            instrument = made.setdefault(one.name, _made(meter, one))
            self._by_event.setdefault(one.event, []).append((instrument, one))

    def __call__(self, event: Event) -> None:
        """Measure an event; most have nothing to measure."""
        for instrument, one in self._by_event.get(type(event), ()):
            for number, facts in one.measured(event):
                attributes = {BROKER: event.provider, **facts} if event.provider else facts
                if isinstance(instrument, Counter):
                    instrument.add(number, attributes)
                elif isinstance(instrument, Histogram):
                    instrument.record(number, attributes)
                else:
                    instrument.set(number, attributes)


def _made(meter: Meter, one: Instrument) -> _Meters:
    if one.gauge:
        return meter.create_gauge(one.name, one.unit, one.about)
    if one.unit != "s":
        return meter.create_counter(one.name, one.unit, one.about)
    return meter.create_histogram(one.name, one.unit, one.about, explicit_bucket_boundaries_advisory=_BOUNDS)
