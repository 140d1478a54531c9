"""A broker that gives files only keeps the same promises, by the same way into the store."""

from __future__ import annotations

import asyncio
import io
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import BinaryIO

import attrs
import pytest

from brokersync.errors import BrokerConfigError, BrokerInputNeededError, BrokerPluginError, BrokerResponseError
from brokersync.events import no_events
from brokersync.managed import ManagedProvider
from brokersync.plugin import StatementHints, StatementReader, TimeWindow, TradePage
from brokersync.records import ChangeCause, SpanState, SyncReport
from brokersync.registry import LoadedProvider, ProviderRegistry
from brokersync.store import Store, TradeFilter
from brokersync.sync.statement import import_statement

from .ledger import DAY, START, Facts, Row, as_executed, make_ledger, truth
from .probes import CrashError, Spy, VirtualClock
from .stubs import FILES
from .world import NOW, facts_of

pytestmark = pytest.mark.sampled_on_postgres

ROWS = [row for row in make_ledger(corrections=False) if row.account == "A-1"]


@attrs.frozen
class Desk:
    """Where files are imported."""

    loaded: LoadedProvider
    store: Store

    async def import_file(
        self, text: str, *, account: str | None = "A-1", rows: list[str] | None = None, store: Store | None = None
    ) -> SyncReport:
        assert self.loaded.spec.statements is not None
        return await import_statement(
            io.BytesIO(text.encode()),
            owner="owner",
            manifest=self.loaded.manifest,
            reader=self.loaded.spec.statements(self.loaded.manifest.key),
            hints=StatementHints(account_id=account),
            store=store or self.store,
            clock=VirtualClock(NOW),
            events=no_events,
            on_row=None if rows is None else lambda booking, disposition: rows.append(disposition),
        )

    def with_reader(self, reader: StatementReader) -> Desk:
        spec = attrs.evolve(self.loaded.spec, statements=lambda key: reader)
        return attrs.evolve(self, loaded=attrs.evolve(self.loaded, spec=spec))

    async def facts(self) -> Counter[Facts]:
        found, _ = await self.store.trades("owner", TradeFilter(), limit=5000)
        return Counter(facts_of(trade) for trade in found)


@pytest.fixture
def desk(store: Store) -> Desk:
    registry = ProviderRegistry()
    registry.register(FILES.module, FILES.manifest)
    return Desk(registry.load(FILES.manifest.key), store)


def statement(rows: Iterable[Row], start: datetime = START, end: datetime = NOW) -> str:
    """The broker's file of the days from `start` to `end`."""
    lines = [f"#statement,{start.isoformat()},{end.isoformat()}", "executed,symbol,side,quantity,price,fee"]
    for row in as_executed(rows):
        if start <= row.executed_at < end:
            amounts = (str(row.quantity), str(row.price), "" if row.fee is None else str(row.fee))
            lines.append(",".join((row.executed_at.isoformat(), row.symbol, row.side, *amounts)))
    return "\n".join([*lines, "#end"])


async def test_every_row_of_a_file_is_in_the_store_once_and_twins_stay_two(desk: Desk) -> None:
    told: list[str] = []
    report = await desk.import_file(statement(ROWS), rows=told)
    assert await desk.facts() == truth(ROWS)
    assert max((await desk.facts()).values()) == 2
    assert (report.added, set(told)) == (truth(ROWS).total(), {"added"})
    changes = await desk.store.changes("owner", 0, limit=5000)
    assert {change.cause for change in changes} == {ChangeCause.FILE}


async def test_a_file_imported_again_changes_nothing(desk: Desk) -> None:
    await desk.import_file(statement(ROWS))
    told: list[str] = []
    report = await desk.import_file(statement(ROWS), rows=told)
    assert (report.added, report.modified, report.unchanged, set(told)) == (0, 0, truth(ROWS).total(), {"unchanged"})


@pytest.mark.parametrize("newest_first", [False, True])
async def test_files_that_overlap_end_like_one(desk: Desk, newest_first: bool) -> None:
    files = [statement(ROWS, START + day * DAY, START + (day + 2) * DAY) for day in range(5)]
    for text in reversed(files) if newest_first else files:
        await desk.import_file(text)
    assert await desk.facts() == truth(ROWS)


