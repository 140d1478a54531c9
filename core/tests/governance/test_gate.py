from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from brokersync.errors import BrokerConfigError, BrokerHeldError, BrokerPluginError
from brokersync.events import BrokerHeld
from brokersync.governance_settings import GovernanceMode, Pin
from brokersync.registry import ProviderState
from brokersync.sandboxes import SandboxSettings
from brokersync.testing.sandbox_server import simulated_broker

NOW = datetime(2026, 3, 1, tzinfo=UTC)
TRUST = GovernanceMode.TRUST
PACKAGE = "brokersync_alpha"


def approve(operator: Any, key: str = "alpha", **more: Any) -> None:
    registry = operator.registry(**more)
    assert registry.gate.approvable(registry.candidate(key)) is None
    registry.gate.approvals.approve(registry.facts(key), NOW)


def held(operator: Any, key: str = "alpha", **more: Any) -> BrokerHeldError:
    with pytest.raises(BrokerHeldError) as caught:
        operator.registry(**more).load(key)
    assert PACKAGE not in sys.modules
    return caught.value


def refused(operator: Any, key: str = "alpha", **more: Any) -> BrokerPluginError:
    with pytest.raises(BrokerPluginError) as caught:
        operator.registry(**more).load(key)
    assert PACKAGE not in sys.modules
    return caught.value


def replace(site: Any, folder: Path, version: str, manifest: tuple[str, str] = ("", "")) -> None:
    """Another version of alpha, as an installer leaves it."""
    old = site.folder / "brokersync_alpha-1.0.dist-info"
    new = old.with_name(f"brokersync_alpha-{version}.dist-info")
    old.rename(new)
    text = (new / "METADATA").read_text()
    (new / "METADATA").write_text(text.replace("Version: 1.0", f"Version: {version}"))
    toml = folder / "provider.toml"
    toml.write_text(toml.read_text().replace(*manifest))
    site.record("brokersync-alpha", folder.name, version=version)


def test_by_default_what_is_installed_is_trusted(operator: Any, alpha: Path) -> None:
    assert operator.registry(TRUST).load("alpha").manifest.key == "alpha"


def test_a_new_broker_is_held_until_it_is_approved_and_runs_no_line(operator: Any, alpha: Path) -> None:
    (alpha / "__init__.py").write_text("raise RuntimeError('it ran')")
    error = held(operator)
    assert "waits for approval" in error.message
    assert error.remedy.endswith("brokersync providers approve alpha")
    assert error.provider == "alpha"


def test_a_held_broker_is_listed_as_held_and_described_without_its_code(operator: Any, alpha: Path) -> None:
    registry = operator.registry()
    (row,) = [row for row in registry.listing() if row.key == "alpha"]
    assert (row.state, row.reason) == (ProviderState.HELD, "It waits for approval; none of its code was run.")
    assert registry.manifest("alpha").display_name == "A made-up broker"
    assert PACKAGE not in sys.modules


def test_the_sandbox_of_a_held_broker_is_not_run(operator: Any, site: Any, alpha: Path) -> None:
    with_sandbox(site, alpha, f"{PACKAGE}.sandbox:create")
    (alpha / "sandbox.py").write_text("raise RuntimeError('it ran')")
    with pytest.raises(BrokerHeldError):
        simulated_broker("alpha", operator.registry(), SandboxSettings(now=lambda: NOW))
    assert PACKAGE not in sys.modules


def test_a_sandbox_outside_of_the_plugin_is_refused(operator: Any, site: Any, alpha: Path) -> None:
    with_sandbox(site, alpha, "antigravity:create")
    with pytest.raises(BrokerPluginError, match="not in its package"):
        simulated_broker("alpha", operator.registry(TRUST), SandboxSettings(now=lambda: NOW))
    assert "antigravity" not in sys.modules


def with_sandbox(site: Any, folder: Path, sandbox: str) -> None:
    toml = folder / "provider.toml"
    toml.write_text(toml.read_text().replace("[hosts]", f'sandbox = "{sandbox}"\n[hosts]'))
    site.record("brokersync-alpha", PACKAGE)


