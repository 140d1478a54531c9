"""What is told of plugins, and how it arrives: real requests to a receiver on loopback."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from brokersync.config import Settings
from brokersync.discovery import Discovered
from brokersync.errors import BrokerConfigError, BrokerHeldError, BrokerPluginError
from brokersync.events import BrokerHeld, HostRefused, PluginSeen, WebhookBack, WebhookLost
from brokersync.governance.notices import Notices, make_notice
from brokersync.governance.state_file import StateFile
from brokersync.governance_settings import GovernanceMode, GovernanceSettings
from brokersync.registry import ProviderRegistry
from brokersync.watching import Watch

KEY = bytes(range(32))
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"
OLD = f"whsec_{base64.b64encode(KEY[::-1]).decode()}"


class Clock:
    """Time that goes on when somebody sleeps, and says how long they did."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 3, 1, tzinfo=UTC)
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.moment.timestamp()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.moment += timedelta(seconds=seconds)
        await asyncio.sleep(0)


@attrs.define
class Receiver:
    """Answers with `statuses` in their order, then with 204."""

    url: str = ""
    statuses: list[int] = attrs.field(factory=list)
    requests: list[tuple[dict[str, str], bytes]] = attrs.field(factory=list)
    more: asyncio.Event = attrs.field(factory=asyncio.Event)
    silent: bool = False

    async def handle(self, request: web.Request) -> web.Response:
        self.requests.append(({name.lower(): value for name, value in request.headers.items()}, await request.read()))
        self.more.set()
        if self.silent:
            await asyncio.sleep(3600)
        return web.Response(status=self.statuses.pop(0) if self.statuses else 204)

    async def taken(self, number: int) -> list[dict[str, Any]]:
        """The bodies of the first requests, when so many have come."""
        async with asyncio.timeout(20):
            while len(self.requests) < number:
                self.more.clear()
                await self.more.wait()
        return [json.loads(body) for _, body in self.requests]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    app = web.Application()
    app.router.add_post("/hook", made.handle)
    server = TestServer(app)
    await server.start_server()
    made.url = str(server.make_url("/hook"))
    yield made
    await server.close()


@attrs.define
class Desk:
    folder: Path
    settings: Settings
    clock: Clock = attrs.field(factory=Clock)
    heard: list[Any] = attrs.field(factory=list)

    def watch(self, registry: ProviderRegistry | None = None) -> Watch:
        registry = registry or ProviderRegistry.installed(self.settings)
        return Watch(registry, self.settings, self.clock, self.heard.append, self.folder / "store.plugins.json")

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.heard if isinstance(event, kind)]


def desk(tmp_path: Path, receiver: Receiver | None, **more: Any) -> Desk:
    told = {"webhook": receiver.url, "webhook_secret": SECRET} if receiver is not None else {}
    given = {"approvals": str(tmp_path / "approvals.json"), **told, **more}
    return Desk(tmp_path, Settings(governance=GovernanceSettings(**given)))


def nothing_installed(one: Desk) -> ProviderRegistry:
    return ProviderRegistry(Discovered((), ()), one.settings)


