"""The plugin under brokersync's contract suite, for its own tests and for `brokersync verify`.

A check that fails for a known reason is left out for a while by a `Bypass` with the reason and a day.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from brokersync.testing import ProviderContract


class Suite(ProviderContract):
    key = "{{ cookiecutter.key }}"
    # so that there are some in what has passed of a session
    simulated: ClassVar[Mapping[str, Any]] = {"trades_per_day": 12}
