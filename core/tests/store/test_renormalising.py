"""A plugin that read something wrong, and its corrected version over the rows that were kept."""

from __future__ import annotations

import io
import json
from asyncio import CancelledError
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, BinaryIO

import attrs
import pytest

from brokersync import BrokerConfigError, BrokerPluginError, BrokerSync, ProviderRegistry, SyncReport
from brokersync.manifest import Manifest, parse_manifests
from brokersync.plugin import (
    AssetClass,
    BookingEffect,
    BrokerTrade,
    IdQuality,
    Instrument,
    ProviderSpec,
    QuarantinedRow,
    RawRow,
    Side,
    StatementHints,
    TimeWindow,
    TradeBooking,
    TradePage,
    hookimpl,
)
from brokersync.records import AccountKey, ChangeCause, ChangeKind, OpenRequest, PageCommit, Span, SpanState
from brokersync.renormalising import changed_fields
from brokersync.store import SqlStore, TradeDifference, TradeFilter

from .owners import connect, connection
from .pages import DAY, RULES, START, WEEK, rows

(MANIFEST,) = parse_manifests(
    """
key = "lines"
display_name = "Lines"
contract = 1
environments = ["live"]
auth = ["none"]
licence = "Apache-2.0"
docs = "https://lines.example/docs"
support = "https://lines.example/help"
[[sources]]
name = "file"
precedence = 1
files = true
""",
    "here",
)
Read = Callable[[dict[str, Any]], "TradeBooking | QuarantinedRow | None"]


def trade(raw: dict[str, Any], **facts: Any) -> BrokerTrade:
    values: dict[str, Any] = {
        "provider": "lines", "environment": "live", "account_id": "A", "trade_id": f"t{raw['id']}",
        "instrument": Instrument(symbol=raw["symbol"], asset_class=AssetClass.STOCK, currency="USD"),
        "side": Side(raw["side"]), "quantity": Decimal(raw["quantity"]), "price": Decimal(raw["price"]),
        "executed_at": START,
    }  # fmt: skip
    return BrokerTrade(**(values | facts))


def right(raw: dict[str, Any]) -> TradeBooking | QuarantinedRow:
    return TradeBooking.of(trade(raw), raw=raw)


class Reader:
    def __init__(self, read: Read) -> None:
        self._read = read

    def recognises(self, head: bytes) -> bool:
        return True

    def source(self, file: BinaryIO, hints: StatementHints) -> str:
        return "file"

    def read_statement(self, file: BinaryIO, hints: StatementHints) -> Iterator[TradePage]:
        page = page_of([self._read(json.loads(line)) for line in file.read().splitlines()])
        made = hints.name.partition("made ")[2]
        yield attrs.evolve(page, as_of=datetime.fromisoformat(made) if made else None)


def page_of(outcomes: Iterable[TradeBooking | QuarantinedRow | None]) -> TradePage:
    told = list(outcomes)
    return TradePage(
        bookings=tuple(one for one in told if isinstance(one, TradeBooking)),
        quarantined=tuple(one for one in told if isinstance(one, QuarantinedRow)),
    )


def plugin(read: Read, renormalise: Any = "same") -> ProviderRegistry:
    """A registry with a version of the plugin that reads rows like this."""

    def again(source: str, kept: Iterable[RawRow]) -> Iterator[TradePage]:
        assert source == "file"
        for row in kept:
            yield page_of([read(dict(row.raw))])

    spec = ProviderSpec(
        statements=lambda key: Reader(read), renormalise=again if renormalise == "same" else renormalise
    )
    module = SimpleNamespace(brokersync_provider=hookimpl(lambda broker: spec), __name__="lines")
    registry = ProviderRegistry()
    registry.register(module, MANIFEST)  # type: ignore[arg-type]  # a namespace serves as well as a module
    return registry


