"""A fill that a Trade Confirmation tells on the day: confirmed, completed or taken back by Activity, or flagged."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from brokersync import BrokerSync
from brokersync.records import ChangeKind
from brokersync.store import TradeFilter

from .test_flex_readings import _CANCEL, _ORIGINAL, _REPLACEMENT, statement

_CONFIRMED = {**_ORIGINAL, "ibCommission": "-0.9", "reportDate": "20260302"}


@pytest.fixture
async def bs(tmp_path: Path, clock: Any) -> AsyncIterator[BrokerSync]:
    clock.time = datetime(2026, 3, 2, 22, tzinfo=UTC)
    async with BrokerSync.open(tmp_path / "s.db", clock=clock) as made:
        evening = statement(_CONFIRMED, confirmations=True).replace(b'="20260307"', b'="20260302;170000"')
        await made.import_statement("ibkr", io.BytesIO(evening), owner="me")
        yield made


async def told_by_activity(
    bs: BrokerSync, *rows: dict[str, str], first: str = "20260302", until: str = "20260306", made: str | None = None
) -> None:
    file = statement(*rows).replace(b'="20260302" toDate="20260306"', f'="{first}" toDate="{until}"'.encode())
    made = made or f"{int(until) + 1};070000"
    await bs.import_statement("ibkr", io.BytesIO(file.replace(b'="20260307"', f'="{made}"'.encode())), owner="me")


async def only_trade(bs: BrokerSync) -> Any:
    [trade] = [one async for one in bs.trades("me", TradeFilter(cancelled=True))]
    return trade


def costs(trade: Any) -> Decimal:
    return sum((fee.amount for fee in trade.fees), Decimal(0))


async def test_on_the_day_it_is_a_trade_with_estimated_costs(bs: BrokerSync) -> None:
    trade = await only_trade(bs)
    assert (trade.status.value, trade.fees_state.value, costs(trade)) == ("active", "estimated", Decimal("0.9"))
    assert trade.sources == ("confirmations_file",)


async def test_activity_confirms_it_and_its_costs_stand(bs: BrokerSync) -> None:
    before = await only_trade(bs)
    await told_by_activity(bs, _ORIGINAL)
    trade = await only_trade(bs)
    assert trade.trade_id == before.trade_id
    assert (trade.status.value, trade.fees_state.value, costs(trade)) == ("active", "final", Decimal(1))
    assert [change.kind for change in await bs.changes("me")] == [ChangeKind.ADDED, ChangeKind.MODIFIED]
    assert await bs.unconfirmed("me") == ()


async def test_activity_completes_it_with_what_was_booked_anew(bs: BrokerSync) -> None:
    await told_by_activity(bs, _ORIGINAL, _CANCEL, _REPLACEMENT)
    trade = await only_trade(bs)
    assert (trade.status.value, trade.price, costs(trade)) == ("active", Decimal("10.4"), Decimal(1))


async def test_activity_takes_it_back(bs: BrokerSync) -> None:
    await told_by_activity(bs, _ORIGINAL, _CANCEL)
    assert (await only_trade(bs)).status.value == "cancelled"
    assert [one async for one in bs.trades("me")] == []


@pytest.mark.parametrize(
    ("until", "status"), [("20260301", "active"), ("20260302", "cancelled"), ("20260310", "cancelled")]
)
async def test_what_activity_does_not_tell_is_dropped_by_the_statement_that_covers_its_day(
    bs: BrokerSync, clock: Any, until: str, status: str
) -> None:
    clock.time = datetime(2026, 3, 12, 12, tzinfo=UTC)
    await told_by_activity(bs, first="20260225", until=until)
    trade = await only_trade(bs)
    assert trade.status.value == status
    assert await bs.unconfirmed("me") == ()
    dropped = status == "cancelled"
    assert costs(trade) == (0 if dropped else Decimal("0.9"))
    changes = await bs.changes("me")
    assert [change.kind for change in changes][1:] == [ChangeKind.MODIFIED] * dropped


@pytest.mark.parametrize(("made", "status"), [("20260303;055900", "active"), ("20260303;060000", "cancelled")])
async def test_a_statement_made_before_its_last_day_was_final_drops_nothing_of_it(
    bs: BrokerSync, clock: Any, made: str, status: str
) -> None:
    clock.time = datetime(2026, 3, 3, 13, tzinfo=UTC)
    await told_by_activity(bs, until="20260302", made=made)
    assert (await only_trade(bs)).status.value == status


@pytest.mark.parametrize(
    ("when", "traded", "covered"),
    [
        # a future's evening belongs to the next day, on Sunday as well, and what trades on a weekend is booked after it
        ("20260302;183000", "20260303", {"20260302": "active", "20260303": "cancelled"}),
        ("20260301;183000", "20260302", {"20260301": "active", "20260302": "cancelled"}),
        ("20260228;120000", "20260228", {"20260301": "active", "20260302": "cancelled"}),
        # without its trade date nobody knows the day of booking
        ("20260302;103000", "", {"20260306": "active", "20260309": "cancelled"}),
    ],
)
async def test_its_day_is_that_on_which_it_is_booked(
    tmp_path: Path, clock: Any, when: str, traded: str, covered: dict[str, str]
) -> None:
    clock.time = datetime(2026, 3, 12, 12, tzinfo=UTC)
    evening = statement({**_CONFIRMED, "dateTime": when, "tradeDate": traded}, confirmations=True)
    async with BrokerSync.open(tmp_path / "other.db", clock=clock) as bs:
        await bs.import_statement("ibkr", io.BytesIO(evening), owner="me")
        for until, status in covered.items():
            await told_by_activity(bs, first="20260223", until=until)
            assert (await only_trade(bs)).status.value == status, until


async def test_a_statement_without_its_trades_section_drops_nothing(bs: BrokerSync, clock: Any) -> None:
    clock.time = datetime(2026, 3, 12, 12, tzinfo=UTC)
    file = statement().replace(b"<Trades></Trades>", b'<AccountInformation accountId="U7" currency="USD" />')
    await bs.import_statement("ibkr", io.BytesIO(file), owner="me")
    assert (await only_trade(bs)).status.value == "active"


async def test_what_is_booked_a_day_late_is_dropped_and_comes_back_as_the_same_trade(
    bs: BrokerSync, clock: Any
) -> None:
    clock.time = datetime(2026, 3, 12, 12, tzinfo=UTC)
    before = await only_trade(bs)
    await told_by_activity(bs, until="20260302")
    dropped = await only_trade(bs)
    await told_by_activity(bs, {**_ORIGINAL, "reportDate": "20260303"}, first="20260303", until="20260303")
    trade = await only_trade(bs)
    assert before.trade_id == dropped.trade_id == trade.trade_id
    assert [one.status.value for one in (before, dropped, trade)] == ["active", "cancelled", "active"]
    assert (trade.fees_state.value, costs(trade)) == ("final", Decimal(1))


async def test_what_was_dropped_is_a_trade_again_when_activity_tells_it_after_all(bs: BrokerSync, clock: Any) -> None:
    clock.time = datetime(2026, 3, 12, 12, tzinfo=UTC)
    await told_by_activity(bs, until="20260310")
    assert (await only_trade(bs)).status.value == "cancelled"
    await told_by_activity(bs, _ORIGINAL, until="20260311")
    trade = await only_trade(bs)
    assert (trade.status.value, trade.fees_state.value, costs(trade)) == ("active", "final", Decimal(1))
    await told_by_activity(bs, until="20260310")
    assert (await only_trade(bs)).status.value == "active"


async def test_a_dropped_trade_stays_so_when_kept_rows_are_read_anew(bs: BrokerSync, clock: Any) -> None:
    clock.time = datetime(2026, 3, 12, 12, tzinfo=UTC)
    await told_by_activity(bs, until="20260310")
    report = await bs.renormalise("me")
    assert (report.refused, report.left, report.modified) == (0, 0, 0)
    assert (await only_trade(bs)).status.value == "cancelled"


async def test_a_rehearsal_drops_nothing(bs: BrokerSync, clock: Any) -> None:
    clock.time = datetime(2026, 3, 12, 12, tzinfo=UTC)
    file = (
        statement().replace(b'toDate="20260306"', b'toDate="20260310"').replace(b'="20260307"', b'="20260311;070000"')
    )
    report = await bs.import_statement("ibkr", io.BytesIO(file), owner="me", dry_run=True)
    assert report.modified == 1
    assert (await only_trade(bs)).status.value == "active"


async def test_a_dropped_trade_and_why_it_was_dropped_can_be_explained(bs: BrokerSync, clock: Any) -> None:
    clock.time = datetime(2026, 3, 12, 12, tzinfo=UTC)
    trade = await only_trade(bs)
    await told_by_activity(bs, until="20260310")
    found = await bs.explain("me", account=trade.account_id, trade_id=trade.trade_id)
    said = " ".join(booking.words for booking in found.bookings)
    assert "cancelled by confirmations_file unconfirmed:" in said


async def test_a_cancel_of_a_trade_that_is_older_than_the_history_waits_and_is_reported(
    tmp_path: Path, clock: Any
) -> None:
    async with BrokerSync.open(tmp_path / "other.db", clock=clock) as bs:
        report = await bs.import_statement("ibkr", io.BytesIO(statement(_CANCEL)), owner="me")
        assert (report.waiting, report.added, report.dispositions) == (1, 0, {"waiting": 1})
        assert [(one["active"], one["waiting"]) for one in await bs.counts("me")] == [(0, 1)]
        assert await bs.changes("me") == ()
        await told_by_activity(bs, _ORIGINAL)
        assert (await only_trade(bs)).status.value == "cancelled"
        assert [(one["active"], one["waiting"]) for one in await bs.counts("me")] == [(0, 0)]


async def test_a_trade_whose_activity_row_is_in_quarantine_is_not_dropped(bs: BrokerSync, clock: Any) -> None:
    clock.time = datetime(2026, 3, 12, 12, tzinfo=UTC)
    await told_by_activity(bs, {**_ORIGINAL, "transactionType": "Unheard"}, until="20260310")
    assert (await only_trade(bs)).status.value == "active"
    assert [one.trade_id for one in await bs.unconfirmed("me")] == [(await only_trade(bs)).trade_id]
    await told_by_activity(bs, _ORIGINAL, until="20260311")
    assert (await only_trade(bs)).fees_state.value == "final"
    assert (await bs.unconfirmed("me"), await bs.quarantined("me")) == ((), ())


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        # known by its trade id alone, or a row of another trade
        ({"ibExecID": ""}, "active"),
        ({"ibExecID": "0000aa.0000bbb.01.01", "tradeID": "7001"}, "cancelled"),
        ({"accountId": "U8"}, "cancelled"),
    ],
)
async def test_a_row_in_quarantine_holds_back_the_trade_it_speaks_of_and_no_other(
    bs: BrokerSync, clock: Any, changes: dict[str, str], status: str
) -> None:
    clock.time = datetime(2026, 3, 12, 12, tzinfo=UTC)
    await told_by_activity(bs, {**_ORIGINAL, "transactionType": "Unheard", **changes}, until="20260310")
    [trade] = [one async for one in bs.trades("me", TradeFilter(cancelled=True)) if one.account_id == "U7"]
    assert trade.status.value == status


@pytest.mark.parametrize("activity_first", [True, False])
async def test_what_is_read_long_after_its_day_is_dropped_as_well(
    tmp_path: Path, clock: Any, activity_first: bool
) -> None:
    clock.time = datetime(2026, 9, 1, 12, tzinfo=UTC)
    made = statement(_CONFIRMED, confirmations=True).replace(b'="20260307"', b'="20260302;170000"')
    async with BrokerSync.open(tmp_path / "late.db", clock=clock) as bs:
        if activity_first:
            await told_by_activity(bs)
        await bs.import_statement("ibkr", io.BytesIO(made), owner="me")
        if not activity_first:
            await told_by_activity(bs)
        assert (await only_trade(bs)).status.value == "cancelled"


async def test_a_saturday_s_trade_is_dropped_by_a_monday_that_is_read_long_after(tmp_path: Path, clock: Any) -> None:
    clock.time = datetime(2026, 9, 1, 12, tzinfo=UTC)
    saturday = {**_CONFIRMED, "dateTime": "20260228;120000", "tradeDate": "20260228"}
    async with BrokerSync.open(tmp_path / "late.db", clock=clock) as bs:
        await bs.import_statement("ibkr", io.BytesIO(statement(saturday, confirmations=True)), owner="me")
        await told_by_activity(bs, first="20260302")
        assert (await only_trade(bs)).status.value == "cancelled"
