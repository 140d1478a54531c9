"""A history that ends with its session: read before that, and told where it was not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from brokersync import TimeWindow, get_broker_provider
from brokersync.events import HistoryLost
from brokersync.plugin import (
    BrokerCursorError,
    BrokerDataUnavailableError,
    DataUnavailableReason,
    Finality,
    TradePage,
    TradeRequest,
)
from brokersync.testing import RunningSandbox
from {{ cookiecutter.__package }}.sandbox import OVERCOME

from .logins import KEY, log_in
from .stage import Clock, Stage

# FILL IN: when a session begins and ends; where the list is of one account or has pages, the tests that say otherwise
# the session around the time at which the tests' clock begins: 17:00 to 17:00 in New York
BEGINS, ENDS = datetime(2026, 3, 3, 22, tzinfo=UTC), datetime(2026, 3, 4, 22, tzinfo=UTC)


class Reader:
    """Asks the provider itself, as core does."""

    def __init__(self, provider: Any, auth: Any, accounts: Any, clock: Clock) -> None:
        self.accounts = tuple(accounts)
        self._provider, self._auth, self._clock = provider, auth, clock

    async def page(self, begins: datetime = BEGINS, **changed: Any) -> TradePage:
        window = TimeWindow(begins, begins + timedelta(days=1))
        request = TradeRequest(**{"source": "session", "window": window, "accounts": self.accounts, **changed})
        return await self._clock.patiently(lambda: self._answer(request))

    async def _answer(self, request: TradeRequest) -> TradePage:
        async with aclosing(self._provider.get_trades(self._auth, request)) as answer:
            (page,) = [one async for one in answer]
        assert isinstance(page, TradePage)
        return page


@pytest.fixture
async def reader(sandbox: RunningSandbox, clock: Clock) -> AsyncIterator[Reader]:
    async with get_broker_provider(KEY, settings=sandbox.settings(), clock=clock) as provider:
        auth = await clock.patiently(lambda: log_in(provider, sandbox.logins[0]))
        accounts = await clock.patiently(lambda: provider.get_accounts(auth))
        yield Reader(provider, auth, accounts, clock)


async def test_the_session_is_covered_up_to_now_and_not_for_good(reader: Reader, clock: Clock) -> None:
    began = clock.now()
    page = await reader.page()

    assert {one.account_id for one in page.covered} == {one.account_id for one in reader.accounts}
    (window,) = {one.window for one in page.covered}
    assert window.start == BEGINS
    assert began <= window.end <= clock.now()
    assert {one.finality for one in page.covered} == {Finality.PROVISIONAL}
    assert page.rows == len(page.bookings) > 0


async def test_a_session_that_is_over_is_said_to_be_gone(reader: Reader, clock: Clock) -> None:
    with pytest.raises(BrokerDataUnavailableError) as caught:
        await reader.page(BEGINS - timedelta(days=1))
    assert caught.value.reason is DataUnavailableReason.EXPIRED

    clock.advance(ENDS - clock.now())
    with pytest.raises(BrokerDataUnavailableError):
        await reader.page()


async def test_there_is_no_cursor(reader: Reader) -> None:
    with pytest.raises(BrokerCursorError):
        await reader.page(cursor="no cursor of the broker's")


async def test_an_account_that_core_does_not_know_yet_comes_with_its_trades(reader: Reader) -> None:
    known, new = reader.accounts

    page = await reader.page(accounts=(known,))

    assert page.accounts == (new,)
    assert {one.account_id for one in page.bookings} == {known.account_id, new.account_id}
    assert {one.account_id for one in page.covered} == {known.account_id}, "the other was not asked about"


async def test_a_sync_brings_the_session_as_the_broker_has_it(stage: Stage) -> None:
    report = await stage.sync(await stage.connect())

    books, trades = await stage.ledger(), await stage.trades()
    assert (report.quarantined, report.problems) == (0, ())
    assert {(one.account_id, one.trade_id, one.side.value, one.quantity, one.price) for one in trades} == {
        (account_id, row["trade_id"], row["side"], Decimal(row["quantity"]), Decimal(row["price"]))
        for account_id in stage.sandbox.logins[0].trades
        for row in books[account_id]
    }
    assert len(trades) == sum(stage.sandbox.logins[0].trades.values()) > 0


async def test_core_knows_when_the_session_ends_and_plans_to_read_it_before(stage: Stage) -> None:
    connection = await stage.connect()
    assert (await stage.bs.connection(connection.connection_id)).deadline == ENDS

    planned = []
    while stage.clock.now() < ENDS:
        assert connection.connection_id in await stage.bs.run_due()
        next_at = (await stage.bs.connection(connection.connection_id)).next_at
        assert next_at is not None
        planned.append(next_at)
        stage.clock.advance(next_at - stage.clock.now())

    assert max(one for one in planned if one < ENDS) >= ENDS - timedelta(minutes=5), "the last look is a late one"


async def test_what_nobody_read_in_time_is_written_down_as_lost(stage: Stage) -> None:
    connection = await stage.connect()
    await stage.sync(connection)
    stage.clock.advance(timedelta(days=2))

    await stage.sync(connection)

    lost = [event for event in stage.events if isinstance(event, HistoryLost)]
    assert {one.account_id for one in lost} == set(stage.sandbox.logins[0].trades)


async def test_trades_of_several_sessions_add_up(stage: Stage) -> None:
    connection = await stage.connect()
    await stage.sync(connection)
    first = await stage.trades()
    stage.clock.advance(timedelta(hours=20))

    await stage.sync(connection)

    # the broker's list holds the second session alone by now
    books = await stage.ledger()
    later = sum(len(books[one]) for one in stage.sandbox.logins[0].trades)
    assert len(await stage.trades()) == len(first) + later > len(first)


@pytest.mark.parametrize("fault", OVERCOME)
async def test_a_sync_overcomes_what_passes(stage: Stage, fault: str) -> None:
    connection = await stage.connect()
    await stage.show_fault(fault)

    await stage.sync(connection)

    assert len(await stage.trades()) == sum(stage.sandbox.logins[0].trades.values())
