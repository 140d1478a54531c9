"""Whose trade it is, over the service and by file: queries of a master, and queries that show an alias for an id."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from typing import Any

import aiohttp
import pytest

from brokersync import BrokerSync, Deferred, Done, SyncReport
from brokersync.errors import BrokerConfigError, BrokerInputNeededError
from brokersync.sandboxes import CONTROL_PATH
from brokersync.testing import RunningSandbox

from .test_flex_readings import _ORIGINAL, statement

OWNER = "me"


@pytest.fixture
async def stage(staged: Any) -> AsyncIterator[Any]:
    async with staged("ibkr", days=60, trades_per_day=1, think=timedelta(seconds=1)) as made:
        yield made


async def set_up(sandbox: RunningSandbox, **settings: object) -> None:
    """Sets both queries of the first login."""
    async with aiohttp.ClientSession() as session:
        for name in ("activity_query_id", "confirmations_query_id"):
            url = f"{sandbox.base_url}{CONTROL_PATH}/queries/{sandbox.logins[0].fields[name]}"
            async with session.patch(url, json=settings) as answer:
                assert answer.status == 200


async def connected(stage: Any) -> str:
    login = stage.sandbox.logins[0]
    made = await stage.bs.connect("ibkr", owner=OWNER, fields=login.fields, environment=login.environment)
    return str(made.connection_id)


async def synced(bs: BrokerSync, connection_id: str, clock: Any) -> Done:
    for _ in range(60):
        outcome = await bs.run(connection_id)
        if isinstance(outcome, Done):
            return outcome
        assert isinstance(outcome, Deferred)
        clock.time = max(clock.time, outcome.until)
    raise AssertionError("the sync does not come to an end")


async def counts(stage: Any) -> dict[str, int]:
    found = dict.fromkeys(stage.sandbox.logins[0].trades, 0)
    async for trade in stage.bs.trades(OWNER):
        found[trade.account_id] = found.get(trade.account_id, 0) + 1
    return found


@pytest.mark.parametrize("master", ["separate", "consolidated"])
async def test_a_master_in_the_query_doubles_no_trade_of_its_sub_accounts(stage: Any, clock: Any, master: str) -> None:
    await set_up(stage.sandbox, master=master)
    connection = await connected(stage)
    await synced(stage.bs, connection, clock)
    assert sum((await counts(stage)).values()) > 10
    assert await counts(stage) == dict(stage.sandbox.logins[0].trades)


async def test_a_consolidated_query_is_not_read_from_its_beginning_at_each_sync(staged: Any, clock: Any) -> None:
    async with staged("ibkr", days=1200, trades_per_day=0.004, think=timedelta(seconds=1)) as stage:
        await set_up(stage.sandbox, master="consolidated")
        connection = await connected(stage)
        for _ in range(3):
            await synced(stage.bs, connection, clock)
            clock.time += timedelta(days=1)
        report = (await synced(stage.bs, connection, clock)).report
        days = [clock.time - span.requested.start for span in report.spans if span.source == "activity"]
        assert days
        assert max(days) < timedelta(days=20)
        assert await counts(stage) == dict(stage.sandbox.logins[0].trades)


def activity_days(report: SyncReport) -> set[tuple[date, date]]:
    asked = [span.requested for span in report.spans if span.source == "activity"]
    return {(one.start.date(), one.end.date()) for one in asked}


@pytest.mark.parametrize("master", ["", "consolidated"])
async def test_an_account_that_left_the_query_is_asked_for_no_more_than_the_others_and_caught_up_when_it_is_back(
    stage: Any, clock: Any, master: str
) -> None:
    first, second = sorted(stage.sandbox.logins[0].trades)
    await set_up(stage.sandbox, master=master)
    connection = await connected(stage)
    await synced(stage.bs, connection, clock)
    await set_up(stage.sandbox, left_out=[first])
    clock.time += timedelta(days=28)
    for _ in range(4):
        await synced(stage.bs, connection, clock)
        clock.time += timedelta(days=1)
    [(start, _)] = activity_days((await synced(stage.bs, connection, clock)).report)
    assert clock.time.date() - start < timedelta(days=13)
    told = {
        one.account.account_id: one for one in (await stage.bs.outlook(OWNER))[0].sources if one.source == "activity"
    }
    assert "the login's answers tell of its other accounts and not of this one" in (told[first].failing or "")
    assert told[second].failing is None
    await set_up(stage.sandbox, left_out=[])
    clock.time += timedelta(days=4)
    await synced(stage.bs, connection, clock)
    assert await counts(stage) == dict(stage.sandbox.logins[0].trades)
    told = {
        one.account.account_id: one for one in (await stage.bs.outlook(OWNER))[0].sources if one.source == "activity"
    }
    assert told[first].failing is None


async def test_the_days_since_an_account_left_a_consolidated_query_are_read_by_the_query_that_it_moved_to(
    stage: Any, clock: Any
) -> None:
    login, (first, _) = stage.sandbox.logins[0], sorted(stage.sandbox.logins[0].trades)
    await set_up(stage.sandbox, master="consolidated")
    connection = await connected(stage)
    await synced(stage.bs, connection, clock)
    await set_up(stage.sandbox, left_out=[first])
    left_at = clock.time
    for _ in range(6):
        clock.time += timedelta(days=10)
        await synced(stage.bs, connection, clock)
    spans = (await stage.bs.coverage(OWNER, "ibkr", "activity"))[(login.environment, first)]
    assert max(span.window.end for span in spans) <= left_at
    await set_up(stage.sandbox, master="", left_out=[])
    clock.time += timedelta(days=1)
    await synced(stage.bs, connection, clock)
    assert await counts(stage) == dict(login.trades)


async def test_a_query_that_is_told_to_show_aliases_goes_on_under_the_ids(stage: Any, clock: Any) -> None:
    await set_up(stage.sandbox, alias_beside=True)
    connection = await connected(stage)
    await synced(stage.bs, connection, clock)
    await set_up(stage.sandbox, alias=True)
    clock.time += timedelta(days=3)
    outcome = await synced(stage.bs, connection, clock)
    assert outcome.report.problems == ()
    assert await counts(stage) == dict(stage.sandbox.logins[0].trades)


async def test_a_query_that_never_told_an_id_is_refused_when_connecting(stage: Any) -> None:
    await set_up(stage.sandbox, alias=True)
    with pytest.raises(BrokerConfigError, match="alias") as caught:
        await connected(stage)
    assert "set Display Account Alias in place of Account ID to No" in caught.value.remedy


def shown(body: bytes) -> bytes:
    """The statement as a query writes it that shows the alias."""
    return body.replace(b'accountId="U7"', b'accountId="Rainy days"')


@pytest.mark.parametrize("newer_first", [False, True])
async def test_an_alias_that_was_given_up_is_the_name_of_no_account(
    tmp_path: Any, clock: Any, newer_first: bool
) -> None:
    def told(alias: str, made: str) -> bytes:
        row = f'<AccountInformation accountId="U7" acctAlias="{alias}" />'.encode()
        body = statement(_ORIGINAL).replace(b"<Trades>", row + b"<Trades>")
        return body.replace(b'whenGenerated="20260307"', f'whenGenerated="{made}"'.encode())

    files = [told("Rainy days", "20260307;070000"), told("", "20260308;070000")]
    clock.time = datetime(2026, 3, 9, tzinfo=UTC)
    async with BrokerSync.open(tmp_path / "s.db", clock=clock) as bs:
        for file in reversed(files) if newer_first else files:
            await bs.import_statement("ibkr", BytesIO(file), owner="me")
        assert list((await bs._shared.store.account_names("me")).values()) == ["U7"]


async def test_a_file_with_aliases_adds_nothing_to_what_one_with_ids_has_told(tmp_path: Any, clock: Any) -> None:
    plain = statement({**_ORIGINAL, "acctAlias": "Rainy days"})
    async with BrokerSync.open(tmp_path / "s.db", clock=clock) as bs:
        with pytest.raises(BrokerInputNeededError, match="alias"):
            await bs.import_statement("ibkr", BytesIO(shown(plain)), owner=OWNER)
        await bs.import_statement("ibkr", BytesIO(plain), owner=OWNER)
        report = await bs.import_statement("ibkr", BytesIO(shown(plain)), owner=OWNER)
        assert (report.added, report.modified) == (0, 0)
        [trade] = [one async for one in bs.trades(OWNER)]
        assert trade.account_id == "U7"
        with pytest.raises(BrokerInputNeededError, match="alias"):
            await bs.import_statement("ibkr", BytesIO(shown(plain)), owner="another owner")
