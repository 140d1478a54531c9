from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokersync.plugin import (
    BrokerAccount,
    BrokerAPIError,
    BrokerAuthError,
    BrokerCursorError,
    BrokerError,
    BrokerResponseError,
    BrokerTokenExpiredError,
    Fault,
    Fee,
    FeeKind,
    FeesState,
    Finality,
    RequestDraft,
    Side,
    TimeWindow,
    TradeBooking,
    TradePage,
    TradeRequest,
)
from brokersync_tradovate.fills_report import BadRow, FillsReport, ReportFill

from .conftest import Exports

REPORT = "reports/requestReport"
MARCH = TimeWindow(datetime(2026, 3, 3, tzinfo=UTC), datetime(2026, 4, 2, tzinfo=UTC))
HEADER = Exports.columns
row = Exports().fill


def text(*rows: Mapping[str, str], header: Sequence[str] = HEADER, start: str = "", end: str = "\r\n") -> str:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, header, extrasaction="ignore", lineterminator=end)
    writer.writeheader()
    writer.writerows(rows)
    return start + out.getvalue()


def commissions(fills: Any) -> str:
    """A Cash History that tells these fills' commissions and nothing else."""
    exports, told = Exports(), csv.DictReader(io.StringIO(fills, newline="")) if isinstance(fills, str) else ()
    rows = [one for one in told if one.get("commission") and one.get("Timestamp")]
    return exports.cash_history(
        *(exports.cash("Commission", _negated(one["commission"]), Timestamp=one["Timestamp"]) for one in rows)
    )


def _negated(amount: str) -> str:
    return amount.strip("$()") if "(" in amount else f"-{amount}"


def script(world: Any, *data: Any, environment: str = "live", cash: str | None = None) -> None:
    world.broker.on(environment, "account/list", [{"id": 10, "name": "77000"}, {"id": 11, "name": "77001"}])
    answers = iter(data)
    last: Any = None

    def answer(draft: RequestDraft) -> Any:
        nonlocal last
        if draft.json["name"] == "Cash History":
            return {"data": commissions(last) if cash is None else cash}
        last = next(answers, last)
        return last if isinstance(last, dict) else {"data": last}

    world.broker.on(f"reporting-{environment}", REPORT, answer)
    world.broker.on(environment, "contract/items", [{"id": 301, "name": "ZNM6", "contractMaturityId": 401}])
    world.broker.on(environment, "contractMaturity/items", [{"id": 401, "productId": 501}])
    world.broker.on(
        environment,
        "product/items",
        [{"id": 501, "name": "ZN", "currencyId": 3, "productType": "Futures", "valuePerPoint": 1000}],
    )
    world.broker.on(environment, "currency/list", [{"id": 3, "name": "USD"}])


async def read(
    world: Any, *accounts: BrokerAccount, window: TimeWindow = MARCH, cursor: str | None = None
) -> list[TradePage]:
    request = TradeRequest(source="reports", window=window, accounts=accounts or (world.account(),), cursor=cursor)
    return [page async for page in world.provider.get_trades(world.auth, request)]


async def read_bookings(world: Any, *rows: Mapping[str, str]) -> list[TradeBooking]:
    script(world, text(*rows))
    return [booking for page in await read(world) for booking in page.bookings]


async def test_a_report_is_asked_for_as_the_broker_takes_it(world: Any) -> None:
    script(world, text(row()))

    await read(world)

    sent, cash = (one for one in world.broker.sent if one.path == REPORT)
    assert cash.draft.json == sent.draft.json | {"name": "Cash History"}
    assert (sent.role, sent.draft.method) == ("reporting-live", "POST")
    assert sent.draft.json == {
        "name": "Fills",
        "representationType": "csv",
        "timezone": 0,
        "params": [
            {"name": "startDate", "value": "2/24/2026"},
            {"name": "endDate", "value": "4/6/2026"},
            {"name": "account", "value": "77001"},
        ],
    }
    assert sent.options["repeatable"] is True
    assert sent.options["account"] == "11"
    assert sent.draft.headers == {"Authorization": "Bearer token-for-tests"}


