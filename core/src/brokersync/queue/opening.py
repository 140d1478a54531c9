"""The engine that the settings ask for."""

from __future__ import annotations

from brokersync.config import QueueEngine
from brokersync.queue.embedded import EmbeddedEngine
from brokersync.queue.engine import JobEngine
from brokersync.shared import Shared


def open_engine(shared: Shared) -> JobEngine:
    """Jobs in the store, looked for by its workers, or by those that docket wakes.

    Raises `BrokerConfigError` where docket is asked for and not installed.
    """
    settings, bell = shared.settings, None
    if settings.queue.engine is QueueEngine.DOCKET:
        # redis costs a third of a second to import, and only a fleet has to pay for it
        from brokersync.queue.docket_bell import DocketBell

        assert settings.fleet.redis is not None  # the settings see to it
        bell = DocketBell(settings.fleet.redis, settings.queue, shared.clock, shared.events)
    return EmbeddedEngine(shared.store.jobs, shared.clock, settings, shared.worker, bell)