def test_an_approval_lets_it_run_and_a_running_process_follows(operator: Any, alpha: Path) -> None:
    registry = operator.registry()
    with pytest.raises(BrokerHeldError):
        registry.load("alpha")
    approve(operator)
    assert registry.load("alpha").manifest.key == "alpha"


def test_a_revoked_broker_runs_no_more_in_any_mode_nor_in_a_running_process(operator: Any, alpha: Path) -> None:
    registry = operator.registry(TRUST)
    registry.load("alpha")
    registry.gate.approvals.revoke("alpha", NOW)
    for one in (registry, operator.registry(TRUST), operator.registry()):
        with pytest.raises(BrokerHeldError, match="revoked"):
            one.load("alpha")
    approve(operator)
    assert registry.load("alpha")


def test_being_held_is_told_once_for_each_reason(operator: Any, alpha: Path) -> None:
    heard: list[Any] = []
    registry = operator.registry(events=heard.append)
    for _ in range(2):
        with pytest.raises(BrokerHeldError):
            registry.load("alpha")
    registry.gate.approvals.revoke("alpha", NOW)
    with pytest.raises(BrokerHeldError):
        registry.load("alpha")
    told = [event.reason for event in heard if isinstance(event, BrokerHeld)]
    assert told == [
        "It waits for approval; none of its code was run.",
        "It was revoked; none of its code is run any more.",
    ]


@pytest.mark.parametrize("mode", list(GovernanceMode))
def test_a_changed_byte_after_approval_is_refused_whatever_the_mode(operator: Any, alpha: Path, mode: Any) -> None:
    approve(operator)
    code = alpha / "__init__.py"
    code.write_text(code.read_text() + " ")
    assert f"'{PACKAGE}/__init__.py' is changed or missing" in refused(operator, mode=mode).message


def test_a_changed_byte_of_the_same_length_is_refused(operator: Any, alpha: Path) -> None:
    approve(operator)
    code = alpha / "__init__.py"
    code.write_bytes(code.read_bytes().replace(b"attrs", b"sttra", 1))
    assert "changed or missing" in refused(operator).message


def test_files_that_were_changed_with_their_record_are_held(operator: Any, site: Any, alpha: Path) -> None:
    approve(operator)
    (alpha / "__init__.py").write_text("x = 1")
    site.record("brokersync-alpha", PACKAGE)
    assert "not those of 1.0 that were approved" in held(operator).message


@pytest.mark.parametrize("name", ["extra.py", "extra.so", "deep/__init__.py", "data.json", "extra.pyc"])
def test_a_file_in_no_record_is_refused(operator: Any, alpha: Path, name: str) -> None:
    approve(operator)
    (alpha / name).parent.mkdir(exist_ok=True)
    (alpha / name).write_text("")
    assert f"'{PACKAGE}/{name}' is in no RECORD" in refused(operator).message


def test_a_folder_that_is_linked_into_a_package_is_refused(operator: Any, alpha: Path, tmp_path: Path) -> None:
    approve(operator)
    (alpha / "linked").symlink_to(tmp_path)
    assert "linked' is in no RECORD" in refused(operator).message


def test_an_added_entry_point_is_refused_since_metadata_is_listed_too(operator: Any, site: Any, alpha: Path) -> None:
    approve(operator)
    (site.folder / "brokersync_alpha-1.0.dist-info/entry_points.txt").write_text(
        f"[brokersync.providers]\nalpha = {PACKAGE}.other\n"
    )
    assert "entry_points.txt' is changed or missing" in refused(operator).message


def test_a_listed_file_without_a_hash_is_refused(operator: Any, site: Any, alpha: Path) -> None:
    (alpha / "extra.py").write_text("")
    record = site.folder / "brokersync_alpha-1.0.dist-info/RECORD"
    record.write_text(record.read_text() + f"{PACKAGE}/extra.py,,\n")
    registry = operator.registry()
    assert "extra.py' is in no RECORD" in registry.gate.approvable(registry.candidate("alpha")).reason


def test_what_python_and_installers_add_is_no_fault(operator: Any, site: Any, alpha: Path) -> None:
    (alpha / "__pycache__").mkdir()
    (alpha / "__pycache__/__init__.cpython-311.pyc").write_bytes(b"")
    for name in ("INSTALLER", "REQUESTED"):
        (site.folder / "brokersync_alpha-1.0.dist-info" / name).write_text("pip")
    approve(operator)
    assert operator.registry().load("alpha")


