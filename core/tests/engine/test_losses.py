from __future__ import annotations

from datetime import timedelta
from itertools import combinations
from typing import Any

import attrs
import pytest

from brokersync.errors import (
    BrokerAPIError,
    BrokerDataUnavailableError,
    BrokerRateLimitError,
    BrokerUnavailableError,
    DataUnavailableReason,
    Fault,
)
from brokersync.events import HistoryLost
from brokersync.manifest import Retention, SourceScope, SourceSpec
from brokersync.records import AccountKey, LostSpan, PageCommit, Span, SpanState
from brokersync.sync.commit import page_rules
from brokersync.sync.ledger import union
from brokersync.types import Finality, TimeWindow, TradeRequest

from .bench import DAY, NOW, START, TODAY, A, B, Bench, Step, fill, page, step

HOUR = timedelta(hours=1)
LOST, PROVISIONAL, UNAVAILABLE = SpanState.LOST, SpanState.PROVISIONAL, SpanState.UNAVAILABLE


def session(bench: Bench, **facts: object) -> None:
    bench.source_is(retention=Retention.SESSION, scope=SourceScope.LOGIN, **facts)
    bench.answer = lambda request: [page(request, finality=Finality.PROVISIONAL)]
    bench.connected_at = NOW


def told(bench: Bench) -> list[tuple[str, TimeWindow]]:
    return [(event.account_id, event.window) for event in bench.events if isinstance(event, HistoryLost)]


async def test_the_rest_of_a_session_that_is_over_is_lost_and_told_once(bench: Bench) -> None:
    session(bench)
    await bench.run()
    bench.clock.moment = NOW + 2 * DAY
    rest = TimeWindow(NOW, TODAY + 2 * DAY)
    report = (await bench.run()).report
    assert await bench.spans() == [
        (TODAY, NOW, PROVISIONAL),
        (rest.start, rest.end, LOST),
        (TODAY + 2 * DAY, NOW + 2 * DAY, PROVISIONAL),
    ]
    words = "Nothing else of Paper reaches back so far."
    assert report.lost == (LostSpan(source="fills", account_id="A", environment="live", window=rest, repair=words),)
    assert told(bench) == [("A", rest)]
    assert (await bench.run()).report.lost == ()
    assert told(bench) == [("A", rest)]


async def test_what_is_lost_is_written_before_a_broker_that_is_down_is_asked(bench: Bench) -> None:
    session(bench)
    bench.answer = lambda request: [BrokerUnavailableError("down")]
    await bench.run()
    bench.clock.moment = NOW + DAY
    await bench.run()
    assert await bench.spans() == [(TODAY, TODAY + DAY, LOST)]


async def test_each_account_loses_its_own(bench: Bench) -> None:
    session(bench)
    bench.accounts = (A, attrs.evolve(B, opened_at=TODAY + DAY))
    await bench.run()
    bench.clock.moment = NOW + 2 * DAY
    await bench.run()
    assert told(bench) == [("A", TimeWindow(NOW, TODAY + 2 * DAY)), ("B", TimeWindow(TODAY + DAY, TODAY + 2 * DAY))]


def with_reports(bench: Bench, *others: SourceSpec, **facts: Any) -> None:
    """A session's list, and another source whose answer a test gives as that of the request's source."""
    session(bench, precedence=5)
    bench.more_sources = (SourceSpec(name="reports", **({"precedence": 1, "finality_lag": DAY} | facts)), *others)


async def lose_the_rest_of_a_session(bench: Bench, **facts: Any) -> None:
    await bench.run(**facts)
    bench.clock.moment = NOW + DAY
    await bench.run(**facts)
    assert (await bench.spans())[1] == (NOW, TODAY + DAY, LOST)


@pytest.mark.parametrize("open_day", [True, False])
async def test_what_another_source_will_still_give_is_lost_to_the_source_and_not_to_the_user(
    bench: Bench, *, open_day: bool
) -> None:
    with_reports(bench, open_day=open_day)
    await lose_the_rest_of_a_session(bench, sources=("fills",))
    assert told(bench) == []
    bench.clock.moment = NOW + 3 * DAY
    assert (await bench.run()).report.lost == ()
    assert told(bench) == []


def deny_reports(bench: Bench) -> None:
    answer = bench.answer
    denial = BrokerAPIError("no right to read reports", fault=Fault.USER)
    bench.answer = lambda request: [denial] if request.source == "reports" else answer(request)


