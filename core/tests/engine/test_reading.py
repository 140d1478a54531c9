from __future__ import annotations

from datetime import timedelta

import attrs
import pytest

from brokersync.errors import (
    BrokerAPIError,
    BrokerDataUnavailableError,
    BrokerRateLimitError,
    BrokerUnavailableError,
    DataUnavailableReason,
)
from brokersync.events import WindowStarted
from brokersync.manifest import Retention, SourceScope, SourceSpec
from brokersync.records import Deferred, Done, PageCommit, SpanState
from brokersync.store import PageRules, SealedGrant
from brokersync.sync.fold import fold
from brokersync.sync.ledger import cover, reopen
from brokersync.types import (
    Finality,
    TimeWindow,
    TradeRequest,
)

from .bench import DAY, NOW, START, TODAY, A, B, Bench, Step, fill, page, step


async def test_a_window_is_read_to_its_end_and_covered(bench: Bench) -> None:
    bench.answer = lambda request: [step(fill("1"), cursor="a"), step(fill("2"), cursor="b"), page(request, fill("3"))]
    outcome = await bench.run()
    assert isinstance(outcome, Done)
    assert await bench.ids() == ["1", "2", "3"]
    assert (outcome.report.pages, outcome.report.added) == (3, 3)
    assert await bench.cursors() == []
    assert await bench.spans() == [(START, TODAY, SpanState.FINAL), (TODAY, NOW, SpanState.PROVISIONAL)]


async def test_a_page_outlives_the_failure_of_the_next_one(bench: Bench) -> None:
    bench.answer = lambda request: [step(fill("1"), cursor="a"), BrokerUnavailableError("down")]
    assert isinstance(await bench.run(), Deferred)
    assert await bench.ids() == ["1"]
    assert await bench.cursors() == ["a"]


async def test_a_broker_that_gives_one_page_a_run_is_read_to_the_end(bench: Bench) -> None:
    def answer(request: TradeRequest) -> list[Step]:
        place = int(request.cursor or 0) + 1
        if place == 5:
            return [page(request)]
        return [step(fill(str(place)), cursor=str(place)), BrokerRateLimitError("no more", retry_after=DAY / 24)]

    bench.answer = answer
    for _ in range(4):
        assert isinstance(await bench.run(), Deferred)
        bench.clock.moment += DAY / 24
    assert isinstance(await bench.run(), Done)
    assert await bench.ids() == ["1", "2", "3", "4"]


async def test_what_a_page_gave_before_the_rest_expired_is_kept_and_covered(bench: Bench) -> None:
    readable = TimeWindow(START + 3 * DAY, TODAY)
    expired = BrokerDataUnavailableError("gone", reason=DataUnavailableReason.EXPIRED)
    bench.source_is(open_day=False)
    bench.answer = lambda request: [page(request, fill("1", at=readable.start), window=readable), expired]
    await bench.run()
    assert await bench.ids() == ["1"]
    assert await bench.spans() == [
        (START, readable.start, SpanState.LOST),
        (readable.start, TODAY, SpanState.FINAL),
    ]


async def test_an_answer_without_pages_covers_nothing(bench: Bench) -> None:
    bench.answer = lambda request: []
    assert isinstance(await bench.run(), Done)
    assert await bench.spans() == []
    await bench.run()
    assert len(bench.requests) == 1


async def test_a_page_covers_no_more_than_its_request_asked(bench: Bench) -> None:
    bench.source_is(longest_window=DAY)
    everything = TimeWindow(START - 30 * DAY, START + 30 * DAY)
    asked: list[TimeWindow] = []

    def answer(request: TradeRequest) -> list[Step]:
        asked.append(request.window)
        return [page(request, window=everything)] if len(asked) == 2 else []

    bench.answer = answer
    await bench.run()
    assert await bench.spans() == [(asked[1].start, asked[1].end, SpanState.FINAL)]


async def test_no_page_proves_the_future(bench: Bench) -> None:
    await bench.run()
    assert (await bench.spans())[-1] == (TODAY, NOW, SpanState.PROVISIONAL)


async def test_an_answer_of_today_that_is_read_past_midnight_is_not_final(bench: Bench) -> None:
    def past_midnight() -> None:
        bench.clock.moment = TODAY + DAY + timedelta(seconds=1)

    bench.answer = lambda request: [past_midnight, page(request)]
    await bench.run()
    assert (await bench.spans())[-1] == (TODAY, NOW, SpanState.PROVISIONAL)


async def test_a_report_ordered_yesterday_leaves_yesterday_provisional(bench: Bench) -> None:
    ready = TODAY + DAY + timedelta(minutes=1)
    bench.answer = lambda request: (
        [page(request, fill("1"))] if request.cursor else [step(cursor="ticket", resume_at=ready)]
    )
    assert isinstance(await bench.run(), Deferred)
    bench.clock.moment = ready
    bench.source_is(open_day=False)
    await bench.run()
    assert bench.requests[0].cursor == "ticket"
    assert (await bench.spans())[:2] == [(START, TODAY, SpanState.FINAL), (TODAY, NOW, SpanState.PROVISIONAL)]


async def test_provisional_spans_are_read_again_and_final_ones_are_not(bench: Bench) -> None:
    await bench.run()
    bench.clock.moment += DAY
    await bench.run()
    assert [request.window for request in bench.requests] == [TimeWindow(TODAY, TODAY + 2 * DAY)]


