"""The rows of an older journal against a real store."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs
import pytest

from brokersync.journal import Journal
from brokersync.matching import Doubt, ExistingTrade, MatchRule, Verdict
from brokersync.records import PageCommit
from brokersync.store import PageRules, Store, TradeFilter
from brokersync.sync.fold import fold
from brokersync.sync.ledger import cover, reopen
from brokersync.types import (
    AssetClass,
    BookingEffect,
    BrokerAccount,
    BrokerTrade,
    Instrument,
    Side,
    TradeBooking,
    utc,
)

AT = utc(datetime.fromisoformat("2026-03-04T15:30:12Z"))
RULES = PageRules(fold=fold, cover=cover, reopen=reopen, precedence=lambda _: 1)


def trade(trade_id: str, **facts: Any) -> BrokerTrade:
    values: dict[str, Any] = {
        "provider": "acme",
        "environment": "live",
        "account_id": "11",
        "instrument": Instrument(symbol="ACME", asset_class=AssetClass.STOCK),
        "side": Side.BUY,
        "quantity": Decimal(3),
        "price": Decimal("10.25"),
        "executed_at": AT,
    }
    return BrokerTrade(trade_id=trade_id, **(values | facts))


def row(row_id: str = "r1", **facts: Any) -> ExistingTrade:
    values: dict[str, Any] = {
        "provider": "acme",
        "symbol": "ACME",
        "side": Side.BUY,
        "quantity": Decimal(3),
        "price": Decimal("10.25"),
        "executed_at": AT,
    }
    return ExistingTrade(row_id=row_id, **(values | facts))


async def keep(store: Store, *bookings: TradeBooking, owner: str = "me", **facts: Any) -> None:
    page = PageCommit(owner=owner, provider="acme", source="fills", at=AT, bookings=bookings, **facts)
    await store.commit_page(page, RULES)


async def test_a_name_of_any_booking_of_a_trade_is_the_same(store: Store) -> None:
    first = TradeBooking.of(trade("exec:1"), booking_id="tx:70", refs=("exec:1",))
    corrected = TradeBooking.of(
        trade("exec:1", price=Decimal(11)), booking_id="tx:71", refs=("exec:1",), effect=BookingEffect.REPLACE
    )
    await keep(store, first, corrected)
    for kept in ("exec:1", "1", "tx:70", "70", "71"):
        (match,) = await Journal(store).match("me", [row(trade_ids=(kept,), price=Decimal(11))])
        assert (match.verdict, [key.trade_id for key in match.trades]) == (Verdict.SAME, ["exec:1"]), kept


async def test_an_id_is_found_however_wrong_the_time_of_the_row_is(store: Store) -> None:
    await keep(store, TradeBooking.of(trade("fill:1")))
    (match,) = await Journal(store).match("me", [row(trade_ids=("1",), executed_at=date(1999, 1, 1))])
    assert ([key.trade_id for key in match.trades], match.doubts) == (["fill:1"], (Doubt.DAY,))


@pytest.mark.parametrize("at", [AT, AT - timedelta(hours=5), date(2026, 3, 4), AT.replace(second=0)])
async def test_content_is_found_around_the_times_of_the_rows(store: Store, at: datetime | date) -> None:
    far = trade("fill:2", executed_at=AT + timedelta(days=400))
    await keep(store, TradeBooking.of(trade("fill:1")), TradeBooking.of(far))
    (match,) = await Journal(store).match("me", [row(executed_at=at)])
    assert (match.rule, [key.trade_id for key in match.trades]) == (MatchRule.CONTENT, ["fill:1"])


async def test_the_first_and_the_last_day_there_is_are_days(store: Store) -> None:
    await keep(store, TradeBooking.of(trade("fill:1")))
    rows = [row("a", executed_at=date.min), row("b", executed_at=date.max), row("c")]
    assert [match.verdict.value for match in await Journal(store).match("me", rows)] == ["new", "new", "likely"]


async def test_an_account_is_known_by_its_name_too(store: Store) -> None:
    account = BrokerAccount(account_id="11", environment="live", name="DEMO77")
    await keep(store, TradeBooking.of(trade("fill:1")), accounts=(account,))
    (match,) = await Journal(store).match("me", [row(account_id="DEMO77")])
    assert [key.account_id for key in match.trades] == ["11"]


async def test_a_name_that_two_accounts_have_means_neither(store: Store) -> None:
    accounts = tuple(BrokerAccount(account_id=one, environment="live", name="main") for one in ("11", "12"))
    await keep(store, TradeBooking.of(trade("fill:1")), accounts=accounts)
    (match,) = await Journal(store).match("me", [row(account_id="main")])
    assert match.verdict is Verdict.NEW


async def test_owners_match_their_own_trades_alone(store: Store) -> None:
    await keep(store, TradeBooking.of(trade("fill:1")), owner="somebody")
    (match,) = await Journal(store).match("me", [row(trade_ids=("1",))])
    assert match.verdict is Verdict.NEW


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"provider": "ACME"}, "The owner has no account at 'ACME' in the store; known are: acme."),
        ({"account_id": "12"}, "The owner has no account '12' in the store; known are: 11."),
        (
            {"environment": "demo"},
            "The owner has no account in the environment 'demo' in the store; known are: live.",
        ),
        (
            {"environment": "live", "account_id": "12"},
            "The owner has no account in the environment 'live' called '12' in the store; known are: 11.",
        ),
        ({"account_id": "11", "symbol": "XYZ"}, "No trade in the store has its id or fits its content."),
    ],
)
async def test_a_row_of_a_broker_or_account_that_nobody_has_says_so(
    store: Store, facts: dict[str, Any], said: str
) -> None:
    await keep(store, TradeBooking.of(trade("fill:1")))
    (match,) = await Journal(store).match("me", [row(**facts)])
    assert (match.verdict, match.reason) == (Verdict.NEW, said)


async def test_rows_of_an_owner_who_has_nothing_say_so(store: Store) -> None:
    (match,) = await Journal(store).match("nobody", [row()])
    assert match.reason == "The owner has no account at 'acme' in the store; known are: none."


async def test_a_cancelled_trade_is_known(store: Store) -> None:
    cancel = TradeBooking(
        booking_id="c", environment="live", account_id="11", effect=BookingEffect.CANCEL, refs=("fill:1",)
    )
    await keep(store, TradeBooking.of(trade("fill:1")), cancel)
    (match,) = await Journal(store).match("me", [row(trade_ids=("1",))])
    assert match.verdict is Verdict.SAME
    assert "cancelled" in match.reason


async def test_every_page_of_the_store_is_read(store: Store) -> None:
    trades = [trade(f"fill:{n}", executed_at=AT + timedelta(minutes=n // 2)) for n in range(31)]
    await keep(store, *(TradeBooking.of(one, refs=(f"x:{one.trade_id}",)) for one in trades))
    found, after = [], None
    while True:
        page, after = await store.named_trades("me", TradeFilter(), after=after, limit=7)
        found += page
        if after is None:
            break
    assert [named.trade.trade_id for named in found] == [
        one.trade_id for one in (await store.trades("me", TradeFilter()))[0]
    ]
    assert all(named.names == (named.trade.trade_id, f"x:{named.trade.trade_id}") for named in found)


async def test_matching_changes_nothing(store: Store) -> None:
    await keep(store, TradeBooking.of(trade("fill:1")))
    before = await store.changes("me", 0), await store.trades("me", TradeFilter())
    rows = [row("a"), attrs.evolve(row("b"), provider="another")]
    answers = await Journal(store).match("me", iter(rows))
    assert [match.row_id for match in answers] == ["a", "b"]
    assert (await store.changes("me", 0), await store.trades("me", TradeFilter())) == before
