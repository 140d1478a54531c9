"""`brokersync coverage` over stores with gaps of every kind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from brokersync.cli.coverage import AccountHistory
from brokersync.cli.coverage_text import show
from brokersync.cli.reports import show_results
from brokersync.cli.sync import Result, _sum
from brokersync.converter import to_json
from brokersync.manifest import Calendar
from brokersync.records import AccountKey, LostSpan, PageCommit, Span, SpanState, SyncReport
from brokersync.registry import ProviderRegistry
from brokersync.service import BrokerSync
from brokersync.sync.commit import page_rules
from brokersync.sync.days import day_floor, next_day
from brokersync.types import BrokerAccount, TimeWindow

Run = Callable[..., Any]
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
NOW = datetime.now(UTC)
MIDNIGHT = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
FINAL, PROVISIONAL, LOST = SpanState.FINAL, SpanState.PROVISIONAL, SpanState.LOST


def ago(days: float) -> datetime:
    return MIDNIGHT - days * DAY


def span(start: float, end: float, state: SpanState) -> Span:
    return Span(window=TimeWindow(ago(start), ago(end)), state=state)


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The day on which the tests began goes on, whatever the time is by now."""
    monkeypatch.setattr("brokersync.clock.SystemClock.now", lambda _: NOW)


@pytest.fixture
def know(tmp_path: Path, stopped: None) -> Callable[..., None]:
    """Writes spans of an account into the store, as the pages of a sync do."""

    async def write(provider: str, source: str, spans: Sequence[Span], owner: str, account: str) -> None:
        async with BrokerSync.open(tmp_path / "store.db") as bs:
            (environment, *_) = bs.registry.manifest(provider).environments
            key = AccountKey(owner=owner, provider=provider, environment=environment, account_id=account)
            page = PageCommit(
                owner=owner, provider=provider, source=source, at=MIDNIGHT,
                accounts=(BrokerAccount(account_id=account, environment=environment),),
                spans=tuple((key, one) for one in spans),
            )  # fmt: skip
            await bs._store.commit_page(page, page_rules(bs.registry.manifest(provider)))

    def know(provider: str, source: str, *spans: Span, owner: str = "me", account: str = "A-1") -> None:
        asyncio.run(write(provider, source, spans, owner, account))

    return know


def text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def test_the_gaps_are_told_in_words_under_a_bar_as_wide_as_the_page(brokersync: Run, know: Any) -> None:
    know("tradovate", "reports", span(40, 30, SpanState.UNAVAILABLE), span(30, 20, FINAL), span(18, 10, FINAL))
    know("tradovate", "reports", span(10, 5, PROVISIONAL), span(20, 18, LOST), span(5, 0, FINAL))
    lines = brokersync("coverage").out.splitlines()
    assert lines[0] == "tradovate live A-1"
    assert lines[1].split() == [str(ago(40).date()), str(ago(1).date())]
    assert lines[2] == "." * 20 + "#" * 20 + "x" * 4 + "#" * 16 + "+" * 10 + "#" * 10
    words = " ".join(" ".join(lines[3:]).split())
    assert f"{ago(40).date()} to {ago(31).date()}: never available from Tradovate" in words
    assert f"{ago(20).date()} to {ago(19).date()}: lost, Tradovate has it no more in reports." in words
    again = "no connection reads this account; once it is connected, it is read again"
    assert f"{ago(10).date()} to {ago(6).date()}: provisional: {again}" in words
    assert lines[-1] == "# final   + provisional   x lost   . never available"


def test_a_provisional_day_of_a_file_may_be_corrected_by_a_later_statement(brokersync: Run, know: Any) -> None:
    know("ibkr", "activity_file", span(10, 5, PROVISIONAL))
    assert "provisional: a later statement may correct it" in " ".join(brokersync("coverage").out.split())


def test_a_provisional_session_of_no_connection_is_read_again_from_another_source_once_it_is_connected(
    brokersync: Run, know: Any
) -> None:
    know("tradovate", "session", span(10, 9, PROVISIONAL))
    told = " ".join(brokersync("coverage", "--by-source").out.split())
    best, _, session = told.partition("session, by time of execution")
    assert "provisional: no connection reads this account; once it is connected, it is read again" in best
    assert "provisional: it can not be read again" in session


