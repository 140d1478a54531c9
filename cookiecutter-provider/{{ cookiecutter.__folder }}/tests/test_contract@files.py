"""The plugin under brokersync's contract suite, over the sandbox: what every plugin has to keep.

A check that fails for a known reason is left out for a while by a `Bypass` with the reason and a day.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from brokersync.plugin import SandboxSettings, StatementHints
from brokersync.testing import ProviderContract
from {{ cookiecutter.__package }}.sandbox_history import statement

from .logins import KEY

NOW = datetime(2026, 3, 4, 15, 0, tzinfo=UTC)


class TestContract(ProviderContract):
    key = KEY

    def statements(self) -> Iterable[tuple[bytes, StatementHints]]:
        """A file as a user of each side downloads it."""
        settings = SandboxSettings(now=lambda: NOW, days=45)
        yield statement(settings), StatementHints(environment="live")
        yield statement(settings, number=-1), StatementHints(environment="demo")
