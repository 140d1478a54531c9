from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import timedelta

import attrs
import pytest

from brokersync.errors import (
    BrokerCursorError,
    BrokerMaintenanceError,
    BrokerRateLimitError,
    BrokerUnavailableError,
)
from brokersync.events import LimitWaited
from brokersync.manifest import SourceScope, SourceSpec
from brokersync.records import Deferred, Done
from brokersync.types import TradePage, TradeRequest

from .bench import (
    DAY,
    NOW,
    START,
    TODAY,
    A,
    Answer,
    B,
    Bench,
    CrashError,
    Step,
    crash,
    fill,
    page,
    problems,
    step,
)


async def test_a_bookmark_is_handed_to_the_request_that_goes_on_behind_it(bench: Bench) -> None:
    bench.answer = lambda request: [page(request, fill("1"), bookmark="one")]
    await bench.run()
    bench.clock.moment += DAY
    await bench.run()
    assert [request.bookmark for request in bench.requests] == ["one"]


async def test_a_bookmark_counts_only_when_its_request_is_finished(bench: Bench) -> None:
    bench.answer = lambda request: [
        step(fill("9"), cursor="a", bookmark="nine"),
        step(fill("8"), cursor="b"),
        crash,
        page(request),
    ]
    with pytest.raises(CrashError):
        await bench.run()
    assert await bench.store.bookmark("c", "fills", "live/A") is None
    bench.answer = lambda request: [page(request, fill("7"))]
    await bench.run()
    assert await bench.store.bookmark("c", "fills", "live/A") is None


async def test_the_last_bookmark_of_a_finished_request_is_kept(bench: Bench) -> None:
    bench.answer = lambda request: [
        step(cursor="a", bookmark="one"),
        step(cursor="b", bookmark="two"),
        page(request),
    ]
    await bench.run()
    assert await bench.store.bookmark("c", "fills", "live/A") == "two"


async def test_equal_rows_without_an_id_stay_two_where_a_later_one_follows_a_bookmark(bench: Bench) -> None:
    stream = [fill("1"), fill("same", named=False)]

    def answer(request: TradeRequest) -> list[TradePage]:
        begin = int(request.bookmark or 0)
        return [page(request, *stream[begin:], bookmark=str(len(stream)))]

    bench.answer = answer
    for _ in range(3):
        await bench.run()
        bench.clock.moment += DAY
        stream.append(fill("same", named=False))
    assert await bench.ids() == ["1", "same", "same#2", "same#3"]


async def test_no_bookmark_is_handed_to_a_request_for_older_history(bench: Bench) -> None:
    bench.answer = lambda request: [page(request, bookmark="one")]
    await bench.run()
    bench.accounts = (attrs.evolve(A, opened_at=START - 9 * DAY),)
    bench.since = START - 9 * DAY
    await bench.run()
    handed = {request.window.start: request.bookmark for request in bench.requests}
    assert handed == {TODAY: "one", bench.since: None}


async def test_no_bookmark_is_handed_when_everything_is_to_be_read_again(bench: Bench) -> None:
    bench.answer = lambda request: [page(request, bookmark="one")]
    await bench.run()
    await bench.run(again_from=START)
    assert [(request.window.start, request.bookmark) for request in bench.requests] == [(START, None)]


async def test_a_new_account_of_the_login_is_read_without_the_bookmark_of_the_others(bench: Bench) -> None:
    bench.source_is(scope=SourceScope.LOGIN)
    bench.answer = lambda request: [page(request, bookmark="one")]
    await bench.run()
    bench.accounts = (A, B)
    await bench.run()
    assert [(request.window.start, request.bookmark) for request in bench.requests] == [(START, None)]


async def test_a_bookmark_that_the_broker_does_not_know_is_given_up(bench: Bench) -> None:
    bench.answer = lambda request: [page(request, bookmark="of a lost time")]
    await bench.run()
    bench.answer = lambda request: (
        [BrokerCursorError("unknown")] if request.bookmark else [page(request, fill("1"), bookmark="new")]
    )
    outcome = await bench.run()
    assert problems(outcome.report) == []
    assert await bench.ids() == ["1"]
    assert await bench.store.bookmark("c", "fills", "live/A") == "new"