def test_a_lost_session_says_why_and_where_it_was_read_instead(brokersync: Run, know: Any) -> None:
    know("tradovate", "session", span(3, 2, LOST))
    lost = " ".join(brokersync("coverage").out.split())
    assert "lost, Tradovate keeps a session only in session. It is still in reports, read at each sync." in lost
    know("tradovate", "reports", span(4, 1, FINAL))
    assert "lost" not in brokersync("coverage").out
    assert "Read from reports." in brokersync("coverage", "--by-source").out


def test_a_lost_day_can_be_imported_where_the_broker_has_files(brokersync: Run, know: Any) -> None:
    know("ibkr", "activity", span(9, 8, LOST))
    know("ibkr", "confirmations", span(9, 8, LOST))
    words = " ".join(brokersync("coverage").out.split())
    assert "lost, Interactive Brokers has it no more in activity." in words


def test_days_of_booking_are_called_so(brokersync: Run, know: Any) -> None:
    know("ibkr", "activity", span(9, 5, FINAL))
    know("ibkr", "confirmations", span(6, 5, FINAL))
    assert "activity: its days are days of booking" in brokersync("coverage").out
    by_source = brokersync("coverage", "--by-source").out
    assert "activity, by day of booking" in by_source
    assert "confirmations, by time of execution" in by_source
    (account,) = brokersync("coverage", "--json").document["accounts"]
    assert {one["source"]: one["days_of"] for one in account["spans"]} == {
        "activity": "booked",
        "confirmations": "executed",
    }


def test_the_document_has_every_span_and_the_best_of_all_sources(brokersync: Run, know: Any) -> None:
    know("tradovate", "session", span(3, 2, LOST), span(2, 1.5, PROVISIONAL))
    know("tradovate", "reports", span(4, 2, FINAL))
    document = brokersync("coverage", "--json").document
    assert document["owner"] == "me"
    (account,) = document["accounts"]
    assert (account["provider"], account["environment"], account["account_id"]) == ("tradovate", "live", "A-1")
    assert account["spans"] == [
        {"source": source, "state": state, "window": {"start": text(start), "end": text(end)}, "days_of": "executed"}
        for source, state, start, end in (
            ("session", "lost", ago(3), ago(2)),
            ("session", "provisional", ago(2), ago(1.5)),
            ("reports", "final", ago(4), ago(2)),
        )
    ]
    assert [(one["state"], one["sources"], one["due"]) for one in account["history"]] == [
        ("final", ["reports"], False),
        ("provisional", ["session"], False),
        ("unread", [], False),
    ]


_STATEMENT = """<FlexQueryResponse queryName="q" type="AF"><FlexStatements count="1">
<FlexStatement accountId="U9000001" fromDate="{first}" toDate="{last}" period="" whenGenerated="{made}">
<Trades /></FlexStatement></FlexStatements></FlexQueryResponse>
"""


def test_a_hole_between_two_statements_is_told_until_a_third_one_fills_it(
    brokersync: Run, tmp_path: Path, stopped: None
) -> None:
    new_york = NOW.astimezone(ZoneInfo("America/New_York"))

    def day(before: int) -> str:
        return str((new_york - before * DAY).date())

    def read(name: str, first: int, last: int) -> None:
        made = min(new_york, new_york - (last - 2) * DAY)
        days = {"first": day(first).replace("-", ""), "last": day(last).replace("-", "")}
        (tmp_path / name).write_text(_STATEMENT.format(**days, made=f"{made:%Y%m%d;%H%M%S}"))
        assert brokersync("import", "ibkr", tmp_path / name).code == 0

    def unread() -> list[str]:
        (account,) = brokersync("coverage", "--json").document["accounts"]
        holes = [one for one in account["history"] if one["state"] == "unread"]
        assert all((one["sources"], one["due"]) == ([], False) for one in holes)
        return [one["window"]["start"][:10] for one in holes]

    read("jan.xml", 100, 80)
    read("mar.xml", 49, 30)
    out = brokersync("coverage").out
    words = " ".join(out.split())
    assert "complete" not in out
    assert "# final ? not read yet" in words
    assert f"{day(79)} to {day(50)}: nobody has read it yet. Download a statement of these days" in words
    assert "and import it: brokersync import ibkr FILE." in words
    assert f"{day(29)} to " in words, "the days since the last statement"
    assert unread() == [day(79), day(29)]
    read("feb.xml", 79, 50)
    assert unread() == [day(29)]
    read("now.xml", 29, 1)
    assert unread() == []
    assert "nobody" not in brokersync("coverage").out