class Desk:
    """One store, over which the plugin is changed."""

    def __init__(self, store: SqlStore) -> None:
        self.store = store
        self.differences: list[TradeDifference] = []

    def with_plugin(self, registry: ProviderRegistry) -> BrokerSync:
        return BrokerSync(store=self.store, registry=registry, keys=None)  # type: ignore[arg-type]  # nothing is sealed

    async def imported(
        self, read: Read, *lines: dict[str, Any], owner: str = "me", made: datetime | None = None
    ) -> SyncReport:
        text = "\n".join(json.dumps(line) for line in lines)
        bs = self.with_plugin(plugin(read))
        hints = StatementHints(name=f"made {made.isoformat()}" if made else "")
        return await bs.import_statement("lines", io.BytesIO(text.encode()), owner=owner, hints=hints)

    async def again(self, read: Read, *, dry_run: bool = False, **facts: Any) -> Any:
        self.differences.clear()
        bs = self.with_plugin(plugin(read, **facts))
        return await bs.renormalise("me", dry_run=dry_run, on_difference=self.differences.append)

    async def trades(self) -> dict[str, BrokerTrade]:
        found, _ = await self.store.trades("me", TradeFilter(cancelled=True))
        return {one.trade_id: one for one in found}

    async def feed(self, since: int) -> list[tuple[str, ChangeKind, ChangeCause]]:
        return [(one.trade_id, one.kind, one.cause) for one in await self.store.changes("me", since)]


@pytest.fixture
def desk(store: SqlStore) -> Desk:
    return Desk(store)


def line(number: int, **facts: Any) -> dict[str, Any]:
    return {"id": number, "symbol": "EUR", "side": "buy", "quantity": "2", "price": "1.5"} | facts


def swapped(raw: dict[str, Any]) -> TradeBooking:
    """The mistake: price and quantity are taken for each other."""
    return TradeBooking.of(trade(raw, price=Decimal(raw["quantity"]), quantity=Decimal(raw["price"])), raw=raw)


async def test_a_corrected_plugin_mends_every_trade_and_the_feed_says_that_it_was_the_plugin(desk: Desk) -> None:
    await desk.imported(swapped, *(line(number, quantity=str(number + 1)) for number in range(3)))
    before = await desk.store.feed_position()
    report = await desk.again(right)
    assert {one.price for one in (await desk.trades()).values()} == {Decimal("1.5")}
    assert (report.rows, report.renewed, report.modified, report.added, report.removed) == (3, 3, 3, 0, 0)
    assert report.fields == {"price": 3, "quantity": 3}
    assert await desk.feed(before) == [(f"t{number}", ChangeKind.MODIFIED, ChangeCause.PLUGIN) for number in range(3)]
    assert changed_fields(desk.differences[1])["price"] == ("2", "1.5")
    again = await desk.again(right)
    assert (again.rows, again.unchanged, again.renewed, desk.differences) == (3, 3, 0, [])


async def test_a_dry_run_tells_the_same_and_writes_nothing(desk: Desk) -> None:
    await desk.imported(swapped, line(1), line(2))
    before = await rows(desk.store)
    report = await desk.again(right, dry_run=True)
    assert (report.dry_run, report.modified, len(desk.differences)) == (True, 2, 2)
    assert await rows(desk.store) == before
    real = await desk.again(right)
    assert attrs.evolve(real, dry_run=True) == report


async def test_a_row_keeps_where_it_was_read_and_the_age_of_its_raw_row(desk: Desk) -> None:
    await desk.imported(swapped, line(1))
    ((*_, at),) = (await rows(desk.store, ["raw_rows"]))["raw_rows"]
    await desk.again(right)
    ((*_, later),) = (await rows(desk.store, ["raw_rows"]))["raw_rows"]
    assert later == at
    ((*_, origin, _, _),) = (await rows(desk.store, ["bookings"]))["bookings"]
    assert json.loads(origin).keys() == {"at", "file", "renormalised"}


