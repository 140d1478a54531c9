"""A day of Tradovate's under its faults, on a clock that broker and worker share: no login ends, nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from brokersync import Done
from brokersync.events import ConnectionNeedsUser
from brokersync.store import TradeFilter

from .stage import staged

OAUTH, RENEWAL = "auth/oauthtoken", "auth/renewaccesstoken"
# what passes by itself; not the answer to a refresh that is lost on the way, after which nobody knows the new token
PASSING = (
    ("oauth_refused", None),
    ("expired_token", None),
    ("session_closed", "fill/list"),
    ("penalty_ticket", None),
    ("penalty_ticket", OAUTH),
    ("server_error", None),
    ("timeout", None),
    ("maintenance", OAUTH),
    ("maintenance_text", RENEWAL),
    ("cut", "order/list"),
    ("redirect", "account/list"),
    ("accounts_hidden", None),
    ("truncated", "fill/list"),
)


@pytest.mark.parametrize("number", range(2))
async def test_a_day_of_faults_ends_no_login_and_loses_nothing(
    tmp_path: Path, sized: Callable[[str, int, int], int], number: int
) -> None:
    hours = sized("hours of a Tradovate login under faults", 24, 120)
    random = Random(number)
    async with staged(tmp_path, trades_per_day=6, days=4) as stage, stage.process() as bs:
        logins = [await stage.consent(bs, 1), await stage.connect(bs, 0)]
        for _ in range(hours * 4):
            name, operation = random.choice(PASSING)
            await stage.fault(name, after=random.randrange(6), **({"operation": operation} if operation else {}))
            await bs.run_due()
            stage.clock.advance(minutes=15)
        await stage.calm()
        for _ in range(12):  # what has failed is tried again by then
            stage.clock.advance(minutes=30)
            await bs.run_due()
        for connection in logins:
            assert isinstance(await bs.run(connection.connection_id), Done)
        found = {trade.trade_id async for trade in bs.trades("ann", TradeFilter())}
        accounts = (await stage.ledger())["accounts"]
    assert found == {one["trade_id"] for rows in accounts.values() for one in rows}
    assert not [event for event in stage.events if isinstance(event, ConnectionNeedsUser)]
