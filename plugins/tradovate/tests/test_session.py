from __future__ import annotations

import json
import random
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brokersync.plugin import (
    AssetClass,
    BrokerAccount,
    BrokerResponseError,
    CoveredSpan,
    Fee,
    FeeKind,
    FeesState,
    Finality,
    Instrument,
    RawRow,
    Side,
    TimeWindow,
    TradePage,
    TradeRequest,
)
from brokersync_tradovate.payloads import FEE_CURRENCIES
from brokersync_tradovate.renormalise import renormalise

SESSION = TimeWindow(datetime(2026, 4, 14, 22, tzinfo=UTC), datetime(2026, 4, 15, 22, tzinfo=UTC))
CONTRACT = {"id": 301, "name": "MYMM6", "contractMaturityId": 401}
MATURITY = {"id": 401, "productId": 501, "expirationMonth": 202606, "expirationDate": "2026-06-19T13:30:00Z"}
PRODUCT = {"id": 501, "name": "MYM", "currencyId": 3, "productType": "Futures", "valuePerPoint": 0.5, "tickSize": 1.0}
CURRENCIES = [{"id": 3, "name": "usd", "symbol": "$"}, {"id": 8, "name": "EUR", "symbol": "e"}]


def fill(number: int = 21, **changes: Any) -> dict[str, Any]:
    return {
        "id": number,
        "orderId": 200,
        "contractId": 301,
        "timestamp": "2026-04-15T13:31:02.125Z",
        "tradeDate": {"year": 2026, "month": 4, "day": 15},
        "action": "Buy",
        "qty": 2,
        "price": 41250.5,
        "active": True,
        "finallyPaired": 0,
        "external": False,
    } | changes


def order(number: int = 200, account: int = 11) -> dict[str, Any]:
    return {"id": number, "accountId": account, "ordStatus": "Filled", "action": "Buy"}


def fee(number: int = 21, **amounts: Any) -> dict[str, Any]:
    return {"id": number} | amounts


def script(
    world: Any,
    fills: Sequence[Any] = (),
    orders: Sequence[Any] = (),
    fees: Sequence[Any] = (),
    environment: str = "live",
) -> None:
    world.broker.on(environment, "fill/list", list(fills))
    world.broker.on(environment, "account/list", [{"id": 11, "name": "77001"}])
    world.broker.on(environment, "order/list", list(orders))
    world.broker.on(environment, "fillFee/list", list(fees))
    world.broker.on(environment, "contract/items", [CONTRACT])
    world.broker.on(environment, "contractMaturity/items", [MATURITY])
    world.broker.on(environment, "product/items", [PRODUCT])
    world.broker.on(environment, "currency/list", CURRENCIES)


async def read(world: Any, *accounts: BrokerAccount, window: TimeWindow = SESSION) -> list[TradePage]:
    request = TradeRequest(source="session", window=window, accounts=accounts or (world.account(),))
    return [page async for page in world.provider.get_trades(world.auth, request)]


async def read_one(world: Any, *accounts: BrokerAccount) -> TradePage:
    (page,) = await read(world, *accounts)
    return page


async def test_a_fill_is_joined_with_its_account_fees_and_contract(world: Any) -> None:
    fees = fee(commission=0.78, commissionCurrencyId=3, exchangeFee=0.7, exchangeCurrencyId=8)
    script(world, [fill()], [order()], [fees])

    page = await read_one(world)

    (booking,) = page.bookings
    trade = booking.trade
    assert trade is not None
    assert (booking.booking_id, booking.refs, booking.account_id, booking.environment) == (
        "fill:21",
        ("fill:21",),
        "11",
        "live",
    )
    assert (trade.trade_id, trade.order_id, trade.account_id, trade.side) == ("fill:21", "200", "11", Side.BUY)
    assert (trade.quantity, trade.price) == (Decimal(2), Decimal("41250.5"))
    assert trade.executed_at == datetime(2026, 4, 15, 13, 31, 2, 125_000, tzinfo=UTC)
    assert trade.trade_date == date(2026, 4, 15)
    assert trade.instrument == Instrument(
        symbol="MYMM6",
        broker_id="301",
        asset_class=AssetClass.FUTURE,
        currency="USD",
        multiplier=Decimal("0.5"),
        underlying="MYM",
        expiry=date(2026, 6, 19),
    )
    assert trade.fees == (
        Fee(kind=FeeKind.COMMISSION, amount=Decimal("0.78"), currency="USD"),
        Fee(kind=FeeKind.EXCHANGE, amount=Decimal("0.7"), currency="EUR"),
    )
    assert (trade.fees_state, trade.tags, trade.event.value) == (FeesState.ESTIMATED, (), "execution")
    assert (page.quarantined, dict(page.unmapped), page.accounts) == ((), {}, ())