@pytest.mark.parametrize(
    ("end", "now", "last"),
    [
        (datetime(2026, 3, 4, tzinfo=UTC), datetime(2026, 4, 15, tzinfo=UTC), "3/8/2026"),
        (datetime(2026, 3, 4, 0, 0, 1, tzinfo=UTC), datetime(2026, 4, 15, tzinfo=UTC), "3/9/2026"),
        (datetime(2026, 3, 4, tzinfo=UTC), datetime(2026, 3, 5, 23, tzinfo=UTC), "3/5/2026"),
        (datetime(2026, 3, 4, tzinfo=UTC), datetime(2026, 3, 3, 23, tzinfo=UTC), "3/3/2026"),
        (datetime(2027, 1, 1, tzinfo=UTC), datetime(2026, 4, 15, tzinfo=UTC), "12/31/2026"),
    ],
)
async def test_the_days_after_a_window_are_asked_for_too_as_far_as_they_have_come(
    world: Any, end: datetime, now: datetime, last: str
) -> None:
    script(world, "\r\n")
    world.clock.moment = now

    await read(world, window=TimeWindow(MARCH.start, end))

    assert world.broker.sent[-1].draft.json["params"][1]["value"] == last


def over_the_end(exports: Any, **changes: str) -> tuple[str, str]:
    """Two fills before and after the end of the window, each with all of its fees but that of `changes`."""
    seconds = ({"Timestamp": "04/01/2026 15:00:00"}, {"Timestamp": "04/02/2026 15:00:00"} | changes)
    times = ("2026-04-01 15:00:00.500Z", "2026-04-02 15:00:00.500Z")
    fills = [
        row(number, _timestamp=time, _tradeDate=time[:10], Timestamp=f"{time[5:7]}/{time[8:10]}/2026 15:00:00")
        for number, time in zip((21, 22), times, strict=True)
    ]
    fees = [("Commission", "-1.58"), ("Exchange Fee", "-2.76")]
    return text(*fills), exports.cash_history(*(exports.cash(*fee, **second) for second in seconds for fee in fees))


async def test_the_fills_after_a_window_are_another_windows(world: Any, exports: Any) -> None:
    data, cash = over_the_end(exports)
    script(world, data, cash=cash)

    first, last = await read(world)

    assert [one.booking_id for one in first.bookings] == ["fill:21"]
    assert (first.rows, dict(last.unmapped)) == (1, {})
    assert first.bookings[0].trade is not None
    assert first.bookings[0].trade.fees_state is FeesState.FINAL


async def test_a_fee_after_a_window_may_be_of_a_fill_in_it(world: Any, exports: Any) -> None:
    data, cash = over_the_end(exports, Timestamp="04/02/2026 15:00:01")
    script(world, data, cash=cash)

    first, last = await read(world)

    assert first.bookings[0].trade is not None
    assert first.bookings[0].trade.fees_state is FeesState.ESTIMATED
    assert dict(last.unmapped) == {}, "the window after this one tells of it"


async def test_an_account_is_asked_for_under_its_present_name(world: Any) -> None:
    script(world, "\r\n")

    await read(world, world.account(name="an-old-name"))

    assert world.broker.sent[-1].draft.json["params"][2]["value"] == "77001"


async def test_an_account_that_is_no_longer_listed_is_told_and_covers_nothing(world: Any) -> None:
    script(world, "\r\n")

    (page,) = await read(world, world.account(9, name="77009"))

    assert page.covered == ()
    assert any("77009" in told for told in page.unmapped)
    assert REPORT not in world.broker.paths()


async def test_the_demo_side_has_a_reporting_host_of_its_own(world: Any) -> None:
    script(world, "\r\n", environment="demo")

    await read(world, world.account(environment="demo"))

    assert [one.role for one in world.broker.sent] == ["demo", "reporting-demo", "reporting-demo"]


async def test_a_row_becomes_the_same_booking_as_the_sessions_fill(world: Any) -> None:
    (booking,) = await read_bookings(world, row())

    trade = booking.trade
    assert trade is not None
    assert (booking.booking_id, booking.refs, trade.trade_id) == ("fill:21", ("fill:21",), "fill:21")
    assert (booking.environment, booking.account_id, trade.order_id) == ("live", "11", "200")
    assert (trade.side, trade.quantity, trade.price) == (Side.SELL, Decimal(2), Decimal("110.515625"))
    assert trade.executed_at == datetime(2026, 3, 9, 14, 31, 2, 125_000, tzinfo=UTC)
    assert trade.trade_date == date(2026, 3, 9)
    assert (trade.instrument.symbol, trade.instrument.multiplier, trade.instrument.currency) == (
        "ZNM6",
        Decimal(1000),
        "USD",
    )
    assert trade.fees == (Fee(kind=FeeKind.COMMISSION, amount=Decimal("1.58"), currency="USD"),)
    assert trade.fees_state is FeesState.ESTIMATED
    assert trade.raw["Price"] == "110'165"