@pytest.mark.parametrize("facts", [{}, {"retention": Retention.LIMITED, "look_back": 10 * DAY}], ids=["all", "10 days"])
async def test_what_a_source_would_give_that_the_user_has_no_right_to_is_told_once(
    bench: Bench, facts: dict[str, Any]
) -> None:
    with_reports(bench, **facts)
    deny_reports(bench)
    await lose_the_rest_of_a_session(bench)
    assert told(bench) == [("A", TimeWindow(NOW, TODAY + DAY))]
    for _ in range(14):
        bench.clock.moment += DAY
        await bench.run()
    windows = [window for _, window in told(bench)]
    assert TimeWindow(NOW, TODAY + DAY) in windows
    assert not [one for one in combinations(windows, 2) if one[0].overlap(one[1])], "nothing is told twice"


async def test_what_a_source_was_to_give_is_told_once_the_user_has_no_right_to_it(bench: Bench) -> None:
    with_reports(bench)
    await lose_the_rest_of_a_session(bench, sources=("fills",))
    assert told(bench) == []
    deny_reports(bench)
    (lost,) = (await bench.run()).report.lost
    assert (lost.window, told(bench)) == (TimeWindow(NOW, TODAY + DAY), [("A", TimeWindow(NOW, TODAY + DAY))])
    await bench.run()
    assert len(told(bench)) == 1


async def test_a_source_that_only_fails_is_still_hoped_for(bench: Bench) -> None:
    with_reports(bench)
    answer = bench.answer
    bench.answer = lambda request: [BrokerAPIError("nonsense")] if request.source == "reports" else answer(request)
    await lose_the_rest_of_a_session(bench)
    assert told(bench) == []


@pytest.mark.parametrize(
    "other",
    [
        SourceSpec(name="reports", precedence=1, files=True),
        SourceSpec(name="reports", precedence=1, retention=Retention.SESSION),
        SourceSpec(name="unreadable", precedence=1),
    ],
    ids=lambda source: f"{source.name} {source.retention}",
)
async def test_what_no_other_source_gives_by_itself_is_told(bench: Bench, other: SourceSpec) -> None:
    session(bench, precedence=5)
    bench.more_sources = (other,)
    bench.readable = ("fills", "reports")
    await lose_the_rest_of_a_session(bench)
    (event,) = [event for event in bench.events if isinstance(event, HistoryLost)]
    assert event.window == TimeWindow(NOW, TODAY + DAY)
    assert event.repair.startswith("Download a statement" if other.files else "Nothing else of Paper")
    assert (event.provider, event.connection_id, event.environment) == ("paper", "c", "live")


async def test_what_a_file_has_told_already_is_not_lost(bench: Bench) -> None:
    session(bench, precedence=5)
    bench.more_sources = (SourceSpec(name="statements", precedence=1, files=True),)
    await bench.run()
    await cover(bench, "statements", TimeWindow(TODAY, NOW + HOUR))
    bench.clock.moment = NOW + DAY
    await bench.run()
    assert told(bench) == [("A", TimeWindow(NOW + HOUR, TODAY + DAY))]


async def cover(bench: Bench, source: str, window: TimeWindow) -> None:
    key = AccountKey(owner="o", provider="paper", environment="live", account_id="A")
    span = Span(window=window, state=SpanState.FINAL)
    page = PageCommit(owner="o", provider="paper", source=source, at=bench.clock.moment, spans=((key, span),))
    await bench.store.commit_page(page, page_rules(bench.manifest))


async def test_the_last_source_that_could_have_given_it_tells(bench: Bench) -> None:
    with_reports(bench, retention=Retention.LIMITED, look_back=3 * DAY)
    await lose_the_rest_of_a_session(bench, sources=("fills",))
    bench.clock.moment = NOW + 5 * DAY
    await bench.run(sources=("reports",))
    assert {event.source for event in bench.events if isinstance(event, HistoryLost)} == {"reports"}
    # the session's lists were read twice for twelve hours each
    unread = [(TODAY - 3 * DAY, TODAY), (NOW, TODAY + DAY), (NOW + DAY, TODAY + 2 * DAY)]
    assert told(bench) == [("A", TimeWindow(*one)) for one in unread[:2]]
    await bench.run()
    assert told(bench) == [("A", TimeWindow(*one)) for one in unread]


async def test_what_two_sources_have_forgotten_by_the_same_sync_is_told_once(bench: Bench) -> None:
    with_reports(bench, retention=Retention.LIMITED, look_back=3 * DAY)
    await lose_the_rest_of_a_session(bench, sources=("fills",))
    bench.clock.moment = NOW + 12 * DAY
    await bench.run()
    forgotten = [(NOW, TODAY + DAY), (NOW + DAY, TODAY + 9 * DAY)]
    lost = [window for _, window in told(bench)]
    assert union(lost)[-2:] == [TimeWindow(*one) for one in forgotten]
    assert not [one for one, other in combinations(lost, 2) if one.overlap(other)]