async def test_the_row_is_kept_as_json_with_every_digit(world: Any) -> None:
    script(world, [fill(price=0.1, note=None)], [order()], [fee(commission=1.10)])

    (booking,) = (await read_one(world)).bookings

    assert booking.trade is not None
    raw = json.loads(json.dumps(dict(booking.trade.raw)))
    assert raw["fill"]["price"] == "0.1"
    assert raw["fill"]["tradeDate"] == {"year": 2026, "month": 4, "day": 15}
    assert raw["fillFee"] == {"id": 21, "commission": "1.1"}


@pytest.mark.parametrize(
    ("field", "currency", "kind"),
    [
        ("commission", "commissionCurrencyId", FeeKind.COMMISSION),
        ("exchangeFee", "exchangeCurrencyId", FeeKind.EXCHANGE),
        ("clearingFee", "clearingCurrencyId", FeeKind.CLEARING),
        ("nfaFee", "nfaCurrencyId", FeeKind.REGULATORY),
        ("brokerageFee", "brokerageCurrencyId", FeeKind.BROKERAGE),
        ("ipFee", "ipCurrencyId", FeeKind.PLATFORM),
        ("orderRoutingFee", "orderRoutingCurrencyId", FeeKind.ROUTING),
    ],
)
async def test_each_fee_keeps_its_kind_sign_and_currency(world: Any, field: str, currency: str, kind: FeeKind) -> None:
    script(world, [fill()], [order()], [fee() | {field: -0.25, currency: 8}])

    (booking,) = (await read_one(world)).bookings

    assert booking.trade is not None
    assert booking.trade.fees == (Fee(kind=kind, amount=Decimal("-0.25"), currency="EUR"),)


@pytest.mark.parametrize(
    ("fees", "amounts", "state"),
    [
        ([], [], FeesState.PENDING),
        ([fee()], [], FeesState.PENDING),
        ([fee(22, commission=1, commissionCurrencyId=3)], [], FeesState.PENDING),
        ([fee(commission=None, commissionCurrencyId=3)], [], FeesState.PENDING),
        ([fee(commission=0.0, commissionCurrencyId=3)], ["0.0"], FeesState.ESTIMATED),
        ([fee(nfaFee=0.0, nfaCurrencyId=3)], ["0.0"], FeesState.ESTIMATED),
        (
            [fee(**dict.fromkeys(FEE_CURRENCIES, 1), **dict.fromkeys(FEE_CURRENCIES.values(), 3))],
            ["1"] * 7,
            FeesState.ESTIMATED,
        ),
        ([fee(commission=1.29)], ["1.29"], FeesState.ESTIMATED),
        ([fee(commission=1.29, commissionCurrencyId=99)], [], FeesState.PENDING),
    ],
)
async def test_fees_that_are_not_told_are_not_zero_and_no_list_says_that_it_told_all(
    world: Any, fees: list[Any], amounts: list[str], state: FeesState
) -> None:
    script(world, [fill()], [order()], fees)

    (booking,) = (await read_one(world)).bookings

    assert booking.trade is not None
    assert [one.amount for one in booking.trade.fees] == [Decimal(amount) for amount in amounts]
    assert booking.trade.fees_state is state


async def test_accounts_of_one_login_are_told_apart_by_their_orders(world: Any) -> None:
    fills = [fill(21, orderId=200), fill(22, orderId=201), fill(23, orderId=200)]
    script(world, fills, [order(201, 12), order(200, 11)])

    page = await read_one(world, world.account(11), world.account(12))

    assert [(one.booking_id, one.account_id) for one in page.bookings] == [
        ("fill:21", "11"),
        ("fill:22", "12"),
        ("fill:23", "11"),
    ]


async def test_an_order_missing_from_the_list_is_asked_for_by_its_id(world: Any) -> None:
    script(world, [fill(21, orderId=200), fill(22, orderId=201)], [order(200)])
    world.broker.on("live", "order/items", [order(201, 12)])

    page = await read_one(world, world.account(11), world.account(12))

    assert [one.account_id for one in page.bookings] == ["11", "12"]
    assert [one.draft.params for one in world.broker.sent if one.path == "order/items"] == [{"ids": "201"}]