def test_a_hole_that_only_a_connection_can_fill_asks_for_one(brokersync: Run, know: Any) -> None:
    know("tradovate", "reports", span(20, 10, FINAL), span(4, 1, FINAL))
    know("tradovate", "session", span(12, 10, FINAL), span(4, 3, FINAL))
    out = brokersync("coverage").out
    assert "complete" not in out
    words = f"{ago(10).date()} to {ago(5).date()}: nobody has read it yet. No connection reads this account: connect it"
    assert words in " ".join(out.split())


def test_a_hole_of_one_source_says_where_it_was_read(brokersync: Run, know: Any) -> None:
    know("tradovate", "reports", span(20, 1, FINAL))
    know("tradovate", "session", span(12, 10, FINAL), span(4, 1, FINAL))
    assert "complete" in brokersync("coverage").out
    by_source = " ".join(brokersync("coverage", "--by-source").out.split())
    assert "not read from here. Read from reports." in by_source


def test_an_owner_sees_only_what_is_the_owners(brokersync: Run, know: Any) -> None:
    know("tradovate", "reports", span(4, 2, FINAL), account="mine")
    know("tradovate", "reports", span(9, 2, LOST), owner="other", account="theirs")
    out = brokersync("coverage").out
    assert "mine" in out
    assert "theirs" not in out
    refused = brokersync("coverage", "--account", "theirs")
    assert refused.code == 3
    assert "has no account 'theirs'. Known are: mine." in " ".join(refused.err.replace("\n  ", " ").split())


def test_one_account_can_be_asked_for(brokersync: Run, know: Any) -> None:
    for name in ("one", "two", "three"):
        know("tradovate", "reports", span(4, 2, FINAL), account=name)
    found = brokersync("coverage", "--account", "two", "--account", "one", "--json").document["accounts"]
    assert {one["account_id"] for one in found} == {"one", "two"}


@pytest.mark.usefixtures("empty_store")
def test_nothing_yet_is_said_in_words_and_as_a_document(brokersync: Run) -> None:
    assert brokersync("coverage").out == "Nothing yet. Connect a broker with: brokersync connect BROKER\n"
    assert brokersync("coverage", "--json").document == {"owner": "me", "accounts": []}


@pytest.mark.parametrize(
    ("provider", "trades", "connected", "said"),
    [
        ("tradovate", 0, False, "nothing is known yet"),
        (
            "tradovate",
            2,
            False,
            "2 trades are there, imported from files, and no day is known to be complete:",
        ),
        ("tradovate", 1, True, "1 trade is there, and no day has been read to its end yet"),
        ("ibkr", 2, False, "2 trades are there, and no day has been read to its end yet"),
    ],
)
def test_an_account_without_a_known_day_says_what_is_there(
    capfd: pytest.CaptureFixture[str], provider: str, trades: int, connected: bool, said: str
) -> None:
    manifest = ProviderRegistry.installed().manifest(provider)
    account = AccountHistory(
        environment="live", account_id="A-1", manifest=manifest, trades=trades, sources=(), failing={},
        connected=connected, begins=None, until=None,
    )  # fmt: skip
    show([account], NOW, sync_every=HOUR, by_source=False)
    assert said in " ".join(capfd.readouterr().out.split())


def test_many_gaps_are_not_all_told(brokersync: Run, know: Any) -> None:
    know("tradovate", "reports", *(span(2 * n + 1, 2 * n, FINAL) for n in range(60)), *(
        span(2 * n + 2, 2 * n + 1, LOST) for n in range(59)
    ))  # fmt: skip
    out = brokersync("coverage").out
    assert out.count(": lost") == 20
    assert "39 older gaps: --json shows them all" in out


