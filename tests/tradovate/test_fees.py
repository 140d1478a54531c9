"""What fills cost as the broker's books say it, however seldom anybody looks."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokersync.types import BrokerTrade, FeesState

from .desk import Desk, Name, booked_costs, costs, file_of, open_desk, rows_of

TUESDAY = datetime(2026, 6, 9, 12, 30, tzinfo=UTC)

Step: TypeAlias = tuple[str, int, str]
"""What is read, how many hours after the step before, and how the Cash History is then."""

_steps = st.lists(
    st.tuples(
        st.sampled_from(["session", "reports", "again", "both", "file"]),
        st.sampled_from([0, 1, 10, 24, 50, 90]),
        st.sampled_from(["there", "there", "there", "denied", "away"]),
    ),
    min_size=2,
    max_size=7,
)


@pytest.mark.parametrize(("every", "turns"), [(1, 10), (3, 6), (7, 4)])
async def test_fees_of_an_evening_are_read_again_until_they_are_final(tmp_path: Path, every: int, turns: int) -> None:
    async with open_desk(tmp_path, TUESDAY, days=9, trades_per_day=10) as desk:
        connection = await desk.connect()
        for turn in range(turns):
            desk.clock.time = max(desk.clock.time, TUESDAY + timedelta(days=turn * every))
            await desk.sync(connection, "reports")
        trades = await desk.trades()
        seen = desk.clock.time - timedelta(days=every + 4)
        settled = {name: one for name, one in _alone(trades).items() if one.executed_at < seen}
        assert any(one.executed_at.hour >= 22 for one in settled.values())
        assert {name for name, one in settled.items() if one.fees_state is not FeesState.FINAL} == set()
        await check_final(desk)


@given(
    steps=_steps,
    late=st.booleans(),
    absent=st.sampled_from([(), ("nfaFee",), ("commission",), ("exchangeFee", "nfaFee")]),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=10, deadline=None)
def test_whatever_is_read_when_fees_that_are_final_are_those_of_the_books(
    steps: list[Step], late: bool, absent: tuple[str, ...], seed: int
) -> None:
    """`late` fees show on the noon after the trade date, and the `absent` ones in no row of the session's."""
    asyncio.run(_read(steps, late, absent, seed))


async def _read(steps: Sequence[Step], late: bool, absent: tuple[str, ...], seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with open_desk(Path(folder), TUESDAY, days=9, trades_per_day=6, seed=seed) as desk:
            desk.altered["fillfee/list"] = lambda rows: [
                {name: value for name, value in row.items() if name not in absent} for row in rows
            ]
            connection = await desk.connect()
            for what, hours, cash in [*steps, ("both", 90, "there")]:
                desk.clock.time += timedelta(hours=hours)
                desk.altered["reports/requestreport"] = lambda body, cash=cash: _shown(body, cash, late, desk)
                await _read_once(desk, connection, what)
                await check_final(desk)
            assert FeesState.FINAL in {one.fees_state for one in (await desk.trades()).values()}


def _shown(body: Any, cash: str, late: bool, desk: Desk) -> Any:
    """A report, as it is when the Cash History is there, denied or away, and tells fees late or not."""
    rows = rows_of(body["data"])
    if not rows or "Cash Change Type" not in rows[0]:
        return body
    if cash != "there":
        return {"errorText": "Access is denied"} if cash == "denied" else []
    told = [row for row in rows if not late or _shows(row, desk.clock.now())]
    return {"data": file_of(told, list(rows[0]))}


def _shows(row: dict[str, str], now: datetime) -> bool:
    noon = datetime.fromisoformat(row["Date"]).replace(tzinfo=UTC) + timedelta(days=1, hours=12)
    return now >= noon or not row["Cash Change Type"].endswith("Fee")


async def _read_once(desk: Desk, connection: str, what: str) -> None:
    if what == "file":
        text = await desk.export("Fills")
        await desk.import_file(text, environment="live")
        return
    sources = ("session", "reports") if what == "both" else ("session" if what == "session" else "reports",)
    again = TUESDAY - timedelta(days=20) if what == "again" else None
    await desk.sync(connection, *sources, again_from=again)


async def check_final(desk: Desk) -> None:
    """Fees that are called final are those in the broker's books."""
    trades, booked = await desk.trades(), booked_costs(await desk.ledger())
    final = [one for one in trades.values() if one.fees_state is FeesState.FINAL]
    told = costs(final)
    assert told == {name: booked[name] for name in told}


def _alone(trades: dict[Name, BrokerTrade]) -> dict[Name, BrokerTrade]:
    """Those that nothing was traded beside in their second."""
    places = Counter(map(_place, trades.values()))
    return {name: one for name, one in trades.items() if places[_place(one)] == 1}


def _place(trade: BrokerTrade) -> tuple[str, str, str, datetime]:
    moment = trade.executed_at.replace(microsecond=0)
    return trade.environment, trade.account_id, trade.instrument.symbol, moment
