"""An account of which the answers for its login tell nothing: it is not asked for over and over, nor ever given up."""

from __future__ import annotations

from datetime import datetime

import attrs
import pytest

from brokersync.errors import BrokerDataUnavailableError, DataUnavailableReason
from brokersync.manifest import Retention, SourceScope
from brokersync.records import SpanState
from brokersync.store import Store
from brokersync.sync.untold import untold
from brokersync.types import Finality, TimeWindow, TradePage, TradeRequest

from .bench import DAY, START, TODAY, A, B, Bench, Step, fill, page, step


@pytest.fixture
def two(bench: Bench) -> Bench:
    """A login of two accounts, of which the second has left."""
    bench.accounts = (A, B)
    bench.source_is(scope=SourceScope.LOGIN, open_day=False, reread=DAY)
    bench.answer = without_b
    return bench


def without_b(request: TradeRequest) -> list[Step]:
    return [told(request, "A")]


def told(request: TradeRequest, *names: str, window: TimeWindow | None = None) -> TradePage:
    whole = page(request, window=window)
    return TradePage(covered=tuple(one for one in whole.covered if one.account_id in names))


def provisional(page: TradePage) -> TradePage:
    return attrs.evolve(page, covered=tuple(attrs.evolve(one, finality=Finality.PROVISIONAL) for one in page.covered))


