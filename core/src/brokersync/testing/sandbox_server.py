"""A plugin's simulated broker, served on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from importlib import import_module
from urllib.parse import parse_qsl, urlsplit

import attrs
from aiohttp import ClientSession, web

from brokersync.config import BrokerSettings, Settings
from brokersync.errors import BrokerConfigError, BrokerPluginError
from brokersync.registry import ProviderRegistry
from brokersync.sandboxes import SandboxLogin, SandboxSettings, SimulatedBroker

_LOOPBACK = "127.0.0.1"


@attrs.frozen(kw_only=True)
class RunningSandbox:
    """A simulated broker that listens at `base_url`; `hosts` maps the manifest's roles to it."""

    key: str
    base_url: str
    hosts: Mapping[str, str]
    broker: SimulatedBroker

    @property
    def logins(self) -> tuple[SandboxLogin, ...]:
        """The logins that work there."""
        return self.broker.logins

    @property
    def operator_fields(self) -> Mapping[str, str]:
        """The operator's fields that work there."""
        fields: Mapping[str, str] = getattr(self.broker, "operator_fields", {})
        return fields

    def settings(self, base: Settings | None = None) -> Settings:
        """Settings that send this broker's requests to the sandbox and change nothing else."""
        base = base or Settings()
        mine = base.brokers.get(self.key) or BrokerSettings()
        mine = attrs.evolve(mine, hosts=self.hosts, settings={**mine.settings, **self.operator_fields})
        return attrs.evolve(base, brokers={**base.brokers, self.key: mine})


def simulated_broker(key: str, registry: ProviderRegistry, settings: SandboxSettings) -> SimulatedBroker:
    """The plugin's own simulated broker. Raises `BrokerConfigError` when it brings none."""
    manifest = registry.manifest(key)
    if manifest.sandbox is None:
        raise BrokerConfigError(
            f"The plugin for {manifest.display_name} brings no sandbox.", remedy="Use a test login of the broker."
        )
    module, _, name = manifest.sandbox.partition(":")
    try:
        create = getattr(import_module(module), name or "create")
    except (ImportError, AttributeError) as error:
        raise BrokerPluginError(
            f"The sandbox of {manifest.display_name} can not be loaded: {error}.", provider=key
        ) from error
    broker: SimulatedBroker = create(settings)
    return broker


async def answer_page(url: str, form: Mapping[str, str]) -> dict[str, str]:
    """What a user is sent back with who gives `form` at a simulated broker's own page, as with `SandboxLogin.page`.

    Raises `BrokerConfigError` where the page sends nobody back.
    """
    async with ClientSession() as session, session.post(url, data=form, allow_redirects=False) as answer:
        location = answer.headers.get("Location")
    if location is None:
        raise BrokerConfigError(
            f"The page of the sandbox answers with HTTP {answer.status}, and sends nobody back.",
            remedy="See to it that `page` of its logins is what its form asks for.",
        )
    return dict(parse_qsl(urlsplit(location).query, keep_blank_values=True))


@asynccontextmanager
async def run_sandbox(
    key: str,
    *,
    registry: ProviderRegistry | None = None,
    settings: SandboxSettings | None = None,
    port: int = 0,
) -> AsyncIterator[RunningSandbox]:
    """Serve a broker's sandbox on loopback until the block ends; port 0 takes a free one."""
    registry = registry or ProviderRegistry.installed()
    broker = simulated_broker(key, registry, settings or SandboxSettings(now=lambda: datetime.now(UTC)))
    async with serve_sandbox(registry.manifest(key).key, broker, port=port) as running:
        yield running


@asynccontextmanager
async def serve_sandbox(key: str, broker: SimulatedBroker, *, port: int = 0) -> AsyncIterator[RunningSandbox]:
    """Serve a simulated broker on loopback until the block ends; port 0 takes a free one."""
    runner = web.AppRunner(broker.application(), access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, _LOOPBACK, port)
        try:
            await site.start()
        except (OSError, OverflowError) as error:
            raise BrokerConfigError(
                f"Port {port} on {_LOOPBACK} can not be used: {error}.", remedy="Choose another with --port."
            ) from None
        address = runner.addresses[0]
        base_url = f"http://{_LOOPBACK}:{address[1]}"
        yield RunningSandbox(key=key, base_url=base_url, hosts=broker.hosts(base_url), broker=broker)
    finally:
        await runner.cleanup()
