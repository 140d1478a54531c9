"""Checks of the distribution: what is installed, and what importing it does."""

from __future__ import annotations

import inspect
from typing import Final

from brokersync.discovery import Offer, discover
from brokersync.provider import BrokerProvider, StatementReader
from brokersync.testing.contract.base import ContractBase
from brokersync.testing.contract.expecting import expect
from brokersync.testing.contract.packaging import files_of, imported_alone, imported_names

_LONGEST_IMPORT: Final = 0.3
_ALLOWED: Final = ("brokersync.plugin", "brokersync.testing")


class PackageChecks(ContractBase):
    """Of the distribution."""

    async def test_its_key_is_offered_once_and_described(self) -> None:
        """Entry point, manifest and hook name one broker."""
        offer = self._offer()
        loaded = self.loaded
        expect(loaded.manifest.key == offer.key, f"provider.toml describes {loaded.manifest.key!r}, not {offer.key!r}")
        rows = [row for row in self.registry().listing() if row.key == self.key]
        expect(len(rows) == 1, f"the key {self.key!r} is offered by {', '.join(row.distribution for row in rows)}")

    async def test_importing_it_does_nothing_else(self) -> None:
        """No network, no file, no thread, no variable, and under 300 ms."""
        found = imported_alone(self._offer().module)
        expect(not found["did"], f"importing {self._offer().module} does more: {'; '.join(found['did'])}")
        expect(
            found["took"] < _LONGEST_IMPORT,
            f"importing {self._offer().module} takes {found['took']:.2f} s of CPU, and {_LONGEST_IMPORT} s is the most:"
            " import what is heavy inside the hook",
        )

    async def test_it_imports_only_the_names_for_plugins(self) -> None:
        """Of core `brokersync.plugin`, which is what stays as it is."""
        for path in files_of(self._offer().package):
            for line, name in imported_names(path):
                inside = name == "brokersync" or name.startswith("brokersync.")
                allowed = any(name == one or name.startswith(f"{one}.") for one in _ALLOWED)
                expect(
                    not inside or allowed,
                    f"{path.name}:{line} imports {name}; a plugin imports brokersync.plugin, and nothing else of core",
                )

    async def test_its_methods_are_those_of_the_contract(self) -> None:
        """Each with the kind of function and the arguments that core calls it with."""
        async with self.stage() as stage:
            provider = stage.provider
            expect(isinstance(provider, BrokerProvider), "create() gives no BrokerProvider: it lacks methods")
            for name in ("authenticate", "refresh_token", "get_accounts", "aclose"):
                method = getattr(provider, name)
                expect(inspect.iscoroutinefunction(method), f"{name} is no `async def`")
            expect(
                inspect.isasyncgenfunction(provider.get_trades),
                "get_trades is no async generator: write `async def get_trades` with `yield`",
            )
            files = [source.name for source in self.manifest.sources if source.files]
            reader = None if stage.loaded.spec.statements is None else stage.loaded.spec.statements(self.key)
            expect(
                bool(files) == isinstance(reader, StatementReader),
                f"provider.toml has the sources of files {files}, and the spec's `statements` give {reader!r}",
            )

    def _offer(self) -> Offer:
        self.registry().load(self.key)  # a plugin that is refused is told as such first
        offers = [offer for offer in discover().offers if offer.key == self.key]
        if not offers:
            self.cannot_try("the plugin is registered in process and has no distribution")
        return offers[0]