@pytest.mark.parametrize("reason", DataUnavailableReason)
async def test_a_refusal_by_the_last_source_that_could_have_given_it_tells_once(
    bench: Bench, reason: DataUnavailableReason
) -> None:
    with_reports(bench)
    await lose_the_rest_of_a_session(bench, sources=("fills",))
    bench.clock.moment = NOW + 12 * DAY
    bench.answer = lambda request: [
        BrokerDataUnavailableError("gone", reason=reason)
        if request.window.start < TODAY + DAY
        else page(request, finality=Finality.PROVISIONAL)
    ]
    for _ in range(2):
        await bench.run(sources=("reports",), again_from=START)
        # that there was nothing is an answer
        nothing = reason is DataUnavailableReason.NO_SUCH_DATA
        assert told(bench) == ([] if nothing else [("A", TimeWindow(NOW, TODAY + DAY))])


async def test_a_session_of_which_the_broker_says_itself_that_it_is_over_is_told_once(bench: Bench) -> None:
    session(bench)
    await bench.run()

    def over() -> None:
        bench.clock.moment = TODAY + DAY + HOUR

    expired = BrokerDataUnavailableError("That session is over.", reason=DataUnavailableReason.EXPIRED)
    bench.clock.moment = TODAY + DAY - HOUR
    bench.answer = lambda request: [over, expired]
    rest = TimeWindow(NOW, TODAY + DAY)
    report = (await bench.run()).report
    assert (await bench.spans())[1] == (rest.start, rest.end, LOST)
    assert [one.window for one in report.lost] == [rest]
    assert told(bench) == [("A", rest)]
    bench.answer = lambda request: [page(request, finality=Finality.PROVISIONAL)]
    await bench.run()
    assert told(bench) == [("A", rest)]


@pytest.mark.parametrize("reason", [DataUnavailableReason.EXPIRED, DataUnavailableReason.BEFORE_ACCOUNT])
async def test_of_what_a_broker_refuses_only_that_is_told_which_could_be_had_since_it_was_connected(
    bench: Bench, reason: DataUnavailableReason
) -> None:
    bench.connected_at, border = START + 2 * DAY, START + 4 * DAY
    bench.answer = lambda request: [
        BrokerDataUnavailableError("gone", reason=reason) if request.window.start < border else page(request)
    ]
    await bench.run()
    assert (await bench.spans())[0][:2] == (START, border)
    expired = reason is DataUnavailableReason.EXPIRED
    assert told(bench) == ([("A", TimeWindow(bench.connected_at, border))] if expired else [])


async def test_what_was_never_available_is_written_without_an_event(bench: Bench) -> None:
    bench.source_is(retention=Retention.LIMITED, look_back=3 * DAY)
    bench.since = None
    bench.connected_at = NOW
    report = (await bench.run()).report
    assert (await bench.spans())[0] == (START, TODAY - 3 * DAY, UNAVAILABLE)
    assert (report.lost, told(bench)) == ((), [])


async def test_what_is_lost_is_not_asked_for_and_a_later_proof_still_counts(bench: Bench) -> None:
    bench.source_is(retention=Retention.LIMITED, look_back=3 * DAY)
    bench.answer = lambda request: [BrokerUnavailableError("down")]
    await bench.run()
    bench.clock.moment = NOW + 2 * DAY
    bench.answer = lambda request: [page(request)]
    await bench.run()
    lost_until = TODAY - DAY
    assert (await bench.spans())[0] == (START, lost_until, LOST)
    assert min(request.window.start for request in bench.requests) == lost_until
    bench.source_is(look_back=30 * DAY)
    await bench.run(again_from=START)
    assert (await bench.spans())[0][::2] == (START, SpanState.FINAL)


async def test_a_report_that_was_ordered_in_time_is_waited_for(bench: Bench) -> None:
    bench.source_is(retention=Retention.LIMITED, look_back=5 * DAY, open_day=False)
    ready = NOW + 20 * HOUR
    bench.answer = lambda request: (
        [page(request, fill("1"))] if request.cursor else [step(cursor="ticket", resume_at=ready)]
    )
    await bench.run()
    bench.clock.moment = ready
    await bench.run()
    assert await bench.spans() == [(START, TODAY + DAY, SpanState.FINAL)]
    assert told(bench) == []