async def test_a_row_that_is_understood_now_leaves_the_quarantine_and_becomes_a_trade(desk: Desk) -> None:
    def refuses(raw: dict[str, Any]) -> TradeBooking | QuarantinedRow:
        if raw["symbol"] == "ODD":
            return QuarantinedRow(reason="odd", raw=raw, account_id="A", environment="live")
        return right(raw)

    await desk.imported(refuses, line(1), line(2, symbol="ODD"))
    report = await desk.again(right)
    assert (report.understood, report.added, report.unchanged) == (1, 1, 1)
    assert (await desk.trades())["t2"].instrument.symbol == "ODD"
    assert await desk.store.quarantined("me") == ()
    (one,) = desk.differences
    assert (one.before, one.after) == (None, (await desk.trades())["t2"])
    # and the other way round: what is refused now is in quarantine in addition, and its trade stays
    worse = await desk.again(refuses)
    assert (worse.refused, worse.removed) == (1, 0)
    assert (await desk.trades()).keys() == {"t1", "t2"}
    assert [row["reason"] for row in await desk.store.quarantined("me")] == ["odd"]


async def test_what_is_read_anew_stands_and_stays_as_old_as_it_was(desk: Desk) -> None:
    await desk.imported(swapped, line(1, price="7"), line(2), made=START)
    await desk.imported(swapped, line(2, price="8"), made=START + 2 * DAY)
    report = await desk.again(right)
    assert (report.renewed, report.modified, report.left) == (2, 2, 0)
    assert {name: one.price for name, one in (await desk.trades()).items()} == {"t1": 7, "t2": 8}
    between = await desk.imported(right, line(1, price="5"), line(2, price="6"), made=START + DAY)
    assert between.dispositions == {"stored": 1, "outdated": 1}
    assert {name: one.price for name, one in (await desk.trades()).items()} == {"t1": 5, "t2": 8}


async def test_a_row_out_of_quarantine_is_as_old_as_when_it_was_put_there(desk: Desk) -> None:
    def refuses(raw: dict[str, Any]) -> TradeBooking | QuarantinedRow:
        odd = raw["symbol"] == "ODD"
        return QuarantinedRow(reason="odd", raw=raw, account_id="A", environment="live") if odd else right(raw)

    await desk.imported(refuses, line(1, symbol="ODD"), line(2, symbol="ODD"), made=START)
    await desk.imported(refuses, line(1, price="9"), made=START + DAY)
    report = await desk.again(right)
    assert (report.understood, report.added, report.modified) == (2, 1, 0)
    assert (await desk.trades())["t1"].price == 9
    assert await desk.store.quarantined("me") == ()
    older = await desk.imported(right, line(2, price="3"), made=START - DAY)
    assert older.dispositions == {"outdated": 1}


async def test_a_row_under_another_id_stays_one_row(desk: Desk) -> None:
    def misnamed(raw: dict[str, Any]) -> TradeBooking:
        return TradeBooking.of(trade(raw, trade_id=f"wrong{raw['id']}"), raw=raw)

    await desk.imported(misnamed, line(1), line(2))
    report = await desk.again(right)
    assert (await desk.trades()).keys() == {"t1", "t2"}
    assert (report.renewed, report.added, report.removed) == (2, 2, 2)
    assert len((await rows(desk.store, ["bookings"]))["bookings"]) == 2
    await desk.imported(right, line(1), line(2))
    assert (await desk.trades()).keys() == {"t1", "t2"}


async def test_an_id_that_another_row_has_leaves_both_rows_as_they_are(desk: Desk) -> None:
    await desk.imported(right, line(1), line(2))
    report = await desk.again(lambda raw: TradeBooking.of(trade(raw, trade_id="t1"), raw=raw))
    assert (report.left, report.unchanged) == (1, 1)
    assert (await desk.trades()).keys() == {"t1", "t2"}


async def test_a_row_that_the_plugin_passes_over_stays(desk: Desk) -> None:
    await desk.imported(right, line(1), line(2))
    report = await desk.again(lambda raw: right(raw) if raw["id"] == 1 else None)
    assert (report.left, report.unchanged) == (1, 1)
    assert (await desk.trades()).keys() == {"t1", "t2"}


