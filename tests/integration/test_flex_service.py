"""The IBKR plugin over core's own HTTP, against its sandbox on loopback, on a clock that the test owns."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from brokersync import BrokerSync, Deferred, Done
from brokersync.errors import BrokerAuthError, BrokerConfigError
from brokersync.events import LoginEnding
from brokersync.sandboxes import CONTROL_PATH
from brokersync.store import TradeFilter
from brokersync.testing import RunningSandbox

OWNER = "somebody"


@pytest.fixture
async def stage(staged: Any) -> AsyncIterator[Any]:
    async with staged("ibkr", days=420, trades_per_day=0.4, think=timedelta(seconds=12)) as made:
        yield made


@pytest.fixture
def sandbox(stage: Any) -> RunningSandbox:
    return stage.sandbox


@pytest.fixture
def bs(stage: Any) -> BrokerSync:
    return stage.bs


async def arm(sandbox: RunningSandbox, **wish: object) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{sandbox.base_url}{CONTROL_PATH}/faults", json=wish) as answer,
    ):
        assert answer.status == 200


async def until_done(bs: BrokerSync, connection_id: str, clock: Any, most: int = 40) -> Done:
    for _ in range(most):
        outcome = await bs.run(connection_id)
        if isinstance(outcome, Done):
            return outcome
        assert isinstance(outcome, Deferred)
        clock.time = max(clock.time, outcome.until)
    raise AssertionError("the sync does not come to an end")


async def counted(bs: BrokerSync, sandbox: RunningSandbox, login: int = 0) -> tuple[dict[str, int], dict[str, int]]:
    found: dict[str, int] = dict.fromkeys(sandbox.logins[login].trades, 0)
    async for trade in bs.trades(OWNER):
        found[trade.account_id] += 1
    return found, dict(sandbox.logins[login].trades)


async def test_a_history_of_two_windows_is_read_whole_and_again_changes_nothing(
    bs: BrokerSync, sandbox: RunningSandbox, clock: Any
) -> None:
    login = sandbox.logins[0]
    connection = await bs.connect("ibkr", owner=OWNER, fields=login.fields, environment=login.environment)
    assert {account.account_id for account in await bs.accounts(connection.connection_id)} == set(login.trades)
    first = await until_done(bs, connection.connection_id, clock)
    assert first.report.problems == ()
    assert first.report.quarantined == 0
    found, expected = await counted(bs, sandbox)
    assert found == expected
    assert sum(expected.values()) > 100
    for token in (await usage(sandbox))["tokens"]:
        assert token["most_in_1s"] <= 1
        assert token["most_in_60s"] <= 10
    again = await until_done(bs, connection.connection_id, clock)
    assert (again.report.added, again.report.removed) == (0, 0)


async def test_the_faults_of_the_service_cost_time_and_no_trade(
    bs: BrokerSync, sandbox: RunningSandbox, clock: Any
) -> None:
    login = sandbox.logins[0]
    connection = await bs.connect("ibkr", owner=OWNER, fields=login.fields, environment=login.environment)
    for number, fault in enumerate(
        [
            "too_many_requests",
            "not_ready",
            "heavy_load",
            "unavailable",
            "server_error",
            "truncated",
            "unknown_reference",
        ]
    ):
        await arm(sandbox, fault=fault, times=1, after=number)
    await until_done(bs, connection.connection_id, clock)
    await until_done(bs, connection.connection_id, clock)
    found, expected = await counted(bs, sandbox)
    assert found == expected


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ("expired_token", BrokerAuthError, "generate a new token"),
        ("ip_restriction", BrokerAuthError, "IP restriction"),
        ("service_inactive", BrokerConfigError, "Flex Web Service Status"),
        ("csv", BrokerConfigError, "set Format to XML"),
    ],
)
async def test_a_login_that_can_not_work_says_what_to_do_and_keeps_nothing(
    bs: BrokerSync, sandbox: RunningSandbox, fault: str, kind: type[Exception], words: str
) -> None:
    await arm(sandbox, fault=fault, times=1)
    login = sandbox.logins[0]
    with pytest.raises(kind) as caught:
        await bs.connect("ibkr", owner=OWNER, fields=login.fields, environment=login.environment)
    assert words in str(caught.value)
    assert login.fields["token"] not in str(caught.value)
    assert await bs.connections(OWNER) == ()


@pytest.mark.parametrize(
    "fault", ["unavailable", "heavy_load", "not_ready", "too_many_requests", "code_1021", "code_1020"]
)
async def test_a_service_that_is_busy_for_a_moment_keeps_nobody_from_connecting(
    bs: BrokerSync, sandbox: RunningSandbox, fault: str
) -> None:
    await arm(sandbox, fault=fault, times=1)
    login = sandbox.logins[0]
    connection = await bs.connect("ibkr", owner=OWNER, fields=login.fields, environment=login.environment)
    assert {account.account_id for account in await bs.accounts(connection.connection_id)} == set(login.trades)


async def usage(sandbox: RunningSandbox) -> dict[str, Any]:
    """What came in at the sandbox, as IBKR counts it."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{sandbox.base_url}{CONTROL_PATH}/requests") as answer,
    ):
        return dict(await answer.json())


