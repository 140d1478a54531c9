"""Plugins that were made to do harm, installed from wheels into a clean environment: the rest works."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from tests.install.hostile import GOOD_CODE, wheel_of

HEAD = """
from brokersync import BrokerError, ProviderRegistry
from brokersync.config import parse_settings
settings = parse_settings('[governance]\\nmode = "{mode}"\\napprovals = "{approvals}"')
registry = ProviderRegistry.installed(settings)
"""
LOOK = """
def loaded(key):
    try:
        return registry.load(key).distribution
    except BrokerError as error:
        return [type(error).__name__, str(error)]
answer = {{
    "listed": {{f"{{row.key}} {{row.distribution}}": row.state for row in registry.listing()}},
    "loaded": {{key: loaded(key) for key in {keys!r}}},
}}
"""
APPROVE = """
from datetime import UTC, datetime
registry.gate.approvals.approve(registry.facts({key!r}), datetime.now(UTC))
answer = None
"""


@attrs.frozen
class Stage:
    """A clean environment with core, a good plugin that is approved, and whatever is installed next."""

    environment: Any
    installer: Any
    folder: Path

    @property
    def marker(self) -> Path:
        """The hostile code writes it when it runs."""
        return self.folder / "it-ran"

    @property
    def code(self) -> str:
        return f"open({str(self.marker)!r}, 'w').close()\n{GOOD_CODE}"

    def install(self, distribution: str, key: str, **facts: Any) -> Path:
        """Install a wheel; the folder it lies in."""
        wheels = self.folder / "wheels"
        wheels.mkdir(exist_ok=True)
        wheel = wheel_of(wheels, distribution, key, **facts)
        site = self.folder / distribution
        self.installer.install(self.environment.python, "--no-deps", "--target", site, wheel)
        return site

    def look(self, *keys: str, mode: str = "approve", path: tuple[Path, ...] = ()) -> dict[str, Any]:
        """What is listed, and what comes of loading these keys."""
        return dict(self._answer(HEAD + LOOK, mode, path, keys=list(keys)))

    def approve(self, key: str) -> None:
        self._answer(HEAD + APPROVE, "approve", (), key=key)

    def _answer(self, code: str, mode: str, path: tuple[Path, ...], **facts: Any) -> Any:
        text = code.format(mode=mode, approvals=str(self.folder / "approvals.json"), **facts)
        sites = [one for one in self.folder.iterdir() if (one / f"{one.name.replace('-', '_')}-1.0.dist-info").is_dir()]
        return self.environment.answer(text, *sorted(sites), *path)


@pytest.fixture
def stage(core_alone: Any, installer: Any, tmp_path: Path) -> Stage:
    made = Stage(core_alone, installer, tmp_path)
    made.install("good-plugin", "good")
    made.approve("good")
    return made


def assert_the_rest_works(stage: Stage, seen: dict[str, Any]) -> None:
    assert seen["loaded"]["good"] == "good-plugin"
    assert not stage.marker.exists()


def test_import_side_effects_never_happen_while_a_broker_is_held(stage: Stage) -> None:
    stage.install("bad-plugin", "bad", code=stage.code)
    seen = stage.look("bad", "good")
    assert seen["listed"]["bad bad-plugin"] == "held"
    kind, told = seen["loaded"]["bad"]
    assert kind == "BrokerHeldError"
    assert "brokersync providers approve bad" in told
    assert_the_rest_works(stage, seen)


@pytest.mark.parametrize("mode", ["trust", "approve"])
@pytest.mark.parametrize(
    ("package", "reason"),
    [("good_plugin", "which it does not bring"), ("nothing_there", "not installed"), ("os:system", "must name")],
)
def test_a_wrong_entry_point_is_held_or_refused(stage: Stage, mode: str, package: str, reason: str) -> None:
    stage.install("bad-plugin", "bad", package=package, code=stage.code)
    seen = stage.look("bad", "good", mode=mode)
    kind, told = seen["loaded"]["bad"]
    if mode == "trust":
        assert kind in ("BrokerPluginError", "BrokerNotInstalledError")
        assert reason in told or "does not bring" in told
    else:
        assert kind in ("BrokerHeldError", "BrokerPluginError")
    assert_the_rest_works(stage, seen)


def test_the_key_of_an_approved_plugin_is_not_taken_over(stage: Stage) -> None:
    stage.install("bad-plugin", "good", code=stage.code)
    seen = stage.look("good")
    assert seen["listed"] == {"good bad-plugin": "refused", "good good-plugin": "available"}
    assert_the_rest_works(stage, seen)


@pytest.mark.parametrize("mode", ["trust", "approve"])
def test_a_manifest_of_a_gigabyte_is_refused_and_not_read(stage: Stage, mode: str) -> None:
    site = stage.install("bad-plugin", "bad", code=stage.code)
    os.truncate(site / "bad_plugin" / "provider.toml", 1024**3)
    seen = stage.look("bad", "good", mode=mode)
    assert seen["loaded"]["bad"][0] in ("BrokerHeldError", "BrokerPluginError")
    if mode == "trust":
        assert "larger than 1048576 bytes" in seen["loaded"]["bad"][1]
    assert_the_rest_works(stage, seen)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux for the memory of a process")
def test_a_wheel_on_the_path_whose_manifest_unpacks_to_gigabytes_costs_no_memory(stage: Stage) -> None:
    wheel = wheel_of(stage.folder, "bomb-plugin", "bomb", manifest="", code=stage.code)
    bomb = stage.folder / "bomb.whl"
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new:
        for name in old.namelist():
            if not name.endswith("provider.toml"):
                new.writestr(name, old.read(name))
        with new.open("bomb_plugin/provider.toml", "w", force_zip64=True) as file:
            for _ in range(512):
                file.write(bytes(1024**2))
    wheel.unlink()
    code = (HEAD + LOOK).format(mode="trust", approvals=str(stage.folder / "none.json"), keys=["bomb"])
    # of this process alone: `ru_maxrss` is at least what the one had that began it
    code += "status = dict(line.split(':', 1) for line in open('/proc/self/status'))\n"
    code += "answer = [answer['loaded']['bomb'][1], int(status['VmHWM'].split()[0])]"
    told, kilobytes = stage.environment.answer(code, bomb)
    assert "larger than 1048576 bytes" in told
    assert kilobytes < 200_000
    assert not stage.marker.exists()


@pytest.mark.parametrize("text", ["a = " + "[" * 100_000, "contract = " + "9" * 10_000, "\x00", "key = 'x'\nkey = 'x'"])
def test_a_manifest_that_breaks_its_reader_costs_only_its_plugin(stage: Stage, text: str) -> None:
    stage.install("bad-plugin", "bad", manifest=text, code=stage.code)
    seen = stage.look("bad", "good", mode="trust")
    assert seen["loaded"]["bad"][0] == "BrokerPluginError"
    assert_the_rest_works(stage, seen)


def change_a_byte(site: Path) -> None:
    code = site / "bad_plugin" / "__init__.py"
    data = bytearray(code.read_bytes())
    data[-2] ^= 1
    code.write_bytes(bytes(data))


def add_a_file(site: Path) -> None:
    (site / "bad_plugin" / "more.py").write_text("x = 1")


def take_a_file_away(site: Path) -> None:
    (site / "bad_plugin" / "provider.toml").unlink()


@pytest.mark.parametrize("harm", [change_a_byte, add_a_file, take_a_file_away])
def test_what_was_changed_after_its_approval_is_refused(stage: Stage, harm: Callable[[Path], None]) -> None:
    site = stage.install("bad-plugin", "bad", code=stage.code)
    stage.approve("bad")
    harm(site)
    seen = stage.look("bad", "good")
    kind, told = seen["loaded"]["bad"]
    assert kind == "BrokerPluginError"
    assert "bad_plugin" in told
    assert_the_rest_works(stage, seen)
    stage.approve("good")


def test_what_is_as_it_was_approved_runs(stage: Stage) -> None:
    stage.install("bad-plugin", "bad", code=stage.code)
    stage.approve("bad")
    assert stage.look("bad")["loaded"]["bad"] == "bad-plugin"
    assert stage.marker.exists()


@pytest.mark.parametrize("mode", ["trust", "approve"])
def test_a_pth_file_is_told_of_as_already_run_and_its_distribution_refused(
    stage: Stage, wheels: Any, installer: Any, mode: str
) -> None:
    home = stage.folder / "environment"
    home.mkdir()
    python = installer.make(home / "venv")
    line = f"import os; open({str(stage.marker)!r}, 'w').close()\n".encode()
    wheel = wheel_of(stage.folder, "early-plugin", "early", more={"early.pth": line})
    installer.install(python, wheels["brokersync"], wheel)
    environment = type(stage.environment)(python, home)
    code = (HEAD + LOOK).format(mode=mode, approvals=str(stage.folder / "approvals.json"), keys=["early", "good"])
    assert not stage.marker.exists()
    seen = environment.answer(code, stage.folder / "good-plugin")
    assert stage.marker.exists()  # nothing could have kept it from running
    kind, told = seen["loaded"]["early"]
    assert kind == "BrokerPluginError"
    assert "early.pth, which Python runs when it starts: its code has run already" in told
    assert seen["loaded"]["good"] == "good-plugin"