async def test_equal_rows_without_an_id_stay_two(desk: Desk) -> None:
    def nameless(raw: dict[str, Any], price: str) -> TradeBooking:
        content = trade(raw, trade_id=f"{raw['symbol']}@{price}", price=Decimal(price), id_quality=IdQuality.SYNTHETIC)
        return TradeBooking.of(content, raw=raw)

    await desk.imported(lambda raw: nameless(raw, "9"), line(1), line(1), line(1))
    assert len(await desk.trades()) == 3
    report = await desk.again(lambda raw: nameless(raw, raw["price"]))
    assert (await desk.trades()).keys() == {"EUR@1.5", "EUR@1.5#2", "EUR@1.5#3"}
    assert report.renewed == 3


def nameless(raw: dict[str, Any], name: str = "") -> TradeBooking:
    return TradeBooking.of(trade(raw, trade_id=name or raw["symbol"], id_quality=IdQuality.SYNTHETIC), raw=raw)


def refused(raw: dict[str, Any]) -> QuarantinedRow:
    return QuarantinedRow(reason="odd", raw=raw, account_id="A", environment="live")


async def test_equal_rows_without_an_id_that_are_understood_now_are_as_many_trades(desk: Desk) -> None:
    def mended(raw: dict[str, Any]) -> TradeBooking | QuarantinedRow:
        return right(raw) if raw["id"] == 3 else nameless(raw)

    await desk.imported(mended, line(3))
    for _ in range(2):
        await desk.imported(refused, line(1), line(1), line(1), line(2, symbol="BOLT"))
        assert len(await desk.store.quarantined("me")) == 4
    report = await desk.again(mended)
    assert (report.understood, report.added) == (4, 4)
    assert (await desk.trades()).keys() == {"t3", "EUR", "EUR#2", "EUR#3", "BOLT"}
    assert await desk.store.quarantined("me") == ()
    assert (await desk.imported(mended, line(1), line(1), line(1), line(2, symbol="BOLT"))).unchanged == 4


async def test_a_row_whose_name_is_made_of_its_content_waits_for_a_reading_where_another_has_that_name(
    desk: Desk,
) -> None:
    await desk.imported(lambda raw: refused(raw) if raw["id"] == 2 else nameless(raw), line(1), line(2))
    report = await desk.again(nameless)
    assert (report.understood, report.left) == (0, 1)
    assert (await desk.trades()).keys() == {"EUR"}
    await desk.imported(nameless, line(1), line(2))
    assert (await desk.trades()).keys() == {"EUR", "EUR#2"}
    assert await desk.store.quarantined("me") == ()


async def test_rows_that_are_read_under_another_name_are_counted_anew_by_what_is_half_read(desk: Desk) -> None:
    of = connection("me", connection_id="c", provider="lines")
    await connect(desk.store, of)
    await desk.imported(nameless, line(1), line(1))
    begun = OpenRequest(connection_id="c", source="file", account="", window=WEEK, cursor="2", counts={"2": "EUR"})
    other = attrs.evolve(begun, source="other")
    for one in (begun, other):
        page = PageCommit(owner="me", provider="lines", source=one.source, at=START, connection_id="c")
        await desk.store.commit_page(attrs.evolve(page, next_request=one), RULES)
    await desk.again(nameless)
    assert len(await desk.store.open_requests("c")) == 2
    await desk.again(lambda raw: nameless(raw, "NEW"))
    assert await desk.store.open_requests("c") == (other,)


