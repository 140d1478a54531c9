"""Files that users export, the sessions' lists and the reports end in the same trades, over loopback."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from brokersync import Done
from brokersync.errors import BrokerConfigError, BrokerInputNeededError
from brokersync.types import FeesState

from .desk import (
    Desk,
    Name,
    booked_costs,
    booked_executions,
    costs,
    executions,
    file_of,
    open_desk,
    rows_of,
    totals,
)

NOW = datetime(2026, 6, 10, 15, 0, tzinfo=UTC)  # a Wednesday, 10:00 in Chicago


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(tmp_path, NOW, days=20, trades_per_day=6) as made:
        yield made


async def test_thousands_of_fills_come_from_the_files_of_a_user_who_is_not_connected(tmp_path: Path) -> None:
    async with open_desk(tmp_path, NOW, days=400, trades_per_day=8) as desk:
        for side in ("live", "demo"):
            report = await desk.import_file(await desk.export("Fills", side=side), environment=side)
            assert (report.quarantined, report.problems) == (0, ())
        trades, ledger = await desk.trades(), await desk.ledger()
        again = await desk.import_file(await desk.export("Fills", side="live"))
        assert executions(trades.values()) == booked_executions(ledger)
        assert len(trades) > 4000
        assert (again.added, again.modified) == (0, 0), "the account is known now, so nobody has to say its side again"


async def test_a_connection_completes_what_a_file_told(desk: Desk) -> None:
    await desk.import_file(await desk.export("Fills"), environment="live")
    before = await desk.trades()
    assert {(one.instrument.complete, one.fees_state) for one in before.values()} == {(False, FeesState.PENDING)}

    connection = await desk.connect()
    await desk.sync(connection)

    after, ledger = await desk.trades(), await desk.ledger()
    assert executions(after.values()) == booked_executions(ledger)
    assert {one.instrument.complete for one in after.values()} == {True}
    assert costs(after.values()) == booked_costs(ledger)
    assert len(before) < len(after), "the demo account was in no file"


async def test_the_services_word_stands_against_a_file(desk: Desk) -> None:
    connection = await desk.connect()
    await desk.sync(connection)
    before = await desk.trades()
    rows = rows_of(await desk.export("Fills"))
    edited = file_of([row | {"_price": "1.25", "commission": "99"} for row in rows], list(rows[0]))

    report = await desk.import_file(edited)

    after = await desk.trades()
    assert executions(after.values()) == executions(before.values())
    assert costs(after.values()) == costs(before.values())
    assert report.added == 0


async def test_a_file_in_local_times_tells_the_same_fills_to_the_second(desk: Desk) -> None:
    rows = rows_of(await desk.export("Fills", minutes=-300))
    file = file_of(rows, [name for name in rows[0] if name != "_timestamp"])
    with pytest.raises(BrokerInputNeededError) as caught:
        await desk.import_file(file, environment="live")
    assert list(caught.value.fields) == ["zone"]

    await desk.import_file(file, environment="live", zone="America/Chicago")

    ledger = await desk.ledger()
    for name, trade in (await desk.trades()).items():
        executed = datetime.fromisoformat(ledger[name]["executed_at"])
        assert trade.executed_at == executed.replace(microsecond=0)


@pytest.mark.parametrize("name", ["Orders", "Performance", "Position History", "Cash History"])
async def test_another_export_changes_nothing(desk: Desk, name: str) -> None:
    with pytest.raises(BrokerConfigError, match=f"export of {name}"):
        await desk.import_file(await desk.export(name), environment="live")
    assert await desk.trades() == {}
    assert await desk.bs.counts("me") == []


async def test_a_file_says_nothing_of_days_that_it_may_leave_out(desk: Desk) -> None:
    await desk.import_file(await desk.export("Fills"), environment="live")

    assert await desk.bs.coverage("me", "tradovate", "fills_file") == {}


async def test_late_fees_are_modifications_and_no_doubles(tmp_path: Path) -> None:
    async with open_desk(tmp_path, NOW, days=10, trades_per_day=6) as desk:
        ledger = await desk.ledger()
        last = _last_alone_in_its_second(ledger)
        executed = datetime.fromisoformat(ledger[last]["executed_at"])
    folder = tmp_path / "again"
    folder.mkdir()
    async with open_desk(folder, NOW, days=10, trades_per_day=6) as desk:
        desk.clock.time = executed + timedelta(minutes=1)
        connection = await desk.connect()
        await desk.sync(connection, "reports")
        early = (await desk.trades())[last]
        desk.clock.time = executed + timedelta(minutes=15)
        report = await desk.sync(connection, "reports")
        late = (await desk.trades())[last]
        desk.clock.time = executed + timedelta(days=3)
        await desk.sync(connection, "reports")
        settled = (await desk.trades())[last]
        changes = await desk.bs.changes("me")

    assert [str(fee.kind) for fee in early.fees] == ["commission"]
    assert costs([late])[last] == booked_costs(ledger)[last]
    assert (report.added, report.modified >= 1) == (0, True)
    assert (early.fees_state, late.fees_state, settled.fees_state) == (FeesState.ESTIMATED,) * 2 + (FeesState.FINAL,)
    kinds = [str(one.kind) for one in changes if (one.key.environment, one.trade_id) == last]
    assert kinds[0] == "added"
    assert set(kinds[1:]) == {"modified"}


def _last_alone_in_its_second(ledger: Mapping[Name, Mapping[str, Any]]) -> Name:
    def place(fill: Mapping[str, Any]) -> tuple[str, ...]:
        return fill["account"], fill["symbol"], fill["executed_at"][:19]

    fills = Counter(place(fill) for fill in ledger.values())
    alone = [name for name, fill in ledger.items() if fills[place(fill)] == 1]
    return max(alone, key=lambda name: str(ledger[name]["executed_at"]))


async def test_what_reported_fills_cost_is_what_was_booked_to_the_cent(desk: Desk) -> None:
    desk.clock.time += timedelta(days=3)
    connection = await desk.connect()
    await desk.sync(connection, "reports")
    trades, ledger = await desk.trades(), await desk.ledger()

    booked = [row for side in ("live", "demo") for row in rows_of(await desk.export("Cash History", side=side))]
    fees = [row for row in booked if row["Cash Change Type"] not in (" Trade Paired", " Fund Transaction")]
    told: dict[str, Decimal] = {}
    for row in fees:
        told[row["Currency"]] = told.get(row["Currency"], Decimal(0)) - Decimal(row["Delta"].replace(",", ""))

    ours: dict[str, Decimal] = {}
    for (_, currency), amount in totals(costs(trades.values())).items():
        ours[currency] = ours.get(currency, Decimal(0)) + Decimal(amount)
    assert ours == told
    assert costs(trades.values()) == booked_costs(ledger)
    assert {one.fees_state for one in trades.values()} == {FeesState.FINAL, FeesState.ESTIMATED}


async def test_a_file_of_a_renamed_account_is_the_accounts(desk: Desk) -> None:
    connection = await desk.connect()
    await desk.sync(connection, "reports")
    before = await desk.trades()
    names = {one.account_id: one.name for one in await desk.bs.accounts(connection)}
    rows = rows_of(await desk.export("Fills"))
    old = file_of([row | {"Account": "before-it-was-renamed"} for row in rows], list(rows[0]))

    await desk.import_file(old)

    assert (await desk.trades()).keys() == before.keys()
    assert {one.account_id: one.name for one in await desk.bs.accounts(connection)} == names


async def test_a_file_is_completed_by_what_tradovate_told_of_its_contracts_before(desk: Desk) -> None:
    """Whoever was told: contracts are nobody's secret, and their numbers are not guessed."""
    text = await desk.export("Fills")
    await desk.import_file(text, environment="live")
    assert {one.instrument.complete for one in (await desk.trades()).values()} == {False}

    mine = desk.sandbox.logins[0]
    other = await desk.bs.connect("tradovate", owner="somebody else", fields=mine.fields, environment="demo")
    assert isinstance(await desk.bs.run(other.connection_id), Done)
    report = await desk.import_file(text, environment="live")

    trades, ledger = await desk.trades(), await desk.ledger()
    assert report.modified == len(trades) > 50
    assert executions(trades.values()).items() <= booked_executions(ledger).items()
    assert {one.instrument.complete for one in trades.values()} == {True}
    for name, one in trades.items():
        assert one.instrument.currency == ledger[name]["currency"]
        assert [(str(fee.kind), str(fee.amount)) for fee in one.fees] == [
            ("commission", ledger[name]["fees"]["commission"])
        ]
    assert {one.fees_state for one in trades.values()} == {FeesState.ESTIMATED}
    again = await desk.bs.renormalise("me")
    assert again.modified == 0
