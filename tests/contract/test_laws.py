"""What holds for a broker of every kind: each law is driven through a stub, the real engine and a real store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import attrs
import pytest

from brokersync.manifest import Calendar
from brokersync.records import ChangeCause, SpanState
from brokersync.sync.ledger import subtract
from brokersync.sync.plan import day_floor
from brokersync.types import FeesState, TimeWindow

from .ledger import DAY, START, Row, make_ledger, truth
from .probes import CrashError, Spy
from .stubs import KINDS, Kind
from .world import NOW, World, open_world

pytestmark = pytest.mark.sampled_on_postgres

HOUR = timedelta(hours=1)

every_kind = pytest.mark.parametrize("kind", KINDS, ids=str)
with_history = pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.history], ids=str)
with_ids = pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.named and kind.history], ids=str)
seeing_accounts = pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.first_sees and kind.history], ids=str)


@every_kind
async def test_every_execution_is_in_the_store_exactly_once_with_its_exact_numbers(kind: Kind, stores: Any) -> None:
    async with open_world(kind, stores) as world:
        done = await world.catch_up()
        assert done.report.problems == ()
        assert await world.facts() == truth(world.server.ledger)


@every_kind
async def test_a_sync_a_day_ends_where_one_for_all_days_does(kind: Kind, stores: Any) -> None:
    async with open_world(kind, stores, now=START) as world:
        await world.live()
        assert await world.facts() == truth(world.server.ledger)


@every_kind
async def test_a_second_sync_changes_nothing(kind: Kind, stores: Any) -> None:
    async with open_world(kind, stores) as world:
        await world.catch_up()
        before = await world.state()
        again = (await world.settle()).report
        assert (again.added, again.modified, again.removed) == (0, 0, 0)
        assert await world.state() == before


@every_kind
@pytest.mark.parametrize("before", [False, True], ids=["after the page", "before the page"])
async def test_a_sync_killed_at_any_page_and_begun_again_ends_as_if_undisturbed(
    kind: Kind, before: bool, stores: Any, sized: Callable[[str, int, int], int]
) -> None:
    async with open_world(kind, stores) as world:
        counter = Spy(world.store)
        await world.catch_up(store=counter)
        undisturbed = await world.state()
    for place in _spread(counter.commits, sized("pages at which a stub's sync is killed", 7, 1000)):
        async with open_world(kind, stores) as world:
            with pytest.raises(CrashError):
                await world.catch_up(store=Spy(world.store, place, before=before))
            assert await world.unproved() == []
            await world.catch_up()
            assert await world.state() == undisturbed, f"killed at page {place}"


def _spread(last: int, wanted: int) -> list[int]:
    """Up to `wanted` numbers from 1 to `last`, both among them."""
    wanted = min(wanted, last)
    return sorted({1 + (last - 1) * step // max(wanted - 1, 1) for step in range(wanted)})


@with_history
@pytest.mark.parametrize("longest", [DAY, 3 * DAY, 90 * DAY], ids=["a day", "three days", "all"])
async def test_how_history_is_cut_into_windows_changes_nothing(kind: Kind, longest: timedelta, stores: Any) -> None:
    async with open_world(kind, stores, longest_window=longest) as world:
        await world.catch_up()
        assert await world.facts() == truth(world.server.ledger)
        assert len({trade.trade_id for trade in await world.trades()}) == len(await world.trades())


@with_history
async def test_a_fill_on_the_edge_of_two_windows_is_there_once(kind: Kind, stores: Any) -> None:
    async with open_world(kind, stores, longest_window=DAY, calendar=Calendar()) as world:
        await world.catch_up()
        edges = {window.start for window in (reading.request.window for reading in world.readings)}
        at_edges = Counter(facts for facts in truth(world.server.ledger).elements() if facts[5] in edges)
        assert at_edges.total() >= 8
        found = Counter(facts for facts in (await world.facts()).elements() if facts[5] in edges)
        assert found == at_edges


@with_history
async def test_final_spans_are_not_asked_for_again_and_provisional_ones_are(kind: Kind, stores: Any) -> None:
    async with open_world(kind, stores, reread=timedelta(0)) as world:
        await world.catch_up()
        source = world.manifest.sources[0]
        final = (await world.spans(SpanState.FINAL))["A-1"]
        settled = day_floor(NOW - source.finality_lag, source.calendar)
        assert final == [TimeWindow(START, settled)]
        world.readings.clear()
        world.clock.set(NOW + timedelta(minutes=5))
        await world.settle()
        assert world.readings
        assert {reading.request.window.start for reading in world.readings} == {settled}


@with_ids
@pytest.mark.parametrize("correction", ["cancel", "replace"])
async def test_a_correction_posted_two_days_later_arrives(kind: Kind, correction: str, stores: Any) -> None:
    fill = attrs.evolve(
        make_ledger()[0], number=900, execution="x900", executed_at=NOW - 26 * HOUR, booked_at=NOW - 26 * HOUR
    )
    changed = {"price": fill.price + 1} if correction == "replace" else {}
    later = attrs.evolve(fill, number=901, kind=correction, booked_at=fill.executed_at + 2 * DAY, **changed)
    async with open_world(kind, stores, ledger=[*make_ledger(), fill, later]) as world:
        await world.catch_up()
        assert fill.facts()[:-1] in {facts[:-1] for facts in await world.facts()}
        world.clock.set(NOW + 2 * DAY)
        await world.settle()
        assert await world.facts() == truth(world.server.ledger)
        last = (await world.store.changes("owner", 0, limit=5000))[-1]
        assert (last.trade_id, last.cause) == ("x900", ChangeCause.CORRECTION)


@with_history
async def test_a_fee_that_comes_days_later_completes_the_trade(kind: Kind, stores: Any) -> None:
    fill = attrs.evolve(
        make_ledger()[0], number=900, execution="x900", fee=None, executed_at=NOW - HOUR, booked_at=NOW - HOUR
    )
    fee = attrs.evolve(fill, number=901, kind="fee", fee=make_ledger()[0].fee, booked_at=NOW + HOUR)
    async with open_world(kind, stores, ledger=[*make_ledger(corrections=kind.named), fill, fee]) as world:
        await world.catch_up()
        world.clock.set(NOW + 2 * DAY)
        await world.settle()
        assert await world.facts() == truth(world.server.ledger)
        assert {trade.fees_state for trade in await world.trades()} == {FeesState.FINAL}


@every_kind
async def test_coverage_claims_nothing_that_no_page_proved(kind: Kind, stores: Any) -> None:
    async with open_world(kind, stores) as world:
        await world.catch_up()
        assert await world.unproved() == []
        assert all(
            span.end <= world.clock.now() for spans in (await world.spans(*SpanState)).values() for span in spans
        )


@with_history
async def test_what_is_settled_is_covered_without_a_gap(kind: Kind, stores: Any) -> None:
    async with open_world(kind, stores) as world:
        await world.catch_up()
        settled = TimeWindow(START, day_floor(NOW - DAY, world.manifest.sources[0].calendar))
        for windows in (await world.spans(SpanState.FINAL)).values():
            assert subtract([settled], windows) == []


@every_kind
async def test_a_login_without_accounts_is_valid(kind: Kind, stores: Any) -> None:
    async with open_world(kind, stores, ledger=[], accounts=()) as world:
        assert (await world.settle()).report.problems == ()
        assert await world.spans(*SpanState) == {}


@every_kind
async def test_an_account_without_trades_is_covered(kind: Kind, stores: Any) -> None:
    async with open_world(kind, stores, ledger=[], now=NOW) as world:
        outcome = await world.settle()
        assert outcome.report.problems == ()
        assert (await world.spans(*SpanState)).keys() == {"A-1", "B-2"}
        assert await world.facts() == Counter()


@seeing_accounts
async def test_an_account_that_a_page_first_tells_of_gets_its_history(kind: Kind, stores: Any) -> None:
    async with open_world(kind, stores, accounts=("A-1",)) as world:
        await world.catch_up()
        assert {facts[0] for facts in await world.facts()} == {"A-1"}
        world.server.accounts["B-2"] = NOW + DAY
        world.clock.set(NOW + DAY + HOUR)
        await world.settle()
        assert await world.facts() == truth(world.server.ledger)
        assert (await world.spans(SpanState.FINAL))["B-2"][0].start == START


@every_kind
async def test_a_row_that_is_not_understood_is_kept_apart_and_reported(kind: Kind, stores: Any) -> None:
    strange = attrs.evolve(make_ledger()[0], number=900, execution="x900", side="H")
    async with open_world(kind, stores, ledger=[*make_ledger(corrections=kind.named), strange]) as world:
        if kind.history:
            report = (await world.catch_up()).report
        else:
            report = (await world.settle()).report
            await world.catch_up()
        assert report.quarantined == 1
        (row,) = await world.store.quarantined("owner")
        assert (row["account_id"], "'H'" in row["reason"]) == (strange.account, True)
        assert Decimal(row["raw"]["quantity"]) == strange.quantity
        assert await world.facts() == truth(_understood(world))


def _understood(world: World) -> list[Row]:
    return [row for row in world.server.ledger if row.side in "BS"]


@every_kind
async def test_each_row_of_each_sync_has_one_disposition_and_the_counts_add_up(kind: Kind, stores: Any) -> None:
    strange = attrs.evolve(make_ledger()[0], number=900, execution="x900", side="H")
    async with open_world(kind, stores, ledger=[*make_ledger(corrections=kind.named), strange], now=START) as world:
        reports = []
        while world.clock.now() < NOW:
            world.clock.set(world.clock.now() + DAY - timedelta(seconds=1))
            reports.append((await world.settle()).report)
            world.clock.set(world.clock.now() + timedelta(seconds=1))
        for report in reports:
            assert sum(report.dispositions.values()) == report.rows
            assert report.rows == report.fetched + report.quarantined
            assert report.problems == ()
        assert sum(report.dispositions.get("stored", 0) for report in reports) >= len(await world.trades())
        assert max(report.dispositions.get("quarantined", 0) for report in reports) == 1
