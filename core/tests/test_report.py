from __future__ import annotations

from datetime import UTC, datetime, timedelta

from brokersync.errors import BrokerRateLimitError
from brokersync.events import LimitWaited, RequestSent, RetryScheduled, SyncStarted
from brokersync.records import PageOutcome, SpanReport
from brokersync.sync.report import ReportBuilder
from brokersync.types import TimeWindow, TradePage

DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
START = datetime(2026, 3, 2, tzinfo=UTC)


def builder() -> ReportBuilder:
    return ReportBuilder(owner="o", provider="paper", connection_id="c", started_at=START)


def window(start: int, end: int) -> TimeWindow:
    return TimeWindow(START + start * DAY, START + end * DAY)


def test_a_sync_that_did_nothing_reports_nothing() -> None:
    report = builder().build(START + SECOND)
    assert (report.owner, report.provider, report.connection_id, report.started_at) == ("o", "paper", "c", START)
    assert report.duration == SECOND
    assert (report.pages, report.requests, report.spans, report.problems, report.skipped) == (0, 0, (), (), {})


def test_requests_retries_and_waits_are_heard_from_events() -> None:
    report = builder()
    for attempt in (1, 2):
        report(RequestSent(operation="list", url="u", attempt=attempt, status=200, duration=SECOND))
    report(RetryScheduled(operation="list", attempt=1, wait=2 * SECOND, reason="r"))
    report(LimitWaited(operation="list", scope="app", attempt=1, wait=3 * SECOND, reason="used up"))
    report(SyncStarted(owner="o"))
    built = report.build(START)
    assert (built.requests, built.retries, built.waits, built.waited) == (2, 1, 2, 5 * SECOND)


def test_pages_are_summed() -> None:
    report = builder()
    outcome = PageOutcome(added=1, modified=2, removed=3, unchanged=4, quarantined=5, waiting=6)
    for _ in range(2):
        report.page(TradePage(skipped={"deposits": 1}, unmapped={"x": 2}), outcome)
    built = report.build(START)
    counts = (built.added, built.modified, built.removed, built.unchanged, built.quarantined, built.waiting)
    assert counts == (2, 4, 6, 8, 10, 12)
    assert (built.pages, built.skipped, built.unmapped) == (2, {"deposits": 2}, {"x": 4})


def test_a_cancel_whose_target_came_later_in_the_sync_waits_no_more() -> None:
    report = builder()
    report.page(TradePage(), PageOutcome(waiting=2))
    report.page(TradePage(), PageOutcome(waiting=-1))
    assert report.build(START).waiting == 1
    report.page(TradePage(), PageOutcome(waiting=-3))  # two of them came in an earlier sync
    assert report.build(START).waiting == 0


def test_what_was_asked_and_what_was_proved_stand_beside_each_other() -> None:
    report = builder()
    report.asked("fills", "live", "A", window(2, 4))
    report.asked("fills", "live", "A", window(0, 2))
    report.asked("fills", "live", "B", window(0, 2))
    for one in (window(3, 4), window(0, 1), window(1, 2)):
        report.covered("fills", "live", "A", one)
    report.covered("file", "live", "A", window(7, 9))
    assert report.build(START).spans == (
        SpanReport(source="file", account_id="A", environment="live", requested=window(7, 9), covered=(window(7, 9),)),
        SpanReport(
            source="fills", account_id="A", environment="live", requested=window(0, 4),
            covered=(window(0, 2), window(3, 4)),
        ),
        SpanReport(source="fills", account_id="B", environment="live", requested=window(0, 2)),
    )  # fmt: skip


def test_a_problem_says_where_and_when_it_was_met() -> None:
    report = builder()
    report.problem(BrokerRateLimitError("Slow down.", retry_after=9 * SECOND), source="fills", window=window(0, 2))
    report.problem(BrokerRateLimitError("Slow down."))
    placed, bare = report.build(START).problems
    assert placed["source"] == "fills"
    assert placed["window"] == ["2026-03-02", "2026-03-04"]
    assert placed["retry_after_seconds"] == 9
    assert placed["error"] == "BrokerRateLimitError"
    assert "source" not in bare
    assert "window" not in bare


def test_a_report_that_was_built_does_not_change_any_more() -> None:
    report = builder()
    first = report.build(START)
    report.page(TradePage(skipped={"deposits": 1}), PageOutcome(added=1))
    assert (first.added, first.skipped) == (0, {})
    assert report.build(START).added == 1