async def test_a_fill_without_a_known_account_is_held_and_not_guessed(world: Any) -> None:
    script(world, [fill(21, orderId=200), fill(22, orderId=201)], [order(200)])
    world.broker.on("live", "order/items", "", status=404)

    page = await read_one(world)

    assert [one.booking_id for one in page.bookings] == ["fill:21"]
    (held,) = page.quarantined
    assert "account is unknown" in held.reason
    assert (held.row_id, held.account_id, held.environment) == ("fill:22", None, "live")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"action": "Short"}, "neither Buy nor Sell"),
        ({"action": "buy"}, "neither Buy nor Sell"),
        ({"qty": 0}, "quantity"),
        ({"qty": -1}, "quantity"),
        ({"qty": None}, "qty is missing"),
        ({"price": "NaN"}, "no number"),
        ({"price": True}, "no number"),
        ({"timestamp": "2026-04-15T13:31:02"}, "no time zone"),
        ({"timestamp": "yesterday"}, "no time"),
        ({"tradeDate": {"year": 2026, "month": 13, "day": 1}}, "no date"),
        ({"contractId": 1.5}, "no whole number"),
        ({"orderId": "9" * 5000}, "no whole number"),
        ({"price": "41,250"}, "no number"),
    ],
)
async def test_a_row_that_is_not_understood_is_held_alone(world: Any, changes: dict[str, Any], reason: str) -> None:
    script(world, [fill(21), fill(22) | changes], [order()])

    page = await read_one(world)

    assert [one.booking_id for one in page.bookings] == ["fill:21"]
    assert [reason in one.reason for one in page.quarantined] == [True]
    assert page.quarantined[0].raw


async def test_a_fill_that_is_not_readable_is_kept_with_all_that_a_corrected_reading_needs(world: Any) -> None:
    script(world, [fill(22, qty="two")], [order()], [fee(22, commission=1.5, commissionCurrencyId=8)])

    (held,) = (await read_one(world)).quarantined

    assert (held.row_id, held.account_id, held.environment) == ("fill:22", "11", "live")
    mended = {**held.raw, "fill": {**held.raw["fill"], "qty": 2}}
    (page,) = renormalise("session", [RawRow(raw=mended, account_id=held.account_id, environment=held.environment)])
    script(world, [fill(22)], [order()], [fee(22, commission=1.5, commissionCurrencyId=8)])
    (fresh,) = (await read_one(world)).bookings
    assert [attrs.evolve(one, raw={}) for one in page.bookings] == [attrs.evolve(fresh, raw={})]
    assert fresh.booking_id == held.row_id


async def test_a_fill_of_which_nothing_is_readable_is_held_all_the_same(world: Any) -> None:
    script(world, [{"id": "x", "orderId": None, "contractId": 1.5}], [order()])

    (held,) = (await read_one(world)).quarantined

    assert (held.row_id, held.account_id) == (None, None)
    assert held.raw["fill"]["id"] == "x"


async def test_an_inactive_fill_is_booked_and_tagged(world: Any) -> None:
    script(world, [fill(active=False)], [order()])

    (booking,) = (await read_one(world)).bookings

    assert booking.trade is not None
    assert booking.trade.tags == ("inactive",)


async def test_the_session_date_is_the_exchanges_and_not_that_of_the_clock(world: Any) -> None:
    script(world, [fill(timestamp="2026-04-14T22:17:41.350Z")], [order()])

    (booking,) = (await read_one(world)).bookings

    assert booking.trade is not None
    assert booking.trade.trade_date == date(2026, 4, 15)
    assert booking.trade.executed_at.date() == date(2026, 4, 14)


@pytest.mark.parametrize(
    ("product_type", "asset_class", "counted"),
    [
        ("Futures", AssetClass.FUTURE, False),
        ("Options", AssetClass.FUTURE_OPTION, False),
        ("Spread", AssetClass.SPREAD, False),
        ("Cryptocurrency", AssetClass.CRYPTO, False),
        ("CommonStock", AssetClass.STOCK, False),
        ("Continuous", AssetClass.OTHER, True),
        ("Weather", AssetClass.OTHER, True),
    ],
)
async def test_a_product_type_is_an_asset_class_or_counted(
    world: Any, product_type: str, asset_class: AssetClass, counted: bool
) -> None:
    script(world, [fill()], [order()])
    world.broker.on("live", "product/items", [PRODUCT | {"productType": product_type}])

    page = await read_one(world)

    assert page.bookings[0].trade is not None
    assert page.bookings[0].trade.instrument.asset_class is asset_class
    assert (f"productType {product_type}" in page.unmapped) is counted