@pytest.mark.parametrize(
    ("changes", "side"),
    [
        ({"_action": "0", "B/S": " Sell"}, Side.BUY),
        ({"_action": "1", "B/S": " Buy"}, Side.SELL),
        ({"_action": "", "B/S": " Buy"}, Side.BUY),
        ({"_action": " ", "B/S": "SELL"}, Side.SELL),
    ],
)
async def test_the_side_is_the_code_or_else_the_word(world: Any, changes: dict[str, str], side: Side) -> None:
    (booking,) = await read_bookings(world, row() | changes)

    assert booking.trade is not None
    assert booking.trade.side is side


@pytest.mark.parametrize(
    ("commission", "amounts", "state"),
    [
        ("1.58", ["1.58"], FeesState.ESTIMATED),
        ("0", ["0"], FeesState.ESTIMATED),
        ("", [], FeesState.PENDING),
        ("$1,234.50", ["1234.50"], FeesState.ESTIMATED),
        ("(0.25)", ["-0.25"], FeesState.ESTIMATED),
        ("$(0.25)", ["-0.25"], FeesState.ESTIMATED),
    ],
)
async def test_the_commission_is_only_a_part_of_the_costs(
    world: Any, commission: str, amounts: list[str], state: FeesState
) -> None:
    (booking,) = await read_bookings(world, row(commission=commission))

    assert booking.trade is not None
    assert [fee.amount for fee in booking.trade.fees] == [Decimal(amount) for amount in amounts]
    assert booking.trade.fees_state is state


async def test_a_commission_without_a_known_currency_waits_for_it(world: Any) -> None:
    script(world, text(row()), cash="\r\n")
    world.broker.on("live", "contract/items", "", status=404)

    page = (await read(world))[0]

    assert page.bookings[0].trade is not None
    assert (page.bookings[0].trade.fees, page.bookings[0].trade.fees_state) == ((), FeesState.PENDING)
    assert page.bookings[0].trade.instrument.symbol == "ZNM6", "the row itself says what the contract is called"
    assert page.unmapped == {"contract not found": 1}


@pytest.mark.parametrize("data", ["", "\r\n", "\n", "\ufeff\r\n", " \r\n", ",".join(HEADER) + "\r\n"])
async def test_an_empty_report_is_a_covered_window(world: Any, data: str) -> None:
    script(world, data)

    pages = await read(world)

    assert [(len(page.bookings), len(page.covered)) for page in pages] == [(0, 1)]
    assert pages[0].covered[0].finality is Finality.FINAL
    assert world.broker.paths() == ["account/list", REPORT, REPORT], "the Cash History may know of fills"


@pytest.mark.parametrize("body", [{}, {"data": None}, {"data": ["a"]}, []])
async def test_an_answer_without_a_report_is_no_empty_report(world: Any, body: Any) -> None:
    script(world, "")
    world.broker.on("reporting-live", REPORT, body)

    with pytest.raises(BrokerResponseError):
        await read(world)


async def test_the_header_is_read_by_name(world: Any) -> None:
    header = [f" {name.upper()} " for name in reversed(HEADER)] + ["Venue"]
    data = text({f" {name.upper()} ": value for name, value in row().items()} | {"Venue": "X"}, header=header)
    script(world, text(row()), "\ufeff" + data.replace("\r\n", "\n"))

    proper, odd = [[page.bookings for page in await read(world)] for _ in range(2)]

    assert [_content(one) for page in proper for one in page] == [_content(one) for page in odd for one in page] != []


@pytest.mark.parametrize("absent", ["_id", "_orderId", "_contractId", "_timestamp", "_action", "_qty", "_price"])
async def test_a_column_that_is_missing_is_named(world: Any, absent: str) -> None:
    substitutes = {"_id": "Fill ID", "_orderId": "Order ID", "_action": "B/S", "_qty": "Quantity"}
    header = [name for name in HEADER if name not in (absent, substitutes.get(absent))]
    script(world, text(row(), header=header))

    with pytest.raises(BrokerResponseError, match=absent.lower()):
        await read(world)


@pytest.mark.parametrize("absent", ["_id", "_orderId", "_action", "_qty"])
async def test_a_plain_column_stands_in_for_its_underscored_one(world: Any, absent: str) -> None:
    script(world, text(row()), text(row(), header=[name for name in HEADER if name != absent]))

    (whole, _), (part, _) = await read(world), await read(world)

    assert _content(part.bookings[0]) == _content(whole.bookings[0])