def alphas(bodies: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [body for body in bodies if body["data"].get("provider") == "alpha"]


async def test_a_first_sight_is_told_with_version_files_hosts_and_capabilities(
    alpha: Path, tmp_path: Path, receiver: Receiver
) -> None:
    one = desk(tmp_path, receiver)
    watch = one.watch()
    await watch.look()
    watch.begin()
    bodies = await receiver.taken(3)
    await watch.aclose()
    (told,) = alphas(bodies)
    assert told["type"] == "provider.seen"
    data = told["data"]
    assert (data["distribution"], data["version"], data["state"]) == ("brokersync-alpha", "1.0", "available")
    assert data["files"].startswith("sha256:")
    assert data["hosts"] == ["https://api.alpha.example"]
    (event,) = [event for event in one.of(PluginSeen) if event.provider == "alpha"]
    assert (event.files, event.hosts) == (data["files"], tuple(data["hosts"]))


async def test_what_was_told_is_told_once_and_a_change_again(alpha: Path, site: Any, tmp_path: Path) -> None:
    one = desk(tmp_path, None)
    for _ in range(2):
        await one.watch().look()
    (alpha / "__init__.py").write_text("x = 2")
    site.record("brokersync-alpha", alpha.name)
    await one.watch().look()
    told = [event for event in one.of(PluginSeen) if event.provider == "alpha"]
    assert [event.was for event in told] == ["", "1.0"]
    assert told[0].files != told[1].files


async def test_two_machines_tell_of_one_plugin_under_one_id(alpha: Path, tmp_path: Path, receiver: Receiver) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        watch = desk(tmp_path / name, receiver).watch()
        await watch.look()
        watch.begin()
        await watch.aclose()
    ids = [headers["webhook-id"] for headers, _ in receiver.requests]
    assert len(ids) == 6
    assert len(set(ids)) == 3


async def test_a_notice_is_signed_with_each_secret_over_id_time_and_body(tmp_path: Path, receiver: Receiver) -> None:
    one = desk(tmp_path, receiver, webhook_secret=f"{SECRET},{OLD}")
    watch = one.watch(nothing_installed(one))
    watch.begin()
    watch.decided("provider.revoked", {"provider": "alpha"})
    await receiver.taken(1)
    await watch.aclose()
    headers, body = receiver.requests[0]
    assert int(headers["webhook-timestamp"]) == int(one.clock.now().timestamp())
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    macs = [base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode() for key in (KEY, KEY[::-1])]
    assert headers["webhook-signature"].split() == [f"v1,{mac}" for mac in macs]


async def test_a_notice_is_sent_until_it_is_taken_with_the_same_id_and_a_new_time(
    tmp_path: Path, receiver: Receiver
) -> None:
    receiver.statuses = [500, 302, 429]
    one = desk(tmp_path, receiver)
    watch = one.watch(nothing_installed(one))
    watch.begin()
    watch.decided("provider.revoked", {"provider": "alpha"})
    await receiver.taken(4)
    await watch.aclose()
    assert len({headers["webhook-id"] for headers, _ in receiver.requests}) == 1
    times = [int(headers["webhook-timestamp"]) for headers, _ in receiver.requests]
    assert [later - earlier for earlier, later in pairwise(times)] == [10, 20, 40]
    assert [type(event) for event in one.heard] == [WebhookLost, WebhookBack]


async def test_what_was_not_delivered_is_delivered_by_the_next_process(
    alpha: Path, tmp_path: Path, receiver: Receiver
) -> None:
    before = desk(tmp_path, receiver)
    await before.watch().look()  # which is killed before it begins to deliver
    after = desk(tmp_path, receiver)
    watch = after.watch()
    await watch.look()
    watch.begin()
    bodies = await receiver.taken(3)
    await watch.aclose()
    assert len(alphas(bodies)) == 1
    assert after.of(PluginSeen) == []


async def test_a_receiver_that_never_answers_holds_up_nobody(
    alpha: Path, tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("brokersync.watching._GRACE", 0.01)
    receiver.silent = True
    one = desk(tmp_path, receiver)
    watch = one.watch()
    await watch.look()
    watch.begin()
    await asyncio.wait_for(receiver.more.wait(), 20)
    registry = ProviderRegistry.installed(one.settings)
    assert registry.load("alpha")
    async with asyncio.timeout(5):
        await watch.aclose()
    assert json.loads((tmp_path / "store.plugins.json").read_text())["waiting"]


async def test_a_held_broker_and_a_refused_host_are_told_once_a_day(
    alpha: Path, tmp_path: Path, receiver: Receiver
) -> None:
    one = desk(tmp_path, receiver)
    watch = one.watch(nothing_installed(one))
    watch.begin()
    held = BrokerHeld(provider="alpha", distribution="brokersync-alpha", version="1.0", reason="It was revoked.")
    for _ in range(3):
        watch(held)
        watch(HostRefused(provider="alpha", operation="list", host="evil.example"))
    await receiver.taken(2)
    watch(held)
    one.clock.moment += timedelta(days=1)
    watch(held)
    bodies = await receiver.taken(3)
    await watch.aclose()
    assert [body["type"] for body in bodies] == ["provider.held", "host.refused", "provider.held"]
    assert bodies[1]["data"] == {"provider": "alpha", "operation": "list", "host": "evil.example"}


async def test_a_plugin_that_asks_for_ever_new_hosts_fills_no_disk(tmp_path: Path, receiver: Receiver) -> None:
    one = desk(tmp_path, receiver)
    watch = one.watch(nothing_installed(one))
    for number in range(200):
        watch(HostRefused(provider="alpha", operation="list", host=f"{number}.evil.example"))
    waiting = Notices(StateFile(tmp_path / "store.plugins.json", "The notices")).waiting()
    assert [notice.data["host"] for notice in waiting] == [f"{number}.evil.example" for number in range(20)]


async def test_what_the_registry_holds_is_heard_by_the_watch(alpha: Path, tmp_path: Path, receiver: Receiver) -> None:
    one = desk(tmp_path, receiver, mode=GovernanceMode.APPROVE)
    registry = ProviderRegistry.installed(one.settings)
    watch = one.watch(registry)
    watch.begin()
    with pytest.raises(BrokerHeldError):
        registry.load("alpha")
    (body,) = await receiver.taken(1)
    await watch.aclose()
    assert body["data"]["reason"] == "It waits for approval; none of its code was run."


async def test_a_changed_file_of_an_approved_broker_is_told(alpha: Path, tmp_path: Path, receiver: Receiver) -> None:
    one = desk(tmp_path, receiver, mode=GovernanceMode.APPROVE)
    registry = ProviderRegistry.installed(one.settings)
    registry.gate.approvals.approve(registry.facts("alpha"), one.clock.now())
    (alpha / "__init__.py").write_text("raise RuntimeError('it ran')")
    watch = one.watch(registry)
    watch.begin()
    for _ in range(2):
        with pytest.raises(BrokerPluginError):
            registry.load("alpha")
    (body,) = await receiver.taken(1)
    await watch.aclose()
    assert body["type"] == "provider.refused"
    assert "__init__.py' is changed or missing" in body["data"]["reason"]


async def test_a_pth_file_is_told_of_as_already_run(alpha: Path, site: Any, tmp_path: Path) -> None:
    (site.folder / "alpha.pth").write_text("import os\n")
    site.record("brokersync-alpha", alpha.name, root=("alpha.pth",))
    one = desk(tmp_path, None)
    await one.watch().look()
    (told,) = [event for event in one.of(PluginSeen) if event.provider == "alpha"]
    assert told.state == "refused"
    assert "alpha.pth, which Python runs when it starts: its code has run already" in told.reason


def test_what_several_write_at_once_is_all_kept(tmp_path: Path) -> None:
    def write(number: int) -> None:
        mine = Notices(StateFile(tmp_path / "notices.json", "The notices"))
        for part in range(10):
            mine.add(make_notice("webhook.test", {}, datetime(2026, 3, 1, tzinfo=UTC), which=f"{number} {part}"))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert len(Notices(StateFile(tmp_path / "notices.json", "The notices")).waiting()) == 80
    assert [path.name for path in tmp_path.iterdir()] == ["notices.json"]


async def test_approval_wants_a_webhook(tmp_path: Path) -> None:
    one = desk(tmp_path, None, mode=GovernanceMode.APPROVE)
    with pytest.raises(BrokerConfigError, match="needs somebody who is told"):
        await one.watch().look()


async def test_approval_wants_a_webhook_that_has_taken_a_notice_once(tmp_path: Path, receiver: Receiver) -> None:
    receiver.statuses = [503]
    one = desk(tmp_path, receiver, mode=GovernanceMode.APPROVE)
    with pytest.raises(BrokerConfigError, match=r"127\.0\.0\.1 answered HTTP 503"):
        await one.watch().look()
    await one.watch().look()
    assert [json.loads(body)["type"] for _, body in receiver.requests] == ["webhook.test"] * 2
    receiver.statuses = [503]
    await one.watch().look()  # it was tested, so a dead one stops nobody from starting
    assert len(receiver.requests) == 2


@pytest.mark.parametrize("url", ["http://hooks.example/x", "ftp://hooks.example", "hooks.example", "https://"])
async def test_a_webhook_that_others_could_read_is_refused(tmp_path: Path, url: str) -> None:
    one = desk(tmp_path, None, webhook=url, webhook_secret=SECRET)
    with pytest.raises(BrokerConfigError, match="no https address") as caught:
        await one.watch().look()
    assert "hooks.example" not in str(caught.value)


@pytest.mark.parametrize("secret", [None, "short", "whsec_AAAA", f"{SECRET} nonsense", SECRET[6:]])
async def test_a_webhook_without_a_good_secret_is_refused_and_not_shown(
    tmp_path: Path, receiver: Receiver, secret: str | None
) -> None:
    one = desk(tmp_path, receiver, webhook_secret=secret)
    with pytest.raises(BrokerConfigError, match="secret") as caught:
        await one.watch().look()
    assert secret is None or secret not in str(caught.value)
    assert not receiver.requests


async def test_a_place_that_can_not_be_written_ends_nothing(alpha: Path, tmp_path: Path) -> None:
    one = desk(tmp_path, None)
    (tmp_path / "file").write_text("")
    one.folder = tmp_path / "file"
    await one.watch().look()
    assert [event.provider for event in one.of(PluginSeen) if event.provider == "alpha"] == ["alpha"]