async def test_what_a_report_that_was_ordered_in_time_may_still_bring_is_not_told_before_it_fails(bench: Bench) -> None:
    with_reports(bench, retention=Retention.LIMITED, look_back=2 * DAY, open_day=False, finality_lag=timedelta(0))
    await bench.run(sources=("fills",))
    bench.clock.moment = NOW + DAY
    bench.answer = lambda _: [step(cursor="ticket", resume_at=NOW + 9 * DAY)]
    await bench.run(sources=("reports",))
    bench.clock.moment = NOW + 4 * DAY
    bench.answer = lambda request: [page(request, finality=Finality.PROVISIONAL)]
    await bench.run()
    lost = [window for _, window in told(bench)]
    assert not [one for one, other in combinations(lost, 2) if one.overlap(other)]
    assert TimeWindow(NOW, TODAY + 2 * DAY) in lost


async def test_the_place_in_a_session_that_is_over_is_given_up(bench: Bench) -> None:
    session(bench)
    bench.answer = lambda request: [step(fill("1"), cursor="of this session"), BrokerUnavailableError("down")]
    await bench.run()
    bench.clock.moment = NOW + DAY
    bench.answer = lambda request: [page(request, finality=Finality.PROVISIONAL)]
    await bench.run()
    assert [(request.cursor, request.window.start) for request in bench.requests] == [(None, TODAY + DAY)]
    assert await bench.cursors() == []
    assert (await bench.spans())[0] == (TODAY, TODAY + DAY, LOST)


async def test_a_list_that_came_when_the_session_was_over_proves_nothing_of_it(bench: Bench) -> None:
    session(bench)

    def over() -> None:
        bench.clock.moment = TODAY + DAY

    bench.answer = lambda request: [over, page(request, fill("1"), finality=Finality.PROVISIONAL)]
    await bench.run()
    assert await bench.ids() == ["1"]
    assert await bench.spans() == []


async def test_a_list_that_came_just_before_the_session_was_over_counts_although_the_next_page_is_late(
    bench: Bench,
) -> None:
    session(bench)

    def over() -> None:
        bench.clock.moment = TODAY + DAY

    bench.answer = lambda request: [page(request, finality=Finality.PROVISIONAL), over, step()]
    await bench.run()
    assert await bench.spans() == [(TODAY, NOW, PROVISIONAL)]


async def test_a_session_is_read_again_in_the_round_that_began_long_before_its_end(bench: Bench) -> None:
    session(bench)
    bench.more_sources = (SourceSpec(name="broken", precedence=0),)
    bench.answer = lambda request: [
        BrokerUnavailableError("down") if request.source == "broken" else page(request, finality=Finality.PROVISIONAL)
    ]
    bench.clock.moment = TODAY + DAY - 30 * timedelta(minutes=1)
    await bench.run()
    bench.clock.moment = TODAY + DAY - 3 * timedelta(minutes=1)
    await bench.run()
    assert (await bench.spans())[-1] == (TODAY, TODAY + DAY - 3 * timedelta(minutes=1), PROVISIONAL)


async def test_a_backfill_that_goes_on_for_hours_does_not_keep_the_session_from_being_read(bench: Bench) -> None:
    session(bench, precedence=5)
    bench.accounts = (attrs.evolve(A, opened_at=None),)
    bench.since = None
    bench.more_sources = (SourceSpec(name="reports", precedence=1, scope=SourceScope.LOGIN, longest_window=DAY),)
    asked = {"fills": 0, "reports": 0}

    def answer(request: TradeRequest) -> list[Step]:
        asked[request.source] += 1
        if request.source == "reports" and asked["reports"] % 3 == 0:
            return [BrokerRateLimitError("slow", retry_after=timedelta(minutes=5))]
        return [page(request, finality=Finality.PROVISIONAL)]

    bench.answer = answer
    for _ in range(25):
        await bench.run()
        bench.clock.moment += timedelta(minutes=5)
    # every ten minutes or so, and the backfill has not begun anew
    assert asked == {"fills": 9, "reports": 75}
    assert (await bench.spans())[-1][1] > bench.clock.moment - timedelta(minutes=15)
    assert len({start for start, _, _ in await bench.spans(source="reports")}) == 1


async def test_what_a_source_forgot_while_it_was_provisional_is_told_once_with_the_rest(bench: Bench) -> None:
    bench.source_is(retention=Retention.LIMITED, look_back=4 * DAY, finality_lag=DAY)
    bench.connected_at = NOW
    bench.answer = lambda request: [page(request)]
    await bench.run()
    before = await bench.spans()
    bench.clock.moment = NOW + 8 * DAY
    for _ in range(2):
        await bench.run()
    (provisional,) = [start for start, _, state in before if state is PROVISIONAL]
    forgotten = TODAY + 4 * DAY
    assert told(bench) == [("A", TimeWindow(provisional, forgotten))]
    spans = await bench.spans()
    assert [one for one in spans if one[2] is LOST] == [(provisional, forgotten, LOST)]
