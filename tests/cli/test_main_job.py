"""The main job at a terminal: connect, sync, read, against each broker's sandbox."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
Sandbox = Any

_NEEDED = {
    "provider", "environment", "account_id", "trade_id", "revision", "status", "order_id", "side", "position_effect",
    "quantity", "price", "executed_at", "trade_date", "event", "instrument", "fees",
}  # fmt: skip
_NEEDED_OF_INSTRUMENT = {
    "symbol", "broker_id", "asset_class", "currency", "multiplier", "exchange", "expiry", "strike", "right",
}  # fmt: skip


@pytest.fixture
def connected(brokersync: Run, sandbox: Sandbox, tmp_path: Path) -> str:
    """A connection of the sandbox's first login."""
    fields = tmp_path / "fields.json"
    fields.write_text(json.dumps(sandbox.login))
    answer = brokersync(
        "connect", sandbox.key, "--fields-from", fields, "--environment", sandbox.environment,
        "--config", sandbox.config, "--json",
    )  # fmt: skip
    assert answer.code == 0, answer
    connection: str = answer.document["connection"]["connection_id"]
    assert {account["account_id"] for account in answer.document["accounts"]} == set(
        sandbox.facts["logins"][0]["trades"]
    )
    return connection


def _sync(brokersync: Run, sandbox: Sandbox, *words: object) -> Any:
    answer = brokersync("sync", "--config", sandbox.config, "--json", *words)
    assert answer.code == 0, answer
    (result,) = answer.document["syncs"]
    return result["report"]


@pytest.fixture
def synced(brokersync: Run, sandbox: Sandbox, tmp_path: Path, request: pytest.FixtureRequest) -> Any:
    """The report of a first sync; the store it filled is made once per sandbox and copied for each test."""
    kept = sandbox.config.with_name("synced.db")
    if not kept.exists():
        request.getfixturevalue("connected")
        report = _sync(brokersync, sandbox)
        sandbox.config.with_name("report.json").write_text(json.dumps(report))
        for suffix in (".key", ""):
            shutil.copy(tmp_path / f"store.db{suffix}", f"{kept}{suffix}")
    for suffix in (".key", ""):
        shutil.copy(f"{kept}{suffix}", tmp_path / f"store.db{suffix}")
    return json.loads(sandbox.config.with_name("report.json").read_text())


def test_a_sync_brings_every_trade_and_a_second_one_adds_nothing(
    brokersync: Run, sandbox: Sandbox, synced: Any
) -> None:
    first = synced
    second = _sync(brokersync, sandbox, "--again-from", "2020-01-01")
    expected = sum(sandbox.facts["logins"][0]["trades"].values())
    status = brokersync("status", "--json").document
    assert sum(account["active"] for account in status["accounts"]) >= expected > 20
    assert first["added"] >= expected
    assert first["quarantined"] == 0
    assert (second["added"], second["modified"], second["removed"]) == (0, 0, 0)
    assert second["unchanged"] == second["fetched"] >= first["fetched"]
    assert len(status["connections"]) == 1


def test_each_line_of_jsonl_holds_what_the_reference_promises(brokersync: Run, sandbox: Sandbox, synced: Any) -> None:
    lines = brokersync("trades", "--format", "jsonl").out.splitlines()
    assert lines
    for line in lines:
        trade = json.loads(line, parse_float=pytest.fail)
        assert trade.keys() >= _NEEDED
        assert trade["instrument"].keys() >= _NEEDED_OF_INSTRUMENT
        assert trade["executed_at"].endswith("Z")
        assert "E" not in trade["quantity"] + trade["price"]
        assert Decimal(trade["quantity"]) > 0
        for fee in trade["fees"]:
            assert fee.keys() == {"kind", "amount", "currency"}
            Decimal(fee["amount"])


def test_csv_table_and_json_tell_of_the_same_trades(brokersync: Run, sandbox: Sandbox, synced: Any) -> None:
    lines = [json.loads(line) for line in brokersync("trades", "--format", "jsonl").out.splitlines()]
    rows = list(csv.DictReader(io.StringIO(brokersync("trades", "--format", "csv").out)))
    document = brokersync("trades", "--json").document["trades"]
    table = brokersync("trades").out
    assert document == lines
    assert [row["trade_id"] for row in rows] == [line["trade_id"] for line in lines]
    assert [row["price"] for row in rows] == [line["price"] for line in lines]
    assert lines[0]["executed_at"][:19].replace("T", " ") in table


def test_another_owner_sees_nothing(brokersync: Run, sandbox: Sandbox, synced: Any) -> None:
    assert brokersync("trades", "--owner", "somebody", "--json").document == {"trades": []}
    assert brokersync("status", "--owner", "somebody", "--json").document["connections"] == []


def test_a_wrong_secret_is_refused_and_nothing_is_kept(brokersync: Run, sandbox: Sandbox, tmp_path: Path) -> None:
    fields = tmp_path / "fields.json"
    secret = {"token": "1234", "password": "swordfish"}
    fields.write_text(json.dumps(sandbox.login | {name: secret[name] for name in secret.keys() & sandbox.login.keys()}))
    answer = brokersync(
        "connect", sandbox.key, "--fields-from", fields, "--environment", sandbox.environment,
        "--config", sandbox.config, "--json",
    )  # fmt: skip
    assert answer.code == 4
    assert answer.document["error"]["error"] == "BrokerAuthError"
    assert answer.document["error"]["remedy"]
    assert "swordfish" not in answer.out + answer.err
    assert brokersync("status", "--json").document["connections"] == []


def test_no_secret_is_in_the_store_or_in_any_output(
    brokersync: Run, sandbox: Sandbox, connected: str, tmp_path: Path
) -> None:
    synced = brokersync("sync", "--config", sandbox.config)
    shown = synced.out + synced.err + brokersync("status").out + brokersync("status", "--json").out
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("store.db*"))
    secrets = [sandbox.login[name] for name in ("token", "password", "sec") if name in sandbox.login]
    assert secrets
    for secret in secrets:
        assert secret not in shown
        assert secret.encode() not in kept


def test_a_trade_is_explained_by_its_id_alone_and_the_options_of_all_may_stand_first(
    brokersync: Run, sandbox: Sandbox, connected: str
) -> None:
    answer = brokersync("--config", sandbox.config, "--log=info", "sync", "--json")
    assert answer.code == 0, answer
    assert connected in answer.err, "log lines"
    (line,) = brokersync("trades", "--format", "jsonl", "--limit", "1").out.splitlines()
    trade = json.loads(line)
    found = brokersync("--json", "explain", "--trade-id", trade["trade_id"])
    assert found.code == 0, found
    assert trade["account_id"] in found.out
