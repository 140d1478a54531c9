"""What is known before a source is asked."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from brokersync.records import Connection, OpenRequest, Span
from brokersync.store import accounts, progress
from brokersync.store.sql import Script
from brokersync.types import BrokerAccount


@attrs.frozen(kw_only=True)
class Known:
    """A connection's accounts and begun requests, and what the ledger says of one source, per account."""

    accounts: tuple[BrokerAccount, ...]
    requests: tuple[OpenRequest, ...]
    spans: Mapping[tuple[str, str], tuple[Span, ...]]


def known(connection: Connection, source: str) -> Script[Known]:
    return Known(
        accounts=(yield from accounts.accounts(connection.connection_id)),
        requests=(yield from progress.open_requests(connection.connection_id)),
        spans=(yield from progress.spans(connection.owner, connection.provider, source)),
    )
