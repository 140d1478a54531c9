"""Interactive Brokers under brokersync's contract suite."""

from __future__ import annotations

from datetime import date

from brokersync.testing import Bypass, ProviderContract


class TestContract(ProviderContract):
    key = "ibkr"
    bypasses = (
        Bypass(
            "test_capabilities_are_declared_where_they_are_shown",
            reason="provider.toml does not declare its capabilities yet: corrections, futures, options",
            until=date(2027, 1, 31),
        ),
    )
