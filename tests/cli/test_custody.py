"""Leaving at a terminal: end a connection, take everything along, be forgotten, change the key."""

from __future__ import annotations

import io
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
Sandbox = Any


@pytest.fixture
def connected(brokersync: Run, sandbox: Sandbox, tmp_path: Path) -> str:
    """A connection of the sandbox's first login, synced."""
    fields = tmp_path / "fields.json"
    fields.write_text(json.dumps(sandbox.login))
    answer = brokersync(
        "connect", sandbox.key, "--fields-from", fields, "--environment", sandbox.environment,
        "--config", sandbox.config, "--json",
    )  # fmt: skip
    fields.unlink()
    assert answer.code == 0, answer
    assert brokersync("sync", "--config", sandbox.config).code == 0
    connection: str = answer.document["connection"]["connection_id"]
    return connection


def test_a_connection_ends_and_its_trades_stay_until_they_are_erased(
    brokersync: Run, sandbox: Sandbox, connected: str
) -> None:
    trades = len(brokersync("trades", "--format", "jsonl").out.splitlines())
    assert brokersync("disconnect", connected, "--owner", "somebody", "--config", sandbox.config).code == 3
    answer = brokersync("disconnect", connected, "--config", sandbox.config)
    assert (answer.code, answer.out) == (0, f"Disconnected {connected}.\n")
    assert "connect again" in answer.err
    assert len(brokersync("trades", "--format", "jsonl").out.splitlines()) == trades > 20
    again = brokersync("disconnect", connected, "--config", sandbox.config, "--json")
    assert (again.code, again.document["error"]["error"]) == (3, "BrokerConfigError")


def test_erasing_takes_accounts_and_trades(brokersync: Run, sandbox: Sandbox, connected: str) -> None:
    trades = len(brokersync("trades", "--format", "jsonl").out.splitlines())
    done = brokersync("disconnect", connected, "--erase", "--config", sandbox.config, "--json").document["disconnected"]
    assert done["connection_id"] == connected
    assert done["trades"] >= trades > 20
    assert brokersync("trades", "--json").document == {"trades": []}
    assert brokersync("status", "--json").document["accounts"] == []


def test_an_export_is_whole_or_not_there_and_its_owners_alone(brokersync: Run, connected: str, tmp_path: Path) -> None:
    out = tmp_path / "mine.jsonl"
    answer = brokersync("export", "--out", out)
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert answer.out == f"Wrote {len(lines)} lines to {out}.\n"
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert (lines[0]["record"], lines[0]["owner"], lines[0]["format"]) == ("export", "me", 1)
    assert lines[-1] == {"record": "end", "lines": len(lines)}
    printed = brokersync("export").out.splitlines()
    assert [json.loads(line) for line in printed[1:]] == lines[1:]
    assert brokersync("export", "--json").document["export"][1:] == lines[1:]
    trades = [json.loads(line) for line in brokersync("trades", "--format", "jsonl").out.splitlines()]
    shown = {"account_id", "trade_id", "price", "quantity", "executed_at"}
    exported = [one for one in lines if one["record"] == "trade" and one["status"] == "active"]
    assert sorted(str({name: one[name] for name in shown}) for one in exported) == sorted(
        str({name: one[name] for name in shown}) for one in trades
    )
    nowhere = brokersync("export", "--out", tmp_path / "no" / "folder.jsonl")
    assert nowhere.code == 3
    assert "--out" in nowhere.err


def test_forget_asks_for_the_name_and_leaves_nothing(
    brokersync: Run, connected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("you\n"))
    refused = brokersync("forget")
    assert refused.code == 3
    assert "Nothing was erased" in refused.err
    assert brokersync("trades", "--format", "jsonl").out
    monkeypatch.setattr("sys.stdin", io.StringIO("me\n"))
    answer = brokersync("forget")
    assert answer.code == 0, answer
    assert answer.out.startswith("Forgot me: ")
    assert "backups" in answer.err
    assert brokersync("status", "--json").document["connections"] == []
    again = brokersync("forget", "--yes")
    assert (again.out, again.err) == ("Nothing was kept.\n", "")
    assert set(brokersync("forget", "--yes", "--json").document["forgotten"]["rows"].values()) == {0}


@pytest.mark.parametrize("words", [(), ("--data-keys",)])
def test_after_a_rotation_the_login_opens_with_the_new_key(
    brokersync: Run, sandbox: Sandbox, connected: str, tmp_path: Path, words: tuple[str, ...]
) -> None:
    key = tmp_path / "store.db.key"
    before = key.read_text()
    answer = brokersync("rotate-key", *words)
    assert (answer.code, answer.out) == (0, "Rotated the key for the logins of 1 owner.\n")
    assert len(key.read_text().split()) == 1
    assert key.read_text() != before
    assert brokersync("sync", "--config", sandbox.config).code == 0
    key.write_text(before)
    assert brokersync("sync", "--config", sandbox.config).code == 3


def test_a_rotation_of_a_key_in_the_environment_says_what_to_do(
    brokersync: Run, connected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = (tmp_path / "store.db.key").read_text()
    monkeypatch.setenv("BROKERSYNC_KEY", old)
    refused = brokersync("rotate-key")
    assert refused.code == 3
    assert "in front" in refused.err
    assert old not in refused.err + refused.out
    new = "A" * 43 + "="
    monkeypatch.setenv("BROKERSYNC_KEY", f"{new},{old}")
    assert "take out all but the first" in brokersync("rotate-key").err
    monkeypatch.setenv("BROKERSYNC_KEY", new)
    assert brokersync("rotate-key", "--json").document["error"]["error"] == "BrokerConfigError"
