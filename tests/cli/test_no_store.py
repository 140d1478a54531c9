"""A mistyped place is said to hold no store, and gets none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from brokersync.cli.app import build
from brokersync.cli.exits import Exit

Run = Callable[..., Any]

_READING: dict[str, tuple[str, ...]] = {
    "sync": (),
    "trades": (),
    "match": ("rows.csv",),
    "status": (),
    "coverage": (),
    "explain": ("--account", "U9", "--trade-id", "501"),
    "renormalise": (),
    "disconnect": ("ibkr-1",),
    "reconnect": ("ibkr-1",),
    "export": (),
    "forget": ("--yes",),
    "rotate-key": (),
    "worker": (),
}
_MAKING = {"connect", "import", "migrate", "demo"}
_WITHOUT_A_STORE = {"doctor", "limits", "providers", "record", "sandbox", "verify"}


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in that holds the rows for `match`, and nothing else."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "rows.csv").write_text("row_id,provider,symbol,side,quantity,price,executed_at\n")
    return folder


def test_every_command_is_said_to_read_or_to_make_a_store() -> None:
    commands = {name for name in build() if not name.startswith("-")}
    assert commands == _READING.keys() | _MAKING | _WITHOUT_A_STORE


@pytest.mark.parametrize("command", _READING)
def test_a_place_without_a_store_is_an_error_and_stays_empty(brokersync: Run, rows: Path, command: str) -> None:
    place = rows / "typo" / "journal.db"
    answer = brokersync(command, *_READING[command], "--store", place)
    assert (answer.code, answer.out) == (Exit.STORE, "")
    assert f"There is no store at {place}." in answer.err
    for said in ("--store", "BROKERSYNC_STORE", "brokersync connect", "brokersync migrate"):
        assert said in answer.err
    error = brokersync(command, *_READING[command], "--store", place, "--json").document["error"]
    assert error["error"] == "StoreError"
    assert [path.name for path in rows.iterdir()] == ["rows.csv"]


def test_an_empty_file_is_no_store_and_stays_empty(brokersync: Run, rows: Path) -> None:
    empty = rows / "empty.db"
    empty.touch()
    answer = brokersync("status", "--store", empty)
    assert (answer.code, answer.out) == (Exit.STORE, "")
    assert f"There is no store at {empty}." in answer.err
    assert empty.stat().st_size == 0
    assert sorted(path.name for path in rows.iterdir()) == ["empty.db", "rows.csv"]


def test_what_makes_a_store_makes_it_where_it_is_told_to(brokersync: Run, rows: Path) -> None:
    place = rows / "new" / "journal.db"
    assert brokersync("migrate", "--store", place).code == Exit.DONE
    assert brokersync("status", "--store", place).code == Exit.DONE


def test_a_schema_without_a_store_is_an_error_and_stays_empty(brokersync: Run, schemas: Any, postgres_url: str) -> None:
    mine = type(schemas)(postgres_url)  # another test's would have its tables already
    name = mine.take()
    for _ in range(2):
        answer = brokersync("status", "--store", mine.place(name))
        assert answer.code == Exit.STORE
        assert "There is no store in" in answer.err
        assert name in answer.err
    assert brokersync("migrate", "--store", mine.place(name)).code == Exit.DONE
    assert brokersync("status", "--store", mine.place(name)).code == Exit.DONE
    asyncio.run(mine.drop())


def test_a_wrong_configuration_is_told_whole_before_anything_is_made(brokersync: Run, rows: Path) -> None:
    (rows / "brokersync.toml").write_text('long_wait = "soon"\nrefusals = 0\n')
    for command in ("status", "migrate", "sync"):
        answer = brokersync(command, "--config", "brokersync.toml", "--store", "new.db")
        assert answer.code == Exit.CONFIG
        assert "brokersync.toml has 2 mistakes:\n  long_wait: 'soon' is no duration" in answer.err
    assert not (rows / "new.db").exists()
