"""Owners who have something in every table, and what can be seen of them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import attrs

from brokersync.config import KeepSettings
from brokersync.jobs import Job
from brokersync.records import Connection, FailedWindow, OpenRequest, PageCommit, Span, SpanState
from brokersync.store import SealedGrant, SqlStore
from brokersync.store.schema import TABLES
from brokersync.store.sql import Fetch, Script
from brokersync.types import BrokerAccount, QuarantinedRow, TimeWindow

from .pages import DAY, RULES, START, WEEK, key, page, trade

KEEP = KeepSettings(raw=timedelta(days=90), logs=timedelta(days=90), feed=timedelta(days=400))
LATER = START + timedelta(days=500)


def connection(owner: str, number: int = 1, **facts: Any) -> Connection:
    values: dict[str, Any] = {
        "connection_id": f"c{number}-{owner}", "owner": owner, "provider": "paper", "environment": "live",
        "label": f"label-{owner}", "identity": f"identity-{number}", "created_at": START,
    }  # fmt: skip
    return Connection(**(values | facts))


def grant(of: Connection) -> SealedGrant:
    return SealedGrant(
        owner=of.owner, provider=of.provider, environment=of.grant_environment, identity=of.identity,
        generation=1, auth=b"auth", credentials=b"credentials",
    )  # fmt: skip


async def connect(store: SqlStore, of: Connection, *accounts: str) -> None:
    await store.data_key(of.owner, lambda: f"key-{of.owner}".encode())
    await store.add_connection(of, grant(of))
    told = [BrokerAccount(account_id=one, environment="live", name=f"name-{of.owner}") for one in accounts]
    await store.put_accounts(of, told, of.created_at)


def whole_page(of: Connection, account: str = "A", at: datetime = START, **facts: Any) -> PageCommit:
    """A page that leaves something everywhere."""
    request = OpenRequest(connection_id=of.connection_id, source="fills", account="", window=WEEK, cursor="7")
    values: dict[str, Any] = {
        "owner": of.owner, "at": at, "connection_id": of.connection_id, "next_request": request, "bookmark": "m",
        "spans": ((key(of.owner, account), Span(window=WEEK, state=SpanState.FINAL)),),
        "quarantined": (
            QuarantinedRow(reason="strange", raw={"odd": f"odd-{of.owner}"}, environment="live", account_id=account),
            QuarantinedRow(reason="stranger", raw={"odd": f"odder-{of.owner}"}),
        ),
    }  # fmt: skip
    rows = [
        trade(f"{name}-{of.owner}", account=account, symbol=f"SYM-{of.owner}", raw={"row": f"{name}-{of.owner}"})
        for name in ("t1", "t2")
    ]
    return page(*rows, **(values | facts))


async def fill(store: SqlStore, owner: str) -> Connection:
    """An owner with something in every table that may hold something of an owner."""
    of = connection(owner)
    await connect(store, of, "A")
    await store.take_lease(f"sync|{of.connection_id}", owner=owner, holder="w", now=LATER, until=LATER + DAY)
    await store.commit_page(whole_page(of), RULES)
    young = page(trade(f"t3-{owner}"), owner=owner, at=LATER, connection_id=of.connection_id, request_account="live/A")
    ended = attrs.evolve(young, ends_request=True, finished=TimeWindow(START, START + DAY))
    await store.commit_page(ended, RULES)
    failed = FailedWindow(window=WEEK, failures=2, reason=f"reason-{owner}", at=START)
    await store.put_failing(of.connection_id, "fills", "live/A", (failed,), lease=None)
    await store.log_sync(of.connection_id, {"owner": owner, "added": 2}, START)
    await store.log_sync(of.connection_id, {"owner": owner, "added": 1}, LATER)
    job = Job(connection_id=of.connection_id, owner=owner, provider="paper", environment="live", at=LATER)
    await store.jobs.submit([job])
    await store.cache_put("paper", "live", {f"SYM-{owner}": {"tick": "0.25"}})
    return of


async def tables(store: SqlStore) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables."""

    def read() -> Script[dict[str, list[tuple[Any, ...]]]]:
        found = {}
        for table in TABLES:
            rows = yield Fetch(f"SELECT {', '.join(table.columns)} FROM {table.name}")
            found[table.name] = [tuple(row) for row in rows]
        return found

    return await store._read(read)


async def export(store: SqlStore, owner: str) -> list[dict[str, Any]]:
    from brokersync.store import EXPORTED

    found: list[dict[str, Any]] = []
    for table in EXPORTED:
        records, place = await store.export_page(owner, table, None, 2)
        while records:
            found += records
            records, place = await store.export_page(owner, table, place, 2)
    return found
