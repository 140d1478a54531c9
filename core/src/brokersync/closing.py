"""When a broker is closed, and whom that keeps out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from brokersync.errors import BrokerConfigError
from brokersync.maintenance import MaintenanceWindow
from brokersync.records import Connection
from brokersync.shared import Shared
from brokersync.sync.deadline import kept_out_until


def maintenance_of(shared: Shared, provider: str) -> Sequence[MaintenanceWindow]:
    """When the broker is closed: by the operator's word, else by the plugin's."""
    if (told := shared.settings.broker(provider).maintenance) is not None:
        return told
    try:
        return shared.registry.manifest(provider).maintenance
    except BrokerConfigError:
        return ()  # the sync says what is wrong with the plugin


def closed_to(shared: Shared, connection: Connection, now: datetime) -> datetime | None:
    """When a sync may begin that is to begin while its broker is closed; `None` where it may now."""
    maintenance = maintenance_of(shared, connection.provider)
    return kept_out_until(connection, now, maintenance, margin=shared.settings.perishable_margin)
