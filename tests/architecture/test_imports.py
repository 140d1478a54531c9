from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

FOR_PLUGINS = {"attrs", "brokersync"}
FOR_SANDBOXES = FOR_PLUGINS | {"aiohttp"}
# what of core a module may import: the suite of a plugin is loaded by tests and `verify` alone
OF_CORE = {"suite.py": {"brokersync.plugin", "brokersync.testing"}}


def test_modules_import_only_what_the_layers_allow(repository: Path) -> None:
    """The contracts stand in the root `pyproject.toml`."""
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [str(lint), "--no-cache", "--config", "pyproject.toml"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield node.module or ""


def _strange(path: Path, own: str) -> set[str]:
    allowed = (FOR_SANDBOXES if path.name.startswith("sandbox") else FOR_PLUGINS) | {own} | sys.stdlib_module_names
    imported = set(_imported(path))
    outside = {name for name in imported if name.partition(".")[0] not in allowed}
    of_core = OF_CORE.get(path.name, {"brokersync.plugin"})
    return outside | {name for name in imported if name.partition(".")[0] == "brokersync" and name not in of_core}


def test_a_plugin_imports_brokersync_plugin_attrs_and_the_standard_library(repository: Path) -> None:
    packages = sorted((repository / "plugins").glob("*/src/*"))
    assert len(packages) >= 2
    found = {
        str(path.relative_to(repository)): strange
        for package in packages
        for path in sorted(package.glob("**/*.py"))
        if (strange := _strange(path, package.name))
    }
    assert found == {}


def _modules_after(code: str) -> set[str]:
    script = f"{code}\nimport json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def _packages(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


HEAVY = {"aiohttp", "redis", "loguru", "cryptography", "rich", "cyclopts", "asyncio"}


def test_a_listing_of_keys_imports_nothing_but_the_errors() -> None:
    before = _modules_after("")
    loaded = _modules_after("import brokersync.discovery as d; assert d.discover().offers") - before
    assert {name for name in loaded if name.startswith("brokersync")} == {
        "brokersync",
        "brokersync.discovery",
        "brokersync.errors",
    }
    assert _packages(loaded).isdisjoint(HEAVY | {"attr", "attrs", "cattrs", "pluggy", "importlib_metadata"})


def test_a_listing_with_all_manifests_imports_no_plugin_and_nothing_heavy() -> None:
    code = (
        "from brokersync import ProviderRegistry\n"
        "registry = ProviderRegistry.installed()\n"
        "assert registry.listing()\n"
        "assert all(registry.manifest(key).sources for key in registry.keys())"
    )
    packages = _packages(_modules_after(code))
    assert packages.isdisjoint(HEAVY)
    assert not any(name.startswith("brokersync_") for name in packages)


@pytest.mark.parametrize(("asked", "other"), [("tradovate", "ibkr"), ("ibkr", "tradovate")])
def test_asking_for_one_broker_imports_that_plugin_alone(asked: str, other: str) -> None:
    code = f"from brokersync import get_broker_provider\nget_broker_provider({asked!r}, settings=None)"
    packages = _packages(_modules_after(code))
    assert f"brokersync_{asked}" in packages
    assert f"brokersync_{other}" not in packages
    assert packages.isdisjoint({"redis", "rich", "cyclopts"})


def test_loading_a_plugin_does_not_import_http() -> None:
    code = (
        "from brokersync import ProviderRegistry\n[ProviderRegistry.installed().load(k) for k in ('tradovate', 'ibkr')]"
    )
    packages = _packages(_modules_after(code))
    assert {"brokersync_tradovate", "brokersync_ibkr"} <= packages
    assert packages.isdisjoint({"aiohttp", "redis", "loguru"})


def test_docket_is_imported_only_when_somebody_is_to_be_woken() -> None:
    loaded = _modules_after("import brokersync.service, brokersync.queue.docket_bell")
    assert "docket" not in _packages(loaded)