@pytest.mark.parametrize("absent", ["_tradeDate", "_active", "_accountId", "commission"])
async def test_a_column_that_can_be_done_without_is_counted(world: Any, absent: str) -> None:
    script(world, text(row(), header=[name for name in HEADER if name != absent]))

    first, last = await read(world)

    assert len(first.bookings) == 1
    assert last.unmapped == {f"Fills report without the column {absent.lower()}": 1}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"_action": "2"}, "neither Buy nor Sell"),
        ({"_timestamp": "03/09/2026 14:31:02"}, "no time"),
        ({"_timestamp": "2026-03-09 14:31:02"}, "no time zone"),
        ({"_price": "110'165"}, "no number"),
        ({"_price": "110,515625"}, "no number"),
        ({"_price": "1,100"}, "no number"),
        ({"_price": "1_100.5"}, "no number"),
        ({"commission": "1,58"}, "no number"),
        ({"commission": "1.234,50"}, "no number"),
        ({"_price": ""}, "price is missing"),
        ({"_qty": "-2"}, "not positive"),
        ({"_id": "", "Fill ID": ""}, "id is missing"),
        ({"_tradeDate": "3/9/26"}, "no date"),
        ({"commission": "n/a"}, "no number"),
        ({"_accountId": "12"}, "account 12"),
    ],
)
async def test_a_row_that_is_not_understood_is_held_alone(world: Any, changes: dict[str, str], reason: str) -> None:
    script(world, text(row(21), row(22) | changes))

    first, last = await read(world)

    assert [one.booking_id for one in first.bookings] == ["fill:21"]
    assert [reason in one.reason for one in first.quarantined] == [True]
    assert [one.row_id for one in first.quarantined] == [None if reason == "id is missing" else "fill:22"]
    assert last.covered


@pytest.mark.parametrize("digits", [20, 600, 5000])
@pytest.mark.parametrize("column", ["_id", "_orderId", "_contractId", "_accountId"])
async def test_a_row_with_an_id_without_end_is_held_alone(world: Any, column: str, digits: int) -> None:
    script(world, text(row(21), row(22) | {column: "9" * digits}))

    first, _ = await read(world)

    assert [one.booking_id for one in first.bookings] == ["fill:21"]
    assert ["is no whole number" in one.reason for one in first.quarantined] == [True]


@pytest.mark.parametrize("line", ["22,200,301", ",".join(["22", *["x"] * 25])])
async def test_a_row_of_another_length_is_held(world: Any, line: str) -> None:
    script(world, text(row(21)) + line + "\r\n")

    first, _ = await read(world)

    assert len(first.bookings) == 1
    assert "columns" in first.quarantined[0].reason
    assert first.quarantined[0].raw["cells"] == line.split(",")


@pytest.mark.parametrize("data", ['_id,_price\r\n"1', "<html><body>Sorry</body></html>", "No data, sorry"])
async def test_a_text_that_is_no_report_is_refused(world: Any, data: str) -> None:
    script(world, data)

    with pytest.raises(BrokerResponseError):
        await read(world)


async def test_a_quote_that_never_ends_does_not_swallow_rows(world: Any) -> None:
    script(world, text(row(21)) + '22,200,"301\r\n' + text(row(23)))

    with pytest.raises(BrokerResponseError, match="CSV"):
        await read(world)


@pytest.mark.parametrize(
    ("now", "spans"),
    [
        ("2026-04-15T15:00", [("2026-03-03", "2026-04-02", Finality.FINAL)]),
        (
            "2026-04-02T15:00",
            [("2026-03-03", "2026-04-01", Finality.FINAL), ("2026-04-01", "2026-04-02", Finality.PROVISIONAL)],
        ),
        ("2026-03-03T15:00", [("2026-03-03", "2026-04-02", Finality.PROVISIONAL)]),
        (
            "2026-04-03T00:00",
            [("2026-03-03", "2026-04-02", Finality.FINAL)],
        ),
        (
            "2026-04-02T23:59",
            [("2026-03-03", "2026-04-01", Finality.FINAL), ("2026-04-01", "2026-04-02", Finality.PROVISIONAL)],
        ),
    ],
)
async def test_a_day_is_final_when_it_has_been_over_for_a_day(
    world: Any, now: str, spans: list[tuple[str, str, Finality]]
) -> None:
    script(world, "\r\n")
    world.clock.moment = datetime.fromisoformat(now).replace(tzinfo=UTC)

    (page,) = await read(world)

    assert [
        (span.window.start.date().isoformat(), span.window.end.date().isoformat(), span.finality)
        for span in page.covered
    ] == spans
    assert {span.account_id for span in page.covered} == {"11"}


async def test_a_long_report_comes_in_pages_and_is_covered_by_the_last(world: Any) -> None:
    script(world, text(*(row(number) for number in range(1, 1202))))

    pages = await read(world)

    assert [len(page.bookings) for page in pages] == [500, 500, 201, 0]
    assert [bool(page.covered) for page in pages] == [False, False, False, True]
    assert world.broker.paths().count("contract/items") == 1


