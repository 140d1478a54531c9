from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from brokersync.catalogue import catalogue

PLUGINS = {key: entry.distribution for key, entry in sorted(catalogue().items())}

LISTING = """
from brokersync import ProviderRegistry
registry = ProviderRegistry.installed()
answer = {row.key: [row.distribution, row.state, row.reason] for row in registry.listing()}
"""

LOADED = """
import asyncio, sys
from brokersync import get_broker_provider
async def main():
    async with get_broker_provider({key!r}) as provider:
        return provider.manifest.key, provider.context.environment
answer = [*asyncio.run(main()), sorted(m for m in sys.modules if m.startswith("brokersync_") and "." not in m)]
"""

REFUSED = """
from brokersync import BrokerError, get_broker_provider
try:
    get_broker_provider({key!r})
    answer = None
except BrokerError as error:
    answer = [type(error).__name__, error.message, error.remedy]
"""

OF_FILES = """
from brokersync.plugin import ProviderSpec, hookimpl
@hookimpl
def brokersync_provider(broker):
    return ProviderSpec(statements=lambda key: None)
"""


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as pack:
        return set(pack.namelist())


def test_core_alone_serves_sandboxes_and_faults_without_pytest(core_alone: Any) -> None:
    code = """
import importlib.util
from brokersync.testing import FAULTS, FaultServer, run_sandbox
answer = [importlib.util.find_spec("pytest") is None, len(FAULTS) > 30]
"""
    assert core_alone.answer(code) == [True, True]


def test_a_wheel_holds_what_its_code_needs_and_no_tests(wheels: Mapping[str, Path]) -> None:
    core = names(wheels["brokersync"])
    assert "brokersync/ratelimit/take.lua" in core
    assert {"brokersync/catalogue.toml", "brokersync/py.typed", "brokersync/plugin.py"} <= core
    for distribution in PLUGINS.values():
        package = distribution.replace("-", "_")
        assert {f"{package}/provider.toml", f"{package}/py.typed", f"{package}/__init__.py"} <= names(
            wheels[distribution]
        )
    for distribution, wheel in wheels.items():
        package = distribution.replace("-", "_")
        outside = {name.partition("/")[0] for name in names(wheel)} - {package}
        assert len(outside) == 1, outside
        assert outside.pop().endswith(".dist-info")


def test_core_alone_brings_its_few_dependencies_and_nothing_else(core_alone: Any) -> None:
    code = """
import re
from importlib.metadata import distribution, distributions
from importlib.util import find_spec
plain = lambda name: re.sub(r"[-_.]+", "-", name).lower()
def needs(name):
    plain_ones = [text for text in distribution(name).requires or () if "extra ==" not in text]
    return {plain(re.match(r"[\\w.-]+", text)[0]) for text in plain_ones}
there, wanted, closed = {plain(dist.name) for dist in distributions()}, {"brokersync"}, set()
while wanted - closed:
    name = (wanted - closed).pop()
    closed.add(name)
    if name in there:
        wanted |= needs(name)
superfluous = there - closed - {"pip", "setuptools"}
answer = [sorted(needs("brokersync")), sorted(superfluous), find_spec("rich") is None]
"""
    direct, superfluous, no_rich = core_alone.answer(code)
    assert direct == [
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
    ]
    assert superfluous == []
    assert no_rich


def test_core_alone_lists_no_broker_and_says_how_to_get_one(core_alone: Any) -> None:
    assert core_alone.answer(LISTING) == {}
    for key, distribution in PLUGINS.items():
        kind, message, remedy = core_alone.answer(REFUSED.format(key=key))
        assert (kind, message) == ("BrokerNotInstalledError", f"No installed plugin offers the broker {key!r}.")
        assert remedy.startswith(f"Get it with `pip install {distribution}`.")


@pytest.mark.parametrize("key", PLUGINS)
def test_each_plugin_works_alone(core_alone: Any, plugin_folders: Mapping[str, Path], key: str) -> None:
    folder = plugin_folders[PLUGINS[key]]
    assert core_alone.answer(LISTING, folder) == {key: [PLUGINS[key], "available", ""]}
    assert core_alone.answer(LOADED.format(key=key), folder) == [key, "live", [PLUGINS[key].replace("-", "_")]]


def test_all_plugins_work_together_and_only_the_asked_for_is_imported(
    core_alone: Any, plugin_folders: Mapping[str, Path]
) -> None:
    folders = tuple(plugin_folders.values())
    assert set(core_alone.answer(LISTING, *folders)) == set(PLUGINS)
    for key, distribution in PLUGINS.items():
        assert core_alone.answer(LOADED.format(key=key), *folders)[2] == [distribution.replace("-", "_")]


@pytest.mark.parametrize("key", PLUGINS)
def test_a_plugin_works_from_its_wheel_on_the_import_path(
    core_alone: Any, wheels: Mapping[str, Path], key: str
) -> None:
    wheel = wheels[PLUGINS[key]]
    assert core_alone.answer(LISTING, wheel) == {key: [PLUGINS[key], "available", ""]}
    assert core_alone.answer(LOADED.format(key=key), wheel)[0] == key


@pytest.mark.parametrize("code", ["raise RuntimeError('no good')", "import nothing_there", "raise SystemExit"])
def test_a_plugin_that_can_not_be_imported_leaves_the_others_working(
    core_alone: Any, plugin_folders: Mapping[str, Path], fake: Any, code: str
) -> None:
    path = (fake("brokersync-broken", "broken", code), *plugin_folders.values())
    assert set(core_alone.answer(LISTING, *path)) == {"broken", *PLUGINS}
    kind, message, _ = core_alone.answer(REFUSED.format(key="broken"), *path)
    assert kind == "BrokerPluginError"
    assert "brokersync-broken 1.0" in message
    key = next(iter(PLUGINS))
    assert core_alone.answer(LOADED.format(key=key), *path)[0] == key


def test_two_distributions_with_one_key_are_both_refused_until_one_is_pinned(
    core_alone: Any, plugin_folders: Mapping[str, Path], fake: Any
) -> None:
    key, distribution = next(iter(PLUGINS.items()))
    path = (plugin_folders[distribution], fake("somebody-elses", key, OF_FILES))
    listing = """
from brokersync import ProviderRegistry
answer = sorted([row.distribution, row.state] for row in ProviderRegistry.installed().listing())
"""
    assert core_alone.answer(listing, *path) == [[distribution, "refused"], ["somebody-elses", "refused"]]
    kind, message, remedy = core_alone.answer(REFUSED.format(key=key), *path)
    assert kind == "BrokerPluginError"
    assert distribution in message
    assert "somebody-elses 1.0" in message
    assert f"[brokers.{key}] distribution =" in remedy
    pinned = """
from brokersync import ProviderRegistry
from brokersync.config import parse_settings
settings = parse_settings('[brokers.{key}]\\ndistribution = "somebody-elses"')
answer = ProviderRegistry.installed(settings).load({key!r}).distribution
"""
    assert core_alone.answer(pinned.format(key=key), *path) == "somebody-elses"