async def test_what_the_broker_calls_provisional_stays_so_however_old(bench: Bench) -> None:
    bench.answer = lambda request: [page(request, finality=Finality.PROVISIONAL)]
    await bench.run()
    assert await bench.spans() == [(START, NOW, SpanState.PROVISIONAL)]
    await bench.run()
    assert bench.requests[0].window.start == START


async def test_a_login_without_accounts_is_read_as_one(bench: Bench) -> None:
    bench.accounts = ()
    bench.source_is(scope=SourceScope.LOGIN)
    assert isinstance(await bench.run(), Done)
    assert [(request.accounts, request.window.start) for request in bench.requests] == [((), START)]


async def test_no_accounts_are_nothing_to_read(bench: Bench) -> None:
    bench.accounts = ()
    outcome = await bench.run()
    assert isinstance(outcome, Done)
    assert bench.requests == []


@pytest.mark.parametrize("scope", SourceScope)
async def test_an_account_first_seen_on_a_page_is_read_in_the_same_sync(bench: Bench, scope: SourceScope) -> None:
    bench.source_is(scope=scope, open_day=False)
    bench.answer = lambda request: [
        page(request, *([fill("b", "B")] if B in request.accounts else []), accounts=(A, B))
    ]
    await bench.run()
    assert await bench.ids() == ["b"]
    assert await bench.spans("B") == [(START, TODAY, SpanState.FINAL)]


@pytest.mark.parametrize("scope", SourceScope)
async def test_a_request_for_a_login_is_told_what_files_said_of_further_accounts(
    bench: Bench, scope: SourceScope
) -> None:
    bench.source_is(scope=scope)
    told = attrs.evolve(B, name="Savings", state={"alias": "Savings"})
    files = PageCommit(owner="o", provider="paper", source="files", at=NOW, accounts=(told,))
    for one in (files, attrs.evolve(files, owner="p", accounts=(attrs.evolve(B, account_id="of another owner"),))):
        await bench.store.commit_page(one, PageRules(fold=fold, cover=cover, reopen=reopen, precedence=lambda _: 1))
    await bench.run()
    others = (told,) if scope is SourceScope.LOGIN else ()
    assert [(request.accounts, request.others) for request in bench.requests] == [((A,), others)]


async def test_a_request_for_a_login_is_told_nothing_of_accounts_that_another_login_reads(bench: Bench) -> None:
    bench.source_is(scope=SourceScope.LOGIN)
    other = attrs.evolve(bench.connection, connection_id="other", identity="other")
    grant = SealedGrant(
        owner="o", provider="paper", environment="live", identity="other", generation=1, auth=b"", credentials=b""
    )
    await bench.store.add_connection(other, grant)
    await bench.store.put_accounts(other, (attrs.evolve(B, state={"alias": "Savings"}),), NOW)
    await bench.run()
    assert [(request.accounts, request.others) for request in bench.requests] == [((A,), ())]


async def test_an_account_that_only_a_booking_names_is_read_too(bench: Bench) -> None:
    bench.source_is(scope=SourceScope.LOGIN, open_day=False)
    bench.answer = lambda request: [page(request, fill("b", "B"))]
    await bench.run()
    assert await bench.spans("B") == [(START, TODAY, SpanState.FINAL)]


async def test_the_time_before_a_login_had_its_second_account_is_read_for_it(bench: Bench) -> None:
    bench.source_is(scope=SourceScope.LOGIN, open_day=False)
    await bench.run()
    bench.accounts = (A, B)
    await bench.run()
    assert [(request.accounts, request.window) for request in bench.requests] == [((A, B), TimeWindow(START, TODAY))]


async def test_what_perishes_is_read_first_and_files_are_not_asked_for(bench: Bench) -> None:
    bench.source_is(precedence=9)
    bench.more_sources = (
        SourceSpec(name="statement", precedence=10, files=True),
        SourceSpec(name="session", precedence=1, retention=Retention.SESSION, scope=SourceScope.LOGIN),
    )
    await bench.run()
    assert [request.source for request in bench.requests] == ["session", "fills"]
    assert bench.requests[0].window == TimeWindow(TODAY, TODAY + DAY)


async def test_only_the_wanted_sources_are_read(bench: Bench) -> None:
    bench.more_sources = (SourceSpec(name="session", precedence=1),)
    await bench.run(sources=("session",))
    assert [request.source for request in bench.requests] == ["session"]


async def test_each_window_is_announced_with_its_place(bench: Bench) -> None:
    bench.source_is(longest_window=2 * DAY)
    await bench.run()
    told = [event for event in bench.events if isinstance(event, WindowStarted)]
    assert [(event.done, event.total) for event in told] == [(0, 3), (1, 3), (2, 3)]
    assert [event.window for event in told] == [request.window for request in bench.requests]


async def test_the_report_says_what_was_asked_and_what_was_proved(bench: Bench) -> None:
    bench.source_is(longest_window=DAY, open_day=False)
    bench.answer = lambda request: (
        [BrokerAPIError("no")] if request.window.start == START + 2 * DAY else [page(request)]
    )
    report = (await bench.run()).report
    (span,) = report.spans
    assert span.requested == TimeWindow(START, TODAY)
    assert span.covered == (TimeWindow(START, START + 2 * DAY), TimeWindow(START + 3 * DAY, TODAY))
