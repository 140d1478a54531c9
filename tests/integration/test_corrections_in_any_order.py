"""IBKR's original, cancel and rebooked rows in all six orders and split over three syncs: one trade, one state."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from decimal import Decimal
from itertools import permutations
from pathlib import Path
from typing import Any

import attrs
import pytest

from brokersync import BrokerSync, Deferred, SyncReport
from brokersync.records import ChangeKind
from brokersync.sandboxes import SandboxSettings
from brokersync.store import TradeFilter
from brokersync_ibkr import sandbox_flex, sandbox_ledger
from brokersync_ibkr.sandbox_bookings import Booking
from brokersync_ibkr.sandbox_ledger import Account, open_logins

ORDERS = list(permutations(range(3)))
SPLITS = [(one, two) for one in range(4) for two in range(one, 4)]

_BASE = {
    "accountId": "U7", "currency": "USD", "assetCategory": "STK", "symbol": "ACME", "conid": "11", "multiplier": "1",
    "dateTime": "20260302;100000", "tradeDate": "20260302", "reportDate": "20260302", "ibCommissionCurrency": "USD",
}  # fmt: skip
_ORIGINAL = _BASE | {
    "transactionType": "ExchTrade", "buySell": "BUY", "quantity": "100", "tradePrice": "10.5", "ibCommission": "-1",
    "tradeID": "700", "transactionID": "8001", "ibExecID": "0000aa.0000bb.01.01",
}  # fmt: skip
_CANCEL = _BASE | {
    "transactionType": "TradeCancel", "buySell": "BUY (Ca.)", "quantity": "-100", "tradePrice": "10.5",
    "ibCommission": "0.25", "tradeID": "", "origTradeID": "700", "origTransactionID": "8001", "transactionID": "8002",
}  # fmt: skip
_REBOOKED = _ORIGINAL | {"tradePrice": "10.4", "ibCommission": "-0.5", "transactionID": "8003"}
CHAINS = {
    "the same execution id": (_ORIGINAL, _CANCEL, _REBOOKED),
    "a revised execution id": (_ORIGINAL, _CANCEL, _REBOOKED | {"ibExecID": "0000aa.0000bb.01.02"}),
    "an execution id of the original alone": (_ORIGINAL, _CANCEL, _REBOOKED | {"ibExecID": ""}),
    "no execution ids": (_ORIGINAL | {"ibExecID": ""}, _CANCEL, _REBOOKED | {"ibExecID": ""}),
}


def statement(rows: Sequence[dict[str, str]]) -> bytes:
    body = "".join("<Trade " + " ".join(f'{name}="{value}"' for name, value in row.items()) + " />" for row in rows)
    return (
        '<FlexQueryResponse queryName="q" type="AF"><FlexStatements count="1"><FlexStatement accountId="U7"'
        ' fromDate="20260302" toDate="20260306" period="" whenGenerated="20260307">'
        f"<Trades>{body}</Trades></FlexStatement></FlexStatements></FlexQueryResponse>"
    ).encode()


async def state(bs: BrokerSync, owner: str) -> tuple[Any, ...]:
    """The trades, and which of them live for a reader of the whole feed.

    A row that changes nothing of a trade but its revision has no entry in the feed.
    """
    trades = [one async for one in bs.trades(owner, TradeFilter(cancelled=True))]
    known: dict[str, int] = {}
    for change in await bs.changes(owner):
        if change.kind is ChangeKind.REMOVED:
            known.pop(change.trade_id)
        else:
            assert change.revision > known.get(change.trade_id, 0)
            known[change.trade_id] = change.revision
    assert all(known[one.trade_id] <= one.revision for one in trades)
    assert known.keys() == {one.trade_id for one in trades}
    return trades, sorted(known)


def adds_up(report: SyncReport) -> bool:
    return sum(report.dispositions.values()) == report.rows


@pytest.mark.parametrize("rows", CHAINS.values(), ids=list(CHAINS))
async def test_files_in_any_order_and_split_end_in_one_live_trade_and_one_state(
    tmp_path: Path, rows: tuple[dict[str, str], ...]
) -> None:
    ends = []
    async with BrokerSync.open(tmp_path / "s.db") as bs:
        for number, (order, (first, second)) in enumerate((order, split) for order in ORDERS for split in SPLITS):
            told, owner = [rows[place] for place in order], f"owner {number}"
            for part in (told[:first], told[first:second], told[second:]):
                report = await bs.import_statement("ibkr", io.BytesIO(statement(part)), owner=owner)
                assert adds_up(report)
            ends.append(await state(bs, owner))
    assert len(ends) == 60
    (trade,) = ends[0][0]
    assert (trade.status.value, trade.price) == ("active", Decimal("10.4"))
    assert [fee.amount for fee in trade.fees] == [Decimal("1.25")]
    assert all(end == ends[0] for end in ends)


def chains(account: Account) -> Iterator[list[Booking]]:
    """An original, what takes it back, and what is booked instead, as the sandbox writes them."""
    found: dict[str, list[Booking]] = {}
    for row in account.statement_rows(account.opened, date(2026, 6, 1)):
        found.setdefault(row.chain, []).append(row)
    yield from (rows for rows in found.values() if len(rows) == 3 and rows[-1].voids is None)


async def test_the_service_telling_them_in_any_order_and_split_ends_in_one_live_trade_and_one_state(
    staged: Any, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulated = {"trades_per_day": 3, "think": timedelta(seconds=1)}
    settings = SandboxSettings(now=clock.now, days=420, **simulated)
    rows = [
        attrs.evolve(row, report_date=date(2026, 6, 8)) for row in next(chains(open_logins(settings)[0].accounts[0]))
    ]
    shown: list[Booking] = []
    monkeypatch.setattr(
        sandbox_ledger.Account,
        "booked_on",
        lambda account, day: [row for row in shown if account.slot == 0 and row.report_date == day],
    )
    # the printer keeps what it wrote of a day that is over, and here such a day gets rows later
    monkeypatch.setattr(
        sandbox_flex.StatementPrinter,
        "_day",
        lambda _, account, day, query: sandbox_flex._executions(
            sandbox_flex.ACTIVITY, account.booked_on(day), account, query
        ),
    )
    ends = []
    async with staged("ibkr", days=12, **simulated) as stage:
        bs = stage.bs
        for number, (order, (first, second)) in enumerate((order, split) for order in ORDERS for split in SPLITS):
            owner, told = f"owner {number}", [rows[place] for place in order]
            shown.clear()
            clock.time += timedelta(minutes=2)
            connection = await stage.connect(owner)
            for part in (told[:first], told[first:second], told[second:]):
                shown += part
                outcome: Any = None
                while outcome is None or isinstance(outcome, Deferred):
                    outcome = await bs.run(connection.connection_id, sources=["activity"])
                    assert adds_up(outcome.report)
                    clock.time = max(clock.time, getattr(outcome, "until", clock.time))
                assert outcome.report.problems == ()
            ends.append(await state(bs, owner))
    (trade,) = ends[0][0]
    assert trade.status.value == "active"
    assert trade.price == rows[-1].price
    paid = -sum((row.commission for row in rows), Decimal(0))
    assert sum((fee.amount for fee in trade.fees if fee.kind.value == "commission"), Decimal(0)) == paid
    assert all(end == ends[0] for end in ends)