@pytest.mark.parametrize("name", ["alpha.pth", "sitecustomize.py", "usercustomize.py"])
@pytest.mark.parametrize("mode", list(GovernanceMode))
def test_a_file_that_python_runs_at_its_start_is_told_of_and_its_distribution_refused(
    operator: Any, site: Any, alpha: Path, name: str, mode: Any
) -> None:
    (site.folder / name).write_text("import os\n")
    site.record("brokersync-alpha", PACKAGE, root=(name,))
    error = refused(operator, mode=mode)
    assert name in error.message
    assert "its code has run already" in error.message
    assert error.remedy == "Uninstall it: pip uninstall brokersync-alpha"
    registry = operator.registry(mode)
    assert name in registry.gate.approvable(registry.candidate("alpha")).reason


@pytest.mark.parametrize("mode", list(GovernanceMode))
def test_an_entry_point_into_a_package_of_others_is_refused(operator: Any, site: Any, alpha: Path, mode: Any) -> None:
    site.metadata(
        "thief",
        {
            "METADATA": "Metadata-Version: 2.1\nName: thief\nVersion: 1.0\n",
            "entry_points.txt": f"[brokersync.providers]\nstolen = {PACKAGE}\n",
        },
    )
    site.record("thief")
    registry = operator.registry(mode)
    assert "which it does not bring" in registry.gate.approvable(registry.candidate("stolen")).reason
    assert "which it does not bring" in refused(operator, "stolen", mode=mode).message


def test_the_key_of_an_approved_broker_can_not_be_taken_by_another(operator: Any, site: Any, alpha: Path) -> None:
    approve(operator)
    site.plugin("alpha", distribution="thief", code="raise RuntimeError('it ran')")
    site.record("thief", "thief")
    registry = operator.registry()
    assert registry.load("alpha").distribution == "brokersync-alpha"
    assert {row.distribution: row.state for row in registry.listing() if row.key == "alpha"} == {
        "brokersync-alpha": ProviderState.AVAILABLE,
        "thief": ProviderState.REFUSED,
    }


def test_another_distribution_than_the_approved_is_held(operator: Any, site: Any, alpha: Path) -> None:
    approve(operator)
    (site.folder / "brokersync_alpha-1.0.dist-info/entry_points.txt").write_text("")
    site.plugin("alpha", distribution="thief")
    site.record("thief", "thief")
    assert "brokersync-alpha was approved for this broker, not thief." in held(operator).message


def test_another_version_is_held_and_says_both(operator: Any, site: Any, alpha: Path) -> None:
    approve(operator)
    replace(site, alpha, "1.1")
    assert "Version 1.0 was approved, and this is 1.1." in held(operator).message


def test_with_its_distribution_pinned_a_new_version_runs(operator: Any, site: Any, alpha: Path) -> None:
    approve(operator)
    replace(site, alpha, "1.1")
    assert operator.registry(pin=Pin.DISTRIBUTION).load("alpha").version == "1.1"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("api.alpha.example", "evil.example"), "https://evil.example"),
        (('auth = ["password"]', 'auth = ["password"]\ncapabilities = ["orders"]'), "orders"),
    ],
)
def test_with_its_distribution_pinned_a_version_that_may_do_more_is_held(
    operator: Any, site: Any, alpha: Path, change: tuple[str, str], told: str
) -> None:
    approve(operator)
    replace(site, alpha, "1.1", change)
    assert told in held(operator, pin=Pin.DISTRIBUTION).message


