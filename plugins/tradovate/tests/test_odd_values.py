"""One odd value is the trouble of one row: nothing else of its answer, its window or its file is lost by it."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from brokersync.plugin import FeesState, StatementHints, TradePage
from brokersync_tradovate.local_times import instant
from brokersync_tradovate.normalise import plain
from brokersync_tradovate.rows import RowError
from brokersync_tradovate.statements import TradovateStatementReader

from . import test_reports, test_session

ODD = '"the odd one"'
EARLY = '"0001-01-01T00:00:00+14:00"'
LATE = '"9999-12-31T23:59:59-14:00"'
VALUES = {
    "long": "1E+400",
    "endless": "1E+999999999",
    "beyond all bounds": "1E+99999999999999999999",
    "small beyond all bounds": "1E-99999999999999999999",
    "long text": '"1E+400"',
    "long whole": "9" * 400,
    "endless whole": "9" * 5000,
    "before the first year": EARLY,
    "after the last year": LATE,
    "the first day of all": '"0001-01-01T00:00:00Z"',
    "the last day of all": '"9999-12-31T23:59:59Z"',
    "far year": '{"year": 1000000000000000000, "month": 1, "day": 1}',
    "half a pair": r'"MYM\ud800"',
    "NUL": r'"MYM\u0000"',
    "list": "[{}]",
    "object": "{}",
    "truth": "true",
    "fraction": "1.5",
    "negative": "-1",
}
SESSION_ROWS: Mapping[str, Sequence[str]] = {
    "fill/list": [
        *("id", "orderId", "contractId", "timestamp", "tradeDate", "action", "qty", "price", "active"),
        "aFieldOfTheirs",
    ],
    "fillFee/list": ["id", "commission", "commissionCurrencyId", "exchangeFee"],
    "order/list": ["id", "accountId"],
    "contract/items": ["id", "name", "contractMaturityId"],
    "contractMaturity/items": ["id", "productId", "expirationDate"],
    "product/items": ["id", "name", "currencyId", "productType", "valuePerPoint", "description"],
    "currency/list": ["id", "name"],
    "account/list": ["timestamp", "accountType"],
}
REPORT_COLUMNS = [*test_reports.HEADER]
REPORT_VALUES = {
    "long": "1E+400",
    "endless": "1E+999999999",
    "beyond all bounds": "1E+99999999999999999999",
    "long whole": "9" * 5000,
    "before the first year": json.loads(EARLY),
    "after the last year": json.loads(LATE),
    "the first day of all": "0001-01-01T00:00:00Z",
    "the last day of all": "9999-12-31T23:59:59Z",
    "the last date of all": "9999-12-31",
    "the last day of all as it is shown": "12/31/9999 23:59:59",
    "a day that is to come": "2027-01-01T00:00:00Z",
    "half a pair": "ZNM6\ud800",
    "nothing": "",
}


def session_rows(world: Any, path: str, field: str, value: str) -> None:
    """Two fills of two orders and contracts, and the first row of one answer with the odd value."""
    rows: dict[str, list[dict[str, Any]]] = {
        "fill/list": [test_session.fill(21), test_session.fill(22, orderId=201, contractId=302)],
        "fillFee/list": [test_session.fee(one, commission=0.5, exchangeFee=0.7) for one in (21, 22)],
        "order/list": [test_session.order(200), test_session.order(201)],
        "contract/items": [test_session.CONTRACT, {"id": 302, "name": "MESM6", "contractMaturityId": 402}],
        "contractMaturity/items": [test_session.MATURITY, {"id": 402, "productId": 502}],
        "product/items": [test_session.PRODUCT, test_session.PRODUCT | {"id": 502, "name": "MES", "currencyId": 8}],
        "currency/list": test_session.CURRENCIES,
        "account/list": [{"id": 11, "name": "77001"}],
    }
    first, *others = rows[path]
    rows[path] = [first | {field: json.loads(ODD)}, *others]
    for name, told in rows.items():
        world.broker.on("live", name, json.dumps(told).replace(ODD, value))
    world.broker.on("live", "order/items", [])


def kept(page: TradePage) -> list[str]:
    """What a store writes of the page; raises for what can not be written."""
    bookings = [
        (one.booking_id, str(one.trade and one.trade.instrument), one.trade and one.trade.raw) for one in page.bookings
    ]
    held = [(one.reason, one.row_id, one.raw) for one in page.quarantined]
    written = [json.dumps(one, ensure_ascii=False) for one in (*bookings, *held)]
    assert all(len(one.encode()) < 10_000 + 5000 for one in written)
    return written


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
@pytest.mark.parametrize(("path", "field"), [(path, field) for path, names in SESSION_ROWS.items() for field in names])
async def test_an_odd_value_in_the_session_touches_no_other_fill(world: Any, path: str, field: str, value: str) -> None:
    session_rows(world, path, field, value)

    page = await test_session.read_one(world)

    good = {one.booking_id: one.trade for one in page.bookings}["fill:22"]
    assert good is not None
    assert (good.quantity, good.instrument.symbol, good.instrument.currency) == (Decimal(2), "MESM6", "EUR")
    assert (len(good.fees), page.rows, page.disposed) == (2, 2, 2)
    assert len(kept(page)) == 2
    for one in world.cache.values.values():
        one.encode()
        assert len(one) < 10_000


@pytest.mark.parametrize("value", REPORT_VALUES.values(), ids=REPORT_VALUES)
@pytest.mark.parametrize("column", REPORT_COLUMNS)
async def test_an_odd_value_in_the_reports_touches_no_other_fill(world: Any, column: str, value: str) -> None:
    rows = [test_reports.row(21, **{column: value}), test_reports.row(22, _timestamp="2026-03-09 15:00:00.000Z")]
    test_reports.script(world, test_reports.text(*rows))

    first, last = await test_reports.read(world)

    assert "fill:22" in {one.booking_id for one in first.bookings}
    assert (first.disposed, len(kept(first))) == (2, 2)
    assert (last.covered[0].window.start, last.covered[-1].window.end) == (
        test_reports.MARCH.start,
        test_reports.MARCH.end,
    )


@pytest.mark.parametrize("value", REPORT_VALUES.values(), ids=REPORT_VALUES)
@pytest.mark.parametrize("column", ["Delta", "Timestamp", "Currency", "Contract", "Cash Change Type"])
async def test_an_odd_value_in_the_cash_history_leaves_every_fill(
    world: Any, exports: Any, column: str, value: str
) -> None:
    odd = exports.cash("Exchange Fee", "-1.00", **{column: value})
    test_reports.script(
        world,
        test_reports.text(test_reports.row()),
        cash=exports.cash_history(exports.cash("Commission", "-1.58"), odd),
    )

    first, last = await test_reports.read(world)

    (booking,) = first.bookings
    assert booking.trade is not None
    assert booking.trade.fees_state is FeesState.ESTIMATED
    assert (len(kept(first)), len(last.covered)) == (1, 1)


@pytest.mark.parametrize("value", [one for one in REPORT_VALUES.values() if one.isascii()])
@pytest.mark.parametrize("column", [one for one in REPORT_COLUMNS if one not in ("_accountId", "Account")])
def test_an_odd_value_in_a_file_touches_no_other_fill(exports: Any, column: str, value: str) -> None:
    """`E+` in an id says that a spreadsheet has shortened all of them: that file is refused."""
    rows = [exports.fill(21, **{column: value}), exports.fill(22)]
    file = io.BytesIO(exports.text(*rows).encode())
    account = test_session.BrokerAccount(account_id="11", environment="demo", name="77001")
    known = {
        "contract:demo:301": test_session.CONTRACT | {"name": "ZNM6"},
        "contractMaturity:demo:401": test_session.MATURITY,
        "product:demo:501": test_session.PRODUCT,
        "currency:demo:3": test_session.CURRENCIES[0],
    }
    reader = TradovateStatementReader(lambda keys: {key: known[key] for key in keys if key in known})

    (page,) = reader.read_statement(file, StatementHints(accounts=(account,)))

    assert "fill:22" in {one.booking_id for one in page.bookings}
    assert (page.disposed, len(kept(page))) == (2, 2)


@pytest.mark.parametrize("value", [VALUES["long"], EARLY, VALUES["half a pair"], VALUES["object"]])
@pytest.mark.parametrize("field", ["timestamp", "accountType"])
async def test_an_account_is_listed_whatever_else_is_told_of_it(world: Any, field: str, value: str) -> None:
    row = json.dumps([{"id": 11, "name": "77001", field: json.loads(ODD)}]).replace(ODD, value)
    world.broker.on("live", "account/list", row)
    world.broker.on("demo", "account/list", [])

    (account,) = await world.provider.get_accounts(world.auth)

    assert (account.account_id, account.name, account.opened_at) == ("11", "77001", None)


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("timestamp", "someday", "timestamp is no time"),
        ("timestamp", "2026-03-09T15:00:00", "timestamp has no time zone"),
        ("timestamp", "1970-01-01T00:00:00Z", "timestamp is the year 1970, in which nothing can have happened"),
        ("timestamp", None, None),
        ("timestamp", "", None),
        ("accountType", 7, "accountType is no text"),
    ],
)
@pytest.mark.parametrize("fills", [[], [test_session.fill(21)]], ids=["no fill", "a fill"])
async def test_what_is_odd_of_an_account_is_counted_by_each_reading_of_the_session(
    world: Any, fills: Sequence[Any], field: str, value: Any, reason: str | None
) -> None:
    test_session.script(world, fills, [test_session.order()])
    world.broker.on("live", "account/list", [{"id": 11, "name": "77001", field: value}, {"id": 12, "name": "77002"}])

    page = await test_session.read_one(world)

    assert {name: count for name, count in page.unmapped.items() if name.startswith("Account")} == (
        {f"Account row: {reason}": 1} if reason else {}
    )
    assert len(page.covered) == 1


@pytest.mark.parametrize(
    ("text", "zone"), [("01/01/0001 00:00:00", "Asia/Tokyo"), ("12/31/9999 23:59:59", "America/Chicago")]
)
def test_a_time_that_is_none_in_utc_is_no_time(text: str, zone: str) -> None:
    with pytest.raises(RowError, match="is no time"):
        instant(text, ZoneInfo(zone))


def test_a_number_without_end_is_not_written_out() -> None:
    assert plain({"a": [Decimal("1E+999999999"), Decimal("1E+3")]}) == {"a": ["1E+999999999", "1000"]}