async def test_what_was_final_is_read_once_more_where_a_reading_of_it_is_given_up(desk: Desk) -> None:
    of = connection("me", connection_id="c", provider="lines")
    await connect(desk.store, of)
    await desk.imported(nameless, line(1), line(1))
    keys = [AccountKey(owner="me", provider="lines", environment="live", account_id=name) for name in "AB"]
    read = tuple((key, Span(window=WEEK, state=SpanState.FINAL)) for key in keys)
    days = TimeWindow(WEEK.start + DAY, WEEK.start + 2 * DAY)
    begun = OpenRequest(
        connection_id="c", source="file", account="live/A", window=days, cursor="2", counts={"2": "EUR"},
        accounts=("live/A",),
    )  # fmt: skip
    page = PageCommit(
        owner="me", provider="lines", source="file", at=START, connection_id="c", request_account="live/A",
        spans=read, next_request=begun,
    )  # fmt: skip
    await desk.store.commit_page(page, RULES)
    await desk.again(lambda raw: nameless(raw, "NEW"))
    found = await desk.store.spans("me", "lines", "file")
    assert [span.window for span in found["live", "A"] if span.state is SpanState.PROVISIONAL] == [days]
    assert [span.state for span in found["live", "A"]].count(SpanState.FINAL) == 2
    assert found["live", "B"] == (read[1][1],)


async def test_a_reading_that_knew_no_account_opens_nothing_again_when_it_is_given_up(desk: Desk) -> None:
    of = connection("me", connection_id="c", provider="lines")
    await connect(desk.store, of)
    await desk.imported(nameless, line(1), line(1))
    key = AccountKey(owner="me", provider="lines", environment="live", account_id="A")
    begun = OpenRequest(
        connection_id="c", source="file", account="", window=WEEK, cursor="2", counts={"2": "EUR"}, accounts=()
    )
    page = PageCommit(
        owner="me", provider="lines", source="file", at=START, connection_id="c",
        spans=((key, Span(window=WEEK, state=SpanState.FINAL)),), next_request=begun,
    )  # fmt: skip
    await desk.store.commit_page(page, RULES)
    await desk.again(lambda raw: nameless(raw, "NEW"))
    assert await desk.store.open_requests("c") == ()
    assert [span.state for span in (await desk.store.spans("me", "lines", "file"))["live", "A"]] == [SpanState.FINAL]


async def test_a_cancel_read_as_a_trade_is_mended_too(desk: Desk) -> None:
    def both(raw: dict[str, Any]) -> TradeBooking:
        if "cancels" not in raw:
            return TradeBooking.of(trade(raw), raw=raw)
        return TradeBooking(
            booking_id=f"t{raw['id']}", environment="live", account_id="A", effect=BookingEffect.CANCEL,
            refs=(f"t{raw['cancels']}",), raw=raw,
        )  # fmt: skip

    await desk.imported(right, line(1), line(2, cancels=1))
    assert len(await desk.trades()) == 2
    await desk.again(both)
    assert {key: one.status.value for key, one in (await desk.trades()).items()} == {"t1": "cancelled"}


async def test_other_owners_and_rows_without_a_raw_row_are_left_alone(desk: Desk) -> None:
    await desk.imported(swapped, line(1), owner="other")
    await desk.imported(lambda raw: attrs.evolve(swapped(raw), raw={}), line(2))
    report = await desk.again(right)
    assert (report.rows, report.without_raw, report.renewed) == (0, 1, 0)
    (others,), _ = await desk.store.trades("other", TradeFilter())
    assert others.price == Decimal(2)


@pytest.mark.parametrize(
    "outcome",
    [lambda raw: attrs.evolve(right(raw), raw={"another": "row"}), lambda raw: 1 / 0],
    ids=["of no row", "raises"],
)
async def test_a_plugin_that_breaks_the_contract_is_named_and_changes_nothing(desk: Desk, outcome: Any) -> None:
    await desk.imported(right, line(1))
    before = await desk.trades()
    with pytest.raises(BrokerPluginError, match="Lines broke the contract in renormalise"):
        await desk.again(outcome)
    assert await desk.trades() == before


async def test_a_plugin_without_renormalise_says_what_to_do_instead(desk: Desk) -> None:
    await desk.imported(right, line(1))
    with pytest.raises(BrokerConfigError, match="can not read kept rows again") as caught:
        await desk.again(right, renormalise=None)
    assert "--again-from" in caught.value.remedy