@pytest.mark.parametrize("gone", ["contract/items", "contractMaturity/items", "product/items"])
async def test_a_contract_that_is_not_told_leaves_the_instrument_incomplete(world: Any, gone: str) -> None:
    script(world, [fill()], [order()])
    world.broker.on("live", gone, "", status=404)

    page = await read_one(world)

    assert page.bookings[0].trade is not None
    instrument = page.bookings[0].trade.instrument
    assert (instrument.complete, instrument.multiplier, instrument.currency) == (False, None, None)
    assert instrument.symbol == ("301" if gone == "contract/items" else "MYMM6")
    assert page.unmapped == {f"{gone.partition('/')[0]} not found": 1}


@pytest.mark.parametrize("value", [0, -1])
async def test_a_multiplier_that_can_not_be_is_none(world: Any, value: int) -> None:
    script(world, [fill()], [order()])
    world.broker.on("live", "product/items", [PRODUCT | {"valuePerPoint": value}])

    (booking,) = (await read_one(world)).bookings

    assert booking.trade is not None
    assert booking.trade.instrument.multiplier is None


async def test_reference_data_is_asked_for_once_and_kept_exactly(world: Any) -> None:
    script(world, [fill()], [order()], [fee(commission=1, commissionCurrencyId=3)])
    first = await read_one(world)
    asked = world.broker.paths()
    world.broker.sent.clear()

    second = await read_one(world)

    assert second == first
    assert asked == [
        "fill/list",
        "account/list",
        "order/list",
        "fillFee/list",
        "contract/items",
        "contractMaturity/items",
        "product/items",
        "currency/list",
    ]
    assert world.broker.paths() == ["fill/list", "account/list", "order/list", "fillFee/list"]


async def test_a_row_that_was_not_understood_is_not_kept(world: Any) -> None:
    script(world, [fill()], [order()])
    world.broker.on("live", "product/items", [PRODUCT | {"valuePerPoint": "many"}], [PRODUCT])

    first, second = await read_one(world), await read_one(world)

    assert (first.bookings[0].trade and first.bookings[0].trade.instrument.complete) is False
    assert any("Product row" in name for name in first.unmapped)
    assert (second.bookings[0].trade and second.bookings[0].trade.instrument.complete) is True


async def test_an_id_may_come_as_text(world: Any) -> None:
    script(world, [fill()], [order()])
    world.broker.on("live", "contract/items", [CONTRACT | {"id": "301"}])

    first, second = await read_one(world), await read_one(world)

    assert (first.bookings[0].trade and first.bookings[0].trade.instrument.symbol) == "MYMM6"
    assert first == second


async def test_ids_mean_other_things_on_the_other_side(world: Any) -> None:
    script(world, [fill()], [order()])
    script(world, [fill(77)], [order(account=51)], environment="demo")
    world.broker.on("demo", "contract/items", [CONTRACT | {"name": "6EM6"}])
    world.broker.on("demo", "currency/list", [{"id": 3, "name": "CHF"}])

    live, demo = await read(world, world.account(), world.account(51, "demo"))

    found = [page.bookings[0].trade for page in (live, demo)]
    assert [(one.environment, one.instrument.symbol, one.instrument.currency) for one in found if one] == [
        ("live", "MYMM6", "USD"),
        ("demo", "6EM6", "CHF"),
    ]


async def test_a_side_without_accounts_is_not_asked(world: Any) -> None:
    script(world, environment="demo")

    await read(world, world.account(51, "demo"))

    assert [one.role for one in world.broker.sent] == ["demo", "demo"]


async def test_an_empty_session_costs_two_requests_and_is_covered(world: Any) -> None:
    script(world)

    page = await read_one(world)

    assert page == TradePage(
        covered=(
            CoveredSpan(
                account_id="11",
                environment="live",
                window=TimeWindow(SESSION.start, world.clock.now()),
                finality=Finality.PROVISIONAL,
            ),
        )
    )
    assert world.broker.paths() == ["fill/list", "account/list"]


async def test_an_account_that_is_listed_no_more_is_not_covered(world: Any) -> None:
    script(world, [fill()], [order()])
    for fills in ([fill()], []):
        world.broker.on("live", "fill/list", fills)
        page = await read_one(world, world.account(11), world.account(12))
        assert [span.account_id for span in page.covered] == ["11"]


async def test_what_is_traded_after_the_read_is_not_claimed(world: Any) -> None:
    script(world)
    world.clock.moment = SESSION.end - timedelta(hours=1)
    in_time = await read_one(world)
    world.clock.moment = SESSION.start
    early = await read_one(world)

    assert [span.window for span in in_time.covered] == [TimeWindow(SESSION.start, SESSION.end - timedelta(hours=1))]
    assert early.covered == ()


