"""Event sinks of programs that embed brokersync, and several sinks as one."""

from __future__ import annotations

import logging

from brokersync.events import Event, EventSink, no_events

_log = logging.getLogger("brokersync")


def all_of(*sinks: EventSink) -> EventSink:
    """A sink that passes each event on to all of these, in their order."""

    def send(event: Event) -> None:
        for sink in sinks:
            sink(event)

    return send


def harmless(sink: EventSink) -> EventSink:
    """A sink of somebody else: what it raises ends nothing of ours, and is logged, once for each kind of error."""
    if sink is no_events:
        return sink
    told: set[type[Exception]] = set()

    def send(event: Event) -> None:
        try:
            sink(event)
        except Exception as error:  # noqa: BLE001  it may be any, and half of what belongs together would be done
            if type(error) not in told:
                told.add(type(error))
                _log.exception("An event sink raised at %s. Nothing was ended by that.", type(event).__name__)

    return send
