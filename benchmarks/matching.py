"""100,000 rows of an older journal against 100,000 trades, as true copies and with what journals do to them.

CPU time, which other work on the machine disturbs least.
"""

from __future__ import annotations

from benchmarks.measuring import Case, Goal, Table, measure

SIZE = 100_000
MOST_TIMES_THE_FLOOR = 30
MOST_ROUNDS = 3

_WORLD = f"""
import random, time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from brokersync.matching import ExistingTrade, NamedTrade, match_rows
from brokersync.types import AssetClass, BrokerTrade, Instrument, Side

chance, at, trades = random.Random(1), datetime(2024, 1, 1, tzinfo=UTC), []
instruments = [Instrument(symbol=name, asset_class=AssetClass.FUTURE) for name in ("MESZ6", "NQZ6", "CLF7", "MESH7")]
for number in range({SIZE}):
    at += timedelta(seconds=chance.choice([0, 0, 1, 30, 600]))
    trades.append(NamedTrade(trade=BrokerTrade(
        provider="b", environment="live", account_id=str(number % 7), trade_id=f"fill:{{number}}",
        order_id=str(number // 2), instrument=chance.choice(instruments), side=chance.choice(list(Side)),
        quantity=Decimal(chance.choice([1, 1, 2, 3])), price=Decimal(chance.randrange(20000, 20400)) / 4,
        executed_at=at)))

def row(number, trade, **facts):
    return ExistingTrade(**(dict(
        row_id=f"r{{number}}", provider="b", account_id=trade.account_id, symbol=trade.instrument.symbol,
        side=trade.side, quantity=trade.quantity, price=trade.price, executed_at=trade.executed_at) | facts))

def key(one, symbol):
    return one.account_id, symbol, one.side, one.quantity, one.price, one.executed_at

def journal(**changed):
    rows = [row(number, named.trade, **{{name: change(named.trade) for name, change in changed.items()}})
            for number, named in enumerate(trades)]
    chance.shuffle(rows)
    return rows

def equal_keys(rows, trades):
    known = {{key(named.trade, named.trade.instrument.symbol): named for named in trades}}
    return [known.get(key(one, one.symbol)) for one in rows]
"""
_KINDS = {
    "with the broker's ids": "trade_ids=lambda one: (one.trade_id,)",
    "true to the second": "",
    "five hours off": "executed_at=lambda one: one.executed_at + timedelta(hours=5)",
    "nothing fits": "price=lambda one: one.price + Decimal('0.01')",
}


def _code(work: str, changes: str) -> str:
    return (
        f"{_WORLD}\nrows = journal({changes})\nstarted = time.process_time()\n{work}(rows, trades)\n"
        "print((time.process_time() - started) * 1000)"
    )


def run(rounds: int) -> Table:
    """The table; a round is long, so there are three at most."""
    rounds = min(rounds, MOST_ROUNDS)
    floor = Case(name="equal keys alone", kind="floor", arguments=["-c", _code("equal_keys", "")], prints=True)
    cases = [
        floor,
        *(
            Case(name=name, kind="ours", arguments=["-c", _code("match_rows", changes)], prints=True)
            for name, changes in _KINDS.items()
        ),
    ]
    medians, errors = measure(cases, rounds)
    return Table(
        name="matching",
        rounds=rounds,
        cases=cases,
        medians=medians,
        errors=errors,
        goals=[
            Goal(
                name=f"{SIZE:,} rows {name}, against equal keys alone",
                value=medians[name] / medians[floor.name],
                at_most=MOST_TIMES_THE_FLOOR,
            )
            for name in _KINDS
            if name in medians and floor.name in medians
        ],
        reference=floor.name,
    )