async def test_an_account_or_a_connection_that_is_not_the_owners_is_refused(desk: Desk) -> None:
    await desk.imported(swapped, line(1))
    bs = desk.with_plugin(plugin(right))
    with pytest.raises(BrokerConfigError, match="no connection"):
        await bs.renormalise("me", connections=["lines-1"])
    with pytest.raises(BrokerConfigError, match="no such account"):
        await bs.renormalise("me", account="B")
    assert (await bs.renormalise("me", account="A")).renewed == 1
    assert isinstance(MANIFEST, Manifest)


async def test_rows_that_one_wrong_id_had_joined_are_two_again(desk: Desk) -> None:
    def joined(raw: dict[str, Any]) -> TradeBooking:
        return TradeBooking.of(trade(raw, trade_id="one"), booking_id=f"row{raw['id']}", refs=("one",), raw=raw)

    await desk.imported(joined, line(1), line(2))
    assert (await desk.trades()).keys() == {"one"}
    report = await desk.again(right)
    assert (await desk.trades()).keys() == {"t1", "t2"}
    assert (report.renewed, report.added, report.removed) == (2, 2, 1)


async def test_a_new_id_that_another_trade_is_known_by_does_not_take_that_trade_away(desk: Desk) -> None:
    def misnamed(raw: dict[str, Any]) -> TradeBooking:
        names = {1: "x", 2: "row2"}
        refs = ("new1",) if raw["id"] == 2 else ()
        return TradeBooking.of(trade(raw, trade_id=names[raw["id"]]), refs=refs, raw=raw)

    def mended(raw: dict[str, Any]) -> TradeBooking:
        names = {1: "new1", 2: "row2"}
        return TradeBooking.of(trade(raw, trade_id=names[raw["id"]]), refs=(), raw=raw)

    await desk.imported(misnamed, line(1), line(2))
    await desk.again(mended)
    assert (await desk.trades()).keys() == {"new1", "row2"}


async def test_a_reading_with_fewer_equal_rows_leaves_the_others_in_quarantine(desk: Desk) -> None:
    await desk.imported(lambda raw: refused(raw) if raw["id"] == 1 else right(raw), line(3), line(1), line(1), line(1))
    for _ in range(2):
        await desk.imported(nameless, line(1))
        assert len(await desk.store.quarantined("me")) == 2
    report = await desk.again(lambda raw: nameless(raw) if raw["id"] == 1 else right(raw))
    assert (report.understood, report.left, report.added) == (2, 0, 2)
    assert (await desk.trades()).keys() == {"t3", "EUR", "EUR#2", "EUR#3"}
    assert await desk.store.quarantined("me") == ()


async def test_equal_rows_are_counted_by_their_text_where_another_has_their_name(desk: Desk) -> None:
    await desk.imported(lambda raw: refused(raw) if raw["id"] == 2 else nameless(raw), line(1), line(2), line(2))
    await desk.imported(nameless, line(1), line(2), line(2))
    assert (await desk.trades()).keys() == {"EUR", "EUR#2", "EUR#3"}
    assert await desk.store.quarantined("me") == ()


async def test_rows_that_one_version_refused_leave_quarantine_when_the_next_reads_them_as_before(desk: Desk) -> None:
    await desk.imported(nameless, line(1), line(1), line(2, symbol="BOLT"))
    await desk.again(lambda raw: refused(raw) if raw["id"] == 1 else nameless(raw))
    assert len(await desk.store.quarantined("me")) == 2
    report = await desk.again(nameless)
    assert (report.unchanged, report.understood, report.left) == (3, 2, 0)
    assert (await desk.trades()).keys() == {"EUR", "EUR#2", "BOLT"}
    assert await desk.store.quarantined("me") == ()


async def test_a_row_that_is_left_stays_in_quarantine_while_its_equal_becomes_a_trade(desk: Desk) -> None:
    rows = (line(1), line(2), line(1))
    await desk.imported(lambda raw: refused(raw) if raw["id"] == 1 else nameless(raw), *rows)
    for understood, left in ((1, 1), (0, 1)):
        report = await desk.again(nameless)
        assert (report.understood, report.left) == (understood, left)
        assert len(await desk.trades()) + len(await desk.store.quarantined("me")) == 3
    await desk.imported(nameless, *rows)
    assert (await desk.trades()).keys() == {"EUR", "EUR#2", "EUR#3"}
    assert await desk.store.quarantined("me") == ()


