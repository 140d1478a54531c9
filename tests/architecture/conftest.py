"""Where the repository's parts lie."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def repository() -> Path:
    return Path(__file__).parents[2]


@pytest.fixture(scope="session")
def sources(repository: Path) -> list[Path]:
    """Every module of the three distributions."""
    found = [path for part in ("core", "plugins") for path in sorted((repository / part).glob("**/src/**/*.py"))]
    assert len(found) > 40
    return found


@pytest.fixture(scope="session")
def core_sources(repository: Path) -> list[Path]:
    return sorted((repository / "core/src").glob("**/*.py"))
