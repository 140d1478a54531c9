"""What only some kinds of brokers can get wrong."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from brokersync.plugin import BrokerAPIError, TimeWindow
from brokersync.records import ChangeKind, SpanState
from brokersync.types import FeesState

from .ledger import ACCOUNTS, DAY, START, truth
from .probes import CrashError, Spy
from .stubs import KINDS, Kind
from .world import NOW, World, open_world

pytestmark = pytest.mark.sampled_on_postgres

BY_KEY: dict[str, Kind] = {str(kind): kind for kind in KINDS}


def _orders(world: World) -> int:
    return sum(path == "/order" for path, _ in world.server.calls)


@pytest.mark.parametrize("place", range(1, 8))
async def test_a_crash_between_order_and_report_orders_no_second_report(place: int, stores: Any) -> None:
    async with open_world(BY_KEY["reports"], stores) as world:
        with pytest.raises(CrashError):
            await world.catch_up(store=Spy(world.store, place))
        await world.catch_up()
        assert await world.facts() == truth(world.server.ledger)
        windows = [reading.request.window for reading in world.readings if reading.request.cursor is None]
        assert _orders(world) == len(set(windows)) == len(windows)


async def test_a_report_of_the_running_day_is_ordered_again_when_the_day_is_over(stores: Any) -> None:
    async with open_world(BY_KEY["reports"], stores) as world:
        midnight = START + 9 * DAY
        world.clock.set(midnight - DAY / 1440)
        await world.settle()
        assert world.clock.now() > midnight
        assert (await world.spans(SpanState.FINAL))["A-1"][-1].end < midnight
        before = _orders(world)
        world.clock.set(midnight + DAY / 24)
        await world.settle()
        assert _orders(world) > before


async def test_early_rows_of_an_aggregator_become_final_under_another_id_without_a_double(stores: Any) -> None:
    async with open_world(BY_KEY["aggregator"], stores, now=START + DAY + DAY / 2) as world:
        await world.settle()
        early = {trade.trade_id: trade for trade in await world.trades()}
        assert {trade.fees_state for trade in early.values()} == {FeesState.PENDING}
        assert await world.spans(SpanState.FINAL) == {account: [] for account in ACCOUNTS}
        world.clock.set(START + 2 * DAY)
        await world.settle()
        final = {trade.trade_id: trade for trade in await world.trades()}
        assert final.keys() == early.keys()
        assert FeesState.FINAL in {trade.fees_state for trade in final.values()}


async def test_an_aggregator_that_gives_all_its_rows_new_ids_changes_nothing(stores: Any) -> None:
    async with open_world(BY_KEY["aggregator"], stores) as world:
        await world.catch_up()
        keys = [trade.trade_id for trade in await world.trades()]
        world.server.reprocessed += 1
        report = (await world.settle(again_from=START)).report
        assert report.fetched > 0
        assert (report.added, report.removed) == (0, 0)
        assert await world.facts() == truth(world.server.ledger)
        assert [trade.trade_id for trade in await world.trades()] == keys


async def test_what_an_aggregator_does_not_have_yet_is_not_covered(stores: Any) -> None:
    async with open_world(BY_KEY["aggregator"], stores, now=START + 3 * DAY + DAY / 2) as world:
        await world.settle()
        covered = await world.spans(SpanState.FINAL, SpanState.PROVISIONAL)
        assert {windows[-1].end for windows in covered.values()} == {START + 3 * DAY}


async def test_growing_ids_are_read_on_from_the_last_one(stores: Any) -> None:
    async with open_world(BY_KEY["growing-ids"], stores) as world:
        await world.catch_up()
        last = max(row.number for row in world.server.ledger)
        world.server.calls.clear()
        world.clock.set(NOW + DAY)
        await world.settle()
        assert [asked["id"] for _, asked in world.server.calls] == [str(last)]


async def test_ids_that_the_broker_began_to_count_anew_are_read_from_the_start(stores: Any) -> None:
    async with open_world(BY_KEY["growing-ids"], stores) as world:
        await world.catch_up()
        known = world.server.ledger
        world.server.ledger = known[:20]
        world.clock.set(NOW + DAY)
        report = (await world.settle()).report
        assert report.problems == ()
        assert report.unchanged == 20


async def test_older_history_of_growing_ids_is_read_when_it_is_asked_for_later(stores: Any) -> None:
    async with open_world(BY_KEY["growing-ids"], stores) as world:
        hidden = [row for row in world.server.ledger if row.executed_at < START + 2 * DAY]
        whole, world.server.ledger = world.server.ledger, [row for row in world.server.ledger if row not in hidden]
        world.since(START + 2 * DAY)
        await world.catch_up()
        world.server.ledger = whole
        world.since(START)
        await world.settle()
        assert await world.facts() == truth(whole)


async def test_a_day_counts_as_covered_only_when_its_last_symbol_was_read(stores: Any) -> None:
    async with open_world(BY_KEY["symbol-days"], stores, now=START + DAY, accounts=("A-1",)) as world:
        booked = world.server.booked()
        symbols = len({row.symbol for row in booked if row.executed_at < START + DAY})
        assert symbols > 1
        # the running day and the first one are asked for their symbols; the last symbol's fills fail
        world.server.fail(BrokerAPIError("No."), after=2 + symbols - 1)
        await world.sync()
        assert await world.facts() != Counter()
        assert not any((await world.spans(SpanState.FINAL)).values())
        await world.settle()
        assert await world.spans(SpanState.FINAL) == {"A-1": [TimeWindow(START, START + DAY)]}
        assert await world.facts() == truth(booked)


async def test_what_a_session_showed_stays_after_the_session_is_gone(stores: Any) -> None:
    async with open_world(BY_KEY["session-lists"], stores, now=START + DAY / 2 + DAY / 12) as world:
        await world.settle()
        seen = await world.facts()
        assert seen
        world.clock.set(START + 20 * DAY)
        await world.settle()
        assert await world.facts() == seen
        assert {change.kind for change in await world.store.changes("owner", 0, limit=500)} == {ChangeKind.ADDED}


async def test_a_session_that_was_missed_is_not_called_covered(stores: Any) -> None:
    async with open_world(BY_KEY["session-lists"], stores, now=START + DAY / 2) as world:
        await world.settle()
        world.clock.set(START + 5 * DAY + DAY / 2)
        await world.settle()
        covered = (await world.spans(SpanState.FINAL, SpanState.PROVISIONAL))["A-1"]
        assert [(window.start, window.end) for window in covered] == [
            (START, START + DAY / 2),
            (START + 5 * DAY, START + 5 * DAY + DAY / 2),
        ]
        assert (await world.spans(SpanState.LOST))["A-1"] == [TimeWindow(START + DAY / 2, START + 5 * DAY)]


async def test_calls_that_are_no_http_go_through_the_guard(stores: Any) -> None:
    async with open_world(BY_KEY["binary"], stores) as world:
        assert world.manifest.transport != "http"
        await world.catch_up()
        assert len(world.guarded) == len(world.server.calls) > 0
        assert {account for _, account in world.guarded} == set(ACCOUNTS)
