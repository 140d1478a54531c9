"""`record` against a broker in another process: what it writes, what it says, and when it writes nothing."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from brokersync.redaction import shows

Run = Callable[..., Any]
Sandbox = Any


@pytest.fixture
def record(brokersync: Run, sandbox: Sandbox, tmp_path: Path) -> Run:
    """Records the sandbox's first login."""
    fields = tmp_path / "fields.json"
    fields.write_text(json.dumps(sandbox.login))
    common = ("--fields-from", fields, "--environment", sandbox.environment, "--config", sandbox.config)

    def run(*words: object) -> Any:
        return brokersync("record", sandbox.key, *common, *words)

    return run


def secrets_of(sandbox: Sandbox) -> list[str]:
    return [value for name, value in sandbox.login.items() if re.search("password|sec|token", name)]


def test_a_recording_holds_no_secret_and_says_what_became_of_each_field(
    record: Run, sandbox: Sandbox, tmp_path: Path
) -> None:
    folder = tmp_path / "recordings" / "first"
    answer = record("--to", folder, "--json")
    assert answer.code == 0, answer
    told = answer.document
    assert told["folder"] == str(folder)
    assert sum(reading["rows"] for reading in told["readings"]) > 10
    assert {*told["fields"]} == {
        "kept", "scaled", "replaced: an id", "replaced: private", "removed: a secret",
    }  # fmt: skip
    texts = [path.read_text(encoding="utf-8") for path in folder.iterdir()]
    assert len(texts) == told["requests"] + 1
    for secret in secrets_of(sandbox):
        assert not any(shows(text, secret) for text in (*texts, answer.out, answer.err))
    assert not any(one.name.startswith(".") for one in folder.parent.iterdir())


def test_a_person_is_shown_a_summary_without_values(record: Run, sandbox: Sandbox, tmp_path: Path) -> None:
    answer = record("--to", tmp_path / "first")
    assert answer.code == 0, answer
    assert "rows of 2 accounts are read from it as from the broker" in answer.out or sandbox.key == "tradovate"
    assert "scaled" in answer.out
    for account in sandbox.facts["logins"][0]["trades"]:
        assert account not in answer.out


def test_a_folder_that_is_there_is_refused_before_anybody_logs_in(record: Run, tmp_path: Path) -> None:
    answer = record("--to", tmp_path)
    assert answer.code == 3
    assert "is there already" in answer.err
    assert "Logging in" not in answer.err


def test_a_login_that_is_refused_writes_nothing(brokersync: Run, sandbox: Sandbox, tmp_path: Path) -> None:
    secret = "token" if sandbox.key == "ibkr" else "password"
    fields = tmp_path / "fields.json"
    fields.write_text(json.dumps({**sandbox.login, secret: "9" * 24}))
    answer = brokersync(
        "record", sandbox.key, "--fields-from", fields, "--config", sandbox.config, "--to", tmp_path / "first",
    )  # fmt: skip
    assert answer.code == 4, answer
    assert not (tmp_path / "first").exists()


@pytest.mark.parametrize("days", [0, 400])
def test_days_out_of_reach_are_wrong_usage(record: Run, tmp_path: Path, days: int) -> None:
    assert record("--days", days, "--to", tmp_path / "first").code == 2


def test_a_field_that_the_plugin_goes_by_has_to_be_declared(
    record: Run, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("brokersync.testing.recording.kinds._declares", lambda *_: False)
    answer = record("--to", tmp_path / "first")
    assert answer.code == 3, answer
    assert "does not read the recording as it read the broker" in answer.err
    assert "`harmless` under [recording]" in answer.err
    assert not (tmp_path / "first").exists()


@pytest.fixture
def connected(brokersync: Run, sandbox: Sandbox, tmp_path: Path) -> tuple[str, Path]:
    """A connection to the sandbox's first login, and the store that it is in."""
    fields, store = tmp_path / "of-connection.json", tmp_path / "store.db"
    fields.write_text(json.dumps(sandbox.login))
    answer = brokersync(
        "connect", sandbox.key, "--fields-from", fields, "--environment", sandbox.environment,
        "--config", sandbox.config, "--store", store, "--json",
    )  # fmt: skip
    assert answer.code == 0, answer
    return str(answer.document["connection"]["connection_id"]), store


def test_a_stored_connection_is_recorded_by_a_login_of_its_own(
    brokersync: Run, sandbox: Sandbox, tmp_path: Path, connected: tuple[str, Path]
) -> None:
    name, store = connected
    before = grants_in(store)
    folder = tmp_path / "first"
    common = ("--config", sandbox.config, "--store", store)
    answer = brokersync("record", sandbox.key, "--connection", name, "--to", folder, "--json", *common)
    assert answer.code == 0, answer
    assert sum(reading["rows"] for reading in answer.document["readings"]) > 10
    texts = [path.read_text(encoding="utf-8") for path in folder.iterdir()]
    for secret in secrets_of(sandbox):
        assert not any(shows(text, secret) for text in (*texts, answer.out, answer.err))
    assert grants_in(store) == before, "its tokens are as they were"
    assert brokersync("sync", name, *common).code == 0


@pytest.mark.parametrize("words", [("--owner", "another"), ("--connection", "nobody's")])
def test_what_is_no_connection_of_the_owner_is_not_recorded(
    brokersync: Run, sandbox: Sandbox, tmp_path: Path, connected: tuple[str, Path], words: tuple[str, ...]
) -> None:
    name, store = connected
    said = ("--connection", name, *words) if "--owner" in words else words
    folder = tmp_path / "first"
    answer = brokersync("record", sandbox.key, *said, "--to", folder, "--config", sandbox.config, "--store", store)
    assert answer.code == 3, answer
    assert "There is no connection" in answer.err
    assert not folder.exists()


def test_a_connection_and_fields_beside_it_are_wrong_usage(record: Run, tmp_path: Path) -> None:
    answer = record("--connection", "some", "--to", tmp_path / "first")
    assert answer.code == 2, answer
    assert "--connection says already how to log in" in answer.err


def grants_in(store: Path) -> list[Any]:
    with closing(sqlite3.connect(store)) as database:
        return database.execute("SELECT * FROM grants").fetchall()