async def test_a_broken_off_request_goes_on_from_its_last_page(bench: Bench) -> None:
    bench.answer = lambda request: [step(fill("1"), cursor="a"), step(fill("2"), cursor="b"), crash]
    with pytest.raises(CrashError):
        await bench.run()
    bench.answer = lambda request: [page(request, fill("2"), fill("3"))]
    await bench.run()
    assert bench.requests[0].cursor == "a"
    assert await bench.ids() == ["1", "2", "3"]


async def test_a_cursor_that_is_not_known_any_more_starts_the_window_again(bench: Bench) -> None:
    bench.answer = lambda request: [step(fill("1"), cursor="a"), BrokerUnavailableError("down")]
    await bench.run()
    bench.answer = lambda request: [BrokerCursorError("unknown")] if request.cursor else [page(request, fill("2"))]
    outcome = await bench.run()
    assert [request.cursor for request in bench.requests][:2] == ["a", None]
    assert isinstance(outcome, Done)
    assert problems(outcome.report) == []
    assert await bench.cursors() == []


async def test_a_plugin_that_refuses_every_cursor_is_reported_and_not_asked_for_ever(bench: Bench) -> None:
    bench.answer = lambda request: [BrokerCursorError("unknown")]
    outcome = await bench.run()
    assert problems(outcome.report) == ["BrokerCursorError"]
    assert len(bench.requests) == 1


@pytest.mark.parametrize("cycle", [["a"], ["a", "b"], ["a", "b", "c"]])
async def test_paging_in_a_circle_ends(bench: Bench, cycle: list[str]) -> None:
    places = iter(cycle * 50)
    bench.answer = lambda request: [step(fill("1"), cursor=next(places))]
    outcome = await bench.run()
    assert problems(outcome.report) == ["BrokerResponseError"]
    assert len(bench.requests) <= len(cycle) + 1


def unnamed(bench: Bench, *rows: str) -> Answer:
    """A page for each of these rows, which have no ids; the cursor is the number of pages before it."""

    def answer(request: TradeRequest) -> list[Step]:
        begin = int(request.cursor or 0)
        pages = [step(fill(row, named=False), cursor=str(place)) for place, row in enumerate(rows, 1)]
        return [*pages[begin:-1], page(request, fill(rows[-1], named=False))]

    return answer


ROWS = ("same", "other", "same", "other", "same", "last")
NUMBERED = ["last", "other", "other#2", "same", "same#2", "same#3"]


@pytest.mark.parametrize("broken_off", range(1, len(ROWS) + 1))
async def test_rows_without_ids_get_the_numbers_of_one_reading_wherever_it_was_broken_off(
    bench: Bench, broken_off: int
) -> None:
    whole = unnamed(bench, *ROWS)
    bench.answer = lambda request: [*whole(request)[:broken_off], crash]
    with pytest.raises(CrashError):
        await bench.run()
    bench.answer = whole
    await bench.run()
    # a crash takes the page with it that was not committed yet
    assert bench.requests[0].cursor == (str(broken_off - 1) if broken_off > 1 else None)
    assert await bench.ids() == NUMBERED
    await bench.run(again_from=START)
    assert await bench.ids() == NUMBERED


async def test_rows_without_ids_are_read_to_the_end_a_few_pages_at_a_time(bench: Bench) -> None:
    bench.source_is(open_day=False)
    whole = unnamed(bench, *ROWS)
    bench.answer = lambda request: [*whole(request)[:2], BrokerRateLimitError("later")]
    for _ in range(3):
        await bench.run()
    assert await bench.ids() == NUMBERED
    assert [one.cursor for one in bench.requests] == ["4"]
    assert len(await bench.spans()) == 1


async def test_a_report_of_rows_without_ids_that_comes_in_parts_is_ordered_once(bench: Bench) -> None:
    ready = NOW + timedelta(minutes=10)
    bench.answer = lambda request: (
        [page(request, fill("same", named=False))]
        if request.cursor
        else [step(fill("same", named=False), fill("same", named=False), cursor="part 2", resume_at=ready)]
    )
    assert isinstance(await bench.run(), Deferred)
    bench.clock.moment = ready
    assert isinstance(await bench.run(), Done)
    assert [request.cursor for request in bench.requests][:1] == ["part 2"]
    assert await bench.ids() == ["same", "same#2", "same#3"]


