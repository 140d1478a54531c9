"""A Cash History that can not be read holds up no fill, and what its fills cost is to come."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from brokersync.plugin import (
    BrokerAuthError,
    BrokerError,
    BrokerRateLimitError,
    BrokerTokenExpiredError,
    FeeKind,
    FeesState,
    Finality,
    RawRow,
    RequestDraft,
    TradePage,
    TradeRequest,
)
from brokersync_tradovate.renormalise import renormalise

from .test_reports import MARCH, REPORT, script


def unread(world: Any, exports: Any, cash: Any, status: int = 200) -> None:
    script(world, "")
    fills = exports.text(exports.fill())

    def answer(draft: RequestDraft) -> Any:
        if draft.json["name"] == "Fills":
            return {"data": fills}
        return (status, cash if isinstance(cash, str) else json.dumps(cash))

    world.broker.on("reporting-live", REPORT, answer)


async def read(world: Any) -> tuple[TradePage, TradePage]:
    request = TradeRequest(source="reports", window=MARCH, accounts=(world.account(),))
    first, last = [page async for page in world.provider.get_trades(world.auth, request)]
    return first, last


@pytest.mark.parametrize(
    ("cash", "status"),
    [
        ("Bad gateway", 502),
        ("", 500),
        ([], 200),
        ({"data": None}, 200),
        ("<html>Welcome</html>", 200),
        ({"errorText": "closed for maintenance"}, 200),
        ({"errorText": "Access is denied"}, 200),
        ("", 401),
        ("", 403),
        ({"errorText": "Unknown report"}, 200),
        ({"errorText": "Something new"}, 200),
        ({"data": "Konto,Betrag\r\n"}, 200),
        ({"data": "Acc\0ount"}, 200),
        ({"data": 'Account,"Transaction ID'}, 200),
    ],
)
async def test_fills_come_without_it_and_their_fees_are_waited_for(
    world: Any, exports: Any, cash: Any, status: int
) -> None:
    unread(world, exports, cash, status)

    first, last = await read(world)

    (trade,) = [one.trade for one in first.bookings]
    assert trade is not None
    assert [(fee.kind, fee.amount) for fee in trade.fees] == [(FeeKind.COMMISSION, Decimal("1.58"))]
    assert trade.fees_state is FeesState.PENDING
    assert [span.finality for span in last.covered] == [Finality.PROVISIONAL]
    assert [span.window for span in last.covered] == [MARCH]
    assert any("reported fees are the commission alone" in one for one in last.unmapped)


def asks(world: Any) -> int:
    """How often the Cash History has been asked for since this was asked last: each time as a whole and in halves."""
    sent = [one.draft.json["name"] for one in world.broker.sent if one.path == REPORT]
    world.broker.sent.clear()
    times, rest = divmod(sent.count("Cash History"), 3)
    assert not rest
    return times


async def test_one_that_fails_for_ever_is_asked_for_a_few_times_a_day_and_holds_up_no_fill(
    world: Any, exports: Any
) -> None:
    unread(world, exports, "", 502)
    daily = []
    for _ in range(3):
        for _ in range(24 * 12):
            first, last = await read(world)
            assert len(first.bookings) == 1
            assert last.covered[0].finality is Finality.PROVISIONAL
            assert any("until it does" in one for one in last.unmapped)
            world.clock.moment += timedelta(minutes=5)
        daily.append(asks(world))
    # in the first quarter of an hour of each round, as all its windows are
    assert [count / 3 for count in daily] == [8, 5, 4]


async def test_one_that_is_back_is_read_within_hours_and_its_next_failure_is_a_first_one(
    world: Any, exports: Any
) -> None:
    unread(world, exports, "", 502)
    for _ in range(48):
        await read(world)
        world.clock.moment += timedelta(minutes=30)
    unread(world, exports, {"data": exports.cash_history(exports.cash("Commission", "-1.58"))})
    began = world.clock.moment
    while (await read(world))[0].bookings[0].trade.fees_state is FeesState.PENDING:
        world.clock.moment += timedelta(minutes=30)
    assert world.clock.moment - began <= timedelta(hours=5)

    world.clock.moment += timedelta(days=2)
    unread(world, exports, "", 502)
    await read(world)
    world.clock.moment += timedelta(minutes=30)
    world.broker.sent.clear()
    await read(world)
    assert asks(world) == 1


async def test_days_that_are_over_wait_apart_from_the_last_ones(world: Any, exports: Any) -> None:
    unread(world, exports, "", 502)
    world.clock.moment = datetime(2026, 4, 2, 23, 50, tzinfo=UTC)
    for _ in range(3):
        await read(world)
        world.clock.moment += timedelta(minutes=20)
    assert asks(world) == 2, "the last day of the window is settled at midnight"


@pytest.mark.parametrize(
    ("cash", "status", "kind"),
    [
        ("", 429, BrokerRateLimitError),
        ("", 423, BrokerRateLimitError),
        ("Expired Access Token", 401, BrokerTokenExpiredError),
        ({"p-captcha": True, "p-ticket": "t"}, 200, BrokerAuthError),
    ],
)
async def test_what_concerns_every_request_ends_the_read(
    world: Any, exports: Any, cash: Any, status: int, kind: type[BrokerError]
) -> None:
    unread(world, exports, cash, status)

    with pytest.raises(kind):
        await read(world)


async def test_a_kept_row_of_such_a_fill_is_read_again_as_it_was(world: Any, exports: Any) -> None:
    unread(world, exports, [])
    first, _ = await read(world)
    trade = first.bookings[0].trade
    assert trade is not None

    kept = RawRow(raw=trade.raw, environment="live", account_id="11", row_id=trade.trade_id)
    (page,) = renormalise("reports", [kept])

    assert [(one.trade.fees, one.trade.fees_state) for one in page.bookings if one.trade] == [
        (trade.fees, FeesState.PENDING)
    ]
