"""Every setting of a query: what the sandbox writes then, and that the plugin reads the same trades from it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from io import BytesIO
from itertools import product
from typing import Any

import attrs
import pytest
from aiohttp.test_utils import TestClient, TestServer

from brokersync.plugin import (
    BrokerAccount,
    BrokerConfigError,
    BrokerInputNeededError,
    FeeKind,
    SandboxSettings,
    StatementHints,
    TradeBooking,
    TradePage,
)
from brokersync_ibkr.sandbox import create
from brokersync_ibkr.sandbox_flex import ACTIVITY, CONFIRMATIONS, StatementOrder, StatementPrinter
from brokersync_ibkr.sandbox_ledger import Login, open_logins
from brokersync_ibkr.sandbox_query import DATE_FORMATS, SEPARATORS, TIME_FORMATS, QuerySettings
from brokersync_ibkr.statements import FlexStatementReader

NOW = datetime(2026, 3, 11, 15, 0, tzinfo=UTC)
# over the end of daylight saving, with every difficulty that the sandbox has
FIRST, LAST = date(2025, 10, 1), date(2026, 3, 10)
FORMATS = list(product(DATE_FORMATS, TIME_FORMATS, SEPARATORS, [False, True]))


@cache
def login() -> Login:
    return open_logins(SandboxSettings(now=lambda: NOW, days=400, trades_per_day=1, accounts_per_login=1))[0]


def document(kind: str = ACTIVITY, first: date = FIRST, last: date = LAST, **settings: Any) -> bytes:
    order = StatementOrder(
        kind=kind, first=first, last=last, period="", as_of=NOW, query=QuerySettings().changed(settings)
    )
    return StatementPrinter().print(order, login().accounts)


def pages(body: bytes) -> Iterator[TradePage]:
    reader = FlexStatementReader()
    reader.source(BytesIO(body), StatementHints())
    yield from reader.read_statement(BytesIO(body), StatementHints())


def told(body: bytes) -> list[TradeBooking]:
    """The bookings without the rows that they come from."""
    read = list(pages(body))
    assert not [row.reason for page in read for row in page.quarantined]
    found = [attrs.evolve(booking, raw={}) for page in read for booking in page.bookings]
    return sorted(found, key=lambda one: one.booking_id)


@cache
def plain(kind: str = ACTIVITY) -> list[TradeBooking]:
    return told(document(kind))


@pytest.mark.parametrize(("day", "clock", "separator", "zone"), FORMATS)
def test_every_format_of_dates_and_times_tells_the_same_trades(
    day: str, clock: str, separator: str, zone: bool
) -> None:
    formats = {"date_format": day, "time_format": clock, "separator": separator, "zone": zone}
    assert len(plain()) > 100
    assert told(document(**formats)) == plain()
    assert told(document(CONFIRMATIONS, **formats)) == plain(CONFIRMATIONS)


def test_one_day_with_slashes_that_means_two_is_refused_with_the_setting_to_change() -> None:
    with pytest.raises(BrokerConfigError) as caught:
        told(document(first=date(2026, 3, 2), last=date(2026, 3, 4), date_format="dd/MM/yyyy"))
    assert "set Date Format to yyyyMMdd" in caught.value.remedy


@pytest.mark.parametrize(
    "settings",
    [
        {"breakout_by_day": True},
        {"levels": ["EXECUTION"]},
        {"levels": ["EXECUTION", "ORDER", "CLOSED_LOT", "SYMBOL_SUMMARY", "ASSET_SUMMARY"]},
        {"sections": ["Trades"]},
        {"sections": ["AccountInformation", "Trades"]},
    ],
    ids=lambda settings: "-".join(settings),
)
def test_what_is_ticked_besides_executions_changes_no_trade(settings: dict[str, Any]) -> None:
    assert told(document(**settings)) == plain()


def test_a_statement_a_day_covers_the_days_of_one_over_all() -> None:
    whole, daily = (list(pages(document(breakout_by_day=by_day)))[-1].covered for by_day in (False, True))
    assert daily == whole


def test_columns_that_no_trade_needs_may_be_left_out() -> None:
    unneeded = ["description", "cusip", "figi", "sedol", "settleDateTarget", "fxRateToBase", "orderTime", "cost"]
    assert told(document(without=unneeded)) == plain()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"levels": ["ORDER", "SYMBOL_SUMMARY"]}, "tick Execution"),
        ({"levels": ["CLOSED_LOT"]}, "tick Execution"),
        ({"sections": ["OptionEAE"]}, "tick Execution"),
        ({"without": ["tradeID"]}, "tick Trade ID"),
        ({"without": ["transactionID"]}, "tick Transaction ID"),
        ({"format": "CSV"}, "set Format to XML"),
    ],
)
def test_a_query_that_can_not_tell_trades_is_refused_with_what_to_click(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(BrokerConfigError) as caught:
        told(document(**settings))
    assert words in caught.value.remedy
    assert "Client Portal > Performance & Reports > Flex Queries" in caught.value.remedy


def test_an_alias_stands_in_place_of_the_account() -> None:
    body = document(alias=True)
    assert b'accountId="Pot 001"' in body
    assert login().accounts[0].number.encode() not in body
    with pytest.raises(BrokerInputNeededError, match="alias"):
        told(body)


def owned(body: bytes, *known: BrokerAccount) -> list[tuple[str, TradeBooking]]:
    """Whose each booking is, whatever stands in quarantine."""
    hints = StatementHints(accounts=known)
    reader = FlexStatementReader()
    reader.source(BytesIO(body), hints)
    bookings = [booking for page in reader.read_statement(BytesIO(body), hints) for booking in page.bookings]
    return sorted(
        ((one.account_id, attrs.evolve(one, raw={})) for one in bookings), key=lambda pair: pair[1].booking_id
    )


def test_an_alias_is_read_by_what_a_statement_with_both_has_told() -> None:
    [told_before] = [account for page in pages(document(alias_beside=True)) for account in page.accounts]
    assert told_before.state == {"alias": "Pot 001"}
    for kind in (ACTIVITY, CONFIRMATIONS):
        assert owned(document(kind, alias=True), told_before) == owned(document(kind))


@pytest.mark.parametrize("master", ["separate", "consolidated"])
@pytest.mark.parametrize("kind", [ACTIVITY, CONFIRMATIONS])
def test_a_master_beside_its_sub_accounts_adds_no_trade_and_takes_none(kind: str, master: str) -> None:
    assert owned(document(kind, master=master)) == owned(document(kind))


def test_what_a_master_allocated_is_counted_where_it_is_told_and_quarantined_where_not() -> None:
    read = list(pages(document(master="separate")))
    assert {row.account_id for page in read for row in page.quarantined} == {
        login().accounts[0].number.replace("U", "F")
    }
    read = list(pages(document(CONFIRMATIONS, master="separate")))
    assert not [row for page in read for row in page.quarantined]
    assert any("allocated to another account" in what for page in read for what in page.skipped)


def test_the_parts_of_commissions_add_up_to_what_is_told_without_them() -> None:
    whole, detailed = told(document()), told(document(sections=["Trades", "UnbundledCommissionDetails"]))
    kinds = {fee.kind for one in detailed for fee in one.row_fees}
    assert {FeeKind.COMMISSION, FeeKind.EXCHANGE, FeeKind.CLEARING} <= kinds

    def costs(one: TradeBooking) -> Decimal:
        return sum((fee.amount for fee in one.row_fees), Decimal(0))

    assert [(one.booking_id, costs(one)) for one in detailed] == [(one.booking_id, costs(one)) for one in whole]


@pytest.fixture
async def client() -> Any:
    clock = Clock()
    broker = create(SandboxSettings(now=lambda: clock.time, days=60, think=timedelta(seconds=1)))
    async with TestClient(TestServer(broker.application())) as made:
        made.clock = clock
        yield made, broker.logins[0].fields


class Clock:
    time = NOW


async def asked(made: Any, fields: Any, operation: str, query: str, **more: str) -> str:
    made.clock.time += timedelta(seconds=10)
    params = {"t": fields["token"], "v": "3", "q": query, **more}
    async with made.get(f"/AccountManagement/FlexWebService/{operation}", params=params) as answer:
        return str(await answer.text())


def between(text: str, tag: str) -> str:
    return text.partition(f"<{tag}>")[2].partition(f"</{tag}>")[0]


async def test_a_query_is_set_up_anew_while_the_service_runs(client: Any) -> None:
    made, fields = client
    query = fields["activity_query_id"]
    wish = {"date_format": "yyyy-MM-dd", "breakout_by_day": True, "seconds_a_day": 2}
    async with made.patch(f"/_sandbox/queries/{query}", json=wish) as answer:
        assert answer.status == 200
    ordered = await asked(made, fields, "SendRequest", query, fd="20260301", td="20260310")
    reference = between(ordered, "ReferenceCode")
    # nine days are stated, of two seconds each, and the sandbox's one second: ready at the second look
    assert between(await asked(made, fields, "GetStatement", reference), "ErrorCode") == "1019"
    text = await asked(made, fields, "GetStatement", reference)
    assert 'fromDate="2026-03-02" toDate="2026-03-02"' in text
    async with made.patch(f"/_sandbox/queries/{query}", json={"format": "CSV"}) as answer:
        assert answer.status == 200
    reference = between(await asked(made, fields, "SendRequest", query, fd="20260309", td="20260310"), "ReferenceCode")
    text = await asked(made, fields, "GetStatement", reference)
    assert text.startswith('"ClientAccountID",')


@pytest.mark.parametrize(
    ("query", "wish"),
    [
        ("1", {}),
        (None, []),
        (None, {"colour": "red"}),
        (None, {"date_format": "ddMMyyyy"}),
        (None, {"levels": ["LOTS"]}),
        (None, {"seconds_a_day": -1}),
        (None, {"without": 7}),
    ],
)
async def test_settings_that_no_query_has_are_refused(client: Any, query: str | None, wish: object) -> None:
    made, fields = client
    async with made.patch(f"/_sandbox/queries/{query or fields['activity_query_id']}", json=wish) as answer:
        assert answer.status == 400
        assert (await answer.json())["error"]
