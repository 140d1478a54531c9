"""What the author of a plugin tells the suite, and what its checks share."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any, ClassVar, Final, NoReturn

import attrs
import pytest

from brokersync.errors import BrokerError
from brokersync.manifest import Manifest
from brokersync.records import Connection
from brokersync.registry import LoadedProvider, ProviderRegistry
from brokersync.sandboxes import SandboxSettings, SimulatedBroker
from brokersync.testing.contract.bypasses import Bypass
from brokersync.testing.contract.expecting import BrokenContract
from brokersync.testing.contract.packaging import files_of
from brokersync.testing.contract.reading import Reading, sources_of
from brokersync.testing.contract.stage import Service, Stage, VirtualClock, sandbox_settings
from brokersync.testing.fault_server import FaultServer
from brokersync.testing.recording.recording import load, recordings_in
from brokersync.testing.recording.replay import ReplayedBroker
from brokersync.testing.sandbox_server import serve_sandbox, simulated_broker
from brokersync.types import AuthResult, StatementHints

OVER_THE_NETWORK: Final = "source that is read over the network"


class ContractBase:
    """The few lines of an author: `key`, and what else of this is not as it is for an installed plugin.

    `simulated` changes the settings of the sandbox, and `requests_file` keeps what is asked of it. `bypasses` are
    checks that fail for a known reason, for a while. `recordings` is a folder of what `brokersync record` wrote;
    without one it is the folder `recordings` of the plugin's package. `statements_end` says that the last line of a
    statement shows that it is whole, such as a count of its rows. `wall_times` are the forms of times that tell no
    zone, each with the zone that is meant: `%Y%m%d;%H%M%S America/New_York`.
    """

    pytestmark = pytest.mark.asyncio

    key: ClassVar[str] = ""
    simulated: ClassVar[Mapping[str, Any]] = {}
    bypasses: ClassVar[tuple[Bypass, ...]] = ()

    statements_end: ClassVar[bool] = False
    wall_times: ClassVar[tuple[str, ...]] = ()
    requests_file: ClassVar[Path | None] = None
    recordings: ClassVar[Path | None] = None

    # set by the plugin of pytest, and told by it when a check fails
    seed: ClassVar[int] = 7
    rows: ClassVar[int] = 100_000
    writes: ClassVar[bool] = False
    latest: ClassVar[str] = ""

    def registry(self) -> ProviderRegistry:
        """Where the plugin is found: among the installed ones. A private broker is registered here instead."""
        return _installed(tuple(sys.path))

    def broker(self, settings: SandboxSettings) -> SimulatedBroker:
        """The simulated broker: the one that `provider.toml` names, or one that answers from the first recording."""
        folders = self.recorded() if self.manifest.sandbox is None else []
        if folders:
            return ReplayedBroker(load(folders[0]))
        return simulated_broker(self.key, self.registry(), settings)

    async def log_in(self, stage: Stage) -> AuthResult:
        """A login of the sandbox: what `authenticate` makes of the fields of its first one."""
        return await stage.log_in()

    async def readings(self, stage: Stage, **more: Any) -> tuple[AuthResult, list[Reading]]:
        """A login, and a span of each source of each of its accounts."""
        self.needs(sources_of(self.manifest.sources), OVER_THE_NETWORK)
        auth = await self.log_in(stage)
        return auth, await stage.readings(auth, **more)

    async def connect(self, service: Service) -> Connection:
        """The same login as a backend makes it: `connect` with the fields of the first one."""
        return await service.connect()

    def statements(self) -> Iterable[tuple[bytes, StatementHints]]:
        """Made-up statements of each source of files, with what their user has to say of them."""
        return ()

    def recorded(self) -> list[Path]:
        """The folders of the plugin's recordings."""
        if self.recordings is not None:
            return recordings_in(self.recordings)
        packages = {path.parent for path in files_of(self._package()) if path.name == "__init__.py"}
        return [one for package in sorted(packages) for one in recordings_in(package / "recordings")]

    def _package(self) -> str:
        """The plugin's own package, by where its provider is made."""
        spec = self.loaded.spec
        return (spec.create or spec.statements or type(self)).__module__.partition(".")[0]

    @property
    def manifest(self) -> Manifest:
        return self.loaded.manifest

    @property
    def loaded(self) -> LoadedProvider:
        """Raises `BrokenContract` when core refuses the plugin."""
        if not self.key:
            raise BrokenContract(f"{type(self).__name__} names no broker: set key = '...'")
        return self.registry().load(self.key)

    def random(self, *about: object) -> Random:
        """The same draws for one seed."""
        return Random(f"{self.seed} {about}")  # noqa: S311  draws of a test are repeated by their seed

    def needs(self, declared: object, what: str) -> None:
        """Leaves the check out where `provider.toml` does not declare what it is about."""
        if not declared:
            _leave_out(f"{self.key} has no {what}")

    def needs_a_broker(self, stage: Stage) -> None:
        """Leaves the check out over a recording, which answers the same whatever token or password it is sent."""
        if isinstance(stage.sandbox.broker, ReplayedBroker):
            self.cannot_try("a recording refuses nobody, and gives no new tokens")

    def cannot_try(self, why: str) -> NoReturn:
        """Leaves the check out where the sandbox shows nothing that it could be tried on."""
        _leave_out(f"not tried: {why}")

    @asynccontextmanager
    async def stage(self, *, metered: bool = False, **simulated: Any) -> AsyncGenerator[Stage, None]:
        """The plugin over its sandbox, at a moment of its own.

        Limits are kept only where it is `metered`, so that the time stands still however much is asked.
        """
        loaded = self.loaded
        self.needs(loaded.spec.create, "login, but reads files only")
        clock = VirtualClock()
        settings = SandboxSettings(now=clock.now, days=45, trades_per_day=4, think=timedelta(0), keeps_limits=metered)
        broker = self.broker(attrs.evolve(settings, **{**self.simulated, **simulated}))
        replayed = broker if isinstance(broker, ReplayedBroker) else None
        if replayed is not None:
            clock.begin(replayed.recording.at)
        with tempfile.TemporaryDirectory(prefix="contract-") as folder:
            async with serve_sandbox(self.key, broker) as running:
                server = FaultServer(running.base_url, clock.now)
                async with server.running():
                    stage = Stage(
                        key=self.key,
                        loaded=loaded,
                        registry=self.registry(),
                        sandbox=running,
                        server=server,
                        clock=clock,
                        folder=Path(folder),
                        settings=sandbox_settings(running, server, metered=metered),
                    )
                    try:
                        yield stage
                    except (BrokerError, BrokenContract) as error:
                        if replayed is None or not replayed.missed:
                            raise
                        self.cannot_try(f"{replayed.missed[0]} ({type(error).__name__})")
                    finally:
                        type(self).latest = server.told()
                        await stage.aclose()


@lru_cache(maxsize=1)
def _installed(_: tuple[str, ...]) -> ProviderRegistry:
    """Looked for once, since each check asks, and beside hundreds of plugins looking takes longer than most checks."""
    return ProviderRegistry.installed()


def _leave_out(why: str) -> NoReturn:
    pytest.skip(why)