async def days_asked(bench: Bench) -> list[int]:
    await bench.run()
    return [request.window.length // DAY for request in bench.requests]


async def noted(store: Store, bench: Bench, name: str = "B") -> list[TimeWindow]:
    failing, spans = await store.failing("c", "fills"), await store.spans("o", "paper", "fills")
    account = {"A": A, "B": B}[name]
    return [one.window for one in untold(bench.source, account, failing, spans.get(("live", name), ()))]


async def test_what_was_answered_without_an_account_is_not_asked_for_at_each_sync(two: Bench) -> None:
    assert await days_asked(two) == [5]
    for _ in range(3):
        two.clock.moment += DAY
        assert await days_asked(two) == [1]
    assert await two.spans("B") == []


async def test_it_is_kept_which_days_the_login_did_not_tell_of_an_account(two: Bench, store: Store) -> None:
    for _ in range(2):
        await two.run()
        two.clock.moment += DAY
    assert await noted(store, two) == [TimeWindow(START, TODAY + DAY)]
    assert await noted(store, two, "A") == []


async def test_an_account_that_is_told_again_is_asked_for_all_that_was_not_told_in_the_same_sync(
    two: Bench, store: Store
) -> None:
    await two.run()
    two.clock.moment += DAY
    two.answer = lambda request: [told(request, "A", "B")]
    assert await days_asked(two) == [1, 5]
    assert await two.spans("B") == [(START, TODAY + DAY, SpanState.FINAL)]
    assert await noted(store, two) == []


async def test_a_row_of_an_account_tells_of_it_as_well(two: Bench, store: Store) -> None:
    two.answer = lambda request: [step(fill("b", "B"), cursor="2"), told(request, "A")]
    assert await days_asked(two) == [5]
    two.clock.moment += DAY
    assert await days_asked(two) == [6]
    assert await noted(store, two) == []


async def test_a_row_alone_ends_what_was_noted_of_its_account(two: Bench, store: Store) -> None:
    await two.run()
    two.clock.moment += DAY
    two.answer = lambda request: [step(fill("b", "B"), cursor="2"), told(request, "A")]
    assert await days_asked(two) == [1, 5]
    assert await noted(store, two) == []


async def test_what_lies_before_an_account_was_opened_is_not_missed_of_it(two: Bench, store: Store) -> None:
    two.accounts = (A, attrs.evolve(B, opened_at=TODAY - DAY))
    two.source_is(longest_window=2 * DAY)
    two.answer = lambda request: [told(request, "A", *(["B"] if request.window.end >= TODAY else []))]
    await two.run()
    assert await noted(store, two) == []
    two.answer = without_b
    two.clock.moment += DAY
    await two.run()
    assert await noted(store, two) == [TimeWindow(TODAY, TODAY + DAY)]


async def test_an_account_that_left_long_ago_is_not_told_again_by_what_was_before(two: Bench, store: Store) -> None:
    two.source_is(longest_window=3 * DAY)
    left = START + DAY
    two.answer = lambda request: [
        TradePage(
            covered=(
                *told(request, "A").covered,
                *(told(request, "B", window=TimeWindow(START, left)).covered if request.window.start < left else ()),
            )
        )
    ]
    assert await days_asked(two) == [3, 2]
    assert await two.spans("B") == [(START, left, SpanState.FINAL)]
    assert await noted(store, two) == [TimeWindow(START + 2 * DAY, TODAY)]
    await two.run()
    two.clock.moment += DAY
    assert await days_asked(two) == [1]


async def test_of_an_answer_that_tells_of_nobody_no_account_is_left_out(two: Bench, store: Store) -> None:
    two.answer = lambda request: [TradePage()]
    await two.run()
    assert await noted(store, two) == []
    two.clock.moment += DAY
    assert await days_asked(two) == [6]


async def test_only_the_days_that_were_told_of_others_count_as_not_told(two: Bench, store: Store) -> None:
    two.answer = lambda request: [told(request, "A", window=TimeWindow(START + 2 * DAY, TODAY))]
    await two.run()
    assert await noted(store, two) == [TimeWindow(START + 2 * DAY, TODAY)]


async def test_what_somebody_asks_for_again_is_asked_for_all_accounts(two: Bench) -> None:
    await two.run()
    two.clock.moment += DAY
    await two.run(again_from=START)
    assert [request.window for request in two.requests] == [TimeWindow(START, TODAY + DAY)]


async def test_what_another_connection_has_read_since_is_no_longer_noted(two: Bench, store: Store) -> None:
    await two.run()
    two.clock.moment += DAY
    two.answer = lambda request: [told(request, "A", "B", window=TimeWindow(TODAY, TODAY + DAY))]
    two.accounts = (B,)
    assert await noted(store, two) == [TimeWindow(START, TODAY)]
    await two.run()
    assert await noted(store, two) == []


async def test_that_there_is_nothing_old_does_not_close_the_days_of_an_account_that_is_not_told(
    two: Bench, store: Store
) -> None:
    two.source_is(scope=SourceScope.LOGIN, open_day=False, reread=DAY, longest_window=2 * DAY)
    two.clock.moment += 20 * DAY
    edge = TODAY + 5 * DAY

    def answer(request: TradeRequest) -> list[Step]:
        if request.window.end <= edge:
            raise BrokerDataUnavailableError("none", reason=DataUnavailableReason.NO_SUCH_DATA)
        return without_b(request)

    two.answer = answer
    await two.run()
    two.clock.moment += DAY
    await two.run()
    assert SpanState.UNAVAILABLE in [state for _, _, state in await two.spans("A")]
    assert await two.spans("B") == []
    two.clock.moment += DAY
    assert await days_asked(two) == [1]
    two.clock.moment += DAY
    two.answer = lambda request: [told(request, "A", "B")]
    await two.run()
    assert {state for _, _, state in await two.spans("B")} == {SpanState.FINAL}
    assert (await two.spans("B"))[0][0] == START


async def test_a_provisional_day_of_an_account_that_is_told_no_more_is_noted_as_well(two: Bench, store: Store) -> None:
    def b_provisional(request: TradeRequest) -> list[Step]:
        whole = told(request, "A", "B")
        return [
            attrs.evolve(
                whole,
                covered=tuple(
                    attrs.evolve(one, finality=Finality.PROVISIONAL) if one.account_id == "B" else one
                    for one in whole.covered
                ),
            )
        ]

    two.answer = b_provisional
    await two.run()
    assert {state for _, _, state in await two.spans("B")} == {SpanState.PROVISIONAL}
    two.answer = without_b
    two.clock.moment += DAY
    await two.run()
    for _ in range(2):
        two.clock.moment += DAY
        assert await days_asked(two) == [1]
    assert await noted(store, two) == [TimeWindow(START, TODAY + 3 * DAY)]


@attrs.define
class Selection:
    """Whom the login's answers tell of, and up to which day it has nothing."""

    names: tuple[str, ...] = ("A", "B")
    empty_until: datetime = START

    def __call__(self, request: TradeRequest) -> list[Step]:
        if request.window.end <= self.empty_until:
            raise BrokerDataUnavailableError("none", reason=DataUnavailableReason.NO_SUCH_DATA)
        return [told(request, *self.names)]


@pytest.fixture
def selection(two: Bench) -> Selection:
    two.clock.moment += 20 * DAY
    two.source_is(scope=SourceScope.LOGIN, open_day=False, reread=DAY, longest_window=5 * DAY)
    two.answer = selection = Selection(empty_until=TODAY + 5 * DAY)
    return selection


def leaves_before_what_is_empty(two: Bench, selection: Selection) -> None:
    def answer(request: TradeRequest) -> list[Step]:
        if request.window.end <= selection.empty_until:
            selection.names = ("A",)
        return selection(request)

    two.answer = answer


async def next_days(two: Bench) -> list[int]:
    two.clock.moment += DAY
    return await days_asked(two)


async def test_that_there_is_nothing_closes_no_day_of_an_account_that_the_next_answer_does_not_tell(
    two: Bench, store: Store, selection: Selection
) -> None:
    leaves_before_what_is_empty(two, selection)
    await two.run()
    for _ in range(4):
        await next_days(two)
    assert await next_days(two) == [1]
    assert (await two.spans("A"))[0] == (START, selection.empty_until, SpanState.UNAVAILABLE)
    assert (START, selection.empty_until) in [(one.start, one.end) for one in await noted(store, two)]
    two.answer, selection.names, selection.empty_until = selection, ("A", "B"), START
    await next_days(two)
    assert await two.spans("B") == [(START, two.clock.moment.replace(hour=0), SpanState.FINAL)]


async def test_that_there_is_nothing_counts_when_it_is_said_twice_of_an_account_that_was_told_in_between(
    two: Bench, selection: Selection
) -> None:
    """A user may take it out of the login and put it back between two answers."""
    await two.run()
    assert (await two.spans("B"))[0][0] > START
    assert await days_asked(two) == [1]
    assert await next_days(two) == [1, 5, 5]
    assert (await two.spans("B"))[0] == (START, selection.empty_until, SpanState.UNAVAILABLE)
    assert await next_days(two) == [1]


async def test_what_was_empty_while_an_account_was_away_is_read_though_it_is_back_by_the_next_answer(
    two: Bench, selection: Selection
) -> None:
    await two.run()
    selection.empty_until = START
    assert await next_days(two) == [1, 5, 5]
    assert {state for _, _, state in await two.spans("B")} == {SpanState.FINAL}
    assert (await two.spans("B"))[0][0] == START


async def test_an_account_that_no_answer_has_told_of_yet_is_asked_for_what_was_empty_when_one_does(
    two: Bench, selection: Selection
) -> None:
    selection.empty_until = TODAY + 20 * DAY
    await two.run()
    selection.names, selection.empty_until = ("A",), TODAY + 5 * DAY
    await next_days(two)
    selection.names, selection.empty_until = ("A", "B"), START
    await next_days(two)
    assert {state for _, _, state in await two.spans("B")} == {SpanState.FINAL}


async def test_a_younger_account_whose_older_days_no_answer_tells_is_asked_for_them_ever_more_rarely(
    two: Bench, store: Store, selection: Selection
) -> None:
    opened = TODAY + 15 * DAY
    selection.empty_until = START
    two.answer = lambda request: [told(request, "A", *(["B"] if request.window.end > opened else []))]
    await two.run()
    asked_more = [day for day in range(200) if len(await next_days(two)) > 1]
    assert asked_more == [0, 1, 3, 7, 15, 31, 63, 127]
    assert await noted(store, two) == [TimeWindow(START, opened)]


async def test_what_was_left_out_once_is_read_at_last_though_its_account_was_told_all_the_time(
    two: Bench, selection: Selection
) -> None:
    selection.empty_until = START
    two.answer = lambda request: [told(request, "A", *(["B"] if request.window.end > TODAY + 15 * DAY else []))]
    for _ in range(10):
        await next_days(two)
    two.answer = selection
    for _ in range(30):
        await next_days(two)
    assert {state for _, _, state in await two.spans("B")} == {SpanState.FINAL}
    assert (await two.spans("B"))[0][0] == START


async def test_nothing_is_noted_of_days_that_the_source_no_longer_gives(two: Bench, store: Store) -> None:
    two.source_is(scope=SourceScope.LOGIN, open_day=False, reread=DAY, retention=Retention.LIMITED, look_back=3 * DAY)
    names = [("A",), ("A", "B"), ("A",), ("A",)]
    kept = []
    for day in range(40):
        two.answer = lambda request, day=day: [provisional(told(request, *names[day % 4]))]
        await two.run()
        two.clock.moment += DAY
        kept.append(len((await store.failing("c", "fills")).get("live/B", ())))
    assert max(kept) <= 4
