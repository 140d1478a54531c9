"""Interactive Brokers under brokersync's contract suite."""

from __future__ import annotations

from brokersync_ibkr.suite import Suite as TestContract

__all__ = ["TestContract"]
