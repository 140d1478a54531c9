"""`brokersync providers list`, `approve`, `revoke`: what an operator sees and decides."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from brokersync.cli.connect import _say_who_is_trusted
from brokersync.cli.exits import Exit
from brokersync.events import PluginSeen

Run = Callable[..., Any]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    path = tmp_path / "brokersync.toml"
    path.write_text('[governance]\nmode = "approve"\n')
    return path


def states(brokersync: Run, *words: object) -> dict[str, str]:
    return {row["key"]: row["state"] for row in brokersync("providers", "list", "--json", *words).document["providers"]}


def test_a_broker_is_held_until_it_is_approved_and_again_when_it_is_revoked(brokersync: Run, config: Path) -> None:
    told = ("--config", config)
    assert states(brokersync, *told) == {"ibkr": "held", "tradovate": "held"}
    for words in (("providers",), ("providers", "list")):
        assert brokersync(*words, *told).out.count("held: It waits for approval; none of its code was run.") == 2
    approved = brokersync("providers", "approve", "ibkr", "--json", *told).document
    assert approved["approved"]["distribution"] == "brokersync-ibkr"
    assert states(brokersync, *told) == {"ibkr": "available", "tradovate": "held"}
    (row,) = [
        row for row in brokersync("providers", "list", "--json", *told).document["providers"] if row["key"] == "ibkr"
    ]
    assert row["files"] == row["decision"]["files"] == approved["approved"]["files"]
    assert row["decision"]["state"] == "approved"
    assert "Revoked ibkr" in brokersync("providers", "revoke", "ibkr", *told).out
    assert states(brokersync, *told)["ibkr"] == "held"
    assert states(brokersync) == {"ibkr": "held", "tradovate": "available"}


def test_what_is_held_ends_a_command_with_what_to_do(brokersync: Run, config: Path, tmp_path: Path) -> None:
    (tmp_path / "file.csv").write_text("x")
    config.write_text('[governance]\ndeny = ["ibkr"]\n')
    answer = brokersync("import", "ibkr", tmp_path / "file.csv", "--config", config)
    assert answer.code == Exit.CONFIG
    assert "Error: The broker 'ibkr' of brokersync-ibkr 0.1.0 is held." in answer.err
    assert "governance.deny" in answer.err


def test_mode_approve_makes_no_store_without_a_webhook(brokersync: Run, config: Path, tmp_path: Path) -> None:
    answer = brokersync("connect", "ibkr", "--config", config)
    assert answer.code == Exit.CONFIG
    assert not (tmp_path / "store.db").exists()


def test_mode_approve_does_not_start_without_a_webhook(brokersync: Run, config: Path, empty_store: Path) -> None:
    answer = brokersync("status", "--config", config)
    assert answer.code == Exit.CONFIG
    assert "Set governance.webhook and BROKERSYNC_WEBHOOK_SECRET." in answer.err


def test_other_files_than_those_that_were_looked_at_are_not_approved(brokersync: Run, config: Path) -> None:
    answer = brokersync("providers", "approve", "ibkr", "--files", "sha256:0", "--config", config)
    assert answer.code == Exit.CONFIG
    assert "not sha256:0" in answer.err
    assert states(brokersync, "--config", config)["ibkr"] == "held"


def test_a_label_is_approved_as_its_broker(brokersync: Run, config: Path) -> None:
    assert (
        brokersync("providers", "approve", "lynx", "--json", "--config", config).document["approved"]["key"] == "ibkr"
    )


def test_a_broker_that_is_not_installed_can_not_be_approved(brokersync: Run, config: Path) -> None:
    assert brokersync("providers", "approve", "nowhere", "--config", config).code == Exit.CONFIG
    assert not (config.parent / "data").exists()


def test_safe_mode_is_a_variable_for_one_run(brokersync: Run, monkeypatch: pytest.MonkeyPatch, config: Path) -> None:
    monkeypatch.setenv("BROKERSYNC_SAFE", "1")
    assert states(brokersync) == {"ibkr": "available", "tradovate": "available"}  # both are this project's


def test_the_first_connection_says_that_the_plugin_is_trusted_and_the_next_does_not(
    brokersync: Run, sandbox: Any, tmp_path: Path
) -> None:
    fields = tmp_path / "fields.json"
    fields.write_text(json.dumps(sandbox.login))
    words = ("connect", sandbox.key, "--environment", sandbox.environment, "--fields-from", fields)
    told = f"brokersync-{sandbox.key} 0.1.0 is new here. You installed it, so it may run, with your rights."
    first = brokersync(*words, "--config", sandbox.config)
    assert (first.code, first.err.count(told)) == (Exit.DONE, 1)
    again = brokersync(*words, "--config", sandbox.config)
    assert (again.code, told in again.err) == (Exit.DONE, False)


@pytest.mark.parametrize(("approved", "why"), [(True, "It was approved"), (False, "You installed it")])
def test_why_a_plugin_that_is_new_may_run_is_told_by_the_mode(
    capsys: pytest.CaptureFixture[str], approved: bool, why: str
) -> None:
    seen = PluginSeen(provider="acme", distribution="brokersync-acme", version="1.0", state="available")
    _say_who_is_trusted([seen], "acme", approved=approved)
    assert capsys.readouterr().err == f"brokersync-acme 1.0 is new here. {why}, so it may run, with your rights.\n"


def test_a_webhook_that_can_not_be_reached_is_told(
    brokersync: Run, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "whsec_" + "A" * 43 + "="
    monkeypatch.setenv("BROKERSYNC_WEBHOOK_SECRET", secret)
    config.write_text('[governance]\nwebhook = "http://127.0.0.1:1/secret-path"\n')
    answer = brokersync("providers", "test-webhook", "--config", config)
    assert answer.code == Exit.CONFIG
    assert "127.0.0.1 can not be reached" in answer.err
    assert "secret-path" not in answer.err
    assert secret not in answer.err


def test_who_denies_a_label_denies_its_broker_under_each_of_its_names(brokersync: Run, config: Path) -> None:
    config.write_text('[governance]\ndeny = ["captrader"]\n')
    assert states(brokersync, "--config", config) == {"ibkr": "held", "tradovate": "available"}
    statement = config.with_name("file.csv")
    statement.write_text("x")
    for key in ("ibkr", "captrader", "lynx"):
        answer = brokersync("import", key, statement, "--config", config)
        assert answer.code == Exit.CONFIG
        assert "governance.deny" in answer.err


def test_who_allows_a_label_allows_its_broker_alone(brokersync: Run, config: Path) -> None:
    config.write_text('[governance]\nallow = ["lynx"]\n')
    assert states(brokersync, "--config", config) == {"ibkr": "available", "tradovate": "held"}


def test_a_key_in_a_list_that_nobody_knows_is_told_with_the_brokers(brokersync: Run, config: Path) -> None:
    config.write_text('[governance]\ndeny = ["ibrk"]\n')
    answer = brokersync("providers", "--config", config)
    assert answer.code == Exit.DONE
    assert "names 'ibrk', which is no known broker" in answer.err
