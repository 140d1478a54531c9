"""Plugins as an installer leaves them, and what an operator decided of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest

from brokersync.config import Settings
from brokersync.events import Event
from brokersync.governance_settings import GovernanceMode, GovernanceSettings
from brokersync.registry import ProviderRegistry

WITH_HOSTS = '[hosts]\nlive = "https://api.alpha.example"\n'


class Heard(list[Event]):
    def __call__(self, event: Event) -> None:
        self.append(event)


@attrs.frozen
class Operator:
    """Settings with a file for approvals of the test's own."""

    approvals: Path

    def settings(self, mode: GovernanceMode = GovernanceMode.APPROVE, **more: Any) -> Settings:
        return Settings(governance=GovernanceSettings(mode=mode, approvals=str(self.approvals), **more))

    def registry(self, mode: GovernanceMode = GovernanceMode.APPROVE, **more: Any) -> ProviderRegistry:
        events = more.pop("events", Heard())
        return ProviderRegistry.installed(self.settings(mode, **more), events)


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path / "approvals.json")


@pytest.fixture
def alpha(site: Any) -> Path:
    """An installed plugin `alpha` with a RECORD; the folder of its package."""
    name = site.plugin("alpha")
    manifest = site.folder / name / "provider.toml"
    text = manifest.read_text()
    manifest.write_text(text.replace("[[user_fields]]", f"{WITH_HOSTS}[[user_fields]]", 1))
    site.record("brokersync-alpha", name)
    folder: Path = site.folder / name
    return folder