async def test_rows_that_look_different_under_one_name_leave_quarantine_with_a_whole_reading(desk: Desk) -> None:
    rows = (line(1), line(2), line(1))
    await desk.imported(lambda raw: refused(raw) if raw["id"] == 1 else nameless(raw), *rows)
    await desk.imported(nameless, *rows)
    assert await desk.store.quarantined("me") == ()


async def test_a_row_stays_in_quarantine_where_its_name_has_become_that_of_one_that_looks_different(desk: Desk) -> None:
    def but_not(unread: int) -> Read:
        return lambda raw: refused(raw) if raw["id"] == unread else nameless(raw)

    rows = (line(1), line(2))
    await desk.imported(but_not(2), *rows)
    await desk.imported(but_not(1), *rows)
    for _ in range(2):
        report = await desk.again(nameless)
        assert len(await desk.trades()) + len(await desk.store.quarantined("me")) == 2
        assert report.understood == 0
    await desk.imported(nameless, *rows)
    assert (await desk.trades()).keys() == {"EUR", "EUR#2"}
    assert await desk.store.quarantined("me") == ()


async def test_a_row_that_does_not_tell_its_account_waits_for_a_reading_that_has_its_equals(desk: Desk) -> None:
    def placeless(raw: dict[str, Any]) -> QuarantinedRow:
        return QuarantinedRow(reason="unknown", raw=raw)

    seen: list[int] = []

    def second_is_unread(raw: dict[str, Any]) -> TradeBooking | QuarantinedRow:
        seen.append(1)
        return placeless(raw) if len(seen) == 2 else nameless(raw)

    rows = (line(1), line(1))
    await desk.imported(second_is_unread, *rows)
    report = await desk.again(nameless)
    assert (report.understood, report.left) == (0, 1)
    await desk.imported(nameless, *rows)
    assert (await desk.trades()).keys() == {"EUR", "EUR#2"}
    assert await desk.store.quarantined("me") == ()


async def test_equal_rows_of_which_one_tells_its_account_do_not_leave_quarantine_for_each_other(desk: Desk) -> None:
    seen: list[int] = []

    def refuses(raw: dict[str, Any]) -> QuarantinedRow:
        seen.append(1)
        return refused(raw) if len(seen) == 1 else attrs.evolve(refused(raw), account_id=None, environment=None)

    rows = (line(1), line(1))
    await desk.imported(lambda raw: right(raw) if raw["id"] == 3 else refuses(raw), line(3), *rows)
    report = await desk.again(lambda raw: right(raw) if raw["id"] == 3 else nameless(raw))
    assert (report.understood, report.left) == (1, 1)
    assert len(await desk.trades()) + len(await desk.store.quarantined("me")) == 3
    await desk.imported(nameless, *rows)
    assert (await desk.trades()).keys() == {"t3", "EUR", "EUR#2"}
    assert await desk.store.quarantined("me") == ()


async def test_a_row_is_not_taken_for_its_equal_where_one_that_looks_different_has_a_name_before(desk: Desk) -> None:
    seen: list[int] = []

    def last_is_unread(raw: dict[str, Any]) -> TradeBooking | QuarantinedRow:
        seen.append(1)
        return refused(raw) if len(seen) == 4 else nameless(raw)

    rows = (line(2), line(1), line(1), line(1))
    await desk.imported(last_is_unread, *rows)
    report = await desk.again(nameless)
    assert (report.understood, report.left) == (0, 1)
    await desk.imported(nameless, *rows)
    assert (await desk.trades()).keys() == {"EUR", "EUR#2", "EUR#3", "EUR#4"}
    assert await desk.store.quarantined("me") == ()