async def test_rows_without_ids_are_counted_anew_where_their_cursor_is_not_known_any_more(bench: Bench) -> None:
    whole = unnamed(bench, *ROWS)
    bench.answer = lambda request: [*whole(request)[:3], BrokerUnavailableError("down")]
    await bench.run()
    bench.answer = lambda request: [BrokerCursorError("unknown")] if request.cursor else whole(request)
    await bench.run()
    assert [request.cursor for request in bench.requests][:2] == ["3", None]
    assert await bench.ids() == NUMBERED


async def test_a_sync_that_could_not_move_a_request_on_keeps_its_counts(bench: Bench) -> None:
    whole = unnamed(bench, *ROWS)
    bench.answer = lambda request: [*whole(request)[:3], BrokerUnavailableError("down")]
    await bench.run()
    bench.answer = lambda request: [BrokerUnavailableError("down")]
    await bench.run()
    bench.answer = whole
    await bench.run()
    assert bench.requests[0].cursor == "3"
    assert await bench.ids() == NUMBERED


@pytest.mark.parametrize("cycle", [["a"], ["a", "b"], ["a", "b", "c"]])
async def test_paging_in_a_circle_ends_inside_one_answer_too(bench: Bench, cycle: list[str]) -> None:
    bench.more_sources = (SourceSpec(name="lists", precedence=0),)
    given = []

    def answer(request: TradeRequest) -> Iterator[Step]:
        if request.source == "lists":
            yield page(request, fill("2"))
            return
        for cursor in itertools.cycle(cycle):
            given.append(cursor)
            yield step(fill("1", named=False), cursor=cursor)

    bench.answer = answer
    outcome = await bench.run()
    assert problems(outcome.report) == ["BrokerResponseError"]
    assert [problem["message"] for problem in outcome.report.problems] == ["The broker's paging does not move on."]
    assert len(given) == len(cycle) + 1
    # the page that came again is none of its own
    assert [one.partition("#")[0] for one in await bench.ids()] == ["1"] * len(cycle) + ["2"]
    assert bench.requests[-1].source == "lists"


@pytest.mark.parametrize("broken_off", [1, 2, 3])
async def test_a_report_whose_chunks_all_lead_to_its_start_gives_the_numbers_of_one_reading(
    bench: Bench, broken_off: int
) -> None:
    def chunks(request: TradeRequest) -> list[Step]:
        if request.cursor is None:
            return [step(cursor="ticket", resume_at=bench.clock.now())]
        rows = [step(fill("same", named=False), fill(str(chunk), named=False), cursor="ticket") for chunk in range(3)]
        return [*rows, page(request)]

    bench.answer = lambda request: [*chunks(request)[:broken_off], BrokerUnavailableError("down")]
    for _ in range(2):
        await bench.run()
    bench.answer = chunks
    outcome = await bench.run()
    assert problems(outcome.report) == []
    assert bench.requests[0].cursor == "ticket"
    assert await bench.ids() == ["0", "1", "2", "same", "same#2", "same#3"]


async def test_nothing_is_taken_of_an_answer_behind_the_page_that_says_when_to_come_back(bench: Bench) -> None:
    ready = NOW + timedelta(minutes=3)
    bench.answer = lambda request: itertools.repeat(step(cursor="ticket", resume_at=ready))
    outcome = await bench.run()
    assert isinstance(outcome, Deferred)
    assert outcome.until == ready


async def test_a_short_wait_is_slept_and_told(bench: Bench) -> None:
    ready = NOW + timedelta(seconds=4)
    bench.answer = lambda request: (
        [page(request, fill("1"))] if request.cursor else [step(cursor="ticket", resume_at=ready)]
    )
    outcome = await bench.run()
    assert isinstance(outcome, Done)
    assert bench.clock.slept == [4]
    assert [event.wait for event in bench.events if isinstance(event, LimitWaited)] == [timedelta(seconds=4)]


async def test_a_long_wait_frees_the_slot_and_orders_nothing_twice(bench: Bench) -> None:
    ready = NOW + timedelta(minutes=3)
    bench.answer = lambda request: (
        [page(request, fill("1"))] if request.cursor else [step(cursor="ticket", resume_at=ready)]
    )
    outcome = await bench.run()
    assert isinstance(outcome, Deferred)
    assert outcome.until == ready
    again = await bench.run()
    assert isinstance(again, Deferred)
    assert bench.requests == []
    bench.clock.moment = ready
    assert isinstance(await bench.run(), Done)
    assert bench.requests[0].cursor == "ticket"
    assert bench.clock.slept == []