def test_a_package_that_stands_in_front_on_the_import_path_is_refused(
    operator: Any, site: Any, alpha: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    approve(operator)
    shadow = tmp_path / "shadow" / PACKAGE
    shadow.mkdir(parents=True)
    for name in ("__init__.py", "provider.toml"):
        (shadow / name).write_text((alpha / name).read_text())
    monkeypatch.syspath_prepend(shadow.parent)
    assert "would be imported from" in refused(operator).message


def test_a_distribution_without_a_record_can_not_be_approved(operator: Any, site: Any) -> None:
    site.plugin("alpha")
    registry = operator.registry()
    assert "no RECORD" in registry.gate.approvable(registry.candidate("alpha")).reason
    assert operator.registry(TRUST).load("alpha")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes in folders here")
def test_a_pipe_in_place_of_a_file_is_refused_and_not_waited_for(operator: Any, alpha: Path) -> None:
    approve(operator)
    (alpha / "__init__.py").unlink()
    os.mkfifo(alpha / "__init__.py")
    assert "changed or missing" in refused(operator).message


def test_an_install_in_place_is_marked_and_held_when_its_folder_changes(operator: Any, site: Any, alpha: Path) -> None:
    info = site.folder / "brokersync_alpha-1.0.dist-info"
    (info / "direct_url.json").write_text(json.dumps({"url": "file:///x", "dir_info": {"editable": True}}))
    (site.folder / "_alpha.pth").write_text(f"{site.folder}\n")
    site.record("brokersync-alpha", root=("_alpha.pth",))
    assert operator.registry(TRUST).load("alpha")
    del sys.modules[PACKAGE]
    assert operator.registry().facts("alpha").development
    approve(operator)
    assert operator.registry().load("alpha")
    del sys.modules[PACKAGE]
    (alpha / "more.py").write_text("")
    assert "not those of 1.0 that were approved" in held(operator).message


def test_an_install_in_place_that_runs_code_at_the_start_can_not_be_approved(
    operator: Any, site: Any, alpha: Path
) -> None:
    info = site.folder / "brokersync_alpha-1.0.dist-info"
    (info / "direct_url.json").write_text(json.dumps({"dir_info": {"editable": True}}))
    (site.folder / "_alpha.pth").write_text("import os\n")
    site.record("brokersync-alpha", root=("_alpha.pth",))
    registry = operator.registry()
    assert "runs code when Python starts" in registry.gate.approvable(registry.candidate("alpha")).reason


def test_a_wheel_that_says_it_was_installed_in_place_is_no_less_refused(operator: Any, site: Any, alpha: Path) -> None:
    info = site.folder / "brokersync_alpha-1.0.dist-info"
    (info / "direct_url.json").write_text(json.dumps({"dir_info": {"editable": True}}))
    (site.folder / "alpha.pth").write_text("import os\n")
    site.record("brokersync-alpha", PACKAGE, root=("alpha.pth",))
    assert "has run already" in refused(operator, mode=TRUST).message


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"deny": ("alpha",)}, "denies"),
        ({"allow": ("beta",)}, "allows other brokers only"),
        ({"safe": True}, "safe mode"),
        ({"allow": ("alpha",), "deny": ("alpha",)}, "denies"),
    ],
)
def test_lists_and_safe_mode_go_before_any_approval(
    operator: Any, alpha: Path, more: dict[str, Any], told: str
) -> None:
    approve(operator)
    assert told in held(operator, mode=TRUST, **more).message
    assert told in held(operator, **more).message


def test_an_allowed_broker_runs(operator: Any, alpha: Path) -> None:
    assert operator.registry(TRUST, allow=("alpha",)).load("alpha")


def test_safe_mode_leaves_the_plugins_of_the_catalogue(operator: Any, site: Any) -> None:
    site.plugin("ibkr", distribution="somebody-elses", code="raise RuntimeError('it ran')")
    registry = operator.registry(TRUST, safe=True)
    states = {row.distribution: row.state for row in registry.listing() if row.key == "ibkr"}
    assert states == {"brokersync-ibkr": ProviderState.AVAILABLE, "somebody-elses": ProviderState.REFUSED}
    assert registry.load("ibkr").distribution == "brokersync-ibkr"


def test_approvals_that_can_not_be_read_let_nothing_run(operator: Any, alpha: Path) -> None:
    operator.approvals.write_text("{")
    with pytest.raises(BrokerConfigError, match="can not be used: it is not JSON"):
        operator.registry(TRUST).load("alpha")
    (row,) = [row for row in operator.registry(TRUST).listing() if row.key == "alpha"]
    assert row.state is ProviderState.REFUSED