def test_after_a_sync_everything_is_known_and_today_is_provisional(
    brokersync: Run, sandbox: Any, tmp_path: Path
) -> None:
    fields = tmp_path / "fields.json"
    fields.write_text(json.dumps(sandbox.login))
    where = ("--config", sandbox.config)
    connected = ("connect", sandbox.key, "--fields-from", fields, "--environment", sandbox.environment, *where)
    assert brokersync(*connected).code == 0
    assert "not read yet" in brokersync("coverage").out
    assert brokersync("sync", *where).code == 0
    out = brokersync("coverage").out
    assert "provisional: it is read again at the next sync" in " ".join(out.split())
    assert "not read yet" not in out
    assert "lost" not in out


def test_a_day_that_can_be_read_later_only_says_from_when_on(
    brokersync: Run, staged: Any, clock: Any, know: Any
) -> None:
    clock.time = NOW

    async def connect() -> str:
        async with staged("ibkr", days=30) as stage:
            made = await stage.connect(without="confirmations_query_id")
            (account, *_) = await stage.bs.accounts(made.connection_id)
            return str(account.account_id)

    account = asyncio.run(connect())
    new_york = Calendar(zone="America/New_York")
    settled = day_floor(NOW - 6 * HOUR, new_york)
    day_before = day_floor(settled - HOUR, new_york)
    know("ibkr", "activity", Span(window=TimeWindow(day_before, settled), state=FINAL), account=account)
    from_when = next_day(settled, new_york) + 6 * HOUR
    words = " ".join(brokersync("coverage").out.split())
    assert f": not read yet; it is read from {from_when:%Y-%m-%d %H:%M} UTC on" in words
    (found,) = brokersync("coverage", "--account", account, "--json").document["accounts"]
    told = {one["window"]["start"]: (one["due"], one["due_from"]) for one in found["history"]}
    assert told[text(settled)] == (True, text(from_when))
    assert told[text(day_before)] == (False, None)


def test_a_sync_says_what_was_lost_and_how_it_can_be_had(capsys: pytest.CaptureFixture[str]) -> None:
    lost = LostSpan(
        source="session",
        environment="live",
        account_id="A-1",
        window=TimeWindow(ago(3) + DAY / 2, ago(2)),
        repair="It is still in reports, read at each sync.",
    )
    report = SyncReport(
        owner="me", provider="tradovate", connection_id="c-1", started_at=MIDNIGHT, lost=(lost,), spans=()
    )
    show_results([Result(connection_id="c-1", report=to_json(report))], lambda provider, source: "UTC")
    assert (
        f"c-1: session has forgotten {ago(3).date()} 12:00 to {ago(2).date()} 00:00 UTC of live A-1 "
        "before it was read. "
        "It is still in reports, read at each sync."
    ) in capsys.readouterr().out


def test_the_parts_of_a_deferred_sync_tell_together_what_was_lost() -> None:
    parts = []
    for days in (5, 3):
        lost = LostSpan(
            source="session",
            environment="live",
            account_id="A-1",
            window=TimeWindow(ago(days), ago(days - 1)),
            repair="",
        )
        parts.append(
            to_json(SyncReport(owner="me", provider="x", connection_id="c", started_at=MIDNIGHT, lost=(lost,)))
        )
    assert [one["window"]["start"] for one in _sum(parts)["lost"]] == [text(ago(5)), text(ago(3))]


def test_what_each_source_meets_is_said_once(capfd: pytest.CaptureFixture[str]) -> None:
    said = {"message": "Two sessions are open already.", "remedy": "It is put off."}
    problems = [said, {**said, "source": "session"}, {**said, "source": "reports"}, {**said, "source": "reports"}]
    alone = {"message": "The report is none.", "remedy": "", "source": "reports"}
    show_results([Result(connection_id="c-1", report={"problems": [*problems, alone]})], lambda provider, source: "UTC")
    *_, first, second = [line for line in capfd.readouterr().out.splitlines() if line]
    assert first == "c-1: session, reports: Two sessions are open already. It is put off."
    assert second == "c-1: reports: The report is none."


def test_what_was_new_to_a_sync_is_told_with_how_often(capfd: pytest.CaptureFixture[str]) -> None:
    unmapped = {"fees that are of no fill for sure": 3, "a list may be cut off": 1}
    show_results([Result(connection_id="c-1", report={"unmapped": unmapped})], lambda provider, source: "UTC")
    assert [line for line in capfd.readouterr().out.splitlines() if "new to us" in line] == [
        "c-1: new to us: a list may be cut off (1)",
        "c-1: new to us: fees that are of no fill for sure (3)",
    ]
