"""The plugin under brokersync's contract suite, over the sandbox: what every plugin has to keep.

A check that fails for a known reason is left out for a while by a `Bypass` with the reason and a day.
"""

from __future__ import annotations

from brokersync.testing import ProviderContract

from .logins import KEY


class TestContract(ProviderContract):
    key = KEY
