"""Two organisations, each with hosts of its own: asked for by the names that the login told, and no token anywhere
else."""

from __future__ import annotations

from collections import Counter
from urllib.parse import urlsplit

import attrs
import pytest

from brokersync import Connection, Done
from brokersync.errors import BrokerAPIError, BrokerResponseError
from brokersync.plugin import AuthResult
from brokersync.store import TradeFilter

from .stage import Stage


def hosts_asked(stage: Stage) -> Counter[str]:
    return Counter(urlsplit(one.url).hostname or "" for one in stage.sent())


async def test_each_organisation_is_asked_at_its_own_hosts(stage: Stage) -> None:
    async with stage.process() as bs:
        for login, demo in ((0, "demo.tradovateapi.com"), (1, "demo-firm.tradovateapi.com")):
            stage.events.clear()
            connection = await stage.consent(bs, login, owner=f"owner {login}")
            assert isinstance(await bs.run(connection.connection_id), Done)
            asked = hosts_asked(stage)
            assert asked[demo]
            assert asked[f"rpt-{demo}"]
            assert {host for host in asked if "demo" in host} == {demo, f"rpt-{demo}"}
    assert not stage.sent(307)


async def test_the_sides_of_a_login_are_found_by_asking_both(stage: Stage) -> None:
    async with stage.process() as bs:
        found = {}
        for login in (0, 1):
            connection = await stage.consent(bs, login, owner=f"owner {login}")
            found[login] = {one.environment for one in await bs.accounts(connection.connection_id)}
    assert found == {0: {"live", "demo"}, 1: {"demo"}}, "a firm's accounts stand on the demo side alone"


async def test_a_side_that_refuses_the_login_costs_nothing_of_the_other(stage: Stage) -> None:
    async with stage.process() as bs:
        await _refused_by_live(stage)
        connection = await stage.consent(bs, 1)
        assert {one.environment for one in await bs.accounts(connection.connection_id)} == {"demo"}
        before = (await stage.asked())["auth/oauthtoken"]
        await _refused_by_live(stage)
        assert isinstance(await bs.run(connection.connection_id), Done)
    assert {urlsplit(one.url).hostname for one in stage.sent(401)} == {"live.tradovateapi.com"}
    assert (await stage.asked())["auth/oauthtoken"] == before, "no token is renewed for it"


async def _refused_by_live(stage: Stage) -> None:
    """The first listing and the one that makes sure, between which the demo side is asked."""
    for after in (0, 2):
        await stage.fault("permission_denied", operation="account/list", after=after)


async def _forget_hosts(stage: Stage, connection: Connection, **hosts: str) -> None:
    """The login as one has it who was told other hosts, or none."""
    async with stage.process() as bs:
        vault = bs._shared.vault
        grant, fields = await vault.load(connection)
        assert await vault.replace(grant, attrs.evolve(grant.auth, hosts=hosts), fields, made_at=stage.clock.now())


async def test_307_to_a_new_host_keeps_the_token(stage: Stage) -> None:
    async with stage.process() as bs:
        connection = await stage.consent(bs, 1)
    await _forget_hosts(stage, connection)
    stage.events.clear()
    async with stage.process() as bs:
        outcome = await bs.run(connection.connection_id)
        assert isinstance(outcome, Done)
        assert not outcome.report.problems
        assert [trade async for trade in bs.trades("ann", TradeFilter())]
    moved = stage.sent(307)
    assert moved
    assert {urlsplit(one.url).hostname for one in moved} == {"demo.tradovateapi.com", "rpt-demo.tradovateapi.com"}
    assert {one.status for one in stage.sent()} == {200, 307}, "no request came without its token"


async def test_the_next_renewal_tells_the_new_hosts(stage: Stage) -> None:
    async with stage.process() as bs:
        connection = await stage.connect(bs, 1)
        await _forget_hosts(stage, connection)
        stage.clock.advance(minutes=79)
    stage.events.clear()
    async with stage.process() as bs:
        assert isinstance(await bs.run(connection.connection_id), Done)
    assert {one.operation for one in stage.sent(307)} == {"auth/renewaccesstoken"}, "that of the renewal itself"


async def test_a_move_to_a_strange_host_takes_no_token_along(stage: Stage) -> None:
    async with stage.process() as bs:
        connection = await stage.consent(bs, 0)
        await stage.fault("redirect", operation="fill/list", times=100)
        stage.events.clear()
        outcome = await bs.run(connection.connection_id, sources=["session"])
    assert isinstance(outcome, Done)
    (problem, *_) = outcome.report.problems
    assert "moved.example.invalid" in str(problem)
    assert not any("moved.example.invalid" in one.url for one in stage.sent())


async def test_hosts_that_send_a_login_in_a_circle_are_left_after_one_step(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("brokersync_tradovate.sandbox.moved_to", lambda host, organisation: "live.tradovateapi.com")
    async with stage.process() as bs:
        with pytest.raises(BrokerAPIError, match="from one host to another"):
            await stage.consent(bs, 0)
    moved = Counter(one.operation for one in stage.sent(307))
    assert moved == {"auth/renewaccesstoken": 2, "auth/me": 2}


async def test_api_hosts_with_hostile_values_are_rejected(stage: Stage) -> None:
    async with stage.process() as bs:
        await stage.fault("api_hosts_hostile")
        with pytest.raises(BrokerResponseError, match="host"):
            await stage.connect(bs, 0)
        assert await bs.connections() == ()
    assert {urlsplit(one.url).hostname for one in stage.sent()} == {"live.tradovateapi.com"}


async def test_a_login_holds_its_hosts_as_addresses_that_a_token_may_be_sent_to(stage: Stage) -> None:
    async with stage.process() as bs:
        connection = await stage.consent(bs, 1)
        grant, _ = await bs._shared.vault.load(connection)
    auth: AuthResult = grant.auth
    assert dict(auth.hosts) == {
        "live": "https://live.tradovateapi.com/v1",
        "demo": "https://demo-firm.tradovateapi.com/v1",
        "reporting-live": "https://rpt-live.tradovateapi.com/v1",
        "reporting-demo": "https://rpt-demo-firm.tradovateapi.com/v1",
    }
