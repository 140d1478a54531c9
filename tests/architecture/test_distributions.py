from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from brokersync.catalogue import catalogue
from brokersync.discovery import discover, read_manifest
from brokersync.registry import ProviderRegistry
from brokersync.version import VERSION

# A new name here is one more thing that every user installs: it needs an ADR.
RUNTIME = {
    "aiohttp",
    "aiolimiter",
    "attrs",
    "cattrs",
    "cryptography",
    "importlib-metadata",
    "loguru",
    "msgspec",
    "pluggy",
    "redis",
    "tzdata",
}
EXTRAS = {
    "cli": {"cyclopts", "rich"},
    "docket": {"pydocket"},
    "otel": {"opentelemetry-api"},
    "postgres": {"asyncpg"},
    "testing": {"pytest", "pytest-asyncio"},
}


def _project(path: Path) -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    return project


def _names(requirements: list[str]) -> set[str]:
    return {Requirement(text).name for text in requirements}


@pytest.fixture(scope="session")
def core(repository: Path) -> dict[str, Any]:
    return _project(repository / "core/pyproject.toml")


@pytest.fixture(scope="session")
def plugins(repository: Path) -> list[dict[str, Any]]:
    return [_project(path) for path in sorted((repository / "plugins").glob("*/pyproject.toml"))]


def test_core_needs_these_packages_and_no_other(core: dict[str, Any]) -> None:
    assert _names(core["dependencies"]) == RUNTIME
    assert {name: _names(wanted) for name, wanted in core["optional-dependencies"].items()} == EXTRAS


def test_a_plugin_needs_core_and_no_other(plugins: list[dict[str, Any]]) -> None:
    assert [_names(plugin["dependencies"]) for plugin in plugins] == [{"brokersync"}] * len(plugins)


def test_the_versions_of_core_and_its_plugins_belong_together(
    core: dict[str, Any], plugins: list[dict[str, Any]]
) -> None:
    assert core["version"] == VERSION
    for plugin in plugins:
        (wanted,) = (Requirement(text) for text in plugin["dependencies"])
        assert wanted.specifier.contains(VERSION), plugin["name"]


def test_the_catalogue_names_exactly_the_plugins_of_this_repository(
    core: dict[str, Any], plugins: list[dict[str, Any]]
) -> None:
    offered = {key: plugin["name"] for plugin in plugins for key in plugin["entry-points"]["brokersync.providers"]}
    assert {key: entry.distribution for key, entry in catalogue().items()} == offered
    assert all(entry.owner == "brokersync project" for entry in catalogue().values())


def test_what_is_installed_here_is_what_the_catalogue_names() -> None:
    ours = [offer for offer in discover().offers if offer.distribution.startswith("brokersync-")]
    assert {offer.key: offer.distribution for offer in ours} == {
        key: entry.distribution for key, entry in catalogue().items()
    }
    for offer in ours:
        manifest, known = read_manifest(offer), catalogue()[offer.key]
        assert manifest.display_name == known.display_name
        assert tuple(sorted(label.key for label in manifest.labels)) == known.labels


@pytest.mark.parametrize("key", sorted(catalogue()))
def test_the_plugins_of_this_repository_pass_all_checks(key: str) -> None:
    loaded = ProviderRegistry.installed().load(key)
    assert loaded.manifest.key == key
    assert loaded.spec.create is not None