async def test_a_file_downloaded_early_is_completed_by_a_later_one(desk: Desk) -> None:
    early = [attrs.evolve(row, fee=None) for row in ROWS if row.kind == "fill"]
    half = early[: len(early) // 2]
    await desk.import_file(statement(half, end=half[-1].executed_at))
    await desk.import_file(statement(ROWS))
    assert await desk.facts() == truth(ROWS)


async def test_a_file_covers_what_it_says_in_its_own_source(desk: Desk) -> None:
    await desk.import_file(statement(ROWS, START, START + DAY))
    spans = await desk.store.spans("owner", FILES.manifest.key, "statement")
    (span,) = spans["live", "A-1"]
    assert (span.window, span.state) == (TimeWindow(START, START + DAY), SpanState.FINAL)


async def test_an_import_killed_at_any_page_and_repeated_ends_as_if_undisturbed(desk: Desk) -> None:
    for place in (1, 2, 9):
        with pytest.raises(CrashError):
            await desk.import_file(statement(ROWS), store=Spy(desk.store, place))  # type: ignore[arg-type]  # delegates
    await desk.import_file(statement(ROWS))
    assert await desk.facts() == truth(ROWS)


@pytest.mark.parametrize(
    ("text", "account", "error"),
    [
        (statement(ROWS).removesuffix("#end"), "A-1", BrokerResponseError),
        (statement(ROWS), None, BrokerInputNeededError),
        (statement(ROWS).removeprefix("#statement"), "A-1", BrokerConfigError),
        ("", "A-1", BrokerResponseError),
    ],
    ids=["cut off", "without account", "of something else", "empty"],
)
async def test_a_file_that_can_not_be_read_leaves_the_store_as_it_was(
    desk: Desk, text: str, account: str | None, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await desk.import_file(text, account=account)
    assert await desk.facts() == Counter()
    assert await desk.store.changes("owner", 0) == ()


async def test_a_reader_that_breaks_is_the_plugins_fault(desk: Desk) -> None:
    with pytest.raises(BrokerPluginError) as caught:
        await desk.import_file(statement(ROWS).replace("executed,", "moment,", 1))
    assert caught.value.report_to == FILES.manifest.support
    assert "A-1" not in str(caught.value)


class _Reader:
    """A reader that is no generator function, and knows whether its pages were closed."""

    def __init__(self, pages: Callable[[], Iterator[TradePage]]) -> None:
        self._pages = pages

    def recognises(self, head: bytes) -> bool:
        return True

    def source(self, file: BinaryIO, hints: StatementHints) -> str:
        return "statement"

    def read_statement(self, file: BinaryIO, hints: StatementHints) -> Iterator[TradePage]:
        return self._pages()


async def test_a_reader_is_told_which_accounts_the_owner_has(desk: Desk) -> None:
    told = []

    class Curious(_Reader):
        def source(self, file: BinaryIO, hints: StatementHints) -> str:
            told.append([(one.environment, one.account_id) for one in hints.accounts])
            return super().source(file, hints)

    await desk.with_reader(Curious(lambda: iter(()))).import_file("")
    await desk.import_file(statement(ROWS))
    await desk.with_reader(Curious(lambda: iter(()))).import_file("")
    assert told == [[], [("live", "A-1")]]


class Panic(BaseException):
    """What a library written in Rust raises where it is broken."""


@pytest.mark.parametrize("error", [KeyError, Panic])
async def test_a_reader_that_fails_before_its_first_page_is_the_plugins_fault_too(
    desk: Desk, error: type[BaseException]
) -> None:
    def pages() -> Iterator[TradePage]:
        raise error("price of A-1")

    with pytest.raises(BrokerPluginError) as caught:
        await desk.with_reader(_Reader(pages)).import_file("")
    assert "price of A-1" not in str(caught.value)


async def test_the_pages_of_a_file_are_closed_when_the_store_fails(desk: Desk) -> None:
    closed = []

    def pages() -> Iterator[TradePage]:
        try:
            yield TradePage()
            yield TradePage()
        finally:
            closed.append(True)

    with pytest.raises(CrashError) as caught:
        await desk.with_reader(_Reader(pages)).import_file("", store=Spy(desk.store, 1))  # type: ignore[arg-type]  # delegates
    assert closed, caught  # what was raised keeps the generator alive until here


async def test_an_import_can_be_cancelled_while_the_file_is_read(desk: Desk) -> None:
    reading, go_on = threading.Event(), threading.Event()

    def pages() -> Iterator[TradePage]:
        reading.set()
        assert go_on.wait(30)
        yield TradePage()

    task = asyncio.create_task(desk.with_reader(_Reader(pages)).import_file(""))
    assert await asyncio.to_thread(reading.wait, 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    assert await desk.store.changes("owner", 0) == ()


async def test_there_is_nothing_to_log_in_to(desk: Desk) -> None:
    with pytest.raises(BrokerConfigError, match="files only"):
        ManagedProvider(desk.loaded, None)  # type: ignore[arg-type]  # it is refused before a context is used
