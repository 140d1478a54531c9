"""Tells of plugins that are new, changed or held: by events, and by a webhook that is tried until it answers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from brokersync.config import Settings
from brokersync.discovery import Offer, read_manifest
from brokersync.errors import BrokerConfigError, BrokerError
from brokersync.events import (
    BrokerHeld,
    Event,
    EventSink,
    HostRefused,
    PluginRefused,
    PluginSeen,
    WebhookBack,
    WebhookLost,
)
from brokersync.governance.facts import BrokerFacts, Candidate
from brokersync.governance.gate import facts_of
from brokersync.governance.notices import Notice, Notices, make_notice
from brokersync.governance.record import fingerprint
from brokersync.governance.state_file import InMemory, StateFile
from brokersync.governance.webhook import NotDeliveredError, Webhook
from brokersync.governance_settings import GovernanceMode
from brokersync.provider import Clock
from brokersync.registry import ProviderListing, ProviderRegistry, ProviderState

if TYPE_CHECKING:
    import aiohttp

_FIRST_WAIT: Final = timedelta(seconds=10)
_LONGEST_WAIT: Final = timedelta(hours=1)
_GRACE: Final = 2.0
# a plugin may ask for ever new ones, and each notice takes room until it is delivered
_MOST_HOSTS: Final = 20


class Watch:
    """Looks at what is installed when it is opened, and delivers until it is closed; nobody ever waits for it.

    What was seen, and what is to be delivered, is kept at `place`.
    """

    def __init__(
        self, registry: ProviderRegistry, settings: Settings, clock: Clock, events: EventSink, place: Path | None = None
    ) -> None:
        self._registry, self._settings, self._clock, self._events = registry, settings.governance, clock, events
        self._notices = Notices(InMemory() if place is None else StateFile(place, "The notices of plugins"))
        self._webhook: Webhook | None = None
        self._task: asyncio.Task[None] | None = None
        self._more, self._settled = asyncio.Event(), asyncio.Event()
        self._lost = False
        self._hosts: dict[tuple[str, str], set[str]] = {}
        registry.listen(self)

    def check(self) -> None:
        """Raises `BrokerConfigError` where approval is asked for and nobody is named to be told."""
        self._webhook = Webhook.of(self._settings)
        if self._settings.mode is GovernanceMode.APPROVE and self._webhook is None:
            raise BrokerConfigError(
                'governance.mode "approve" needs somebody who is told of what is held.',
                remedy="Set governance.webhook and BROKERSYNC_WEBHOOK_SECRET."
                " Then try: brokersync providers test-webhook",
            )

    async def look(self) -> None:
        """Look at what is installed. Raises `BrokerConfigError` where approval is asked for and nobody can be told."""
        self.check()
        if self._settings.mode is GovernanceMode.APPROVE and not self._was_tested():
            await self.test_target()
        for event in self._new_ones():
            self._events(event)

    def begin(self) -> None:
        """Deliver, until it is closed."""
        self._webhook = Webhook.of(self._settings)
        self._more, self._settled, self._lost = asyncio.Event(), asyncio.Event(), False
        if self._webhook is not None:
            self._task = asyncio.create_task(self._deliver())

    async def aclose(self) -> None:
        """What is not delivered within two seconds waits for the next process."""
        task, self._task = self._task, None
        if task is None:
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self._settled.wait(), _GRACE)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    def __call__(self, event: Event) -> None:
        """Have what the operator must hear of delivered."""
        if isinstance(event, BrokerHeld):
            self._add("provider.held", _plain(event, "distribution", "version", "reason"))
        elif isinstance(event, PluginRefused):
            self._add("provider.refused", _plain(event, "distribution", "reason"))
        elif isinstance(event, HostRefused):
            day = self._clock.now().date().isoformat()
            hosts = self._hosts.setdefault((event.provider, day), set())
            if event.host in hosts or len(hosts) < _MOST_HOSTS:
                hosts.add(event.host)
                self._add("host.refused", _plain(event, "operation", "host"))

    def _was_tested(self) -> bool:
        """A receiver that has taken a notice once may be away later."""
        return self._webhook is not None and self._notices.was_tested(self._webhook.url)

    async def test_target(self) -> None:
        """Send a notice now. Raises `BrokerConfigError` where it does not arrive."""
        webhook, now = Webhook.of(self._settings), self._clock.now()
        if webhook is None:
            raise BrokerConfigError("There is no webhook to test.", remedy="Set governance.webhook.")
        async with _session() as session:
            try:
                await webhook.send(make_notice("webhook.test", {}, now, which=str(now)), session, now)
            except NotDeliveredError as error:
                raise BrokerConfigError(
                    f"The webhook does not take notices: {error}.",
                    remedy="Have it answer with 2xx, then try: brokersync providers test-webhook",
                ) from None
        self._notices.tested(webhook.url, now)

    def decided(self, kind: str, data: Mapping[str, Any]) -> None:
        """Have a decision delivered: `provider.approved` or `provider.revoked`."""
        if self._settings.webhook is not None:
            self._notices.add(make_notice(kind, data, self._clock.now(), which=str(self._clock.now())))
            self._wake()

    def _add(self, kind: str, data: Mapping[str, Any]) -> None:
        if self._settings.webhook is None:
            return
        now = self._clock.now()
        with suppress(BrokerError):  # the event has told it all the same
            self._notices.add(make_notice(kind, data, now, which=now.date().isoformat()))
        self._wake()

    def _wake(self) -> None:
        self._more.set()
        self._settled.clear()

    def _new_ones(self) -> list[PluginSeen]:
        """What was not there before, or was another; it is noted, and its notices wait."""
        seen: dict[str, Mapping[str, Any]] = {}
        events: list[PluginSeen] = []
        notices: list[Notice] = []
        for one, row in self._registry.candidates():
            name = f"{one.key} {one.distribution}"
            before, mark = self._seen(name), fingerprint(one.folder)
            if (before.get("version"), before.get("mark")) == (one.version, mark):
                continue
            facts, told = _facts(one), self._told(one, row)
            count = int(before.get("count", 0)) + 1
            seen[name] = {"version": one.version, "mark": mark, "count": count}
            was = str(before.get("version", ""))
            events.append(_seen(facts, was=was, **told))
            kind = "provider.changed" if before else "provider.seen"
            data = {"provider": one.key, **_without(facts, "key"), "was": was, **told}
            notices.append(make_notice(kind, data, self._clock.now(), which=str(count)))
        if seen:
            with suppress(BrokerError):  # a folder that can not be written has it told again by the next process
                self._notices.note(seen, notices if self._settings.webhook is not None else [])
        return events

    def _told(self, one: Candidate, row: ProviderListing) -> dict[str, str]:
        """Whether it may run, and all that speaks against it; its files are read."""
        harm, trouble = self._registry.gate.harm(one), self._registry.gate.approvable(one)
        state = ProviderState.REFUSED if harm is not None else row.state
        reasons = dict.fromkeys([row.reason, trouble.reason if trouble is not None else ""])
        return {"state": state.value, "reason": " ".join(filter(None, reasons))}

    def _seen(self, name: str) -> Mapping[str, Any]:
        try:
            return self._notices.seen(name)
        except BrokerConfigError:
            return {}  # told once too often, rather than never

    async def _deliver(self) -> None:
        assert self._webhook is not None
        wait = _FIRST_WAIT
        async with _session() as session:
            while True:
                self._more.clear()
                self._settled.clear()
                if await self._sent(self._webhook, session):
                    wait = _FIRST_WAIT
                    if not self._more.is_set():  # what came meanwhile is delivered, too, before it is closed
                        self._settled.set()
                    await self._more.wait()
                else:
                    self._settled.set()
                    await self._clock.sleep(wait.total_seconds())
                    wait = min(2 * wait, _LONGEST_WAIT)

    async def _sent(self, webhook: Webhook, session: aiohttp.ClientSession) -> bool:
        """Whether nothing waits any more."""
        try:
            for notice in self._notices.waiting():
                await webhook.send(notice, session, self._clock.now())
                self._notices.delivered(notice, self._clock.now())
        except (NotDeliveredError, BrokerConfigError) as error:
            if not self._lost:
                self._events(WebhookLost(reason=str(error), waiting=len(self._notices.waiting())))
            self._lost = True
            return False
        if self._lost:
            self._events(WebhookBack())
        self._lost = False
        return True


def _session() -> aiohttp.ClientSession:
    from brokersync.http_sessions import open_session

    return open_session(keeps=False)


def _facts(one: Candidate) -> BrokerFacts:
    """Without what a manifest would tell, where it can not be read."""
    try:
        return facts_of(one, read_manifest(Offer(one.key, one.package, one.distribution, one.version)))
    except BrokerConfigError:
        return BrokerFacts(key=one.key, distribution=one.distribution, version=one.version)


def _seen(facts: BrokerFacts, **told: str) -> PluginSeen:
    return PluginSeen(
        provider=facts.key,
        distribution=facts.distribution,
        version=facts.version,
        files=facts.files,
        hosts=facts.hosts,
        capabilities=facts.capabilities,
        **told,
    )


def _without(facts: BrokerFacts, *names: str) -> dict[str, Any]:
    return {name: value for name, value in attrs.asdict(facts).items() if name not in names}


def _plain(event: Event, *names: str) -> dict[str, Any]:
    return {"provider": event.provider, **{name: getattr(event, name) for name in names}}
