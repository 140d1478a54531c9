"""Events as OpenTelemetry metrics and spans; only this package knows opentelemetry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from brokersync.errors import BrokerConfigError
from brokersync.events import Event, EventSink

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider


def otel_events(
    *, meter_provider: MeterProvider | None = None, tracer_provider: TracerProvider | None = None
) -> EventSink:
    """A sink that measures each event and makes spans of syncs, windows and requests.

    Without providers those of the process are taken, which do nothing until its owner sets up an SDK. Raises
    `BrokerConfigError` where opentelemetry is not installed.
    """
    try:
        from brokersync.telemetry.metrics import Metrics
        from brokersync.telemetry.tracing import Tracing
    except ModuleNotFoundError as missing:
        raise BrokerConfigError(
            "OpenTelemetry is not installed.", remedy='Install it with pip install "brokersync[otel]".'
        ) from missing
    measure, trace = Metrics(meter_provider), Tracing(tracer_provider)

    def tell(event: Event) -> None:
        # first: a request that took long is then found by the trace that its measurement names
        measure(event)
        trace(event)

    return tell