@pytest.mark.parametrize("late", [timedelta(0), timedelta(seconds=4), timedelta(hours=30)])
async def test_a_list_that_is_answered_after_the_roll_proves_nothing_of_the_session_before(
    world: Any, late: timedelta
) -> None:
    script(world, [fill()], [order()])
    world.clock.moment = SESSION.end - timedelta(seconds=1)

    def answered_late(_: Any) -> Any:
        world.clock.moment = SESSION.end + late
        return [fill()]

    world.broker.on("live", "fill/list", answered_late)

    page = await read_one(world)

    assert (len(page.bookings), page.covered) == (1, ())


async def test_an_account_that_was_opened_since_is_told_with_its_fills(world: Any) -> None:
    script(world, [fill()], [order(account=12)])
    world.broker.on("live", "account/list", [{"id": 11, "name": "77001"}, {"id": 12, "name": "77002"}])

    page = await read_one(world)

    assert page.accounts == (BrokerAccount(account_id="12", environment="live", name="77002", closed=False),)
    assert [span.account_id for span in page.covered] == ["11"]


@pytest.mark.parametrize(("length", "warned"), [(999, False), (1000, True), (1023, False), (1024, True), (1025, False)])
async def test_a_list_that_may_have_been_cut_is_counted(world: Any, length: int, warned: bool) -> None:
    script(world, [fill(number) for number in range(1, length + 1)], [order()])

    page = await read_one(world)

    assert len(page.bookings) == length
    assert any(name.startswith("fill/list has") for name in page.unmapped) is warned


@pytest.mark.parametrize("entity", ["fill", "order", "fillFee", "currency"])
@pytest.mark.parametrize("body", [{"rows": []}, [[]], "null", "<html>Hello</html>", '[{"id": 1'])
async def test_a_list_of_another_shape_ends_the_read(world: Any, entity: str, body: Any) -> None:
    script(world, [fill()], [order()])
    world.broker.on("live", f"{entity}/list", body)

    with pytest.raises(BrokerResponseError):
        await read(world)


async def test_a_contract_with_a_name_that_no_text_has_is_counted_and_its_fill_is_booked(world: Any) -> None:
    script(world, [fill(21)], [order()])
    world.broker.on("live", "contract/items", [CONTRACT | {"name": "MYM\0M6"}])

    page = await read_one(world)

    assert [one.booking_id for one in page.bookings] == ["fill:21"]
    assert page.unmapped == {"Contract row: name is no text": 1, "contract not found": 1}


async def test_a_malformed_order_or_fee_is_counted_and_costs_nothing_else(world: Any) -> None:
    bad_fee = fee(22, commission="a lot")
    script(world, [fill(21)], [order(), {"id": 5}, {"accountId": 6}], [bad_fee])

    page = await read_one(world)

    assert [one.booking_id for one in page.bookings] == ["fill:21"]
    assert page.unmapped == {
        "Order row: accountId is missing": 1,
        "Order row: id is missing": 1,
        "FillFee row: 'a lot' is no number": 1,
    }


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (fee(21, commission=1.1), None),
        (fee(21, commission=-1.1), "fillFee: commission is negative, which is taken for money back"),
        (fee(99, commission=1.1), "fillFee: no row has the id of a fill"),
        (fee(21, nfaFee=1.1), "fillFee: no commission is told, where other fees are"),
    ],
)
async def test_fees_that_may_not_be_what_they_are_taken_for_are_told(world: Any, row: Any, said: str | None) -> None:
    script(world, [fill(21)], [order()], [row])

    assert list((await read_one(world)).unmapped) == ([said] if said else [])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(st.integers(1, 10**15), st.integers(0, 3), st.integers(0, 5), st.booleans()),
        min_size=1,
        max_size=12,
        unique_by=lambda row: row[0],
    ),
    seed=st.integers(),
)
async def test_the_order_of_the_lists_changes_nothing(new_world: Any, rows: Any, seed: int) -> None:
    fills = [fill(number, orderId=200 + of, timestamp=f"2026-04-15T13:31:0{second}Z") for number, of, second, _ in rows]
    orders = [order(200 + number, 11 + number) for number in range(3)]  # one order stays unknown
    fees = [fee(number, commission=1, commissionCurrencyId=3) for number, _, _, told in rows if told]
    pages = []
    for shuffled in (False, True):
        world = new_world()
        if shuffled:
            for each in (fills, orders, fees):
                random.Random(seed).shuffle(each)
        script(world, fills, orders, fees)
        world.broker.on("live", "order/items", "", status=404)
        world.broker.on("live", "account/list", [{"id": 11 + number, "name": "n"} for number in range(3)])
        pages.append(await read_one(world))

    assert pages[0] == pages[1]
    assert len(pages[0].bookings) + len(pages[0].quarantined) == len(rows)