async def test_a_report_that_is_never_ready_does_not_hold_the_slot(bench: Bench) -> None:
    bench.answer = lambda request: [step(cursor="ticket", resume_at=bench.clock.now() + timedelta(seconds=1))]
    outcome = await bench.run()
    assert isinstance(outcome, Deferred)
    assert outcome.until > bench.clock.now()
    assert sum(bench.clock.slept) < 60


async def test_an_account_that_waits_does_not_keep_the_others_waiting(bench: Bench) -> None:
    bench.accounts = (A, B)
    ready = NOW + timedelta(hours=1)
    bench.answer = lambda request: (
        [step(cursor="ticket", resume_at=ready)] if request.accounts == (A,) else [page(request, fill("1", "B"))]
    )
    outcome = await bench.run()
    assert isinstance(outcome, Deferred)
    assert await bench.ids() == ["1"]
    assert await bench.cursors() == ["ticket"]


async def test_a_slow_limit_does_not_let_a_round_begin_anew_before_its_oldest_window(bench: Bench) -> None:
    bench.source_is(longest_window=DAY, reread=5 * DAY)
    allowed: list[None] = []
    bench.answer = lambda request: (
        [page(request)] if allowed and allowed.pop() is None else [BrokerRateLimitError("later", retry_after=DAY / 48)]
    )
    for _ in range(6):
        allowed.append(None)
        outcome = await bench.run()
        bench.clock.moment += DAY / 48
    assert isinstance(outcome, Done)


async def test_a_sync_that_our_limiter_puts_off_comes_a_little_early_and_is_not_put_off_by_itself(bench: Bench) -> None:
    bench.source_is(scope=SourceScope.LOGIN)
    refused, began = BrokerRateLimitError("later", retry_after=DAY / 4), bench.clock.moment
    refused.ours = True
    bench.answer = lambda request: [refused]
    for _ in range(2):
        outcome = await bench.run()
        assert isinstance(outcome, Deferred)
        assert outcome.until == began + DAY / 4 - timedelta(seconds=1)
        assert len(bench.requests) == 1, "the limiter says each time whether it may go"


async def test_what_a_deferred_round_has_read_is_read_again_by_who_asks_for_it(bench: Bench) -> None:
    bench.accounts = (A, B)
    down = [BrokerRateLimitError("later", retry_after=DAY / 96)]
    bench.answer = lambda request: [page(request)] if request.accounts == (A,) else down
    seen = []
    for again_from in (None, START, START, None):
        assert isinstance(await bench.run(again_from=again_from), Deferred)
        seen.append([request.accounts[0].account_id for request in bench.requests])
        bench.clock.moment += timedelta(minutes=16)
    # once for each who asks, however often that has to be gone on with
    assert seen == [["A", "B"], ["A", "B"], ["B"], ["B"]]


async def test_a_round_that_came_to_a_halt_is_over_after_an_hour(bench: Bench) -> None:
    bench.source_is(scope=SourceScope.LOGIN)
    bench.more_sources = (SourceSpec(name="broken", precedence=0),)
    bench.answer = lambda request: [BrokerMaintenanceError("closed")] if request.source == "broken" else [page(request)]
    seen = []
    for _ in range(3):
        await bench.run()
        seen.append([request.source for request in bench.requests])
        bench.clock.moment += timedelta(minutes=40)
    assert seen == [["fills", "broken"], ["broken"], ["fills", "broken"]]


async def test_a_round_that_was_broken_off_long_ago_is_read_again(bench: Bench) -> None:
    bench.accounts = (A, B)
    bench.answer = lambda request: (
        [page(request)]
        if request.accounts == (A,)
        else [step(fill("1"), cursor="a"), step(fill("2"), cursor="b"), crash]
    )
    with pytest.raises(CrashError):
        await bench.run()
    bench.clock.moment += timedelta(hours=2)
    bench.answer = lambda request: [page(request)]
    await bench.run()
    assert [(request.accounts[0].account_id, request.cursor) for request in bench.requests] == [("B", "a"), ("A", None)]
