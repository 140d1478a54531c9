"""A Cash History that can not be read holds up no fill, and what its fills cost is to come."""

from __future__ import annotations

import json
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
    ("cash", "status", "finality"),
    [
        ("Bad gateway", 502, Finality.PROVISIONAL),
        ("", 500, Finality.PROVISIONAL),
        ([], 200, Finality.PROVISIONAL),
        ({"data": None}, 200, Finality.PROVISIONAL),
        ("<html>Welcome</html>", 200, Finality.PROVISIONAL),
        ({"errorText": "closed for maintenance"}, 200, Finality.PROVISIONAL),
        ({"errorText": "Access is denied"}, 200, Finality.FINAL),
        ("", 401, Finality.FINAL),
        ("", 403, Finality.FINAL),
        ({"errorText": "Unknown report"}, 200, Finality.FINAL),
        ({"errorText": "Something new"}, 200, Finality.FINAL),
        ({"data": "Konto,Betrag\r\n"}, 200, Finality.FINAL),
    ],
)
async def test_fills_come_without_it_and_what_passes_is_asked_for_again(
    world: Any, exports: Any, cash: Any, status: int, finality: Finality
) -> None:
    unread(world, exports, cash, status)

    first, last = await read(world)

    (trade,) = [one.trade for one in first.bookings]
    assert trade is not None
    assert [(fee.kind, fee.amount) for fee in trade.fees] == [(FeeKind.COMMISSION, Decimal("1.58"))]
    assert trade.fees_state is FeesState.PENDING
    assert [span.finality for span in last.covered] == [finality]
    assert [span.window for span in last.covered] == [MARCH]
    assert any("reported fees are the commission alone" in one for one in last.unmapped)


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
