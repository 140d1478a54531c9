"""Owners whose logins are sealed and who have something in every table that forgetting has to reach."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from brokersync.config import KeepSettings
from brokersync.jobs import Job
from brokersync.masterkeys import KeyFile
from brokersync.records import AccountKey, Connection, FailedWindow, OpenRequest, PageCommit, Span, SpanState
from brokersync.sealing import Sealer
from brokersync.secret import Secret
from brokersync.store import PageRules
from brokersync.store.sql import Fetch, Script
from brokersync.sync.fold import fold
from brokersync.sync.ledger import cover, reopen
from brokersync.types import (
    AssetClass,
    AuthResult,
    BrokerAccount,
    BrokerTrade,
    Instrument,
    QuarantinedRow,
    Side,
    TimeWindow,
    TradeBooking,
)
from brokersync.vault import GrantVault

_START = datetime(2026, 3, 2, 15, tzinfo=UTC)
_DAY = timedelta(days=1)
_WEEK = TimeWindow(_START, _START + 7 * _DAY)
_RULES = PageRules(fold=fold, cover=cover, reopen=reopen, precedence=lambda _: 1)
_AGES = KeepSettings(raw=9999 * _DAY, logs=9999 * _DAY, feed=_DAY)


def connection(owner: str) -> Connection:
    return Connection(
        connection_id=f"c-{owner}", owner=owner, provider="paper", environment="live", label="", identity=f"i-{owner}",
        created_at=_START,
    )  # fmt: skip


async def fill(store: Any, key: Path, owner: str) -> None:
    """Everything that a year of syncing leaves of an owner, once."""
    of = connection(owner)
    auth = AuthResult(identity=of.identity, access_token=Secret(f"t-{owner}"))
    await GrantVault(store, Sealer(KeyFile(key))).add(of, auth, {"user": owner}, made_at=None)
    now = datetime.now(UTC)
    await store.put_accounts(of, [BrokerAccount(account_id=f"a-{owner}", environment="live")], now)
    await store.take_lease(f"sync|{of.connection_id}", owner=owner, holder="w", now=now, until=now + _DAY)
    await store.commit_page(_page(of, "old", _START, next_request=_request(of), bookmark=f"m-{owner}"), _RULES)
    await store.prune(_START + 2 * _DAY, _AGES)
    ended: dict[str, Any] = {"request_account": f"live/a-{owner}", "ends_request": True, "finished": _WEEK}
    await store.commit_page(_page(of, "new", now, **ended), _RULES)
    failed = FailedWindow(window=_WEEK, failures=2, reason=f"r-{owner}", at=_START)
    await store.put_failing(of.connection_id, "fills", f"live/a-{owner}", (failed,), lease=None)
    await store.log_sync(of.connection_id, {"owner": owner}, _START)
    job = Job(connection_id=of.connection_id, owner=owner, provider=of.provider, environment=of.environment, at=now)
    await store.jobs.submit([job])
    await store.cache_put("paper", "live", {f"s-{owner}": {"tick": "0.25"}})


def _request(of: Connection) -> OpenRequest:
    return OpenRequest(connection_id=of.connection_id, source="fills", account="", window=_WEEK, cursor=f"u-{of.owner}")


def _page(of: Connection, age: str, at: datetime, **facts: Any) -> PageCommit:
    owner, account = of.owner, f"a-{of.owner}"
    key = AccountKey(owner=owner, provider="paper", environment="live", account_id=account)
    trades = [
        BrokerTrade(
            provider="paper", environment="live", account_id=account, trade_id=f"{owner}-{age}-{number}",
            side=Side.BUY, instrument=Instrument(symbol=f"s-{owner}", asset_class=AssetClass.STOCK),
            quantity=Decimal(1), price=Decimal(2), executed_at=_START, raw={"row": f"{owner}-{number}"},
        )
        for number in range(3)
    ]  # fmt: skip
    return PageCommit(
        owner=owner, provider="paper", source="fills", at=at, connection_id=of.connection_id,
        bookings=tuple(map(TradeBooking.of, trades)), spans=((key, Span(window=_WEEK, state=SpanState.FINAL)),),
        quarantined=(QuarantinedRow(reason="odd", raw={"odd": f"{owner} {age}"}),),
        **facts,
    )  # fmt: skip


async def counts(store: Any, owner: str, whose: dict[str, str]) -> dict[str, int]:
    """How many rows of an owner stand in each of these tables."""

    def script() -> Script[dict[str, int]]:
        found = {}
        for table, where in whose.items():
            rows = yield Fetch(f"SELECT count(*) FROM {table} WHERE {where}", (owner,) * where.count("?"))
            found[table] = int(rows[0][0])
        return found

    return await store._read(script)