async def test_each_account_is_read_and_covered_by_itself(world: Any) -> None:
    script(world, "\r\n", text(row()))

    pages = await read(world, world.account(10), world.account(11))

    assert [[span.account_id for span in page.covered] for page in pages] == [["10"], [], ["11"]]


@pytest.mark.parametrize(
    ("shown", "told"), [("03/09/2026 14:31:02", False), ("03/09/2026 14:31:03", False), ("03/09/2026 10:31:02", True)]
)
async def test_a_report_that_is_not_in_utc_is_told_of(world: Any, shown: str, told: bool) -> None:
    script(world, text(row(Timestamp=shown)))

    *_, last = await read(world)

    assert ("the Fills report does not show its times in UTC" in last.unmapped) is told


@pytest.mark.parametrize(
    ("answer", "kind", "fault"),
    [
        ({"errorText": "Too long range"}, BrokerAPIError, Fault.PLUGIN),
        ({"errorText": "account is not found (ID:0)"}, BrokerAPIError, Fault.BROKER),
        ({"errorText": "Unknown report"}, BrokerAPIError, Fault.PLUGIN),
        ({"errorText": "Expired Access Token"}, BrokerTokenExpiredError, Fault.BROKER),
        ({"p-captcha": True, "p-ticket": "t"}, BrokerAuthError, Fault.USER),
    ],
)
async def test_a_refused_report_covers_nothing(world: Any, answer: Any, kind: type[BrokerError], fault: Fault) -> None:
    script(world, answer)

    with pytest.raises(kind) as caught:
        await read(world)

    assert caught.value.fault is fault


async def test_a_penalised_report_is_sent_again_with_the_ticket(world: Any) -> None:
    script(world, {"p-ticket": "t-9", "p-time": 2}, text(row()))

    pages = await read(world)

    first, second, _ = (one.draft.json for one in world.broker.sent if one.path == REPORT)
    assert second == first | {"p-ticket": "t-9"}
    assert len(pages[0].bookings) == 1
    assert world.broker.waits == [timedelta(seconds=3)]


@pytest.mark.parametrize("source", ["session", "reports"])
async def test_a_foreign_cursor_is_refused_before_anything_is_asked(world: Any, source: str) -> None:
    request = TradeRequest(source=source, window=MARCH, accounts=(world.account(),), cursor="from-elsewhere")

    with pytest.raises(BrokerCursorError):
        await anext(world.provider.get_trades(world.auth, request))

    assert world.broker.sent == []


async def test_an_unknown_source_is_refused(world: Any) -> None:
    with pytest.raises(BrokerAPIError, match="guesses"):
        await anext(world.provider.get_trades(world.auth, TradeRequest(source="guesses", window=MARCH)))


_cell = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=12)  # a lone \r is written unquoted


@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {
                "_id": st.integers(1, 2**63).map(str),
                "_price": st.decimals(
                    allow_nan=False, allow_infinity=False, places=6, min_value=-(10**9), max_value=10**9
                ).map(str),
                "_qty": st.integers(1, 10**6).map(str),
                "_action": st.sampled_from("01"),
                "Account": _cell,
                "Product Description": _cell,
            }
        ),
        max_size=6,
    ),
    header=st.permutations(HEADER),
    end=st.sampled_from(["\r\n", "\n"]),
    start=st.sampled_from(["", "\ufeff"]),
)
def test_what_was_written_is_what_is_read(rows: Any, header: list[str], end: str, start: str) -> None:
    written = [row() | changes for changes in rows]

    read_back = list(FillsReport(io.StringIO(text(*written, header=header, start=start, end=end), newline="")).rows())

    assert not [one for one in read_back if isinstance(one, BadRow)]
    assert [one.written for one in read_back] == [{name: one[name] for name in header} for one in written]
    fills = [one.fill for one in read_back if isinstance(one, ReportFill)]
    assert [(str(one.id), one.price, str(one.qty)) for one in fills] == [
        (one["_id"], Decimal(one["_price"]), one["_qty"]) for one in written
    ]
    assert [one.action for one in fills] == [("Buy", "Sell")[int(one["_action"])] for one in written]


def _content(booking: TradeBooking) -> Any:
    """All but the row as it was written, which keeps its own columns."""
    assert booking.trade is not None
    trade = booking.trade
    return (trade.trade_id, trade.order_id, trade.side, trade.quantity, trade.price, trade.executed_at, trade.fees)
