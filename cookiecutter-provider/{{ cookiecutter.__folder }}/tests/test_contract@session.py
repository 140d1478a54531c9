"""The plugin under brokersync's contract suite, over the sandbox: what every plugin has to keep.

A check that fails for a known reason is left out for a while by a `Bypass` with the reason and a day.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from brokersync.testing import ProviderContract

from .logins import KEY


class TestContract(ProviderContract):
    key = KEY
    # so that there are some in what has passed of a session
    simulated: ClassVar[Mapping[str, Any]] = {"trades_per_day": 12}
