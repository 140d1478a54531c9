"""The plugin under brokersync's contract suite, for its own tests and for `brokersync verify`.

A check that fails for a known reason is left out for a while by a `Bypass` with the reason and a day.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from brokersync.plugin import SandboxSettings, StatementHints
from brokersync.testing import ProviderContract
from {{ cookiecutter.__package }}.sandbox_facts import ENVIRONMENTS
from {{ cookiecutter.__package }}.sandbox_history import statement

NOW = datetime(2026, 3, 4, 15, 0, tzinfo=UTC)


class Suite(ProviderContract):
    key = "{{ cookiecutter.key }}"

    def statements(self) -> Iterable[tuple[bytes, StatementHints]]:
        """A file as a user in each environment downloads it."""
        settings = SandboxSettings(now=lambda: NOW, days=45)
        for environment in ENVIRONMENTS:
            yield statement(settings, environment), StatementHints(environment=environment)