async def requests(sandbox: RunningSandbox) -> dict[str, int]:
    return dict((await usage(sandbox))["operations"])


async def set_up(sandbox: RunningSandbox, query: str, **settings: object) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.patch(f"{sandbox.base_url}{CONTROL_PATH}/queries/{query}", json=settings) as answer,
    ):
        assert answer.status == 200


async def test_reports_that_stay_in_progress_are_asked_for_in_halves_until_all_is_read(
    bs: BrokerSync, sandbox: RunningSandbox, clock: Any
) -> None:
    login = sandbox.logins[0]
    connection = await bs.connect("ibkr", owner=OWNER, fields=login.fields, environment=login.environment)
    # a year would take an hour, and none of more than 70 days is ready within the twelve minutes
    await set_up(sandbox, login.fields["activity_query_id"], seconds_a_day=10)
    began = clock.time
    outcome = await until_done(bs, connection.connection_id, clock, most=600)
    assert outcome.report.problems == ()
    # twelve minutes for each of the three that are too long, and else what IBKR takes for as many days
    assert clock.time - began < 3 * timedelta(minutes=13) + timedelta(seconds=10 * 420) + timedelta(minutes=12)
    found, expected = await counted(bs, sandbox)
    assert found == expected
    before = (await requests(sandbox))["SendRequest"]
    await until_done(bs, connection.connection_id, clock)
    assert (await requests(sandbox))["SendRequest"] - before == 2, "what was read in halves is not ordered again"


async def test_the_end_of_a_token_is_told_a_week_before_and_once(
    stage: Any, sandbox: RunningSandbox, clock: Any, tmp_path: Path
) -> None:
    login, heard = sandbox.logins[0], list[Any]()
    async with BrokerSync.open(tmp_path / "s.db", settings=sandbox.settings(), clock=clock, events=heard.append) as bs:
        end = clock.time + timedelta(days=300)
        fields = {**login.fields, "expires_on": f"{end:%Y-%m-%d}"}
        await bs.connect("ibkr", owner=OWNER, fields=fields, environment=login.environment)
        for days in (30, 8, 6, 1):
            clock.time = end - timedelta(days=days)
            assert await bs.renew_grants() == ()
            told = [event for event in heard if isinstance(event, LoginEnding)]
            assert bool(told) == (days < 7)
    [event] = told
    assert f"{end:%Y-%m-%d}" in event.reason
    assert "only its user can make another" in event.reason


