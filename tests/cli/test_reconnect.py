"""Logging in again at a terminal: the connection stays, and what is not given stays as it was kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import Sandbox

Run = Callable[..., Any]


@pytest.fixture
def connected(brokersync: Run, sandbox: Sandbox, tmp_path: Path) -> str:
    fields = tmp_path / "fields.json"
    fields.write_text(json.dumps(sandbox.login))
    answer = brokersync(
        "connect", sandbox.key, "--fields-from", fields, "--environment", sandbox.environment,
        "--config", sandbox.config, "--json",
    )  # fmt: skip
    assert answer.code == 0, answer
    return str(answer.document["connection"]["connection_id"])


def test_a_connection_is_logged_in_again_and_syncs_on(
    brokersync: Run, sandbox: Sandbox, connected: str, tmp_path: Path
) -> None:
    changed = tmp_path / "changed.json"
    secret = "token" if sandbox.key == "ibkr" else "password"
    changed.write_text(json.dumps({secret: sandbox.login[secret]}))
    answer = brokersync("reconnect", connected, "--fields-from", changed, "--config", sandbox.config)
    assert (answer.code, answer.out.split(":")[0]) == (0, f"Logged in again {connected}"), answer
    assert f"Next: brokersync sync {connected}" in answer.err
    assert sandbox.login[secret] not in answer.out + answer.err
    (kept,) = brokersync("status", "--json").document["connections"]
    assert (kept["connection_id"], kept["logins"]) == (connected, 1)


def test_it_is_told_as_json_too(brokersync: Run, sandbox: Sandbox, connected: str) -> None:
    document = brokersync("reconnect", connected, "--config", sandbox.config, "--json").document
    assert document["connection"]["connection_id"] == connected


def test_another_login_is_refused_and_the_connection_stays_as_it_was(
    brokersync: Run, sandbox: Sandbox, connected: str, tmp_path: Path
) -> None:
    other = tmp_path / "other.json"
    other.write_text(json.dumps(sandbox.facts["logins"][1]["fields"]))
    answer = brokersync("reconnect", connected, "--fields-from", other, "--config", sandbox.config, "--json")
    assert answer.code == 4
    assert connected in answer.document["error"]["message"]
    assert "Nothing was changed" in answer.document["error"]["message"]


@pytest.mark.usefixtures("empty_store")
def test_an_unknown_connection_is_named(brokersync: Run, sandbox: Sandbox) -> None:
    answer = brokersync("reconnect", "toy-0", "--config", sandbox.config)
    assert answer.code == 3
    assert "toy-0" in answer.err