async def test_a_renaming_that_was_broken_off_and_repeated_names_all_as_a_reading_does(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = (line(1), line(1), line(1))
    await desk.imported(nameless, *rows)
    renew, pages = desk.store.renew, iter([True])

    async def once(*page: Any) -> Any:
        if next(pages, None) is None:
            raise CancelledError
        return await renew(*page)

    monkeypatch.setattr("brokersync.new_names._AT_ONCE", 1)
    with monkeypatch.context() as broken:
        broken.setattr(desk.store, "renew", once)
        with pytest.raises(CancelledError):
            await desk.again(lambda raw: nameless(raw, "NEW"))
    report = await desk.again(lambda raw: nameless(raw, "NEW"))
    assert (report.renewed, report.left) == (2, 0)
    assert (await desk.imported(lambda raw: nameless(raw, "NEW"), *rows)).unchanged == 3
    assert (await desk.trades()).keys() == {"NEW", "NEW#2", "NEW#3"}


@pytest.mark.parametrize("turned", [False, True])
async def test_a_row_that_comes_to_have_the_name_of_another_gets_the_next_number(desk: Desk, turned: bool) -> None:
    rows = (line(1), line(2))[:: -1 if turned else 1]
    await desk.imported(lambda raw: nameless(raw, "OLD" if raw["id"] == 1 else ""), *rows)
    report = await desk.again(nameless)
    assert (report.renewed, report.left) == (1, 0)
    assert (await desk.trades()).keys() == {"EUR", "EUR#2"}
    await desk.imported(nameless, *rows)
    assert (await desk.trades()).keys() == {"EUR", "EUR#2"}


@pytest.mark.parametrize(
    "after",
    [{"A1": "A2", "A2": "A3", "A3": "A4"}, {"A3": "A2", "A2": "A1", "A1": "A0"}, {"A1": "A2", "A2": "A3", "A3": "A1"}],
    ids=["upwards", "downwards", "in a circle"],
)
async def test_a_row_gets_the_name_that_another_leaves(desk: Desk, after: dict[str, str]) -> None:
    rows = (line(1, symbol="A1"), line(2, symbol="A2"), line(3, symbol="A3"))
    await desk.imported(nameless, *rows)
    report = await desk.again(lambda raw: nameless(raw, after[raw["symbol"]]))
    assert (report.renewed, report.left) == (3, 0)
    named = {name: one.instrument.symbol for name, one in (await desk.trades()).items()}
    assert named == {new: old for old, new in after.items()}
    assert (await desk.imported(lambda raw: nameless(raw, after[raw["symbol"]]), *rows)).unchanged == 3


@pytest.mark.parametrize("learns_an_id", [False, True])
async def test_no_gap_is_left_among_equal_rows_where_one_of_them_gets_another_name(
    desk: Desk, learns_an_id: bool
) -> None:
    def tells_apart(raw: dict[str, Any]) -> TradeBooking:
        if raw["id"] != 1:
            return nameless(raw)
        return right(raw) if learns_an_id else nameless(raw, "ANOTHER")

    rows = (line(1), line(2), line(3))
    await desk.imported(nameless, *rows)
    report = await desk.again(tells_apart)
    assert report.left == 0
    wanted = {"t1" if learns_an_id else "ANOTHER", "EUR", "EUR#2"}
    assert (await desk.trades()).keys() == wanted
    await desk.imported(tells_apart, *rows)
    assert (await desk.trades()).keys() == wanted


async def test_a_plugin_that_reads_the_same_rows_in_another_way_the_second_time_is_named(desk: Desk) -> None:
    await desk.imported(nameless, line(1), line(2))
    asked: list[int] = []

    def wavers(raw: dict[str, Any]) -> TradeBooking:
        asked.append(1)
        return nameless(raw, "ONE" if len(asked) <= 2 else "ANOTHER")

    with pytest.raises(BrokerPluginError, match="in another way when it was asked again"):
        await desk.again(wavers)
    assert (await desk.trades()).keys() == {"EUR", "EUR#2"}