async def test_a_report_that_was_ordered_is_fetched_after_a_crash_and_not_ordered_again(
    stage: Any, sandbox: RunningSandbox, clock: Any, stores: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKERSYNC_KEY", base64.b64encode(bytes(32)).decode())
    login = sandbox.logins[0]
    place, settings = stores.new().place, sandbox.settings()
    async with BrokerSync.open(place, settings=settings, clock=clock) as bs:
        connection = await bs.connect("ibkr", owner=OWNER, fields=login.fields, environment=login.environment)
    await set_up(sandbox, login.fields["activity_query_id"], seconds_a_day=1)
    before = (await requests(sandbox))["SendRequest"]
    outcome: Any = None
    waits = 0
    while not isinstance(outcome, Done):
        # each time another process a minute later, which knows no more than the store
        clock.time += timedelta(minutes=1)
        async with BrokerSync.open(place, settings=settings, clock=clock) as bs:
            outcome = await bs.run(connection.connection_id, sources=["activity"])
        assert outcome.report.problems == ()
        if isinstance(outcome, Deferred):
            waits += 1
            clock.time = max(clock.time, outcome.until)
    assert waits >= 3, "no worker is held while it is waited for"
    # two windows, of a year and of what is left
    assert (await requests(sandbox))["SendRequest"] - before == 2


async def test_a_correction_that_came_late_is_found_in_the_ninety_days_that_are_read_again_each_month(
    bs: BrokerSync, sandbox: RunningSandbox, clock: Any
) -> None:
    login = sandbox.logins[0]
    connection = await bs.connect("ibkr", owner=OWNER, fields=login.fields, environment=login.environment)
    await until_done(bs, connection.connection_id, clock)
    read = []
    for days in (29, 1, 2):
        clock.time += timedelta(days=days)
        before = await requests(sandbox)
        await until_done(bs, connection.connection_id, clock)
        report = (await until_done(bs, connection.connection_id, clock)).report
        first = min(span.requested.start for span in report.spans if span.source == "activity")
        read.append((clock.time - first).days)
        assert (await requests(sandbox))["SendRequest"] - before["SendRequest"] == 4, "it costs no further statement"
    assert [days >= 90 for days in read] == [False, True, False]


_BUSTED = """<FlexQueryResponse queryName="q" type="TCF"><FlexStatements count="1">
<FlexStatement accountId="{account}" fromDate="{day}" toDate="{day}" period="" whenGenerated="{day};180000">
<TradeConfirms>
<TradeConfirm accountId="{account}" currency="USD" assetCategory="STK" symbol="BUST" conid="77" multiplier="1"
 tradeID="77{day}" execID="0000bu.{day}.01.01" dateTime="{day};103000" tradeDate="{day}" buySell="BUY" quantity="5"
 price="2" commission="-1" commissionCurrency="USD" transactionType="ExchTrade" code="O" levelOfDetail="EXECUTION" />
</TradeConfirms></FlexStatement></FlexStatements></FlexQueryResponse>"""


async def test_a_sync_drops_the_confirmed_trade_that_activity_does_not_tell(
    bs: BrokerSync, sandbox: RunningSandbox, clock: Any
) -> None:
    login = sandbox.logins[0]
    account = min(login.trades)
    old, new = (f"{clock.time - timedelta(days=days):%Y%m%d}" for days in (1, 0))
    for day in (old, new):
        file = _BUSTED.format(account=account, day=day)
        await bs.import_statement("ibkr", BytesIO(file.encode()), owner=OWNER)
    connection = await bs.connect("ibkr", owner=OWNER, fields=login.fields, environment=login.environment)
    await until_done(bs, connection.connection_id, clock)
    trades = [trade async for trade in bs.trades(OWNER, TradeFilter(symbol="BUST", cancelled=True))]
    assert {f"{trade.executed_at:%Y%m%d}": trade.status.value for trade in trades} == {old: "cancelled", new: "active"}
    found, expected = await counted(bs, sandbox)
    assert {name: number - (name == account) for name, number in found.items()} == expected


async def test_a_login_that_was_away_for_months_drops_what_it_was_told_before(
    bs: BrokerSync, sandbox: RunningSandbox, clock: Any
) -> None:
    login = sandbox.logins[0]
    connection = await bs.connect("ibkr", owner=OWNER, fields=login.fields, environment=login.environment)
    await until_done(bs, connection.connection_id, clock)
    day = f"{clock.time:%Y%m%d}"
    await bs.import_statement("ibkr", BytesIO(_BUSTED.format(account=min(login.trades), day=day).encode()), owner=OWNER)
    clock.time += timedelta(days=100)
    await until_done(bs, connection.connection_id, clock)
    busted = [one async for one in bs.trades(OWNER, TradeFilter(symbol="BUST", cancelled=True))]
    assert [one.status.value for one in busted] == ["cancelled"]


async def test_a_query_that_was_set_wrong_since_is_told_with_what_to_do_until_it_is_read(
    bs: BrokerSync, sandbox: RunningSandbox, clock: Any
) -> None:
    login = sandbox.logins[0]
    connection = await bs.connect("ibkr", owner=OWNER, fields=login.fields, environment=login.environment)
    await until_done(bs, connection.connection_id, clock)
    for settings, told in (
        ({"format": "CSV"}, "activity is not read: The Flex query gives text (CSV) and not XML. In Client Portal >"),
        ({"format": "XML"}, None),
    ):
        await set_up(sandbox, login.fields["activity_query_id"], **settings)
        clock.time += timedelta(hours=20)
        await until_done(bs, connection.connection_id, clock)
        while isinstance(outcome := await bs.run(connection.connection_id, sources=("confirmations",)), Deferred):
            clock.time = max(clock.time, outcome.until)
        [outlook] = await bs.outlook(OWNER)
        said = [one for one in outlook.obstacles if "set Format to XML" in one]
        assert [one[: len(told)] for one in said] == [told] if told else said == []
